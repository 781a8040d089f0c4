"""The figures of /api/stats: each delivery counts once, whatever happens to it, in any order."""

import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run
from support import each
from support.recounting import recount
from support.storing import a_delivery, accept, an_event, claim, status, to_sending

from rules.figures import hour_of, span, summed, sums_of
from schemas.delivery import RETRIED_FROM, Status
from schemas.event import CALL_ME
from schemas.figures import NAMES, OTHER, By, FigureQuery, Figures, FigureTable
from schemas.outcome import Outcome, as_record, read_outcome
from schemas.records import Flood, Indexing, Move
from store import Store
from store.base import P
from store.local_time import offsets
from store.records import written

ZONE = "Asia/Kolkata"
ALL_EXAMPLES = os.environ.get("ALL_EXAMPLES") == "1"
EVER = ((0, "00"), (10**5, "23"))


@pytest.fixture
def store(store: Store) -> Store:
    return Store(store.redis, zone=ZONE)


def told(delivery: str | None, sid: str, try_count: int = 0, **data: Any) -> Any:
    """Return what CallKaro tells of a call."""
    metadata = {"bridge_delivery_id": delivery} if delivery else {}
    body = {"callSid": sid, "try_count": try_count, "call_metadata": metadata, **data}
    outcome = read_outcome({"event": "call_ended", "data": body}, ZONE)
    assert outcome is not None
    return outcome


def table(
    store: Store, by: By = By.DAY, only: tuple[By, frozenset[str]] | None = None
) -> FigureTable:
    query = FigureQuery(by=by, first=EVER[0], last=EVER[1], only=only)
    days = store.figures(sorted(store.figures_changed()))
    return summed((sums_of(day, cells, query) for day, cells in days), by)


def total(store: Store) -> dict[str, int]:
    """Return the figures that are not 0."""
    found = table(store).total
    return {name: getattr(found, name) for name in NAMES if getattr(found, name)}


def keys(store: Store, by: By) -> dict[str, int]:
    return {key: figures.events for key, figures in table(store, by).items}


def send(store: Store, delivery_id: str = "d1", agent: str = "agent-1", **fields: Any) -> int:
    """Put a delivery on the wire; returns its lease."""
    accept(store, (an_event(delivery_id), [a_delivery(delivery_id)]))
    lease = claim(store)[delivery_id]
    wanted = {"request": f'{{"agent_id": "{agent}", "to_number": "+919876543210"}}', **fields}
    assert store.move([to_sending(delivery_id, lease, fields=wanted)]) == ["ok"]
    return lease


def settle(store: Store, lease: int, to: Status, delivery_id: str = "d1", **more: Any) -> None:
    moved = Move(id=delivery_id, to=to, lease=lease, attempt=(1, {"number": 1}), **more)
    assert store.move([moved]) == ["ok"]


def deliver(store: Store, delivery_id: str = "d1", sid: str = "CA1", **fields: Any) -> None:
    lease = send(store, delivery_id, **fields)
    settle(store, lease, Status.DELIVERED, delivery_id, fields={"call_sid": sid})


def call_again(store: Store, delivery_id: str = "d1") -> str:
    more: dict[str, Any] = {"restarts": True, "fields": {"call_sid": None, "call_again": "1"}}
    moved = Move(id=delivery_id, to=Status.QUEUED, from_statuses=RETRIED_FROM, wait_s=0, **more)
    return store.move([moved])[0]


# --- what counts as what --------------------------------------------------------------------


def test_a_delivery_is_an_event_and_then_accepted(store: Store) -> None:
    lease = send(store)
    assert total(store) == {"events": 1}
    settle(store, lease, Status.DELIVERED, fields={"call_sid": "CA1"})
    assert total(store) == {"events": 1, "accepted": 1}


@each("status", [Status.FAILED, Status.UNKNOWN])
def test_a_status_is_counted_while_the_delivery_has_it(store: Store, status: Status) -> None:
    store.redis.flushall()
    settle(store, send(store), status)
    assert total(store) == {"events": 1, str(status): 1}
    assert call_again(store) == "ok"
    assert total(store) == {"events": 1}


def test_a_call_whose_worker_died_is_counted_as_unknown(store: Store) -> None:
    send(store)
    store.redis.zadd(f"{P}leased", {"d1": 0})
    assert store.sweep() == (1, 0)
    assert total(store) == {"events": 1, "unknown": 1}


def test_a_call_that_redis_had_lost_is_counted_as_unknown(store: Store) -> None:
    store.replay_journal([written(to_sending("d1", 1))], lease_s=60)
    accept(store, (an_event("d1"), [a_delivery("d1")]))
    assert total(store) == {"events": 1}
    assert claim(store) == {}
    assert total(store) == {"events": 1, "unknown": 1}


@each(("is_on_the_wire", "figure"), [(False, "failed"), (True, "unknown")])
def test_a_delivery_that_raises_errors_is_counted(
    store: Store, is_on_the_wire: bool, figure: str
) -> None:
    store.redis.flushall()
    if is_on_the_wire:
        send(store)
    else:
        accept(store, (an_event("d1"), [a_delivery("d1")]))
    store.count_error("d1", "an error", is_last=True)
    assert total(store) == {"events": 1, figure: 1}


def test_deliveries_of_one_script_share_a_cell(store: Store) -> None:
    accept(store, *((an_event(), [a_delivery(f"d{number}")]) for number in range(30)))
    leases = claim(store, 30)
    store.move([Move(id=one, to=Status.SKIPPED, lease=lease) for one, lease in leases.items()])
    assert total(store) == {"events": 30, "skipped": 30}
    [(_, cells)] = store.figures(sorted(store.figures_changed()))
    assert len(cells) == 1


def test_deliveries_of_one_script_count_under_their_own_names(store: Store) -> None:
    flood = Flood(over=1, within_s=60)
    events = [
        (an_event(source=source), [a_delivery(f"{source}-{n}", route=route, **more)])
        for n in range(3)
        for source in ("website", "hubspot")
        for route, more in [("call back", {}) if n else ("call new", {"flood": flood})]
    ]
    test_call = an_event(type=CALL_ME, is_test=True)
    accept(
        store,
        *events,
        (test_call, [a_delivery("test")]),
        (an_event(), [a_delivery("log", to="log")]),
    )
    assert status(store, "hubspot-0") == "held"
    assert keys(store, By.SOURCE) == {"website": 3, "hubspot": 3}
    assert keys(store, By.ROUTE) == {"call back": 4, "call new": 2}


def test_a_call_with_another_agent_than_before_counts_by_it(store: Store) -> None:
    deliver(store)
    assert call_again(store) == "ok"
    assert keys(store, By.AGENT) == {"agent-1": 1}
    request = {"request": '{"agent_id": "agent-2", "to_number": "+919876543210"}'}
    store.move([to_sending("d1", claim(store)["d1"], fields=request)])
    assert keys(store, By.AGENT) == {"agent-2": 1}


def test_deliveries_of_a_replayed_event_are_counted(store: Store) -> None:
    event = an_event("e1")
    accept(store, (event, []))
    assert store.replay(
        event, [a_delivery("d1"), a_delivery("d2", route="r2")], routes="x", is_record_new=False
    )
    assert keys(store, By.ROUTE) == {"call back": 1, "r2": 1}


@each(
    ("reason", "figures"),
    [
        ("CLIENT_INITIATED", {"dialled": 1, "ended": 1, "connected": 1, "talked_s": 7}),
        ("SESSION_TIMEOUT", {"dialled": 1, "ended": 1, "connected": 1, "talked_s": 7}),
        ("VOICEMAIL_DETECTED", {"dialled": 1, "ended": 1, "voicemail": 1, "talked_s": 7}),
        ("USER_REJECTED", {"dialled": 1, "ended": 1, "not_reached": 1, "talked_s": 7}),
        ("INVALID_PHONE_NUMBER", {"dialled": 1, "ended": 1, "wrong_number": 1, "talked_s": 7}),
        ("OUTSIDE_TRIGGER_WINDOW", {"ended": 1, "other": 1, "talked_s": 7}),
        ("DELETED_SCH_CALL_ONE", {"ended": 1, "other": 1, "talked_s": 7}),
        ("UNKNOWN", {"dialled": 1, "ended": 1, "other": 1, "talked_s": 7}),
        ("A_NEW_WORD", {"dialled": 1, "ended": 1, "other": 1, "talked_s": 7}),
    ],
)
def test_a_result_has_its_figure(store: Store, reason: str, figures: dict[str, int]) -> None:
    store.redis.flushall()
    deliver(store)
    store.keep_outcome(told("d1", "CA1", hangup_reason=reason, call_duration=7))
    assert total(store) == {"events": 1, "accepted": 1, **figures}


def test_a_redial_counts_in_the_place_of_the_dial_before_it_and_both_were_talked_in(
    store: Store,
) -> None:
    deliver(store)
    first = told(
        "d1", "CA1", 0, hangup_reason="USER_REJECTED", next_call_scheduled=True, call_duration=3
    )
    store.keep_outcome(first)
    assert total(store) == {"events": 1, "accepted": 1, "dialled": 1, "talked_s": 3}
    second = told(
        "d1", "CA1", 1, hangup_reason="CLIENT_INITIATED", conversion_status=True, call_duration=60
    )
    store.keep_outcome(second)
    ended = {"events": 1, "accepted": 1, "dialled": 1, "ended": 1, "connected": 1, "converted": 1}
    assert total(store) == {**ended, "talked_s": 63}
    store.keep_outcome(second)
    store.keep_outcome(first)
    assert total(store) == {**ended, "talked_s": 63}


def test_an_outcome_that_comes_before_its_delivery_counts_with_it(store: Store) -> None:
    store.keep_outcome(told(None, "CA1", hangup_reason="VOICEMAIL_DETECTED", call_duration=9))
    assert total(store) == {}
    deliver(store)
    assert total(store) == {
        **{"events": 1, "accepted": 1, "dialled": 1, "ended": 1, "voicemail": 1},
        "talked_s": 9,
    }


@each("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_of_equal_dials_the_later_one_is_the_newest_however_they_come(
    store: Store, order: tuple[int, ...]
) -> None:
    store.redis.flushall()
    deliver(store)
    reasons = ("USER_REJECTED", "VOICEMAIL_DETECTED", "CLIENT_INITIATED")
    for number in order:
        at = f"2026-11-28 1{number}:00:00"
        store.keep_outcome(told("d1", f"CA{number}", hangup_reason=reasons[number], time=at))
    assert total(store) == {"events": 1, "accepted": 1, "dialled": 1, "ended": 1, "connected": 1}


def test_after_call_again_the_new_call_counts_in_the_place_of_the_old(store: Store) -> None:
    deliver(store)
    store.keep_outcome(told("d1", "CA1", hangup_reason="CLIENT_INITIATED", call_duration=9))
    assert call_again(store) == "ok"
    assert total(store) == {"events": 1, "accepted": 1}
    store.keep_outcome(told("d1", "CA1", 1, hangup_reason="CLIENT_INITIATED", call_duration=9))
    assert total(store) == {"events": 1, "accepted": 1}
    store.keep_outcome(told("d1", "CA2", hangup_reason="USER_REJECTED"))
    assert total(store) == {
        **{"events": 1, "accepted": 1, "dialled": 1, "ended": 1, "not_reached": 1}
    }


def test_an_inbound_call_does_not_count(store: Store) -> None:
    deliver(store)
    store.keep_outcome(told("d1", "CA7", -1, hangup_reason="CLIENT_INITIATED", call_duration=9))
    assert total(store) == {"events": 1, "accepted": 1}


def test_an_erased_person_stays_counted(store: Store) -> None:
    deliver(store)
    ended = told(
        "d1",
        "CA1",
        hangup_reason="CLIENT_INITIATED",
        conversion_status=True,
        call_duration=60,
        versionId="v7",
    )
    store.keep_outcome(ended)
    before = total(store)
    store._run("erase", "d1")
    audit(store)
    assert total(store) == before
    assert before["converted"] == 1
    assert keys(store, By.AGENT) == {"agent-1": 1}
    assert keys(store, By.VERSION) == {"v7": 1}
    found = store.delivery("d1")
    assert found is not None
    assert found.outcomes[0].conversion_status is None


def test_an_outcome_that_comes_after_the_erasure_counts(store: Store) -> None:
    deliver(store)
    store._run("erase", "d1")
    ended = told(
        "d1", "CA1", hangup_reason="CLIENT_INITIATED", conversion_status=True, call_duration=5
    )
    store.keep_outcome(ended)
    audit(store)
    assert total(store)["converted"] == 1
    assert keys(store, By.AGENT) == {"agent-1": 1}


def test_test_calls_and_campaigns_do_not_count(store: Store) -> None:
    accept(store, (an_event("t", type=CALL_ME), [a_delivery("t1")]))
    accept(store, (an_event("c"), [a_delivery("c1", to="campaign")]))
    lease = claim(store)["t1"]
    store.move([to_sending("t1", lease)])
    settle(store, lease, Status.DELIVERED, "t1", fields={"call_sid": "CA1"})
    store.keep_outcome(told("t1", "CA1", hangup_reason="CLIENT_INITIATED"))
    audit(store)
    assert total(store) == {}


@each(("kind", "data", "events"), [(CALL_ME, {}, 0), ("a", {"type": CALL_ME}, 1), ("a", None, 1)])
def test_a_test_call_of_a_release_that_did_not_mark_it_does_not_count(
    store: Store, kind: str, data: Any, events: int
) -> None:
    store.redis.flushall()
    accept(store, (an_event("e1", type=kind, data=data), [a_delivery("d1")]))
    store.redis.hdel(f"{P}event:e1", "is_test")
    store.redis.hdel(f"{P}delivery:d1", "figures")
    for key in store.redis.keys(f"{P}figures:*"):
        store.redis.delete(key)
    audit(store)
    assert total(store).get("events", 0) == events


def test_a_pruned_delivery_stays_counted(store: Store) -> None:
    deliver(store)
    before = total(store)
    assert store.prune(datetime.now(UTC) + timedelta(days=1)) == 1
    assert total(store) == before


# --- where it counts ------------------------------------------------------------------------


def test_it_counts_under_all_its_names(store: Store) -> None:
    deliver(store, batch_id="b-1")
    deliver(store, "d2", "CA2", agent="agent-2")
    store.keep_outcome(told("d2", "CA2", hangup_reason="CLIENT_INITIATED", versionId="v3"))
    assert keys(store, By.SOURCE) == {"website": 2}
    assert keys(store, By.ROUTE) == {"call back": 2}
    assert keys(store, By.CAMPAIGN) == {"b-1": 1, "none": 1}
    assert keys(store, By.AGENT) == {"agent-1": 1, "agent-2": 1}
    assert keys(store, By.VERSION) == {"v3": 1, "none": 1}
    of_campaign = table(store, By.AGENT, (By.CAMPAIGN, "b-1"))
    assert [key for key, _ in of_campaign.items] == ["agent-1"]
    assert of_campaign.total.events == 1


@each("zone", ["Asia/Kolkata", "America/New_York", "Asia/Kathmandu", "UTC", "Pacific/Kiritimati"])
def test_it_counts_in_the_hour_of_its_zone(store: Store, zone: str) -> None:
    store.redis.flushall()
    store = Store(store.redis, zone=zone)
    deliver(store)
    found = store.delivery("d1")
    assert found is not None
    day, hour = hour_of(found.created_at, ZoneInfo(zone))
    assert [
        (on, next(iter(cells))[:2]) for on, cells in store.figures(range(day - 2, day + 2))
    ] == [(day, hour)]


def test_it_counts_in_the_hour_of_its_first_acceptance_from_then_on(store: Store) -> None:
    lease = send(store)
    made = datetime.now(UTC) - timedelta(days=3, hours=5)
    store.redis.hset(f"{P}delivery:d1", "created_ms", int(made.timestamp() * 1000))
    store._run("erase", "d1")  # any step counts again
    day, hour = hour_of(made, ZoneInfo(ZONE))
    [(on, cells)] = store.figures(range(day - 9, day + 9))
    assert (on, next(iter(cells))[:2]) == (day, hour)
    settle(store, lease, Status.DELIVERED, fields={"call_sid": "CA1"})
    [accepted] = [one.at for one in store.delivery("d1").timeline if one.status == "delivered"]
    [(on, cells)] = store.figures(range(day - 9, day + 9))
    assert (on, next(iter(cells))[:2]) == hour_of(accepted, ZoneInfo(ZONE))


@each("zone", ["America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca"])
def test_the_offsets_that_the_scripts_have_are_those_of_the_zone(zone: str) -> None:
    first, last = datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
    found = list(offsets(ZoneInfo(zone), first, last))
    at = first
    while at < last:
        offset = at.astimezone(ZoneInfo(zone)).utcoffset()
        assert offset is not None
        known = [s for ms, s in found if ms <= at.timestamp() * 1000][-1]
        assert known == offset.total_seconds(), at
        at += timedelta(hours=5)
    for ms, offset_s in found[1:]:
        after = datetime.fromtimestamp(ms / 1000, UTC)
        before = after - timedelta(seconds=1)
        shown = [one.astimezone(ZoneInfo(zone)).utcoffset() for one in (before, after)]
        assert shown[0] != shown[1] == timedelta(seconds=offset_s)


# --- what is stored already, and what goes wrong ---------------------------------------------


def audit(store: Store) -> None:
    place = (0, 0)
    while True:
        place, _ = store.audit(place, lease_s=60)
        if place == (0, 0):
            return


def test_the_audit_counts_what_an_older_release_stored(store: Store) -> None:
    deliver(store)
    settle(store, send(store, "d2"), Status.FAILED, "d2")
    store.keep_outcome(told("d1", "CA1", hangup_reason="CLIENT_INITIATED", call_duration=7))
    before = total(store)
    for key in store.redis.scan_iter(f"{P}figures:*"):
        store.redis.delete(key)
    for delivery_id in ("d1", "d2"):
        store.redis.hdel(f"{P}delivery:{delivery_id}", "figures")
    assert total(store) == {}
    store.redis.delete(f"{P}indexed")
    assert store.indexing() == Indexing(done=0, of=2)
    audit(store)
    assert store.indexing() is None
    audit(store)
    assert total(store) == before


@each("status", ["skipped", "failed", "unknown", "delivered"])
def test_the_audit_counts_again_what_an_older_release_changed(store: Store, status: str) -> None:
    store.redis.flushall()
    send(store)
    store.redis.hset(f"{P}delivery:d1", "status", status)
    audit(store)
    assert total(store) == {"events": 1, "accepted" if status == "delivered" else status: 1}


def keep_as_an_older_release(store: Store, outcome: Outcome) -> None:
    field = f"outcome:{outcome.call_sid}:{outcome.try_count}"
    store.redis.hset(f"{P}delivery:d1", field, orjson.dumps(as_record(outcome)).decode())
    store.redis.hincrby(f"{P}delivery:d1", "outcomes", 1)


def test_the_audit_counts_an_outcome_that_an_older_process_kept_after_another(
    store: Store,
) -> None:
    deliver(store)
    busy = {"hangup_reason": "USER_REJECTED", "next_call_scheduled": True}
    store.keep_outcome(told("d1", "CA1", **busy))
    answered = {"hangup_reason": "CLIENT_INITIATED", "call_duration": 60}
    keep_as_an_older_release(store, told("d1", "CA1", 1, **answered))
    audit(store)
    wanted = {"events": 1, "accepted": 1, "dialled": 1, "ended": 1, "connected": 1}
    assert total(store) == wanted | {"talked_s": 60}


def test_the_audit_takes_away_what_an_older_process_called_again(store: Store) -> None:
    deliver(store)
    store.keep_outcome(told("d1", "CA1", hangup_reason="CLIENT_INITIATED", call_duration=60))
    kept = store.redis.hmget(f"{P}delivery:d1", "newest", "figures")
    assert call_again(store) == "ok"
    # An older release has neither of these, so that they stay.
    store.redis.hset(f"{P}delivery:d1", mapping={"newest": kept[0], "figures": kept[1]})
    audit(store)
    assert store.redis.hget(f"{P}delivery:d1", "newest") is None
    assert store.redis.hget(f"{P}delivery:d1", "figures") != kept[1]


def test_figures_that_can_not_be_written_stop_no_call(store: Store) -> None:
    day, _ = hour_of(datetime.now(UTC), ZoneInfo(ZONE))
    store.redis.set(f"{P}figures:{day}", "not a hash")
    deliver(store)
    assert store.delivery("d1").status == "delivered"
    store.redis.delete(f"{P}figures:{day}")
    audit(store)
    assert total(store) == {"events": 1, "accepted": 1}


@each("request", ["", "[]", "{", '{"agent_id": null}', '{"agent_id": {"a": 1}}', "null"])
def test_a_request_without_a_readable_agent_counts(store: Store, request: str) -> None:
    store.redis.flushall()
    lease = send(store, request=request)
    settle(store, lease, Status.DELIVERED, fields={"call_sid": "CA1"})
    assert total(store) == {"events": 1, "accepted": 1}
    assert keys(store, By.AGENT) == {"none": 1}


def test_names_with_tabs_and_long_ones_are_counted(store: Store) -> None:
    deliver(store, "d1", "CA1", agent="a\\tb\\nc")
    deliver(store, "d2", "CA2", agent="ü" * 101)
    assert keys(store, By.AGENT) == {"a b c": 1, OTHER: 1}


def test_a_day_has_a_limited_number_of_cells(store: Store) -> None:
    for start in range(0, 1600, 400):
        ids = [f"d{number}" for number in range(start, start + 400)]
        accept(store, *((an_event(one), [a_delivery(one, route=f"route {one}")]) for one in ids))
    [(_, cells)] = table_days(store)
    assert len(cells) <= 1501
    assert total(store) == {"events": 1600}
    claimed = claim(store, 2000)
    store.move([Move(id=one, to=Status.FAILED, lease=lease) for one, lease in claimed.items()])
    assert total(store) == {"events": 1600, "failed": 1600}
    assert len(next(iter(table_days(store)))[1]) <= 1501


def table_days(store: Store) -> list[tuple[int, Any]]:
    today, _ = hour_of(datetime.now(UTC), ZoneInfo(ZONE))
    return list(store.figures(range(today - 1, today + 2)))


def test_figures_expire_after_400_days(store: Store) -> None:
    deliver(store)
    [key] = set(store.redis.keys(f"{P}figures:*")) - {f"{P}figures:changed"}
    assert 400 < store.redis.ttl(key) / 86400 < 403


# --- exactness ------------------------------------------------------------------------------

IDS = ("d1", "d2")
ENDS = (Status.FAILED, Status.UNKNOWN, Status.RETRYING, Status.SKIPPED)
REASONS = (
    *("CLIENT_INITIATED", "VOICEMAIL_DETECTED", "USER_REJECTED", "INVALID_PHONE_NUMBER"),
    *("OUTSIDE_TRIGGER_WINDOW", "DELETED_SCH_CALL_ALL", "UNKNOWN", "A_NEW_WORD"),
)


class Machine(RuleBasedStateMachine):
    """A store, a worker that may die, CallKaro, and a person."""

    store: Store  # set by the test

    @initialize(first=st.sets(st.sampled_from(IDS)))
    def begin(self, first: set[str]) -> None:
        self.store.redis.flushall()
        self.leases: dict[str, int] = {}
        self.numbers: Counter[str] = Counter()  # of the calls of each delivery
        self.converted: set[tuple[str, str, int]] = set()
        self.told: set[tuple[str, str, int]] = set()
        self.names_us: dict[tuple[str, str, int], bool] = {}  # whether an outcome has our id
        for one in sorted(first):
            self.arrive(one, bulk=False)

    @rule(one=st.sampled_from(IDS), bulk=st.booleans())
    def arrive(self, one: str, bulk: bool) -> None:
        new = a_delivery(one, bulk="an import") if bulk else a_delivery(one)
        accept(self.store, (an_event(one), [new]))

    @rule(
        one=st.sampled_from(IDS),
        agent=st.sampled_from("ab"),
        batch=st.booleans(),
        to=st.sampled_from([*[Status.DELIVERED] * 3, *ENDS, None]),
    )
    def tried(self, one: str, agent: str, batch: bool, to: Status | None) -> None:
        """A worker claims all that is due, and sends one of them; None: it gets no answer."""
        self.leases |= claim(self.store)
        if not (lease := self.leases.get(one)):
            return
        if to is Status.SKIPPED:
            self.store.move([Move(id=one, to=to, lease=lease, reason="no_number")])
            return
        fields = {"request": f'{{"agent_id": "{agent}"}}', "batch_id": "b-1" if batch else None}
        self.store.move([to_sending(one, lease, fields=fields)])
        if to:
            self.answered(one, to)

    @rule(one=st.sampled_from(IDS), to=st.sampled_from([Status.DELIVERED, Status.FAILED]))
    def answered(self, one: str, to: Status) -> None:
        if not (lease := self.leases.get(one)):
            return
        more: dict[str, Any] = {"wait_s": 0} if to is Status.RETRYING else {}
        if to is Status.DELIVERED:
            more["fields"] = {"call_sid": f"CA-{one}-{self.numbers[one]}"}
        self.store.move([Move(id=one, to=to, lease=lease, attempt=(1, {"number": 1}), **more)])

    @rule()
    def worker_dies(self) -> None:
        if self.leases:
            self.store.redis.zadd(f"{P}leased", dict.fromkeys(self.leases, 0), xx=True)
        self.store.sweep()

    @rule(
        one=st.sampled_from(IDS),
        ago=st.sampled_from([0, 0, 0, 1, -1]),
        dial=st.integers(-1, 2),
        reason=st.sampled_from(REASONS),
        seconds=st.integers(0, 90),
        is_final=st.booleans(),
        converted=st.booleans(),
        at=st.sampled_from([None, "2026-11-28 10:00:00", "2026-11-28 11:00:00.5"]),
        knows_us=st.booleans(),
    )
    def ended(
        self,
        one: str,
        ago: int,
        dial: int,
        reason: str,
        seconds: int,
        is_final: bool,
        converted: bool,
        at: str | None,
        knows_us: bool,
    ) -> None:
        sid = f"CA-{one}-{self.numbers[one] - ago}"
        # An early one that has our id is attached before one that has not, whichever came first.
        knows_us = self.names_us.setdefault((one, sid, dial), knows_us)
        outcome = told(
            one if knows_us else None,
            sid,
            dial,
            hangup_reason=reason,
            call_duration=seconds,
            next_call_scheduled=not is_final,
            conversion_status=converted,
            **({"time": at} if at else {}),
        )
        became, _ = self.store.keep_outcome(outcome)
        # Of a dial the first one that its delivery has counts; an early one if none was stored.
        if became == "stored" or (became == "kept" and (one, sid, dial) not in self.told):
            self.told.add((one, sid, dial))
            self.converted.discard((one, sid, dial))
            if converted:
                self.converted.add((one, sid, dial))

    @rule(one=st.sampled_from(IDS))
    def called_again(self, one: str) -> None:
        if call_again(self.store, one) == "ok":
            self.numbers[one] += 1
            self.leases.pop(one, None)

    @rule(one=st.sampled_from(IDS))
    def erased(self, one: str) -> None:
        self.store._run("erase", one)

    @rule()
    def audited(self) -> None:
        audit(self.store)

    @invariant()
    def figures_equal_a_recount(self) -> None:
        kept = [found for one in IDS if (found := self.store.delivery(one))]
        wanted = recount(
            kept, lambda one, o: (one.id, str(o.call_sid), o.try_count) in self.converted
        )
        for by in (By.DAY, By.AGENT, By.CAMPAIGN):
            sums = table(self.store, by).total
            assert {name: n for name in NAMES if (n := getattr(sums, name))} == wanted, by


@pytest.mark.hypothesis
def test_figures_equal_a_recount_whatever_happens(store: Store) -> None:
    class Here(Machine):
        pass

    Here.store = store
    most = 200 if ALL_EXAMPLES else 40
    run(
        Here,
        settings=settings(
            max_examples=most,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


# --- the sums --------------------------------------------------------------------------------


def cell(
    hour: str, route: str = "r", campaign: str = "", agent: str = "", version: str = ""
) -> str:
    return "\t".join((hour, "s", route, campaign, agent, version))


def sums(*numbers: int) -> str:
    return ",".join(map(str, (*numbers, *[0] * (len(NAMES) - len(numbers)))))


MONDAY = (datetime(2026, 11, 23, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days


def by_key(days: Any, by: By, **more: Any) -> dict[str, int]:
    query = FigureQuery(by=by, **{"first": EVER[0], "last": EVER[1], **more})
    found = summed((sums_of(day, cells, query) for day, cells in days), by)
    return {key: figures.events for key, figures in found.items}


def test_keys_by_time_are_in_the_order_of_time() -> None:
    days = [
        (MONDAY + 1, {cell("09"): sums(1)}),
        (MONDAY, {cell("10"): sums(2), cell("09"): sums(4)}),
        (MONDAY + 7, {cell("09"): sums(8)}),
    ]
    assert list(by_key(days, By.DAY).items()) == [
        ("2026-11-23", 6),
        ("2026-11-24", 1),
        ("2026-11-30", 8),
    ]
    assert list(by_key(days, By.HOUR).items()) == [("09", 13), ("10", 2)]
    assert list(by_key(days, By.WEEKDAY).items()) == [("mon", 14), ("tue", 1)]
    assert list(by_key(days, By.WEEKDAY_HOUR).items()) == [
        ("mon 09", 12),
        ("mon 10", 2),
        ("tue 09", 1),
    ]


def test_other_keys_are_in_the_order_of_their_size_with_the_rest_last() -> None:
    of_day = {cell("09", route=f"r{number:03}"): sums(number) for number in range(1, 251)}
    found = by_key([(MONDAY, of_day)], By.ROUTE)
    assert len(found) == 201
    assert next(iter(found)) == "r250"
    assert list(found)[-1] == OTHER
    assert found[OTHER] == sum(range(1, 51))
    assert sum(found.values()) == sum(range(1, 251))


@each(
    ("since", "until", "hours"),
    [
        (None, None, ["08", "09", "10"]),
        ("2026-11-23T09:00+05:30", None, ["09", "10"]),
        ("2026-11-23T09:59+05:30", None, ["09", "10"]),
        (None, "2026-11-23T09:00+05:30", ["08"]),
        (None, "2026-11-23T09:01+05:30", ["08", "09"]),
        ("2026-11-23T04:00Z", "2026-11-23T04:30Z", ["09"]),
        ("2026-11-24T00:00+05:30", None, []),
        ("9999-12-31T23:59Z", None, []),
        ("0001-01-01T00:00Z", "9999-12-31T23:59Z", ["08", "09", "10"]),
        (None, "0001-01-01T00:00Z", []),
    ],
)
def test_hours_count_whole(since: str | None, until: str | None, hours: list[str]) -> None:
    first, last = span(
        datetime.fromisoformat(since) if since else None,
        datetime.fromisoformat(until) if until else None,
        now=datetime(2026, 11, 28, tzinfo=UTC),
        zone=ZoneInfo(ZONE),
    )
    days = [(MONDAY, {cell(hour): sums(1) for hour in ("08", "09", "10")})]
    wanted = [day for day in days if first[0] <= day[0] <= last[0]]
    assert list(by_key(wanted, By.HOUR, first=first, last=last)) == hours


def test_cells_of_another_release_are_read() -> None:
    days = [(MONDAY, {cell("09"): "3,2", cell("10"): sums(1) + ",99", "nonsense": "1"})]
    assert by_key(days, By.HOUR) == {"09": 3, "10": 1}


def test_rates_are_null_where_there_is_nothing_to_divide_by() -> None:
    none, some = Figures(), Figures(dialled=4, connected=2, converted=1)
    assert (none.answer_rate, none.conversion_rate) == (None, None)
    assert (some.answer_rate, some.conversion_rate) == (0.5, 0.5)
