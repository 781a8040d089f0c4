"""The dashboard's pages of events, campaigns, suppressions and routes."""

import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import redis
from support import API_TOKEN, CALL_BACK, WEBSITE, Valkey, Web, each, lead, notification, route

from bridge.dashboard import suppressions
from schemas.errors import RequestError, StoreUnavailable, StoreUnfit
from schemas.event import EventStatus
from schemas.hours import parse_window
from schemas.refused import CAUSES
from schemas.settings import Settings
from simulator import Simulator
from store import Store
from store.suppression import Suppressions

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
RunDrain = Callable[..., Any]

ONE, OTHER = "+919876543210", "+919812345678"
HOSTILE = "<script>alert(1)</script>"
NO_ROUTES = WEBSITE
FULL = WEBSITE + route(
    "call back",
    match="\"kind != 'test'\"",
    when='"agreed"',
    consent="\"consent == 'yes'\"",
    hours='{ days = "mon-sat", from = "10:00", to = "19:00", timezone = "Asia/Kolkata" }',
    again_after='"24h"',
    max_per_day="500",
    max_age='"6h"',
    delay='"2m"',
    countries='["IN", "AE"]',
    flood='{ over = 100, within = "5m" }',
    campaign='{ name = "Website", period = "month" }',
)
PAGES = ("/events", "/campaigns", "/suppressions", "/routes")
FORMS = (
    "/events/x/replay",
    "/events/many",
    "/suppressions",
    "/suppressions/look-up",
    "/suppressions/x/remove",
    "/suppressions/import",
    "/erasures",
    "/routes/try",
    "/routes/pause",
    "/routes/resume",
)


def sign_in(web: Web) -> Web:
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302
    return web


@pytest.fixture
def web(open_web: OpenWeb, settings: Settings) -> Web:
    return sign_in(open_web(settings))


@pytest.fixture
def people(store: Store) -> Suppressions:
    return Suppressions(store=store)


def page(web: Web, path: str) -> str:
    answer = web.client.get(path)
    assert answer.status_code == 200, answer.text
    assert HOSTILE not in answer.text
    text: str = answer.text
    return text


def csrf_of(web: Web) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page(web, "/campaigns"))
    assert found
    return found[1]


def post(web: Web, path: str, **fields: Any) -> Any:
    """Post a form as its page would, and return the next page."""
    fields = {"csrf": csrf_of(web), **fields}
    return web.client.post(path, data=fields, follow_redirects=True)


def do(web: Web, path: str, **fields: Any) -> str:
    answer = post(web, path, **fields)
    assert answer.status_code == 200, answer.text
    text: str = answer.text
    return text


def event_of(web: Web, body: object) -> str:
    event_id: str = web.post("website", body).json["events"][0]["id"]
    return event_id


def upload(web: Web, content: bytes, **fields: str) -> Any:
    return post(web, "/suppressions/import", file=(io.BytesIO(content), "list.csv"), **fields)


# --- who gets in ----------------------------------------------------------------------------------


@each(
    "path",
    [
        *PAGES,
        "/events/x",
        "/events/refused",
        "/events/refused/x",
        "/events/part",
        "/events/list",
        "/events/many",
        "/routes/try",
    ],
)
def test_a_page_asks_who_is_not_signed_in_to_do_so(
    open_web: OpenWeb, settings: Settings, path: str
) -> None:
    answer = open_web(settings).client.get(path)
    assert (answer.status_code, answer.location.split("?")[0]) == (302, "/sign-in")


@each("path", FORMS)
def test_a_form_without_the_word_of_the_session_does_nothing(
    web: Web, store: Store, path: str
) -> None:
    fields = {"phone": ONE, "again": ONE, "scope": "route:call back", "source": "website"}
    for words in ({}, {"csrf": "guessed"}):
        answer = web.client.post(path, data={**fields, **words})
        assert answer.status_code == 400
        assert "This page is out of date." in answer.text
    assert not store.suppression_count()
    assert not store.pauses()


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_in_the_menu_and_has_nothing_inline(web: Web, path: str) -> None:
    found = page(web, path)
    assert f'<a href="{path}"\n       aria-current="page">' in found
    assert not re.search(r"<(script|style)>|\sstyle=|\son\w+=|(src|href)=.https?:", found)


# --- events ---------------------------------------------------------------------------------------


def test_events_are_listed_with_what_became_of_them(web: Web) -> None:
    assert "No event yet" in page(web, "/events")
    wanted, unwanted = event_of(web, lead()), event_of(web, lead(event_type=HOSTILE))
    unreadable = event_of(web, lead(event_type={"no": "text"}))
    listed = page(web, "/events")
    assert all(f'id="row-{one}"' in listed for one in (wanted, unwanted, unreadable))
    for status, event_id in (
        ("routed", wanted),
        ("unrouted", unwanted),
        ("unreadable", unreadable),
    ):
        rows = re.findall(r'id="row-(\w+)"', page(web, f"/events?status={status}"))
        assert rows == [event_id]
    assert "No event matches" in page(web, "/events?source=zoho")
    assert "since must be a time" in page(web, "/events?since=yesterday")


def test_an_event_is_found_by_the_id_that_its_crm_gave_it(web: Web) -> None:
    event_of(web, lead())
    event_id = event_of(web, lead(submission_id="form-x"))
    found = page(web, "/events?source_event_id=form-x")
    assert re.findall(r'id="row-(\w+)"', found) == [event_id]


def test_times_of_the_filter_are_those_of_the_page(web: Web) -> None:
    event_id = event_of(web, lead())
    came = re.search(
        r'<time datetime="[^"]+" title="(\d+) (\w+) (\d+), (\d+:\d+)', page(web, "/events")
    )
    assert came
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    minute = f"{came[3]}-{months.index(came[2]) + 1:02}-{int(came[1]):02}T{came[4]}"
    assert event_id in page(web, f"/events?since={minute}")
    assert event_id not in page(web, f"/events?until={minute}")


def test_the_list_counts_what_is_newer_and_stays_where_it_is(web: Web) -> None:
    first = event_of(web, lead())
    anchor = re.search(r"/events/part\?anchor=(\d+)", page(web, "/events"))
    assert anchor
    event_of(web, lead())
    part = page(web, f"/events/part?anchor={anchor[1]}")
    assert "1 newer" in part
    assert re.findall(r'id="row-(\w+)"', part) == [first]


def test_older_events_are_on_the_next_page(web: Web) -> None:
    events = [event_of(web, lead()) for _ in range(27)]
    older = re.search(r'rel="next" href="([^"]+)"', page(web, "/events"))
    assert older
    found = page(web, older[1].replace("&amp;", "&"))
    assert re.findall(r'id="row-(\w+)"', found) == [events[1], events[0]]
    assert 'hx-get="/events/part' not in found


def test_the_list_alone_comes_with_the_address_of_its_page(web: Web) -> None:
    event_of(web, lead())
    answer = web.client.get("/events/list?status=routed&source=")
    assert answer.headers["HX-Push-Url"] == "/events?status=routed"
    assert "<html" not in answer.text


def test_an_event_is_masked_until_somebody_asks(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    event_id = event_of(web, lead(phone=ONE, name=HOSTILE, note=f"call {ONE}"))
    assert ONE[3:] not in page(web, f"/events/{event_id}")
    assert ONE[3:] not in page(web, "/events")
    assert "number.revealed" not in caplog.text
    for path in (f"/events/{event_id}", *[f"/events/{event_id}/part"] * 3):
        assert ONE in page(web, f"{path}?reveal=1")
    assert caplog.text.count("number.revealed") == 1, "once, and not each time it refreshes itself"
    assert ONE not in caplog.text


def test_an_event_says_what_to_do_about_it(web: Web) -> None:
    unrouted, unreadable = (
        event_of(web, lead(event_type="other")),
        event_of(web, lead(event_type=[])),
    )
    assert "Change the routes first, then replay it." in page(web, f"/events/{unrouted}")
    shown = page(web, f"/events/{unreadable}")
    assert "No route can match an event that can't be read." in shown
    assert "replay it." not in shown


def test_an_event_that_is_not_there_is_a_page(web: Web) -> None:
    answer = web.client.get("/events/nope")
    assert answer.status_code == 404
    assert "There is no event with this id" in answer.text
    assert post(web, "/events/nope/replay").status_code == 404


def test_an_event_is_replayed_once_the_routes_are_fixed(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store
) -> None:
    before = sign_in(open_web(make_settings(NO_ROUTES)))
    event_id = event_of(before, lead())
    assert "is still unrouted." in do(before, f"/events/{event_id}/replay")

    web = sign_in(open_web(make_settings(CALL_BACK)))
    assert "add these deliveries: call back." in page(web, f"/events/{event_id}")
    assert "has 1 new delivery." in do(web, f"/events/{event_id}/replay")
    assert "has a delivery for every matching route already" in do(
        web, f"/events/{event_id}/replay"
    )
    assert store.counts()["queued"] == 1


def test_many_are_counted_before_they_are_replayed(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store
) -> None:
    before = sign_in(open_web(make_settings(NO_ROUTES)))
    for _ in range(3):
        event_of(before, lead())
    event_of(before, lead(event_type="other"))
    web = sign_in(open_web(make_settings(CALL_BACK)))
    asked = page(web, "/events/many?source=website")
    assert "<strong>3</strong> would get new deliveries" in asked
    assert "1 more match" in asked
    assert store.event_counts()[EventStatus.UNROUTED] == 4
    assert "Events with new deliveries: 3. Without: 1." in do(web, "/events/many", source="website")
    assert store.event_counts()[EventStatus.UNROUTED] == 1
    assert web.client.get("/events/many").status_code == 400


def test_refused_requests_are_counted_with_their_cause(web: Web) -> None:
    assert "No request was refused." in page(web, "/events")
    web.post("website", lead(), secret="wrong")
    web.post("website", lead(), secret="wrong")
    web.client.post("/webhooks/nobody", data=b"{}")
    web.client.application.extensions["meter"].flush()
    found = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page(web, "/events")))
    why = CAUSES["bad_signature"]
    assert why.startswith("The signature or token is missing or wrong, the request is too old,")
    assert f"website 401 {why} 2 2" in found
    assert "unknown source 404 There is no source with this name, or it has no secret. 1 1" in found


def test_each_cause_of_a_refusal_is_one_that_can_be() -> None:
    ours = {error.word for error in (*RequestError.__subclasses__(), StoreUnavailable, StoreUnfit)}
    assert set(CAUSES) <= {*ours, "internal"}


@pytest.mark.parametrize("hidden", ["\u202e", "\u2066", "\u200b", "\x1b[2J", "\x07"])
def test_no_page_shows_the_hidden_characters_of_a_lead(web: Web, store: Store, hidden: str) -> None:
    text = f"As{hidden}ha"
    [delivery_id] = web.send("website", {**lead(), "event": text, "name": text})
    delivery = store.delivery(delivery_id)
    assert delivery
    pages = ["/", "/events", f"/events/{delivery.event_id}", "/deliveries"]
    for path in (*pages, f"/deliveries/{delivery_id}"):
        assert hidden[0] not in page(web, path)
    assert f"&lt;U+{ord(hidden[0]):04X}&gt;" in page(web, f"/events/{delivery.event_id}").replace(
        f"\\u{ord(hidden[0]):04x}", f"&lt;U+{ord(hidden[0]):04X}&gt;"
    )
    # Words of Indian languages are written with joiners.
    [delivery_id] = web.send("website", {**lead(), "name": "\u0915\u094d\u200d\u0937"})
    delivery = store.delivery(delivery_id)
    assert delivery
    assert "\u0915\u094d\u200d\u0937" in page(web, f"/events/{delivery.event_id}")


def test_a_body_that_could_not_be_parsed_is_listed_and_shown(web: Web, store: Store) -> None:
    assert "Bodies that could not be parsed" not in page(web, "/events")
    assert "No refused request" in page(web, "/events/refused")
    assert "No refused request" in page(web, "/events/refused?source=nowhere")
    bidi, escape = "\u202e", "\x1b[2J"
    body = f'{{"name": "{HOSTILE}", "phone": "{ONE}", "x": "{bidi}{escape}\r\n\ttab'
    assert web.post("website", body.encode()).status_code == 400
    web.post("zoho", b"")

    for path in ("/events", "/events/refused"):
        text = page(web, path)
        assert "The body is not valid JSON" in text
        assert "The body is empty." in text
    assert "The body is empty." not in page(web, "/events/refused?source=website")
    [refused] = store.refused("website", before=None, limit=1).items
    path = f"/events/refused/{refused.id}"
    assert path in page(web, "/events")
    text = page(web, path)
    assert "&lt;script&gt;" in text
    assert "+91••••••3210" in text
    assert ONE not in text
    assert "&lt;U+202E&gt;&lt;U+001B&gt;[2J\n\ttab</pre>" in text
    assert bidi not in text
    assert "\x1b" not in text
    assert "can't be replayed" in text
    assert "Fix the template" in text
    assert f"{len(body.encode()):,} bytes" in text
    assert "line 1, column" in text


@each(
    ("body", "content_type", "sentence"),
    [
        (b"", "application/json", "The body was empty."),
        (b"\x00\x01\x02\x03" * 50, "image/png", "it can&#39;t be read as text"),
        (b"<a/>", '<script>"text/xml', "&lt;a/&gt;"),
    ],
)
def test_every_refused_body_has_a_page(
    web: Web, store: Store, body: bytes, content_type: str, sentence: str
) -> None:
    assert web.post("website", body, content_type=content_type).status_code in (400, 415)
    [refused] = store.refused(None, before=None, limit=1).items
    text = page(web, f"/events/refused/{refused.id}")
    assert sentence in text.replace("can't", "can&#39;t")
    assert '<script>"' not in text


def test_the_list_of_refused_requests_has_pages(web: Web) -> None:
    for n in range(30):
        web.post("website", b'{"n": %d' % n)
    assert page(web, "/events").count("/events/refused/") == 5
    first = page(web, "/events/refused?source=website")
    assert first.count("/events/refused/") == 25
    found = re.search(r'rel="next" href="([^"]+)"', first)
    assert found
    last = page(web, found[1].replace("&amp;", "&"))
    assert last.count("/events/refused/") == 5
    assert 'rel="next"' not in last
    assert web.client.get("/events/refused/x").status_code == 404
    assert web.client.get("/events/refused?cursor=x").status_code == 400


def test_what_is_no_post_is_no_webhook_that_was_refused(web: Web) -> None:
    assert web.client.get("/webhooks/website").status_code == 405
    web.client.application.extensions["meter"].flush()
    assert "No request was refused." in page(web, "/events")


# --- campaigns ------------------------------------------------------------------------------------


def test_campaigns_are_listed(web: Web, settings: Settings, run_drain: RunDrain) -> None:
    empty = page(web, "/campaigns")
    assert "No campaign yet" in empty
    assert "HubSpot leads" in empty
    web.send("website", lead())
    run_drain(settings)
    [batch_id] = re.findall(r"<td><code>(\w+)</code></td>", page(web, "/campaigns"))
    assert "<strong>Website</strong>" in page(web, "/campaigns")
    assert batch_id


# --- suppressions ---------------------------------------------------------------------------------


def test_a_number_is_suppressed_checked_and_removed(web: Web, store: Store) -> None:
    assert "Nobody is suppressed" in page(web, "/suppressions")

    said = do(web, "/suppressions", phone="98765 43210", message=f"{HOSTILE} wrote {OTHER}")

    assert "The number is suppressed. Calls cancelled: 0." in said
    assert HOSTILE not in said
    assert ONE[3:] not in said
    assert OTHER[3:] not in said
    assert "The number was suppressed already." in do(web, "/suppressions", phone=ONE)
    looked_up = do(web, "/suppressions/look-up", phone=ONE)
    assert "is not called. Suppressed" in looked_up
    assert "Routes may call this number." in do(web, "/suppressions/look-up", phone=OTHER)
    [form] = set(re.findall(r'action="(/suppressions/\w{24}/remove)"', looked_up))
    assert "Routes may call again." in do(web, form)
    assert store.suppression(store.phone_key(ONE)) is None
    assert "That is not suppressed." in do(web, form)


@pytest.mark.parametrize("path", ["/suppressions", "/suppressions/look-up", "/erasures"])
def test_a_text_that_is_not_a_number_is_explained_and_kept(
    web: Web, store: Store, path: str
) -> None:
    answer = post(web, path, phone='12"><script>alert(1)</script>', again="12")
    assert answer.status_code == 400
    assert "This is not a valid phone number." in answer.text
    assert "12&#34;&gt;&lt;script&gt;" in answer.text
    assert not store.suppression_count()
    # A reload of its address shows the page.
    assert web.client.get(path, follow_redirects=True).status_code == 200


def test_suppressions_have_pages(web: Web, people: Suppressions) -> None:
    for number in range(52):
        people.suppress(f"+9198765432{number:02}")
    first = page(web, "/suppressions")
    assert "52 suppressed" in first
    assert first.count("Yes: remove") == 50
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older
    assert page(web, older[1]).count("Yes: remove") == 2


def test_a_list_is_imported_and_what_is_unreadable_is_named(web: Web, store: Store) -> None:
    content = f"name,phone\nAsha,{ONE}\nAsha,\nAsha,12\nAsha,{OTHER}\nAsha,{ONE}\n".encode()
    answer = upload(web, content, message="our old list")
    assert "Suppressed: 2. Suppressed already: 1." in answer.text
    assert "Lines without a readable number: 2." in answer.text
    assert "3, 4</p>" in answer.text
    kept = store.suppression(store.phone_key(OTHER))
    assert kept is not None
    assert kept.message == "our old list"


def test_a_list_that_takes_too_long_goes_on_from_its_line(
    web: Web, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = f"phone\n{ONE}\n{OTHER}\n".encode()
    with monkeypatch.context() as slow:
        slow.setattr(suppressions, "SLICE_S", -1.0)
        answer = upload(web, content)
    assert "the import continues at line 2." in answer.text
    assert 'name="from_line" value="2"' in answer.text
    assert "Suppressed: 1. Suppressed already: 0." in upload(web, content, from_line="3").text
    assert store.suppression(store.phone_key(ONE)) is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "The file has no phone number."),
        (b"one,two\n9876543210,9876543211\n", "all look like numbers"),
        (b"9" * 1001, "The file is over 1 MB."),
    ],
)
def test_a_list_that_can_not_be_read_says_why(
    web: Web, monkeypatch: pytest.MonkeyPatch, content: bytes, says: str
) -> None:
    monkeypatch.setattr(suppressions, "MOST_BYTES", 1000)
    answer = upload(web, content)
    assert answer.status_code == 400
    assert says in answer.text


def test_a_missing_list_is_explained(web: Web) -> None:
    assert "Choose a file first." in post(web, "/suppressions/import").text


def test_a_person_is_erased_only_if_the_number_was_written_twice(
    web: Web, settings: Settings, store: Store, run_drain: RunDrain
) -> None:
    event_id = event_of(web, lead(phone=ONE, name="Asha"))
    run_drain(settings)
    for again in ("", OTHER):
        assert post(web, "/erasures", phone=ONE, again=again).status_code == 400
    assert "Asha" in page(web, f"/events/{event_id}")

    assert "The person is erased" in do(web, "/erasures", phone=ONE, again="98765 43210")

    found = page(web, f"/events/{event_id}")
    assert "Asha" not in found
    assert "This person was erased." in found
    assert "Routes may call this number." not in do(web, "/suppressions/look-up", phone=ONE)


# --- routes ---------------------------------------------------------------------------------------


def test_a_route_is_shown_with_its_rules(make_settings: MakeSettings, open_web: OpenWeb) -> None:
    web = sign_in(open_web(make_settings(FULL)))
    shown = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page(web, "/routes")))
    for words in (
        "website form.submitted → call",
        "match kind != &#39;test&#39;",
        "when agreed",
        "consent consent == &#39;yes&#39;",
        "campaign Website, one a month",
        "max_age 6 h",
        "delay 2 m",
        "hours 10:00-19:00, mon-sat, Asia/Kolkata",
        "again_after once in 1 d",
        "max_per_day 500",
        "countries AE, IN",
        "flood more than 100 within 5 m are held",
        "to_number phone",
    ):
        assert words in shown


def test_no_route_is_an_emptiness_of_its_own(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    web = sign_in(open_web(make_settings(NO_ROUTES)))
    assert "There is no route" in page(web, "/routes")
    assert "No route makes a campaign" in page(web, "/campaigns")


@pytest.mark.parametrize("scope", ["route:call back", "source:website"])
def test_a_route_and_a_source_are_paused_and_resumed(web: Web, store: Store, scope: str) -> None:
    assert f"Paused: {scope}." in do(web, "/routes/pause", scope=scope)
    assert [pause.scope for pause in store.pauses()] == [scope]
    assert f"Resumed: {scope}." in do(web, "/routes/resume", scope=scope)
    assert not store.pauses()
    assert "Nothing is paused under this name." in do(web, "/routes/resume", scope=scope)
    assert post(web, "/routes/pause", scope="route:nope").status_code == 400


def test_a_body_is_tried_without_anything_being_done(
    web: Web, store: Store, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    body = json.dumps(lead(phone=ONE, event_type="form.submitted", name="Asha"))
    shown = do(web, "/routes/try", source="website", body=body)
    assert "would be sent" in shown
    assert "POST /call/outbound" in shown
    assert f"&#34;to_number&#34;: &#34;{ONE}&#34;" in shown
    assert "<code>hours</code>" in shown
    assert ONE[3:] not in caplog.text
    assert "Asha" not in caplog.text
    assert not simulator.state.requests
    assert not any(store.counts().values())
    assert "No event yet" in page(web, "/events")


def test_a_form_is_tried_too(web: Web) -> None:
    shown = do(web, "/routes/try", source="website", body="phone=98765+43210")
    assert f"&#34;to_number&#34;: &#34;{ONE}&#34;" in shown


def test_a_thin_event_is_tried_with_its_record_and_at_a_time(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    web = sign_in(open_web(make_settings(calling_hours=parse_window("09:00-21:00"))))
    body = json.dumps([notification("101")])
    thin = do(web, "/routes/try", source="hubspot", body=body)
    assert "fetches the record first" in thin
    assert "Give such a record in its field above to see the call." in thin
    record = json.dumps({"lifecyclestage": "lead", "phone": ONE})
    fields = {"source": "hubspot", "body": body, "record": record}
    assert "would be sent" in do(web, "/routes/try", **fields, at="2030-01-15T11:00")
    night = do(web, "/routes/try", **fields, at="2030-01-15T23:00")
    assert "outside_hours" in night
    assert "16 Jan 2030, 09:00:00" in night


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"source": ""}, "Choose a source."),
        ({"source": "nobody"}, "Choose a source."),
        ({"body": " "}, "Paste a body first."),
        ({"body": "{nope"}, "The body is not valid JSON"),
        ({"body": "phone=1", "kind": "json"}, "The body is not valid JSON"),
        ({"record": "{nope"}, "The record is not valid JSON (line 1, column 2)."),
        ({"headers": "X-Topic"}, "Write each header on a line of its own, as Name: value."),
        ({"at": "soon"}, "This is not a time."),
    ],
)
def test_a_form_that_can_not_be_tried_is_explained_and_kept(
    web: Web, fields: dict[str, str], says: str
) -> None:
    typed = {"source": "website", "body": '{"phone": "</textarea><script>alert(1)"}', **fields}
    answer = post(web, "/routes/try", **typed)
    assert answer.status_code == 400
    assert says in answer.text
    assert "<script>alert" not in answer.text
    assert typed["body"].strip().partition("<")[0].replace('"', "&#34;") in answer.text


def test_a_body_is_tried_with_the_header_that_names_its_event(web: Web) -> None:
    typed = {"source": "shopify", "body": '{"id": 7, "phone": "+919876500001"}'}
    assert "The request has no X-Shopify-Topic header." in do(web, "/routes/try", **typed)
    shown = do(web, "/routes/try", **typed, headers="\nx-shopify-topic: customers/create\n")
    assert "<code>customer.created</code>" in shown


def test_a_long_body_is_tried_and_one_that_is_too_long_is_refused(web: Web) -> None:
    body = json.dumps(lead(note="x" * 1_000_000))
    assert "would be sent" in do(web, "/routes/try", source="website", body=body)
    answer = post(web, "/routes/try", source="website", body="x" * (4 * 1024 * 1024 + 1))
    assert answer.status_code == 400
    assert "The body is over 4096 kB." in answer.text


# --- the store is away ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PAGES, "/events/list"])
def test_a_page_that_could_not_load_says_so(
    web: Web, valkey: Valkey, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise redis.ConnectionError

    monkeypatch.setattr(redis.connection.Connection, "connect", refuse)
    monkeypatch.setattr(redis.connection.Connection, "send_packed_command", refuse)
    answer = web.client.get(path)
    assert answer.status_code == 503
    assert "Could not load" in answer.text
