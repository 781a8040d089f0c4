"""The dashboard: who gets in, what its forms do, and what its pages show and hide."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support import API_TOKEN, WEBSITE, Web, lead, route

from schemas.settings import Settings
from simulator import Simulator
from store import Store

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
RunDrain = Callable[..., Any]

CALL = "/call/outbound"
ONE, OTHER = "+919876543210", "+919812345678"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(WEBSITE + route(request={"to_number": '"phone"', "agent_id": '"agent"'}))


@pytest.fixture
def web(open_web: OpenWeb, settings: Settings) -> Web:
    return open_web(settings)


def sign_in(web: Web, token: str = API_TOKEN, **more: str) -> Any:
    return web.client.post("/sign-in", data={"token": token, **more})


def csrf_of(web: Web) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', web.client.get("/").text)
    assert found
    return found[1]


def do(web: Web, path: str, **fields: str) -> str:
    """Post a form as its page would, and return what the next page says."""
    answer = web.client.post(path, data={"csrf": csrf_of(web), **fields}, follow_redirects=True)
    assert answer.status_code == 200, answer.text
    return answer.text


def failed_lead(web: Web, simulator: Simulator, number: str = ONE, **more: Any) -> str:
    refusal = '{"status": "error"}'
    simulator.state.behave(path=CALL, times=1, status=400, body=refusal, to_number=number)
    return web.send("website", lead(phone=number, agent="6803fa77", **more))[0]


def statuses(store: Store, *ids: str) -> list[str]:
    return [str(found.status) for one in ids if (found := store.delivery(one))]


# --- who gets in ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/overview/part", "/deliveries", "/deliveries/many?do=retry", "/deliveries/x"]
)
def test_nothing_is_shown_to_who_is_not_signed_in(web: Web, path: str) -> None:
    answer = web.client.get(path)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/sign-in?next=")
    part = web.client.get(path, headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["HX-Redirect"]) == (401, "/sign-in")


def test_the_token_opens_and_signing_out_closes(web: Web) -> None:
    assert sign_in(web, "wrong").status_code == 401
    assert sign_in(web, "").status_code == 401
    opened = sign_in(web)
    assert (opened.status_code, opened.headers["Location"]) == (302, "/")
    assert API_TOKEN not in opened.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Lax"} <= set(opened.headers["Set-Cookie"].split("; "))
    assert web.client.get("/").status_code == 200

    do(web, "/sign-out")

    assert web.client.get("/").status_code == 302


def test_the_cookie_goes_over_https_alone_where_the_bridge_is_there(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    web = open_web(make_settings(public_url="https://bridge.example"))
    assert "Secure" in sign_in(web).headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("proxy_hops", "proto", "is_secure"),
    [
        (1, "https", True),
        (1, "http", False),
        (1, "https, http", False),  # the client may have written the first
        (0, "https", True),
        (0, "HTTPS, http", True),
        (0, "http", False),
        (0, "", False),
    ],
)
def test_the_cookie_goes_over_https_alone_where_a_router_says_that_it_came_so(
    make_settings: MakeSettings, open_web: OpenWeb, proxy_hops: int, proto: str, is_secure: bool
) -> None:
    web = open_web(make_settings(proxy_hops=proxy_hops))
    opened = web.client.post(
        "/sign-in", data={"token": API_TOKEN}, headers={"X-Forwarded-Proto": proto}
    )
    assert ("Secure" in opened.headers["Set-Cookie"].split("; ")) is is_secure


def test_a_token_that_is_taken_away_ends_its_sessions(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    web = open_web(make_settings())
    sign_in(web)
    cookie = web.client.get_cookie("callkaro_bridge")
    assert cookie is not None
    for tokens, status in ((("new", API_TOKEN), 200), (("new",), 302)):
        later = open_web(make_settings(api_tokens=tokens))
        later.client.set_cookie("callkaro_bridge", cookie.value)
        assert later.client.get("/").status_code == status


@pytest.mark.parametrize(
    ("wanted", "leads_to"),
    [
        ("/deliveries?status=failed", "/deliveries?status=failed"),
        ("https://elsewhere.example/", "/"),
        ("//elsewhere.example/", "/"),
        ("/\\elsewhere.example", "/"),
        ("javascript:alert(1)", "/"),
        ("//[", "/"),
        ("http://[", "/"),
        ("/deliveries\\..\\x", "/"),
        ("/\t/elsewhere.example", "/"),
        ("/deliveries\r\nSet-Cookie: a=b", "/"),
        ("/\x00", "/"),
        ("/a b", "/"),
        ("", "/"),
    ],
)
def test_signing_in_leads_to_pages_of_ours_alone(web: Web, wanted: str, leads_to: str) -> None:
    assert sign_in(web, next=wanted).headers["Location"] == leads_to


@pytest.mark.parametrize("wanted", ["//[", "http://[", "/\\x", "/\x00"])
def test_a_made_up_address_breaks_nothing_for_who_is_signed_in_already(
    web: Web, wanted: str
) -> None:
    sign_in(web)
    answer = web.client.get("/sign-in", query_string={"next": wanted})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")


def test_wrong_tokens_are_counted_and_lock_nobody_out_who_has_the_right_one(web: Web) -> None:
    for _ in range(11):
        assert sign_in(web).status_code == 302, "the right one counts for nothing"
    answers = [sign_in(web, f"guess {number}").status_code for number in range(12)]
    assert answers == [401] * 10 + [429] * 2
    assert sign_in(web).status_code == 302
    assert sign_in(web, "guess").status_code == 429, "and it ends no count"


def test_a_form_that_is_not_ours_does_nothing(
    web: Web, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    failed = failed_lead(web, simulator)
    run_drain(settings)
    sign_in(web)
    for fields in ({}, {"csrf": ""}, {"csrf": "guessed"}):
        answer = web.client.post(f"/deliveries/{failed}/retry", data=fields)
        assert answer.status_code == 400
    found = store.delivery(failed)
    assert found is not None
    assert found.status == "failed"


def test_pages_load_nothing_from_elsewhere_and_are_in_nobodys_frame(web: Web) -> None:
    sign_in(web)
    for path in ("/", "/deliveries", "/nothing-here"):
        answer = web.client.get(path)
        assert not re.search(r'(src|href)="(https?:)?//', answer.text)
        assert not re.search(r"<(script|style)>|style=|onclick=", answer.text)
    headers = web.client.get("/").headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    with web.client.get("/dashboard/static/style.css") as sheet:
        assert sheet.status_code == 200


# --- what it shows --------------------------------------------------------------------------------


def test_numbers_are_masked_until_somebody_asks_and_that_is_logged(
    web: Web,
    settings: Settings,
    simulator: Simulator,
    run_drain: RunDrain,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    failed = failed_lead(web, simulator, name=HOSTILE)
    run_drain(settings)
    sign_in(web)
    for path in ("/", "/deliveries", f"/deliveries/{failed}", f"/deliveries/{failed}/part"):
        page = web.client.get(path).text
        assert ONE[3:] not in page
        assert HOSTILE not in page
    assert "number.revealed" not in caplog.text

    for path in (f"/deliveries/{failed}", *[f"/deliveries/{failed}/part"] * 3):
        assert ONE in web.client.get(f"{path}?reveal=1").text

    assert caplog.text.count("number.revealed") == 1, "once, and not each time it refreshes itself"
    assert ONE[3:] not in caplog.text
    web.client.get(f"/deliveries/{failed}?reveal=1")
    assert caplog.text.count("number.revealed") == 2, "somebody asked again"


def test_who_asks_for_a_part_of_a_page_alone_is_logged_too(
    web: Web,
    settings: Settings,
    simulator: Simulator,
    run_drain: RunDrain,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    failed = failed_lead(web, simulator)
    run_drain(settings)
    sign_in(web)
    headers = {"HX-Request": "true"}
    for _ in range(2):
        answer = web.client.get(f"/deliveries/{failed}/part?reveal=1", headers=headers)
        assert ONE in answer.text
    assert caplog.text.count("number.revealed") == 1


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "No delivery yet"),
        ("phone=12", "This is not a valid phone number."),
        ("phone_key=12", "This is not the key of a number."),
        ("phone_key=%2B919876543210", "This is not the key of a number."),
        ("since=yesterday", "since must be a time"),
        ("status=odd", "status"),
    ],
)
def test_an_empty_list_says_why(web: Web, query: str, says: str) -> None:
    sign_in(web)
    answer = web.client.get(f"/deliveries?{query}", follow_redirects=True)
    assert answer.status_code == 200
    assert says in answer.text


def test_no_match_is_another_emptiness_than_nothing_at_all(web: Web) -> None:
    web.send("website", lead(phone=ONE))
    sign_in(web)
    assert "No delivery matches" in web.client.get("/deliveries?status=failed").text


def test_what_is_not_there_is_a_page(web: Web) -> None:
    sign_in(web)
    answer = web.client.get("/deliveries/nope")
    assert answer.status_code == 404
    assert "There is no delivery with this id" in answer.text
    assert "<h1>Not found</h1>" in answer.text
    assert "Try again" not in answer.text
    assert answer.mimetype == "text/html"


# --- the list of one number -----------------------------------------------------------------------


@pytest.fixture
def two(web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain) -> tuple[str, str]:
    """A delivery to each of two numbers; both failed."""
    one, other = failed_lead(web, simulator, ONE), failed_lead(web, simulator, OTHER)
    run_drain(settings)
    return one, other


def filtered(web: Web, **fields: str) -> Any:
    """Fill the form of the filter in."""
    return web.client.post("/deliveries", data={"csrf": csrf_of(web), **fields})


def rows_of(text: str) -> list[str]:
    return re.findall(r'id="row-(\w+)"', text)


def test_a_number_is_asked_for_in_a_form_and_listed_by_its_key(
    web: Web, store: Store, two: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    sign_in(web)
    answer = filtered(web, phone="98765 43210", status="failed", route="")
    assert answer.status_code == 303
    address = urlsplit(answer.headers["Location"])
    key = store.phone_key(ONE)
    assert address.path == "/deliveries"
    assert parse_qs(address.query) == {"status": ["failed"], "phone_key": [key]}

    page = web.client.get(answer.headers["Location"]).text

    assert rows_of(page) == [two[0]]
    assert "Only one number is shown." in page
    assert ONE[3:] not in page
    assert ONE[3:] not in caplog.text
    assert '<a href="/deliveries?status=failed">Any number</a>' in page
    [refreshed] = re.findall(r'hx-get="(/deliveries[^"]+)"', page)
    assert f"phone_key={key}" in refreshed
    assert rows_of(web.client.get(refreshed.replace("&amp;", "&")).text) == [two[0]]


def test_a_number_stays_while_other_filters_change_and_another_takes_its_place(
    web: Web, store: Store, two: tuple[str, str]
) -> None:
    sign_in(web)
    key, other = store.phone_key(ONE), store.phone_key(OTHER)
    page = web.client.get(f"/deliveries?phone_key={key}").text
    assert f'<input type="hidden" name="phone_key" value="{key}">' in page
    kept = filtered(web, phone="", phone_key=key, source="website").headers["Location"]
    assert parse_qs(urlsplit(kept).query) == {"source": ["website"], "phone_key": [key]}
    changed = filtered(web, phone=OTHER, phone_key=key).headers["Location"]
    assert changed == f"/deliveries?phone_key={other}"


def test_many_are_done_to_one_number(web: Web, store: Store, two: tuple[str, str]) -> None:
    sign_in(web)
    key = store.phone_key(ONE)
    asked = f"/deliveries/many?do=retry&phone_key={key}"
    page = web.client.get(f"/deliveries?phone_key={key}").text
    assert f'href="{asked.replace("&", "&amp;")}"' in page
    counted = web.client.get(asked).text
    assert "<strong>1</strong> would be retried" in counted
    assert "phone: one number" in counted
    assert f'<input type="hidden" name="phone_key" value="{key}">' in counted
    said = do(web, "/deliveries/many", do="retry", phone_key=key)
    assert "Deliveries retried: 1. Could not be retried: 0." in said
    assert statuses(store, *two) == ["queued", "failed"]


def test_a_form_of_an_old_page_does_no_more_than_it_says(
    web: Web, store: Store, two: tuple[str, str]
) -> None:
    sign_in(web)
    fields = {"csrf": csrf_of(web), "do": "retry", "status": "failed"}
    answer = web.client.post("/deliveries/many", data={**fields, "phone": OTHER})
    key = store.phone_key(OTHER)
    assert answer.headers["Location"] == f"/deliveries?status=failed&phone_key={key}"
    assert statuses(store, *two) == ["failed", "queued"]


@pytest.mark.parametrize("path", ["/deliveries", "/deliveries/part", "/deliveries/many"])
def test_an_old_address_with_a_number_leads_to_the_one_with_its_key(
    web: Web, store: Store, path: str
) -> None:
    sign_in(web)
    query = {"phone": ONE, "status": "failed", "do": "retry"}
    answer = web.client.get(path, query_string=query)
    assert answer.status_code == 303
    address = urlsplit(answer.headers["Location"])
    assert address.path == path
    key = store.phone_key(ONE)
    assert parse_qs(address.query) == {"status": ["failed"], "do": ["retry"], "phone_key": [key]}
    wrong = web.client.get(path, query_string={**query, "phone": "98765"})
    assert (wrong.status_code, wrong.headers["Location"]) == (303, "/deliveries?status=failed")
    assert "This is not a valid phone number." in web.client.get("/deliveries").text


def test_a_number_is_not_carried_through_signing_in(web: Web) -> None:
    answer = web.client.get("/deliveries", query_string={"phone": ONE, "status": "failed"})
    assert parse_qs(urlsplit(answer.headers["Location"]).query) == {
        "next": ["/deliveries?status=failed"]
    }


def test_a_text_that_is_not_a_number_is_explained_and_kept_in_the_form(
    web: Web, store: Store
) -> None:
    sign_in(web)
    answer = filtered(web, phone=f"12{HOSTILE}", status="failed")
    assert answer.status_code == 400
    assert "This is not a valid phone number." in answer.text
    assert 'value="12&lt;script&gt;' in answer.text
    assert re.search(r'value="failed" checked', answer.text)
    assert 'hx-get="/deliveries' not in answer.text


def test_the_form_of_the_filter_is_ours_too(web: Web) -> None:
    sign_in(web)
    for fields in ({}, {"csrf": "guessed"}):
        assert web.client.post("/deliveries", data={"phone": ONE, **fields}).status_code == 400


# --- what its forms do ----------------------------------------------------------------------------


def test_one_is_retried_cancelled_resolved_and_suppressed(
    web: Web, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    failed = failed_lead(web, simulator)
    simulator.state.behave(path=CALL, times=1, status=502, to_number=OTHER)
    [unknown] = web.send("website", lead(phone=OTHER, agent="6803fa77"))
    run_drain(settings)
    sign_in(web)

    assert "The delivery is retried now." in do(web, f"/deliveries/{failed}/retry")
    assert "The delivery is cancelled." in do(web, f"/deliveries/{failed}/cancel")
    assert "Choose delivered or failed." in do(
        web, f"/deliveries/{unknown}/resolve", **{"as": "odd"}
    )
    assert "a phone rang, or may have rung" in do(web, f"/deliveries/{unknown}/retry")
    assert "You marked the delivery as failed." in do(
        web, f"/deliveries/{unknown}/resolve", **{"as": "failed"}
    )
    assert "No route calls this number any more." in do(web, f"/deliveries/{failed}/suppress")
    assert store.suppression(store.phone_key(ONE))
    assert (
        web.client.post(f"/deliveries/{failed}/odd", data={"csrf": csrf_of(web)}).status_code == 404
    )


def test_many_are_counted_before_anything_is_done(
    web: Web, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    for _ in range(3):
        failed_lead(web, simulator)
    run_drain(settings)
    sign_in(web)

    counted = web.client.get("/deliveries/many?do=retry&status=failed").text
    assert "<strong>3</strong> would be retried" in counted
    assert store.counts()["failed"] == 3
    said = do(web, "/deliveries/many", do="retry", status="failed")

    assert "Deliveries retried: 3. Could not be retried: 0." in said
    assert store.counts()["failed"] == 0
    everything = web.client.get("/deliveries/many?do=cancel")
    assert everything.status_code == 400
    assert "Set at least one filter first" in everything.text


def test_everything_is_paused_and_resumed(web: Web, store: Store) -> None:
    sign_in(web)
    assert "Paused: all." in do(web, "/pause", scope="all")
    assert [pause.scope for pause in store.pauses()] == ["all"]
    assert "Resumed: all." in do(web, "/resume", scope="all")
    assert not store.pauses()
