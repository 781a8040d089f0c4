"""Reading the API: looks that unmask, waiting, ETags, filters and pages."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from support import API_TOKEN, CALL_BACK, LONGEST_S, Web, each, lead
from support.storing import a_delivery, accept, an_event, claim, put, to_sending

from bridge.api import views as api
from bridge.api.long_poll import LongPoll
from schemas.delivery import Status
from schemas.event import event_ids
from schemas.records import Move
from schemas.settings import Settings
from store import Store

OpenWeb = Callable[[Settings], Web]
MakeSettings = Callable[..., Settings]
RunDrain = Callable[..., Any]
BEARER = {"Authorization": f"Bearer {API_TOKEN}"}
ONE = "+919876543210"


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(CALL_BACK)


def revealed(caplog: pytest.LogCaptureFixture) -> list[Any]:
    """Return the log lines of looks."""
    lines: list[Any] = [record.msg for record in caplog.records]
    return [one for one in lines if one["event"] == "number.revealed"]


# --- looks that unmask ----------------------------------------------------------------------------


def test_numbers_are_masked_unless_somebody_says_reveal_and_that_is_logged(
    web: Web, settings: Settings, run_drain: RunDrain, caplog: pytest.LogCaptureFixture
) -> None:
    [delivery] = web.send("website", lead(ONE))
    run_drain(settings)
    event = web.get(f"/api/deliveries/{delivery}").json["event_id"]
    suppressed = web.client.put(f"/api/suppressions/{ONE}", json={}, headers=BEARER).json["id"]
    paths = {
        f"/api/deliveries/{delivery}": ("delivery", delivery),
        f"/api/events/{event}": ("event", event),
        "/api/suppressions": ("suppression", suppressed),
        f"/api/suppressions/{suppressed}": ("suppression", suppressed),
    }
    for path, (what, known_as) in paths.items():
        caplog.clear()
        for said in ("", "?reveal=false"):
            assert ONE not in web.get(path + said).text
        assert revealed(caplog) == []

        shown = web.get(f"{path}?reveal=true")

        assert (shown.status_code, shown.headers["Cache-Control"]) == (200, "no-store")
        assert ONE in shown.text
        assert [(one["what"], one["ids"]) for one in revealed(caplog)] == [(what, (known_as,))]
        assert ONE.removeprefix("+") not in caplog.text
        assert ONE not in web.get(path).text  # the look is over


def test_a_look_at_nothing_is_none(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    assert web.get("/api/deliveries/none?reveal=true").status_code == 404
    assert web.get("/api/events/none?reveal=true").status_code == 404
    assert web.get("/api/suppressions?reveal=true").json["items"] == []
    assert revealed(caplog) == []


@each("path", ["deliveries/x", "events/x", "suppressions", f"suppressions/{ONE}"])
@each("query", ["reveal=yes", "reveal=1", "show=true"])
def test_a_look_that_makes_no_sense_is_refused(web: Web, path: str, query: str) -> None:
    answer = web.get(f"/api/{path}?{query}")
    assert (answer.status_code, answer.json["error"]) == (400, "bad_query")


@pytest.mark.parametrize("path", ["/api/deliveries?reveal=true", "/api/events?reveal=true"])
def test_lists_show_no_numbers_and_unmask_none(web: Web, path: str) -> None:
    assert web.get(path).status_code == 400


# --- ETags and waiting ----------------------------------------------------------------------------


def ask(web: Web, path: str, etag: str | None = None) -> Any:
    headers = {**BEARER, **({"If-None-Match": etag} if etag else {})}
    return web.client.get(path, headers=headers)


def test_what_its_sender_has_already_is_not_sent_again(web: Web, store: Store) -> None:
    put(store, "d1")
    first = ask(web, "/api/deliveries/d1")
    etag = first.headers["ETag"]

    again = ask(web, "/api/deliveries/d1", etag)
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", etag)
    assert ask(web, "/api/deliveries/d1", f'W/{etag}, "x"').status_code == 304

    lease = claim(store)["d1"]
    store.move([to_sending("d1", lease)])
    news = ask(web, "/api/deliveries/d1", etag)
    assert (news.status_code, news.json["status"]) == (200, "sending")
    assert news.headers["ETag"] != etag


class Waits:
    """Notes when a request begins to wait, and whether it ended before its time was over."""

    def __init__(self) -> None:
        self.has_begun = threading.Event()
        self.ended_early: list[bool] = []

    def watch(self, look: Callable[..., Any]) -> Callable[..., Any]:
        def watched(poll: LongPoll, delivery: str, is_news: Any, ends: float) -> Any:
            self.has_begun.set()
            found = look(poll, delivery, is_news, ends)
            self.ended_early.append(time.monotonic() < ends)
            return found

        return watched

    def then(self, do: Callable[[], object]) -> threading.Thread:
        """Have something done once a request waits."""
        thread = threading.Thread(target=lambda: self.has_begun.wait(LONGEST_S) and do())
        thread.start()
        return thread


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    waits = Waits()
    monkeypatch.setattr(LongPoll, "_watch", waits.watch(LongPoll._watch))
    return waits


def test_a_wait_ends_when_the_status_changes(web: Web, store: Store, waits: Waits) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    mover = waits.then(lambda: store.move([to_sending("d1", lease)]))

    answer = ask(web, "/api/deliveries/d1?wait=25")

    mover.join()
    assert (answer.status_code, answer.json["status"]) == (200, "sending")
    assert waits.ended_early == [True]


def test_a_wait_with_an_etag_ends_when_anything_is_new(
    web: Web, store: Store, waits: Waits
) -> None:
    put(store, "d1")
    [lease] = claim(store).values()
    etag = ask(web, "/api/deliveries/d1").headers["ETag"]
    later = Move(id="d1", to=Status.QUEUED, lease=lease, message="Soon.", wait_s=60)
    mover = waits.then(lambda: store.move([later]))

    answer = ask(web, "/api/deliveries/d1?wait=25", etag)

    mover.join()
    assert (answer.status_code, answer.json["status"]) == (200, "queued")
    assert answer.json["message"] == "Soon."
    assert waits.ended_early == [True]


def test_a_wait_without_a_change_is_answered_at_its_end(
    web: Web, store: Store, waits: Waits
) -> None:
    put(store, "d1")
    etag = ask(web, "/api/deliveries/d1").headers["ETag"]
    assert ask(web, "/api/deliveries/d1?wait=1").json["status"] == "queued"
    assert waits.ended_early == [False]
    assert ask(web, "/api/deliveries/d1?wait=1", etag).status_code == 304


@pytest.mark.parametrize("status", [Status.DELIVERED, Status.FAILED, Status.UNKNOWN])
def test_what_moves_no_more_by_itself_is_not_waited_for(
    web: Web, store: Store, waits: Waits, status: Status
) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    ended = Move(id="d1", to=status, lease=lease)
    assert store.move([to_sending("d1", lease), ended]) == ["ok", "ok"]
    assert ask(web, "/api/deliveries/d1?wait=20").json["status"] == status
    assert ask(web, "/api/deliveries/d1?wait=20", '"another"').status_code == 200
    assert not waits.has_begun.is_set()


def test_one_that_is_forgotten_meanwhile_is_not_found(web: Web, store: Store, waits: Waits) -> None:
    put(store, "d1")
    forgetter = waits.then(lambda: store.redis.delete("bridge:delivery:d1"))
    answer = ask(web, "/api/deliveries/d1?wait=25")
    forgetter.join()
    assert (answer.status_code, answer.json["error"]) == (404, "not_found")


def test_where_no_place_is_left_to_wait_in_the_answer_comes_at_once(
    settings: Settings,
    open_web: OpenWeb,
    store: Store,
    waits: Waits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(api, "MOST_WAITING", 1)
    web = open_web(settings)
    put(store, "d1")
    lease = claim(store)["d1"]
    waiting = threading.Thread(target=ask, args=(web, "/api/deliveries/d1?wait=25"))
    waiting.start()
    assert waits.has_begun.wait(LONGEST_S)

    answer = ask(web, "/api/deliveries/d1?wait=25")

    assert (answer.status_code, answer.headers["Retry-After"]) == (200, "1")
    assert waits.ended_early == [], "the first one waits still"
    store.move([to_sending("d1", lease)])
    waiting.join()
    assert "Retry-After" not in ask(web, "/api/deliveries/d1?wait=1").headers  # its place is free


@each("wait", ["0", "26", "-1", "x", "1.5", "٣", "999999999999"])
def test_a_wait_that_makes_no_sense_is_refused(web: Web, store: Store, wait: str) -> None:
    put(store, "d1")
    assert ask(web, f"/api/deliveries/d1?wait={wait}").json["error"] == "bad_query"


# --- filters --------------------------------------------------------------------------------------


def test_an_event_is_found_by_its_crms_id_in_whatever_source(web: Web) -> None:
    body = lead(ONE)
    web.post("website", body)
    web.post("website", lead(ONE))
    theirs = body["submission_id"]

    def found(query: str) -> list[str]:
        answer = web.get(f"/api/events?source_event_id={theirs}{query}")
        assert answer.status_code == 200, answer.text
        return [one["source_event_id"] for one in answer.json["items"]]

    assert found("") == [theirs]
    assert found("&source=website&status=routed&since=2020-01-01&limit=1") == [theirs]
    for other in ("source=hubspot", "status=unreadable", "until=2020-01-01", "cursor=1"):
        assert found(f"&{other}") == []
    assert web.get("/api/events?source_event_id=none").json == {"items": [], "next_cursor": None}


def test_the_same_id_in_two_sources_is_two_events_in_pages(
    settings: Settings, store: Store, web: Web
) -> None:
    sources = list(settings.routes.sources)[:2]
    for source in sources:
        [event_id] = event_ids("7", [source])
        accept(store, (an_event(event_id, source=source, source_event_id="7"), []))
    first = web.get("/api/events?source_event_id=7&limit=1").json
    path = f"/api/events?source_event_id=7&limit=1&cursor={first['next_cursor']}"
    second = web.get(path).json
    assert [one["source"] for one in first["items"] + second["items"]] == sources[::-1]
    assert second["next_cursor"] is None


def test_a_persons_test_call_is_found_by_its_id(web: Web) -> None:
    asked = {"to_number": ONE, "record": {}}
    made = web.client.post("/api/routes/call back/call-me", json=asked, headers=BEARER).json
    event = web.get(f"/api/events/{made['event_id']}").json
    found = web.get(f"/api/events?source_event_id={event['source_event_id']}").json["items"]
    assert [one["id"] for one in found] == [made["event_id"]]


def test_an_order_about_many_events_takes_their_crms_id(web: Web) -> None:
    body = lead(ONE)
    web.post("website", body)
    said = {"source_event_id": body["submission_id"], "status": "routed", "dry_run": True}
    answer = web.client.post("/api/events/replay", json=said, headers=BEARER)
    assert (answer.json["matched"], answer.json["unchanged"]) == (1, 1)


def test_filters_of_deliveries_combine(web: Web) -> None:
    web.send("website", lead(ONE))
    query = "status=queued,held&route=call%20back&source=website&since=2020-01-01T00:00:00Z"
    assert len(web.get(f"/api/deliveries?{query}").json["items"]) == 1
    for other in ("reason=bulk", "subject=1", "phone=%2B919876543210"):
        assert web.get(f"/api/deliveries?{query}&{other}").json["items"] == []  # not mapped yet


# --- pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "status=queued&", "route=call%20back&", "source=website&"])
@pytest.mark.parametrize("kind", ["deliveries", "events"])
def test_pages_are_stable_while_new_ones_come_in(
    web: Web, store: Store, kind: str, query: str
) -> None:
    if kind == "events":
        query = query.replace("queued", "routed").replace("route=call%20back&", "")
    for number in range(7):
        accept(store, (an_event(f"e{number}"), [a_delivery(f"d{number}")]))
    seen: list[str] = []
    cursor = ""
    for number in range(20):
        page = web.get(f"/api/{kind}?{query}limit=2{cursor}").json
        seen += [one["id"] for one in page["items"]]
        accept(store, (an_event(f"new-e{number}"), [a_delivery(f"new-d{number}")]))
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == [f"{kind[0]}{number}" for number in reversed(range(7))]


# --- what orders say ------------------------------------------------------------------------------


def test_an_order_about_many_says_what_it_refused_and_why(web: Web, store: Store) -> None:
    put(store, "d1", "d2", "d3")
    leases = claim(store, limit=2)
    for delivery, lease in leases.items():
        store.move([to_sending(delivery, lease)])
    said = {"status": "sending,queued"}
    for dry_run in (True, False):
        answer = web.client.post(
            "/api/deliveries/cancel", json={**said, "dry_run": dry_run}, headers=BEARER
        )
        assert answer.json == {
            "matched": 3,
            "cancelled": 1,
            "refused": 2,
            "refused_by": {"sending": 2},
            "dry_run": dry_run,
            "next_cursor": None,
        }


@pytest.mark.parametrize(
    ("theirs", "shown"),
    [
        ("+919876543210", "+91••••••3210"),
        ("call +91 98765-43210 back", "call +91••••••3210 back"),
        ("3816279340", "3816279340"),
        ("62515-2213-3816279340-101-1767250800000", "62515-2213-3816279340-101-1767250800000"),
        ("form-20240115", "form-20240115"),
    ],
)
def test_names_of_a_crms_are_masked_where_they_are_numbers_beyond_doubt(
    web: Web, store: Store, theirs: str, shown: str
) -> None:
    accept(store, (an_event("e1", source_event_id=theirs, type=theirs), []))
    [one] = web.get("/api/events").json["items"]
    assert (one["source_event_id"], one["type"]) == (shown, shown)
