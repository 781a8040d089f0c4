"""What the pages say so that nobody is surprised: pauses, releases, what can still be cancelled."""

import html
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from rq import Worker
from rq.suspension import resume, suspend
from support import API_TOKEN, WEBSITE, Web, each, lead, route
from support.storing import a_delivery, accept, an_event

from bridge.dashboard.filters import clock_text
from schemas.delivery import Reason, Status
from schemas.outcome import Outcome, Result
from schemas.records import Move
from schemas.settings import Settings
from store import Store
from store.erasure import Eraser
from store.queue import connect_queue, open_queue
from store.suppression import Suppressions

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
PAGES = ("/", "/deliveries", "/events", "/campaigns", "/suppressions", "/routes", "/nonsense")
FLOODED = route("call visitors", event="visited", flood='{ over = 1, within = "5m" }')


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(WEBSITE + route() + FLOODED)


@pytest.fixture(autouse=True)
def worker(redis_url: str) -> Iterator[Worker]:
    """A worker; without one, every page says so."""
    with connect_queue(redis_url) as client:
        worker = Worker([open_queue(client)], connection=client)
        worker.register_birth()
        yield worker


@pytest.fixture
def web(open_web: OpenWeb, settings: Settings) -> Web:
    return signed_in(open_web(settings))


def signed_in(web: Web) -> Web:
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302
    return web


def words_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def banners(web: Web, path: str) -> str:
    text: str = web.client.get(path).text
    found = re.search(r'<div id="banners".*?</div>', text, re.DOTALL)
    assert found, text
    return words_of(found[0])


# --- banners --------------------------------------------------------------------------------------


@each(
    ("scope", "reason", "says"),
    [
        ("all", "person", "Everything is paused: nobody is called. Fair in Pune."),
        ("callkaro", "account", "CallKaro is paused: nobody is called. Fair in Pune."),
        ("route:call back", "person", "route:call back is paused: it calls nobody. Fair in Pune."),
        ("source:website", "person", "source:website is paused: it calls nobody. Fair in Pune."),
        ("route:call back", "failing", "route:call back is paused: its calls failed."),
    ],
)
def test_every_page_says_what_is_paused(
    web: Web, store: Store, scope: str, reason: str, says: str
) -> None:
    store.pause(scope, reason=reason, message="Fair in Pune.")
    for path in (*PAGES[:-1], "/banners"):
        assert says in banners(web, path), path
        assert "Resume it on the overview." in banners(web, path), path
    store.resume(scope)
    assert {banners(web, path) for path in PAGES[:-1]} == {""}


@each(
    ("scope", "filters"),
    [
        ("all", ""),
        ("callkaro", ""),
        ("route:call back", "route=call+back&"),
        ("source:website", "source=website&"),
    ],
)
def test_the_banner_of_a_pause_leads_to_what_waits(
    web: Web, store: Store, scope: str, filters: str
) -> None:
    store.pause(scope, reason="person", message="")
    [found] = re.findall(r'href="([^"]+)">What waits\.', web.client.get("/banners").text)
    assert html.unescape(found) == f"/deliveries?{filters}status=held&reason=paused"
    assert web.client.get(html.unescape(found)).status_code == 200
    store.resume(scope)


def test_the_message_of_a_pause_is_masked_and_escaped(web: Web, store: Store) -> None:
    store.pause("all", reason="person", message="<b>Ask +91 98765 43210</b>")
    text = web.client.get("/deliveries").text
    assert "&lt;b&gt;Ask" in text
    assert "43210" not in text.replace("••••", "").replace("3210", "")
    assert "98765" not in text


@each(
    ("overrides", "says"),
    [
        ({"dry_run": True}, "DRY_RUN is on: nobody is called. What was not called."),
        (
            {"allow_numbers": frozenset({"+919876543210"})},
            "ALLOW_NUMBERS is set: the bridge calls only 1 number. Who was not called.",
        ),
        (
            {"allow_numbers": frozenset({"+919876543210", "+919812345678"})},
            "ALLOW_NUMBERS is set: the bridge calls only 2 numbers. Who was not called.",
        ),
    ],
)
def test_every_page_says_that_only_some_are_called(
    make_settings: MakeSettings, open_web: OpenWeb, overrides: dict[str, Any], says: str
) -> None:
    web = signed_in(open_web(make_settings(WEBSITE + route(), **overrides)))
    assert {banners(web, path) for path in PAGES[:-1]} == {says}


@each(
    ("scope", "reason", "by", "leads_to"),
    [
        ("all", "person", "a person", "/#pauses"),
        ("callkaro", "account", "the bridge", "/#pauses"),
        ("callkaro", "breaker", "the bridge", "/"),
        (
            "route:call back",
            "failing",
            "the bridge",
            "/deliveries?status=failed&amp;route=call+back",
        ),
        ("source:website", "failing", "the bridge", "/deliveries?status=failed&amp;source=website"),
    ],
)
def test_a_pause_says_since_when_and_by_whom_and_leads_on(
    web: Web, store: Store, scope: str, reason: str, by: str, leads_to: str
) -> None:
    store.pause(scope, reason=reason, message="Fair in Pune.")
    [pause] = store.pauses()
    since = pause.since.astimezone(ZoneInfo("Asia/Kolkata"))
    for path in (*PAGES[:-1], "/banners"):
        words = banners(web, path)
        assert f"Since {since:%H:%M} , by {by}." in words or f"{since:%d %b, %H:%M} ," in words
        assert f'href="{leads_to}"' in web.client.get(path).text
    store.resume(scope)


def test_what_stops_all_calls_comes_first(web: Web, store: Store) -> None:
    for scope in ("route:call back", "source:website", "callkaro", "all"):
        store.pause(scope, reason="person", message="")
    text = banners(web, "/deliveries")
    places = [text.index(words) for words in ("Everything", "CallKaro is", "call back", "website")]
    assert places[:2] == sorted(places)[:2]


@each(
    ("at", "words"),
    [
        ("2026-11-28T00:00", "00:00"),
        ("2026-11-28T12:03:59", "12:03"),
        ("2026-11-27T23:59", "27 Nov, 23:59"),
        ("2026-11-29T09:30", "29 Nov, 09:30"),
        ("2025-11-28T12:03", "28 Nov 2025, 12:03"),
    ],
)
def test_a_time_to_the_minute_has_its_day_unless_that_is_today(at: str, words: str) -> None:
    zone = ZoneInfo("Asia/Kolkata")
    now = datetime(2026, 11, 28, 18, 0, tzinfo=zone)
    assert clock_text(datetime.fromisoformat(at).replace(tzinfo=zone), now) == words


def test_every_page_says_that_no_worker_runs(web: Web, worker: Worker) -> None:
    worker.register_death()
    says = "No worker is running: nobody is called. Overview"
    assert {banners(web, path) for path in (*PAGES[:-1], "/banners")} == {says}
    worker.register_birth()
    assert {banners(web, path) for path in (*PAGES[:-1], "/banners")} == {""}


def test_every_page_says_that_the_workers_are_suspended(web: Web, worker: Worker) -> None:
    suspend(worker.connection)
    for path in (*PAGES[:-1], "/banners"):
        assert banners(web, path).startswith("The workers are suspended by rq suspend"), path
    resume(worker.connection)
    assert {banners(web, path) for path in (*PAGES[:-1], "/banners")} == {""}


# --- cancel ---------------------------------------------------------------------------------------


def delivered(store: Store, request: dict[str, Any], *outcomes: Outcome) -> str:
    accept(store, (an_event(), [a_delivery("d1")]))
    done = Move(
        id="d1",
        to=Status.DELIVERED,
        from_statuses=frozenset({Status.QUEUED}),
        fields={"request": json.dumps(request), "call_sid": "c1"},
    )
    assert store.move([done]) == ["ok"]
    for outcome in outcomes:
        store.keep_outcome(outcome)
    return "d1"


def at_local(**ahead: float) -> str:
    # CALLKARO_TIMEZONE is Asia/Kolkata.
    at = datetime.now(UTC) + timedelta(hours=5, minutes=30) + timedelta(**ahead)
    return at.strftime("%Y-%m-%dT%H:%M:%S")


def offers_cancel(web: Web) -> bool:
    return "d1/cancel" in web.client.get("/deliveries/d1").text


CALL = {"to_number": "+919876543210"}


@pytest.mark.parametrize("ahead_h", [1, 24, 24 * 30])
def test_a_call_that_is_still_to_come_can_be_cancelled(
    web: Web, store: Store, ahead_h: float
) -> None:
    delivered(store, {**CALL, "schedule_at": at_local(hours=ahead_h)})
    assert offers_cancel(web)


@pytest.mark.parametrize("ago_h", [None, 1, 24 * 3])
def test_a_call_that_was_made_offers_no_cancel(web: Web, store: Store, ago_h: float | None) -> None:
    delivered(store, CALL if ago_h is None else {**CALL, "schedule_at": at_local(hours=-ago_h)})
    assert not offers_cancel(web)


@pytest.mark.parametrize(
    ("is_final", "result", "offers"),
    [
        (False, Result.NOT_REACHED, True),
        (False, Result.VOICEMAIL, True),
        (True, Result.CONNECTED, False),
        (True, Result.NOT_REACHED, False),
        (True, Result.WRONG_NUMBER, False),
    ],
)
def test_only_a_call_that_callkaro_dials_again_offers_cancel(
    web: Web, store: Store, is_final: bool, result: Result, offers: bool
) -> None:
    ended = Outcome(call_sid="c1", delivery_id="d1", result=result, is_final=is_final)
    delivered(store, {**CALL, "number_of_retries": 2}, ended)
    assert offers_cancel(web) is offers


# --- release --------------------------------------------------------------------------------------


@pytest.fixture
def held(web: Web, store: Store, run_drain: Callable[..., Any], settings: Settings) -> list[str]:
    """Five deliveries that are held as bulk, the oldest first."""
    visits = [lead(event_type="visited", phone=f"+9198765002{one:02}") for one in range(6)]
    ids = [one for visit in visits for one in web.send("website", visit)]
    waiting = [one for one in ids if status_of(store, one) == ("held", Reason.BULK)]
    assert waiting == ids[1:]
    return waiting


def status_of(store: Store, delivery_id: str) -> tuple[str, str | None]:
    found = store.delivery(delivery_id)
    assert found is not None
    return str(found.status), found.reason


def release(web: Web, **fields: str) -> Any:
    page = web.client.get("/deliveries/many?do=release&reason=bulk")
    csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert csrf
    data = {"csrf": csrf[1], "do": "release", "reason": "bulk", **fields}
    return web.client.post("/deliveries/many", data=data, follow_redirects=True)


def test_the_page_of_a_release_warns_and_asks_how_many(web: Web, held: list[str]) -> None:
    page = web.client.get("/deliveries/many?do=release&reason=bulk").text
    assert (
        "5 phones will ring, the first at once. Release a few first, and listen to these calls."
        in words_of(page)
    )
    assert 'name="most" type="number" min="1" max="5" value="5"' in page


@pytest.mark.parametrize("most", [1, 2, 5, 9])
def test_a_few_are_released_the_newest_first(
    web: Web, store: Store, held: list[str], most: int
) -> None:
    page = release(web, most=str(most))
    expected = min(most, 5)
    assert f"Deliveries released: {expected}." in page.text
    still = [one for one in held if status_of(store, one)[0] == "held"]
    assert still == held[: 5 - expected]


@each("most", ["0", "-1", "2.5", "all", "99999999"])
def test_an_impossible_number_releases_nobody(
    web: Web, store: Store, held: list[str], most: str
) -> None:
    page = release(web, most=most)
    assert page.status_code == 400
    assert "The number of deliveries must be a whole number from 1 to 9999999." in page.text
    assert {status_of(store, one)[0] for one in held} == {"held"}


# --- what suppressed a number ---------------------------------------------------------------------

ONE = "+919876543210"


@pytest.mark.parametrize(
    ("kind", "reason", "says"),
    [
        ("form.submitted", "by_crm", "(opt_out)."),
        ("contact.created", "by_crm", "(opt_out)."),
        ("DND_NUMBER", "by_callkaro", "do-not-disturb list (DND_NUMBER)."),
        ("INVALID_PHONE_NUMBER", "by_callkaro", "no such number (INVALID_PHONE_NUMBER)."),
    ],
)
def test_a_suppression_leads_to_what_made_it(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    run_drain: Callable[..., Any],
    kind: str,
    reason: str,
    says: str,
) -> None:
    settings = make_settings(WEBSITE + 'opt_out = "stop"\n' + route(event="call.me"))
    web = signed_in(open_web(settings))
    if reason == "by_crm":
        event = web.post("website", lead(event_type=kind, stop=True)).json["events"][0]["id"]
        run_drain(settings)
        page, name, made = f"/events/{event}", "event_id", event
        assert f"An event of the type {kind} says" in store.suppression_of(ONE).message
    else:
        [made] = web.send("website", lead(event_type="call.me"))
        run_drain(settings)
        call_sid = store.delivery(made).call_sid
        result = Result.WRONG_NUMBER if "INVALID" in kind else Result.NOT_DIALLED
        Suppressions(store=store).suppress_called(
            Outcome(call_sid=call_sid, delivery_id=None, result=result, hangup_reason=kind), None
        )
        page, name = f"/deliveries/{made}", "delivery_id"
    listed = web.client.get("/suppressions").text
    assert says in listed
    assert f'href="{page}"' in listed
    found = web.get(f"/api/suppressions/{store.suppression_of(ONE).key}").json
    assert (found["reason"], found[name]) == (reason, made)
    assert web.client.get(page).status_code == 200
    # A later lead of this person: its page says why nobody is called.
    [later] = web.send("website", lead(event_type="call.me"))
    run_drain(settings)
    text = web.client.get(f"/deliveries/{later}").text
    assert status_of(store, later) == ("skipped", "suppressed")
    assert says in text
    assert f'href="{page}"' in text


def test_a_suppression_of_a_record_says_whose_and_an_erased_one_nothing(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, run_drain: Callable[..., Any]
) -> None:
    settings = make_settings(WEBSITE + route(), secrets={"gohighlevel": ("a-token",)})
    web = signed_in(open_web(settings))
    body = {"type": "ContactDndUpdate", "id": "c1", "phone": ONE, "dnd": True}
    answer = web.client.post("/webhooks/gohighlevel?token=a-token", json=body)
    event = answer.json["events"][0]["id"]
    assert "a record of gohighlevel" in web.client.get("/suppressions").text
    assert f'href="/events/{event}"' in web.client.get("/suppressions").text
    run_drain(settings)
    Eraser(store=store).erase(ONE)
    run_drain(settings)
    kept = store.suppression_of(ONE)
    assert kept is not None
    assert (kept.reason, kept.event_id, kept.delivery_id, kept.message) == (
        "erased",
        None,
        None,
        "",
    )


# --- addresses without a page ---------------------------------------------------------------------

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@each(
    ("path", "status"),
    [("/nonsense", 404), ("/deliverys", 404), ("/routes/x/y", 404), ("/pause", 405)],
)
def test_a_browser_gets_a_page_for_an_address_that_has_none(
    web: Web, path: str, status: int
) -> None:
    answer = web.client.get(path, headers={"Accept": BROWSER})
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert "Not found There is no page at this address. Overview" in words_of(answer.text)
    assert "style-src 'self'" in answer.headers["Content-Security-Policy"]
    assert len(answer.headers.getlist("Content-Security-Policy")) == 1


@each(
    ("path", "accept"),
    [
        ("/nonsense", "*/*"),
        ("/nonsense", "application/json"),
        ("/nonsense", ""),
        ("/api/nonsense", BROWSER),
        ("/webhooks/a/b", BROWSER),
        ("/callbacks/nobody", BROWSER),
    ],
)
def test_a_program_gets_json_for_an_address_that_has_nothing(
    web: Web, path: str, accept: str
) -> None:
    answer = web.client.get(path, headers={"Accept": accept})
    assert answer.mimetype == "application/json"
    assert answer.status_code in (401, 404, 405)


def test_a_stranger_gets_the_page_without_the_menu(
    open_web: OpenWeb, settings: Settings, store: Store
) -> None:
    store.pause("all", reason="person", message="Fair in Pune.")
    text = open_web(settings).client.get("/nonsense", headers={"Accept": BROWSER}).text
    assert "There is no page at this address." in text
    assert "Fair in Pune." not in text
    assert "Suppressions" not in text


# --- a page that can't be refreshed ---------------------------------------------------------------


def test_every_page_can_say_that_it_is_not_up_to_date(web: Web) -> None:
    for path in PAGES[:-1]:
        text = web.client.get(path).text
        assert '<p class="banner" id="stale" role="alert" data-zone="Asia/Kolkata" hidden>' in text
        assert '/dashboard/static/stale.js" defer' in text


def test_the_banners_stay_while_redis_is_away(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    cookie = signed_in(open_web(make_settings())).client.get_cookie("callkaro_bridge")
    web = open_web(make_settings(redis_url="redis://127.0.0.1:1/0"))
    web.client.set_cookie("callkaro_bridge", cookie.value)
    assert web.client.get("/banners", headers={"HX-Request": "true"}).status_code == 503
    page = web.client.get("/")
    assert page.status_code == 503
    assert "The store does not answer." in page.text
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 503


# --- "Older" leads to something -------------------------------------------------------------------


@pytest.mark.parametrize(("count", "has_older"), [(24, False), (25, False), (26, True), (51, True)])
def test_a_list_leads_to_older_rows_only_if_there_are_any(
    web: Web, store: Store, count: int, has_older: bool
) -> None:
    accept(store, *((an_event(), [a_delivery(f"d{one}")]) for one in range(count)))
    for path in ("/deliveries", "/deliveries?route=call+back", "/events"):
        seen: list[str] = []
        text = web.client.get(path).text
        assert ('rel="next"' in text) is has_older, path
        while True:
            rows = re.findall(r'<tr id="row-([^"]+)"', text)
            assert rows, path
            seen += rows
            further = re.search(r'rel="next" href="([^"]+)"', text)
            if not further:
                break
            text = web.client.get(further[1].replace("&amp;", "&")).text
        assert len(seen) == len(set(seen)) == count, path


@pytest.mark.parametrize(("count", "has_older"), [(50, False), (51, True)])
def test_the_list_of_suppressions_too(web: Web, store: Store, count: int, has_older: bool) -> None:
    people = Suppressions(store=store)
    for one in range(count):
        people.suppress(f"+9198765{one:05}")
    assert ('rel="next"' in web.client.get("/suppressions").text) is has_older
