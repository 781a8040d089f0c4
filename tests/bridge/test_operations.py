"""What a person does by hand, through the API: against a real Valkey and a real drain."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from support import (
    AGENT,
    API_TOKEN,
    CALL_BACK,
    WEBSITE,
    Web,
    each,
    keys_of,
    lead,
    notification,
    route,
)
from support.ringing import at_rest

from bridge.operations import bulk
from schemas.delivery import Status
from schemas.outcome import read_outcome
from schemas.records import Move
from schemas.settings import Settings
from simulator import Simulator
from store import Store

OpenWeb = Callable[[Settings], Web]
MakeSettings = Callable[..., Settings]
RunDrain = Callable[..., Any]

CALL = "/call/outbound"
BEARER = {"Authorization": f"Bearer {API_TOKEN}"}


def command(web: Web, path: str, body: object = None, *, method: str = "POST") -> Any:
    """Ask the API to do something."""
    sent = {} if body is None else {"json": body}
    return web.client.open(f"/api{path}", method=method, headers=BEARER, **sent)


def done(web: Web, path: str, body: object = None, *, method: str = "POST") -> Any:
    """Ask the API to do something that it surely does, and return its answer's JSON."""
    answer = command(web, path, body, method=method)
    assert answer.status_code == 200, answer.text
    return answer.json


def refused(web: Web, path: str, body: object = None, *, method: str = "POST") -> tuple[int, str]:
    """Ask the API to do something that it surely refuses; return the status and the word."""
    answer = command(web, path, body, method=method)
    assert answer.status_code >= 400, answer.text
    assert answer.json["message"]
    return answer.status_code, answer.json["error"]


def status(web: Web, delivery_id: str) -> tuple[str, str | None]:
    found = web.get(f"/api/deliveries/{delivery_id}").json
    return found["status"], found["reason"]


def settled(
    web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain, how: Status
) -> str:
    """Return a delivery that a drain has brought to this status."""
    behaviours: dict[Status, dict[str, Any]] = {
        Status.FAILED: {"status": 400},
        Status.UNKNOWN: {"cut": "after"},
        Status.RETRYING: {"status": 503},
        Status.DELIVERED: {},
        Status.SKIPPED: {},
    }
    if behaviours[how]:
        simulator.state.behave(path=CALL, times=1, **behaviours[how])
    [delivery] = web.send("website", lead("none" if how is Status.SKIPPED else "+919876543210"))
    run_drain(settings)
    assert status(web, delivery)[0] == how
    return delivery


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(CALL_BACK)


@pytest.fixture
def begin(store: Store) -> Callable[[str], None]:
    """Bring a delivery to `sending`, as a worker does that is at it right now."""

    def begin(delivery_id: str) -> None:
        [claim] = [
            one for one in store.claim(10, lease_s=60).claims if one.delivery.id == delivery_id
        ]
        lease = claim.delivery.lease
        record = {"number": lease, "at": "2026-01-01T00:00:00Z"}
        moved = Move(id=delivery_id, to=Status.SENDING, lease=lease, attempt=(lease, record))
        assert store.move([moved]) == ["ok"]

    return begin


# --- retry --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [Status.FAILED, Status.SKIPPED])
def test_what_ended_without_a_call_is_tried_again(
    web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain, how: Status
) -> None:
    delivery = settled(web, settings, simulator, run_drain, how)
    before = web.get(f"/api/deliveries/{delivery}").json

    shown = done(web, f"/deliveries/{delivery}/retry")

    assert (shown["id"], shown["status"], shown["reason"]) == (delivery, "queued", "by_person")
    assert shown["attempts"] == before["attempts"]
    assert [one["status"] for one in shown["timeline"]][-2:] == [how, "queued"]
    assert web.get("/api/status").json["queue"] == {"drains_queued": 1}
    run_drain(settings)
    assert status(web, delivery)[0] == ("skipped" if how is Status.SKIPPED else "delivered")


def test_what_waits_is_looked_at_now(
    make_settings: MakeSettings, open_web: OpenWeb, simulator: Simulator, run_drain: RunDrain
) -> None:
    settings = make_settings(WEBSITE + route(delay='"2h"'))
    web = open_web(settings)
    [delivery] = web.send("website", lead())
    run_drain(settings)
    assert status(web, delivery)[0] == "queued"

    done(web, f"/deliveries/{delivery}/retry", {"call_again": False})
    run_drain(settings)

    assert status(web, delivery)[0] == "delivered"
    assert len(simulator.state.calls) == 1


def test_what_is_retrying_stays_so_and_is_due(
    web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain
) -> None:
    delivery = settled(web, settings, simulator, run_drain, Status.RETRYING)

    assert done(web, f"/deliveries/{delivery}/retry")["status"] == "retrying"
    run_drain(settings)

    assert status(web, delivery)[0] == "delivered"


@pytest.mark.parametrize("how", [Status.DELIVERED, Status.UNKNOWN])
def test_a_phone_rings_again_only_by_a_persons_word(
    web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain, how: Status
) -> None:
    delivery = settled(web, settings, simulator, run_drain, how)
    first = web.get(f"/api/deliveries/{delivery}").json
    path = f"/deliveries/{delivery}/retry"

    assert refused(web, path) == (409, "conflict")
    assert refused(web, path, {"call_again": False}) == (409, "conflict")
    assert "call_again" in command(web, path).json["message"]
    assert web.get(f"/api/deliveries/{delivery}").json == first
    calls = len(simulator.state.calls)
    assert done(web, path, {"call_again": True})["status"] == "queued"
    run_drain(settings)

    shown = web.get(f"/api/deliveries/{delivery}").json
    assert shown["status"] == "delivered"
    assert len(shown["attempts"]) == len(first["attempts"]) + 1
    assert len(simulator.state.calls) == calls + 1
    assert shown["call_sid"] == simulator.state.calls[-1].call_sid != first["call_sid"]


def test_what_is_on_the_wire_is_left_alone(
    web: Web, store: Store, begin: Callable[[str], None]
) -> None:
    [delivery] = web.send("website", lead())
    begin(delivery)
    kept = store.delivery(delivery)

    assert refused(web, f"/deliveries/{delivery}/retry") == (409, "conflict")
    assert refused(web, f"/deliveries/{delivery}/retry", {"call_again": True}) == (409, "conflict")
    assert refused(web, f"/deliveries/{delivery}/cancel") == (409, "conflict")
    assert refused(web, f"/deliveries/{delivery}/resolve", {"as": "failed"}) == (409, "conflict")
    assert store.delivery(delivery) == kept


def test_a_person_fences_off_the_worker_that_has_it(web: Web, store: Store) -> None:
    [delivery] = web.send("website", lead())
    [claim] = store.claim(1, lease_s=60).claims

    done(web, f"/deliveries/{delivery}/cancel")

    lease = claim.delivery.lease
    late = Move(id=delivery, to=Status.SENDING, lease=lease, attempt=(lease, {"number": lease}))
    assert store.move([late]) == ["stale"]
    assert status(web, delivery) == ("cancelled", "by_person")


# --- cancel -------------------------------------------------------------------------------------


def test_what_waits_is_called_off(
    web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain
) -> None:
    [queued] = web.send("website", lead())
    shown = done(web, f"/deliveries/{queued}/cancel")
    retrying = settled(web, settings, simulator, run_drain, Status.RETRYING)
    done(web, f"/deliveries/{retrying}/cancel")
    run_drain(settings)

    assert (shown["status"], shown["reason"]) == ("cancelled", "by_person")
    assert status(web, queued) == status(web, retrying) == ("cancelled", "by_person")
    assert simulator.state.calls == []
    assert web.get("/api/status").json["waiting"] == 0
    assert refused(web, f"/deliveries/{queued}/cancel") == (409, "conflict")
    done(web, f"/deliveries/{queued}/retry")  # it can be taken back
    run_drain(settings)
    assert status(web, queued)[0] == "delivered"


@pytest.mark.parametrize("how", [Status.DELIVERED, Status.UNKNOWN, Status.FAILED, Status.SKIPPED])
def test_it_can_be_too_late_to_cancel(
    web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain, how: Status
) -> None:
    delivery = settled(web, settings, simulator, run_drain, how)

    assert refused(web, f"/deliveries/{delivery}/cancel") == (409, "conflict")
    assert status(web, delivery)[0] == how


def test_a_call_that_callkaro_holds_scheduled_is_dropped_there(
    make_settings: MakeSettings, open_web: OpenWeb, simulator: Simulator, run_drain: RunDrain
) -> None:
    request = {
        "to_number": '"phone"',
        "agent_id": f'{{ value = "{AGENT}" }}',
        "schedule_at": '"at"',
    }
    settings = make_settings(WEBSITE + route(request=request))
    web = open_web(settings)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    [delivery] = web.send("website", lead(at=tomorrow))
    run_drain(settings)
    [call] = simulator.state.calls

    shown = done(web, f"/deliveries/{delivery}/cancel")
    assert shown["status"] == "delivered"
    assert "delete" in shown["message"]
    run_drain(settings)

    assert simulator.state.deleted == {call.call_sid}
    assert status(web, delivery)[0] == "cancelled"


# --- resolve ------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["delivered", "failed"])
def test_a_person_settles_what_is_unknown(
    web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain, word: str
) -> None:
    delivery = settled(web, settings, simulator, run_drain, Status.UNKNOWN)

    with at_rest(settings.redis_url) as is_rung:
        shown = done(web, f"/deliveries/{delivery}/resolve", {"as": word})
        assert is_rung(), "the CRM may have to be told"

    assert (shown["status"], shown["reason"]) == (word, "by_person")
    assert web.get("/api/status").json["deliveries"]["unknown"] == 0
    other = "failed" if word == "delivered" else "delivered"
    assert refused(web, f"/deliveries/{delivery}/resolve", {"as": other}) == (409, "conflict")
    assert status(web, delivery)[0] == word


def test_only_what_is_unknown_is_resolved(web: Web) -> None:
    [delivery] = web.send("website", lead())

    assert refused(web, f"/deliveries/{delivery}/resolve", {"as": "delivered"}) == (409, "conflict")
    assert status(web, delivery)[0] == "queued"


# --- many ---------------------------------------------------------------------------------------


@pytest.fixture
def ended(
    make_settings: MakeSettings, open_web: OpenWeb, simulator: Simulator, run_drain: RunDrain
) -> Web:
    """A bridge with 3 failed deliveries of one route, one of another, a delivered and an unknown.

    Whose number ends in 1 or 2 is refused, in 3 gets no answer.
    """
    settings = make_settings(CALL_BACK + route("another", event="lead.created"))
    web = open_web(settings)
    for number in ("+919876543211", "+919876543212"):
        simulator.state.behave(400, path=CALL, to_number=number)
    simulator.state.behave(path=CALL, to_number="+919876543213", cut="after")
    for number in (11, 11, 12, 13, 14):
        web.send("website", lead(f"+9198765432{number}"))
    web.send("website", lead("+919876543211", event_type="lead.created"))
    run_drain(settings)
    counts = web.get("/api/status").json["deliveries"]
    assert {name: count for name, count in counts.items() if count} == {
        "failed": 4,
        "unknown": 1,
        "delivered": 1,
    }
    return web


ENDED = "failed,unknown,delivered"


@pytest.mark.parametrize(
    ("asked", "matched", "retried"),
    [
        ({"status": "failed"}, 4, 4),
        ({"route": "call back"}, 3, 3),
        ({"route": "call back", "status": ENDED}, 5, 3),
        ({"status": ENDED.split(",")}, 6, 4),
        ({"status": ENDED, "call_again": True}, 6, 6),
        ({"phone": "+919876543211"}, 3, 3),
        ({"source": "website", "since": "2020-01-01T00:00:00Z"}, 4, 4),
        ({"until": "2020-01-01T00:00:00Z"}, 0, 0),
        ({"subject": "nobody"}, 0, 0),
    ],
)
def test_a_dry_run_counts_what_then_is_done(
    ended: Web, store: Store, asked: dict[str, Any], matched: int, retried: int
) -> None:
    counts = {"matched": matched, "retried": retried, "refused": matched - retried}
    kept = keys_of(store)
    before = ended.get("/api/status").json["deliveries"]

    tried = done(ended, "/deliveries/retry", {**asked, "dry_run": True})
    assert sum(tried.pop("refused_by").values()) == matched - retried
    assert tried == {**counts, "dry_run": True, "next_cursor": None}
    assert ended.get("/api/status").json["deliveries"] == before
    assert keys_of(store) == kept

    really = done(ended, "/deliveries/retry", asked)
    assert sum(really.pop("refused_by").values()) == matched - retried
    assert really == {**counts, "dry_run": False, "next_cursor": None}
    assert ended.get("/api/status").json["deliveries"]["queued"] == retried


def test_a_slice_of_time_ends_with_a_cursor(ended: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "PAGE", 1)
    monkeypatch.setattr(bulk, "SLICE_S", -1.0)

    first = done(ended, "/deliveries/retry", {"status": "failed"})

    assert (first["matched"], first["retried"]) == (1, 1)
    assert first["next_cursor"] is not None


def test_filters_stand_in_the_query_string_as_well(ended: Web) -> None:
    for query in ("status=failed,unknown", "status=failed&status=unknown", "status=unknown,failed"):
        said = done(ended, f"/deliveries/retry?{query}&dry_run=true&call_again=true")
        assert (said["matched"], said["retried"], said["dry_run"]) == (5, 5, True)
    said = done(
        ended, "/deliveries/retry?phone=%2B919876543211&dry_run=false", {"route": "another"}
    )
    assert (said["matched"], said["retried"], said["dry_run"]) == (1, 1, False)


def test_many_are_done_in_pages_that_the_cursor_joins(
    ended: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "PAGE", 1)
    monkeypatch.setattr(bulk, "MOST_AT_ONCE", 2)
    for dry_run in (True, False):
        asked: dict[str, Any] = {"status": "failed", "dry_run": dry_run}
        counts = []
        while True:
            said = done(ended, "/deliveries/retry", asked)
            counts.append(said["retried"])
            if said["next_cursor"] is None:
                break
            asked["cursor"] = said["next_cursor"]
        assert sum(counts) == 4
        assert max(counts) == 2
    assert ended.get("/api/status").json["deliveries"]["failed"] == 0


@each("path", ["/deliveries/retry", "/events/replay"])
@each(
    ("query", "body", "says"),
    [
        ("", None, "at least one filter"),
        ("", {}, "at least one filter"),
        ("", {"dry_run": True}, "at least one filter"),
        ("?cursor=1", None, "at least one filter"),
        ("?source=", None, "This filter is empty: source"),
        ("?status=,", {"source": "website"}, "This filter is empty: status"),
        ("?source=website", {"source": "website"}, "twice"),
        ("?source=website&source=zoho", None, "twice"),
        ("?colour=red", {"source": "website"}, "Unknown: colour"),
        ("", {"source": "website", "dryrun": True}, "Unknown: dryrun"),
        ("", {"source": "website", "limit": "1"}, "Unknown: limit"),
        ("", {"source": "website", "dry_run": "true"}, "dry_run: must be true or false"),
        ("", {"source": "website", "dry_run": 1}, "dry_run: must be true or false"),
        ("?source=website&dry_run=yes", None, "dry_run: must be true or false"),
        ("", {"source": True}, "source: "),
        ("", {"source": ["website"]}, "source: "),
        ("", {"source": None}, "source: "),
        ("", {"status": "sent"}, "Unknown status: sent"),
        ("", {"status": [1]}, "status: "),
        ("", {"since": "yesterday"}, "since must be a time"),
        ("", {"source": "website", "cursor": "abc"}, "cursor must be"),
    ],
)
def test_what_many_are_meant_must_be_clear(
    ended: Web, path: str, query: str, body: object, says: str
) -> None:
    before = ended.get("/api/status").json["deliveries"]

    answer = command(ended, path + query, body)

    assert (answer.status_code, answer.json["error"]) == (400, "bad_query")
    assert says in answer.json["message"]
    assert ended.get("/api/status").json["deliveries"] == before


@pytest.mark.parametrize("path", ["/deliveries/retry", "/deliveries/release", "/events/replay"])
def test_a_missing_filter_is_answered_with_the_real_filters(ended: Web, path: str) -> None:
    message = command(ended, path, {"dry_run": True}).json["message"]
    for word in message.partition(": ")[2].rstrip(".").split(", "):
        answer = command(ended, path, {"dry_run": True, word: "2026-01-31T09:30:00Z"})
        assert "at least one filter" not in answer.json.get("message", ""), word
    assert not {"dry_run", "call_again", "cursor", "limit"} & set(message.split(", "))


# --- replay -------------------------------------------------------------------------------------


def test_an_unrouted_event_is_replayed_once_its_route_is_fixed(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    wrong = open_web(make_settings(WEBSITE + route(event="form.sent")))
    [event] = wrong.post("website", lead()).json["events"]
    path = f"/events/{event['id']}/replay"
    assert done(wrong, path) == {
        "id": event["id"],
        "status": "unrouted",
        "deliveries": [],
        "dry_run": False,
    }
    settings = make_settings(CALL_BACK)
    fixed = open_web(settings)
    kept = keys_of(store)

    tried = done(fixed, path, {"dry_run": True})
    assert keys_of(store) == kept
    assert fixed.get(f"/api/events/{event['id']}").json["status"] == "unrouted"
    really = done(fixed, path)
    again = done(fixed, path)

    assert really == {**tried, "dry_run": False}
    assert fixed.get("/api/status").json["queue"] == {"drains_queued": 1}
    [delivery] = really["deliveries"]
    assert (really["status"], delivery["route"]) == ("routed", "call back")
    assert (again["status"], again["deliveries"]) == ("routed", [])
    assert fixed.get(urlsplit(delivery["status_url"]).path).json["status"] == "queued"
    shown = fixed.get(f"/api/events/{event['id']}").json
    assert (shown["status"], shown["deliveries"]) == ("routed", [delivery])
    run_drain(settings)
    assert done(fixed, path)["deliveries"] == []
    assert len(simulator.state.calls) == 1


def test_a_resend_after_a_replay_is_still_a_duplicate(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    form = lead()
    [event] = open_web(make_settings(WEBSITE)).post("website", form).json["events"]
    web = open_web(make_settings(CALL_BACK))
    [delivery] = done(web, f"/events/{event['id']}/replay")["deliveries"]

    [resent] = web.post("website", form).json["events"]

    assert (resent["duplicate"], resent["deliveries"]) == (True, [delivery])


def test_a_replay_adds_what_a_new_route_wants_and_leaves_the_rest(
    web: Web,
    make_settings: MakeSettings,
    open_web: OpenWeb,
    settings: Settings,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    old = settled(web, settings, simulator, run_drain, Status.DELIVERED)
    event = web.get(f"/api/deliveries/{old}").json["event_id"]
    more = open_web(make_settings(CALL_BACK + route("another")))

    new = done(more, f"/events/{event}/replay")["deliveries"]

    assert [one["route"] for one in new] == ["another"]
    listed = more.get(f"/api/events/{event}").json["deliveries"]
    assert {one["id"]: one["status"] for one in listed} == {
        old: "delivered",
        new[0]["id"]: "queued",
    }


def test_an_unreadable_event_is_read_again_once_its_source_is_fixed(
    make_settings: MakeSettings, open_web: OpenWeb, run_drain: RunDrain
) -> None:
    fixed_settings = make_settings(
        WEBSITE.replace('"event_type"', '"event_type.name"') + route(event="lead.created")
    )
    wrong, fixed = open_web(make_settings(CALL_BACK)), open_web(fixed_settings)
    form = lead(event_type={"name": "lead.created"})
    [event] = wrong.post("website", form).json["events"]
    assert event["status"] == "unreadable"
    assert done(wrong, f"/events/{event['id']}/replay")["status"] == "unreadable"

    [delivery] = done(fixed, f"/events/{event['id']}/replay")["deliveries"]
    run_drain(fixed_settings)

    shown = fixed.get(f"/api/events/{event['id']}").json
    assert (shown["status"], shown["type"], shown["problem"]) == ("routed", "lead.created", None)
    assert status(fixed, delivery["id"])[0] == "delivered"


def test_an_event_that_can_be_read_now_and_that_no_route_wants_is_unrouted(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    wrong = open_web(make_settings(WEBSITE))
    [event] = wrong.post("website", lead(event_type={"name": "other"})).json["events"]
    assert event["status"] == "unreadable"
    fixed = open_web(make_settings(WEBSITE.replace('"event_type"', '"event_type.name"')))
    path = f"/events/{event['id']}/replay"

    tried = done(fixed, path, {"dry_run": True})

    assert (tried["status"], tried["deliveries"]) == ("unrouted", [])
    assert done(fixed, path) == {**tried, "dry_run": False}
    assert [one["id"] for one in fixed.get("/api/events?status=unrouted").json["items"]] == [
        event["id"]
    ]
    assert fixed.get("/api/events?status=unreadable").json["items"] == []


def test_an_event_that_was_read_as_something_else_is_read_again(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    wrong = open_web(make_settings(WEBSITE.replace('"event_type"', '"kind"') + route(event="x")))
    [event] = wrong.post("website", lead(event_type="lead.created")).json["events"]
    web = open_web(make_settings(WEBSITE + route(event="lead.created")))

    assert len(done(web, f"/events/{event['id']}/replay")["deliveries"]) == 1
    assert web.get(f"/api/events/{event['id']}").json["type"] == "lead.created"


def test_events_are_replayed_by_filter(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store
) -> None:
    before = open_web(make_settings(WEBSITE + route("first", event="form.first")))
    before.post("website", [lead() for _ in range(3)])
    before.post("website", [lead(event_type="form.first"), lead(event_type="other")])
    before.post("zoho", {"Phone": "+919876543210"})
    web = open_web(make_settings(CALL_BACK + route("first", event="form.first")))
    kept = keys_of(store)

    asked = {"source": "website"}
    tried = done(web, "/events/replay", {**asked, "dry_run": True})
    assert keys_of(store) == kept
    really = done(web, "/events/replay?source=website")
    again = done(web, "/events/replay", asked)

    counts = {"matched": 4, "replayed": 3, "unchanged": 1}
    assert tried == {**counts, "dry_run": True, "next_cursor": None}
    assert really == {**counts, "dry_run": False, "next_cursor": None}
    assert (again["matched"], again["replayed"]) == (1, 0)
    assert web.get("/api/status").json["deliveries"]["queued"] == 4
    assert done(web, "/events/replay", {"status": "routed,unrouted"})["matched"] == 6


# --- pauses -------------------------------------------------------------------------------------


def test_a_paused_route_holds_its_deliveries_and_sends_them_when_resumed(
    make_settings: MakeSettings, open_web: OpenWeb, simulator: Simulator, run_drain: RunDrain
) -> None:
    name = "new leads: 50 %/day? #1"
    settings = make_settings(CALL_BACK + route(name, event="lead.created"))
    web = open_web(settings)
    path = f"/pauses/{quote(f'route:{name}')}"

    paused = done(web, path, {"message": "Wrong agent."}, method="PUT")
    [mine] = web.send("website", lead("+919876543211", event_type="lead.created"))
    [other] = web.send("website", lead("+919876543212"))
    run_drain(settings)

    assert (paused["scope"], paused["reason"], paused["message"], paused["until"]) == (
        f"route:{name}",
        "person",
        "Wrong agent.",
        None,
    )
    assert web.get("/api/pauses").json == {"items": [paused]}
    assert web.get("/api/status").json["pauses"] == [paused]
    assert f"paused: route:{name} (person): Wrong agent." in web.get("/api/status").json["warnings"]
    assert status(web, mine) == ("held", "paused")
    assert status(web, other)[0] == "delivered"
    assert done(web, path, method="DELETE") == {"scope": f"route:{name}", "released": 1}
    assert web.get("/api/pauses").json == {"items": []}
    run_drain(settings)
    assert status(web, mine)[0] == "delivered"
    assert len(simulator.state.calls) == 2


@pytest.mark.parametrize("scope", ["all", "callkaro", "source:website", "route:call back"])
def test_every_scope_holds_what_it_names(
    web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain, scope: str
) -> None:
    done(web, f"/pauses/{scope}", method="PUT")
    [delivery] = web.send("website", lead())
    run_drain(settings)

    assert status(web, delivery) == ("held", "paused")
    assert simulator.state.calls == []
    done(web, f"/deliveries/{delivery}/retry")  # a retry is no way round a pause
    run_drain(settings)
    assert simulator.state.calls == []
    assert done(web, f"/pauses/{scope}", method="DELETE")["released"] == 1
    run_drain(settings)
    assert status(web, delivery)[0] == "delivered"


def test_the_first_pause_keeps_its_message(web: Web) -> None:
    first = done(web, "/pauses/all", {"message": "Holiday."}, method="PUT")

    assert done(web, "/pauses/all", {"message": "Another."}, method="PUT") == first
    assert done(web, "/pauses/callkaro", method="PUT")["message"]
    assert [one["scope"] for one in web.get("/api/pauses").json["items"]] == ["all", "callkaro"]


@each("scope", ["everything", "route:none", "source:none", "website", "ALL", "%20"])
def test_a_pause_that_would_stop_nothing_is_refused(web: Web, scope: str) -> None:
    assert refused(web, f"/pauses/{scope}", method="PUT") == (400, "bad_query")
    assert refused(web, f"/pauses/{scope}", method="DELETE") == (404, "not_found")
    assert web.get("/api/pauses").json == {"items": []}


def test_resuming_what_is_not_paused_is_404(web: Web) -> None:
    assert refused(web, "/pauses/all", method="DELETE") == (404, "not_found")


def test_a_pause_outlives_its_route_and_can_be_ended_then(
    web: Web, make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    done(web, "/pauses/route:call back", method="PUT")

    without = open_web(make_settings(WEBSITE))

    assert done(without, "/pauses/route:call back", method="DELETE")["released"] == 0


def test_readyz_tells_of_a_pause_but_not_what_a_person_wrote(web: Web) -> None:
    done(web, "/pauses/all", {"message": "Because of +919876543210."}, method="PUT")

    ready = web.client.get("/readyz")

    assert ready.status_code == 200
    assert "paused: all (person)" in ready.json["warnings"]
    assert "Because" not in ready.text
    shown = web.get("/api/status").text + web.get("/api/pauses").text
    assert "Because" in shown
    assert "9876543210" not in shown


def test_readyz_names_no_route_source_or_campaign_without_a_token(web: Web) -> None:
    for scope in ("route:call back", "source:hubspot", "source:website", "callkaro"):
        done(web, f"/pauses/{scope}", method="PUT")

    ready = web.client.get("/readyz")

    assert [one for one in ready.json["warnings"] if one.startswith("paused")] == [
        "paused: route (person)",
        "paused: source (person)",
        "paused: callkaro (person)",
    ]
    for name in ("call back", "hubspot", "website"):
        assert name not in ready.text
        assert name in web.get("/api/status").text


# --- what all of them have ----------------------------------------------------------------------

ORDERS = [
    ("POST", "/deliveries/d/retry"),
    ("POST", "/deliveries/d/cancel"),
    ("POST", "/deliveries/d/resolve"),
    ("POST", "/deliveries/retry"),
    ("POST", "/events/e/replay"),
    ("POST", "/events/replay"),
    ("GET", "/events"),
    ("GET", "/pauses"),
    ("PUT", "/pauses/all"),
    ("DELETE", "/pauses/all"),
]


@each(("method", "path"), ORDERS)
def test_every_operation_wants_the_token(web: Web, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = web.client.open(f"/api{path}", method=method, headers=headers)
        assert (answer.status_code, answer.json["error"]) == (401, "unauthorized")
    assert web.get("/api/pauses").json == {"items": []}


@each("path", ["/deliveries/d/retry", "/deliveries/d/cancel", "/events/e/replay"])
def test_what_is_not_there_is_404(web: Web, path: str) -> None:
    assert refused(web, path) == (404, "not_found")


ONE = [one for one in ORDERS if one[0] != "GET"]


@each(("method", "path"), ONE)
@each("raw", [b"{", b"[]", b"null", b'"x"', b"a=b", b"\xff\xfe", b"[" * 100 + b"]" * 100])
def test_a_body_that_is_no_json_object_is_400(web: Web, method: str, path: str, raw: bytes) -> None:
    for kind in ("application/json", "application/x-www-form-urlencoded", ""):
        headers = {**BEARER, **({"Content-Type": kind} if kind else {})}
        answer = web.client.open(f"/api{path}", method=method, data=raw, headers=headers)
        assert (answer.status_code, answer.json["error"]) == (400, "bad_payload")
        assert answer.json["message"]


@each(("method", "path"), ONE)
def test_an_unknown_key_is_400_and_named(web: Web, method: str, path: str) -> None:
    body = {"colour": "red"} if path != "/deliveries/d/resolve" else {"as": "failed", "colour": 1}
    answer = command(web, path, body, method=method)
    assert (answer.status_code, answer.json["error"]) == (400, "bad_query")
    assert "colour" in answer.json["message"]
    assert "red" not in answer.json["message"]


@each(
    ("path", "body"),
    [
        ("/deliveries/d/retry", {"call_again": "true"}),
        ("/deliveries/d/retry", {"call_again": 1}),
        ("/deliveries/d/retry", {"call_again": None}),
        ("/deliveries/d/retry?call_again=true", None),
        ("/deliveries/d/resolve", None),
        ("/deliveries/d/resolve", {}),
        ("/deliveries/d/resolve", {"as": "cancelled"}),
        ("/deliveries/d/resolve", {"as": ["failed"]}),
        ("/deliveries/d/resolve", {"found": "failed"}),
        ("/events/e/replay", {"dry_run": "no"}),
        ("/events/e/replay?dry_run=true", None),
    ],
)
def test_an_order_that_makes_no_sense_is_400(web: Web, path: str, body: object) -> None:
    assert refused(web, path, body) == (400, "bad_query")


def test_a_body_in_the_way_of_curl_is_read(web: Web, store: Store) -> None:
    [one] = web.send("website", lead())

    # curl -X POST: no body, no content type; curl -d '{…}': JSON that calls itself a form.
    bare = web.client.post(f"/api/deliveries/{one}/cancel", headers=BEARER)
    form = {**BEARER, "Content-Type": "application/x-www-form-urlencoded"}
    asked = json.dumps({"status": "cancelled", "dry_run": True})
    counted = web.client.post("/api/deliveries/retry", data=asked, headers=form)

    assert bare.status_code == 200, bare.text
    assert (counted.status_code, counted.json["matched"]) == (200, 1)


def test_no_log_line_of_an_operation_tells_of_people(
    capsys: pytest.CaptureFixture[str], settings: Settings, open_web: OpenWeb, run_drain: RunDrain
) -> None:
    web = open_web(settings)  # here, for logs go to what stdout is now
    name, number = "Zebedaiah", "9812345678"
    [delivery] = web.send("website", lead(f"+91{number}", name=name))
    [event] = web.post("website", lead(number, name=name, event_type={"a": 1})).json["events"]
    run_drain(settings)
    answers = [
        command(web, "/pauses/all", {"message": f"{name} {number}"}, method="PUT"),
        command(web, f"/deliveries/{delivery}/retry", {"call_again": True, name: number}),
        command(web, f"/deliveries/{delivery}/retry", {"call_again": True}),
        command(web, f"/deliveries/{delivery}/cancel"),
        command(web, "/deliveries/retry", {"phone": f"+91{number}", "status": "cancelled"}),
        command(web, f"/events/{event['id']}/replay"),
        command(web, "/events/replay", {"source": "website"}),
        command(web, "/pauses/all", method="DELETE"),
        command(web, f"/pauses/route:{name}", method="DELETE"),
    ]

    assert [one.status_code for one in answers] == [200, 400, 200, 200, 200, 200, 200, 200, 404]
    logged = "".join(capsys.readouterr())
    assert logged.count('"event": "operation.') == 6
    assert name not in logged
    assert number not in logged + "".join(one.text for one in answers)


# --- the list of events -------------------------------------------------------------------------


def test_events_are_listed_filtered_and_paged(web: Web) -> None:
    forms = [web.post("website", lead()).json["events"][0]["id"] for _ in range(3)]
    other = web.post("website", lead(event_type="other")).json["events"][0]["id"]
    zoho = web.post("zoho", {"Phone": "+919876543210"}).json["events"][0]["id"]
    broken = web.post("hubspot", notification(objectId=None)).json["events"][0]["id"]

    def ask(query: str) -> Any:
        answer = web.get(f"/api/events?{query}")
        assert answer.status_code == 200, answer.text
        return answer.json

    def ids(query: str) -> list[str]:
        return [one["id"] for one in ask(query)["items"]]

    assert ids("") == [broken, zoho, other, *forms[::-1]]
    assert ids("status=unrouted") == [zoho, other]
    assert ids("status=unreadable,unrouted") == [broken, zoho, other]
    assert ids("status=routed") == forms[::-1]
    assert ids("source=website") == [other, *forms[::-1]]
    assert ids("source=website&status=unrouted") == [other]
    assert ids("until=2020-01-01T00:00:00Z") == []
    first = ask("source=website&limit=3")
    second = ask(f"source=website&limit=3&cursor={first['next_cursor']}")
    assert [one["id"] for one in first["items"] + second["items"]] == [other, *forms[::-1]]
    assert second["next_cursor"] is None
    shown = ask("limit=1&status=routed")["items"][0]
    full = web.get(f"/api/events/{shown['id']}").json
    assert {**shown, "data": full["data"]} == full
    assert [one["status"] for one in shown["deliveries"]] == ["queued"]


@each(
    "query",
    ["status=queued", "route=x", "phone=%2B919876543210", "subject=1", "limit=0", "cursor=x"],
)
def test_a_filter_that_events_do_not_have_is_refused(web: Web, query: str) -> None:
    answer = web.get(f"/api/events?{query}")

    assert (answer.status_code, answer.json["error"]) == (400, "bad_query")


def test_a_call_that_was_cancelled_after_callkaro_took_it_needs_call_again(
    web: Web, store: Store, settings: Settings, run_drain: RunDrain, simulator: Simulator
) -> None:
    [delivery] = web.send("website", lead())
    run_drain(settings)
    data = {
        "callSid": store.delivery(delivery).call_sid,
        "hangup_reason": "DELETED_SCH_CALL_ALL",
    }
    outcome = read_outcome({"event": "call_ended", "data": data}, "Asia/Kolkata")
    store.keep_outcome(outcome)
    assert status(web, delivery) == ("cancelled", "by_callkaro")

    assert refused(web, f"/deliveries/{delivery}/retry") == (409, "conflict")
    bulk = done(web, "/deliveries/retry", {"status": "cancelled"})
    assert (bulk["retried"], bulk["refused"]) == (0, 1)

    done(web, f"/deliveries/{delivery}/retry", {"call_again": True})
    run_drain(settings)
    assert len(simulator.state.calls) == 2


def test_a_status_that_is_named_twice_is_listed_once(
    web: Web, settings: Settings, run_drain: RunDrain
) -> None:
    web.send("website", lead("no number"))
    run_drain(settings)

    listed = web.get("/api/deliveries?status=skipped,skipped&status=skipped").json["items"]

    assert len(listed) == 1
