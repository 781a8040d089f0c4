"""Search in the API and on the pages: what is typed finds a lead, and stands nowhere."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from support import AGENT, API_TOKEN, WEBSITE, Web, each, lead, notification
from support.draining import RunDrain

from schemas.access import NamedToken, Role
from schemas.search import TERM
from schemas.settings import Settings
from simulator import Simulator
from store import Store

OpenWeb = Callable[[Settings], Web]
MakeSettings = Callable[..., Settings]
ROUTES = f"""{WEBSITE}
[[route]]
name   = "call visitors"
source = "website"
event  = "form.submitted"
to     = "call"
[route.request]
to_number = "phone"
agent_id  = {{ value = "{AGENT}" }}
[route.request.metadata]
name  = "person.called"
email = "person.mail"

[[route]]
name   = "call contacts"
source = "hubspot"
event  = "contact.*"
to     = "call"
[route.request]
to_number = "properties.phone"
agent_id  = {{ value = "{AGENT}" }}
[route.request.metadata]
first_name = "properties.firstname"
last_name  = "properties.lastname"
"""
PERSON = {"called": "Meera Nair", "mail": "Meera@Example.in"}
TYPED = ["meera", "NAIR meera", "meera@example.in", "43210", "+91 98765 43210", "form-77"]


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(ROUTES)


@pytest.fixture
def web(open_web: OpenWeb, settings: Settings) -> Web:
    web = open_web(settings)
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302
    return web


def send(web: Web, phone: str = "+919876543210", **more: Any) -> str:
    body = {**lead(phone), "person": PERSON, "submission_id": "form-77", **more}
    [made] = web.send("website", body)
    return str(made)


def found(web: Web, typed: str, more: str = "") -> list[str]:
    answer = web.get(f"/api/deliveries?q={quote(typed)}{more}")
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json["items"]]


def csrf_of(web: Web) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', web.client.get("/").text)
    assert found
    return found[1]


def search(web: Web, typed: str) -> Any:
    csrf = csrf_of(web)
    return web.client.post("/search", data={"q": typed, "csrf": csrf})


# --- the API --------------------------------------------------------------------------------------


@each("typed", [*TYPED, "९८७६५ ४३२१०", "Méera", "meera 3210", "  form-77 "])
def test_the_api_finds_a_lead_before_and_after_its_call(
    open_web: OpenWeb, settings: Settings, store: Store, run_drain: RunDrain, typed: str
) -> None:
    store.redis.flushdb()
    web = open_web(settings)
    other = send(web, "+919812300000", person={"called": "Ravi"}, submission_id="form-78")
    made = send(web)
    assert found(web, typed) == [made]
    run_drain(settings)
    assert web.get(f"/api/deliveries/{made}").json["status"] == "delivered"
    assert found(web, typed) == [made]
    assert found(web, typed, "&status=delivered&route=call%20visitors") == [made]
    assert found(web, typed, "&status=failed") == []
    assert found(web, "ravi") == [other]


VIEWER = NamedToken(name="asha", role=Role.VIEWER, token="asha-looks-at-everything")


def test_a_viewer_can_not_ask_for_a_number_digit_by_digit(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    web = open_web(make_settings(ROUTES, named_tokens=(VIEWER,)))
    made = send(web)
    assert web.client.post("/sign-in", data={"token": VIEWER.token}).status_code == 302
    headers = {"Authorization": f"Bearer {VIEWER.token}"}

    def seen(typed: str) -> str:
        """Return all that a viewer's search answers with: the list, the file and the page."""
        lists = ["/api/deliveries", "/api/deliveries.csv"]
        answers = [web.client.get(f"{one}?q={quote(typed)}", headers=headers) for one in lists]
        page = search(web, typed)
        answers.append(web.client.get(page.headers["Location"]))
        return "".join(one.text for one in answers)

    # Right and wrong digits before the last four find the same.
    for typed in ("43210", "93210", "876543210", "876593210", "98 3210"):
        assert seen(typed).count(made) >= 3
    for typed in ("9876543211", "1876543210"):  # a whole number, and not this one
        assert made not in seen(typed)
    for typed in ("3210", "9876543210", "+91 98765 43210", "meera 3210", "form-77"):
        assert seen(typed).count(made) >= 3
    # What a search for an id puts into the address is no key of a number's digits.
    keys = (search(web, one).headers["Location"] for one in ("3210", "43210"))
    ends, part = (re.split(r"[.~]", key)[1] for key in keys)
    assert {len(ends), len(part)} == {TERM}
    for key in (f"t.{ends}-{part}", f"t.{ends}.{part}"):
        assert made not in web.client.get(f"/deliveries?search={key}").text
    assert found(web, "43210") == [made]


def test_a_lead_is_found_by_its_call(web: Web, settings: Settings, run_drain: RunDrain) -> None:
    made = send(web)
    run_drain(settings)
    sid = web.get(f"/api/deliveries/{made}").json["call_sid"]
    assert found(web, sid) == found(web, made) == [made]
    assert found(web, sid[:-1]) == []


def test_a_fetched_record_finds_its_lead_also_where_nobody_was_called(
    web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain
) -> None:
    people = {
        "501": {"firstname": "Meera", "lastname": "Nair", "phone": "+919876543210"},
        "502": {"firstname": "Asha", "lastname": "Nair", "phone": ""},  # skipped: no number
        "503": {"firstname": "Zoë", "lastname": "Nair", "phone": "12"},  # skipped: not a number
    }
    for contact, fields in people.items():
        simulator.state.put_record("hubspot", "contacts", contact, fields)
    made = web.send("hubspot", [notification(one) for one in people])
    assert found(web, "nair") == []  # the notifications have no name
    assert found(web, "502") == [made[1]]
    run_drain(settings)
    assert found(web, "nair") == made[::-1]
    assert found(web, "asha") == [made[1]]
    assert found(web, "zoe nair") == [made[2]]
    assert found(web, "meera 543210") == [made[0]]
    event_id = web.get(f"/api/deliveries/{made[0]}").json["event_id"]
    event = web.get(f"/api/events/{event_id}").json
    assert made[0] in found(web, str(event["data"]["eventId"]))
    assert found(web, event["source_event_id"]) == [made[0]]


def test_pages_of_a_search_go_on(web: Web) -> None:
    numbers = range(10, 17)
    made = [send(web, f"+9198765432{one}", submission_id=f"f{one}") for one in numbers]
    ids, cursor = [], ""
    while cursor is not None:
        page = web.get(f"/api/deliveries?q=meera&limit=3{cursor}").json
        ids += [one["id"] for one in page["items"]]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert ids == made[::-1]


@each("typed", ["", "   "])
def test_an_empty_search_lists_all(web: Web, typed: str) -> None:
    made = send(web)
    assert made in found(web, typed)


def test_a_long_search_is_refused_without_its_text(web: Web) -> None:
    answer = web.get(f"/api/deliveries?q={'meera%20' * 50}")
    assert (answer.status_code, answer.json["error"]) == (400, "bad_query")
    assert "meera" not in answer.text


def test_an_erased_person_is_not_found(web: Web, settings: Settings, run_drain: RunDrain) -> None:
    made = send(web)
    run_drain(settings)
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    body = {"phone": "+919876543210"}
    assert web.client.post("/api/erasures", json=body, headers=headers).status_code in (200, 202)
    run_drain(settings)
    assert {typed: found(web, typed) for typed in TYPED} == {typed: [] for typed in TYPED}
    assert found(web, made) == [made]


# --- the pages ------------------------------------------------------------------------------------


@each("typed", [*TYPED, "somebody unheard-of"])
def test_what_is_typed_stands_in_no_address_page_or_log(
    open_web: OpenWeb,
    settings: Settings,
    store: Store,
    caplog: pytest.LogCaptureFixture,
    typed: str,
) -> None:
    store.redis.flushdb()
    web = open_web(settings)
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302
    made = send(web)
    caplog.clear()
    answer = search(web, typed)
    address = answer.headers["Location"]
    page = web.client.get(address).text
    assert answer.status_code == 303
    assert (f"row-{made}" in page) == (typed in TYPED)
    said = f"{answer.headers} {address} {page} {caplog.text}".lower()
    for word in typed.lower().split():
        assert word not in said.replace(made, "").replace("+91…", ""), word
    assert "Only what your search found is shown." in page
    part = page.split('hx-get="')[2].split('"')[0].replace("&amp;", "&")
    assert ("row-" in web.client.get(part).text) == (typed in TYPED)


def test_a_search_stays_with_the_filters(web: Web, settings: Settings, run_drain: RunDrain) -> None:
    made = send(web)
    send(web, "+919812345678", person={"called": "Ravi"}, submission_id="other")
    run_drain(settings)
    key = search(web, "meera").headers["Location"].partition("search=")[2]
    csrf = csrf_of(web)
    form = {"csrf": csrf, "search": key, "status": "delivered"}
    address = web.client.post("/deliveries", data=form).headers["Location"]
    assert {"status=delivered", f"search={key}"} == set(address.partition("?")[2].split("&"))
    page = web.client.get(address).text
    assert page.count('id="row-') == 1
    assert f"row-{made}" in page
    many = web.client.get(f"/deliveries/many?do=retry&status=delivered&search={key}").text
    assert "<strong>0</strong> would be retried." in many
    assert "1 more match" in many
    assert key not in many.partition("<form")[0]


@each("key", ["meera", "t.x", "i.", "t.aaaaaaaaaa~~", "%00"])
def test_an_address_with_another_search_is_refused_without_its_text(web: Web, key: str) -> None:
    page = web.client.get(f"/deliveries?search={key}")
    assert "This is not a search." in page.text
    assert "Traceback" not in page.text


def test_a_search_needs_the_pages_own_form(open_web: OpenWeb, settings: Settings, web: Web) -> None:
    assert web.client.post("/search", data={"q": "meera"}).status_code == 400
    answer = open_web(settings).client.post("/search", data={"q": "meera"})
    assert (answer.status_code, "meera" in answer.headers["Location"]) == (302, False)


def test_a_long_search_shows_why_and_not_what(web: Web) -> None:
    answer = search(web, "meera " * 50)
    page = web.client.get(answer.headers["Location"]).text
    assert "A search has at most 200 characters." in page
    assert "meera" not in page


@each("path", ["/deliveries", "/events"])
def test_the_box_is_above_the_lists(web: Web, path: str) -> None:
    page = web.client.get(path).text
    assert page.count('id="search"') == 1
    assert "search.js" in page
    with web.client.get("/dashboard/static/search.js") as script:
        assert script.status_code == 200
