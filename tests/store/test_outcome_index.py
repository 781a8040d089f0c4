"""The newest outcome of a delivery: what is shown, and the index that lists filter by."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from support import examples
from support.storing import a_delivery, accept, an_event, claim, put, to_sending

from schemas.delivery import Delivery, Status
from schemas.headline import newest
from schemas.outcome import Outcome, Result, as_record
from schemas.records import NO_OUTCOME, Filters, Move
from store import Store
from store.base import P

START = datetime(2026, 1, 5, 6, 30, tzinfo=UTC)
PLACES = (NO_OUTCOME, *map(str, Result))


def an_outcome(
    sid: str | None = "CA1", try_count: int = 0, at_s: float | None = 0, **more: Any
) -> Outcome:
    """Return an outcome that ended `at_s` seconds after START; None: CallKaro named no time."""
    ended_at = None if at_s is None else START + timedelta(seconds=at_s)
    fields = {"result": Result.CONNECTED, "is_final": True, "duration_s": 30, **more}
    return Outcome(call_sid=sid, delivery_id="d1", try_count=try_count, ended_at=ended_at, **fields)


def deliver(store: Store, sid: str | None = "CA1", delivery_id: str = "d1") -> None:
    lease = claim(store)[delivery_id]
    store.move([to_sending(delivery_id, lease)])
    fields = {"call_sid": sid} if sid else {}
    move = Move(id=delivery_id, to=Status.DELIVERED, lease=lease, attempt=(1, {"number": 1}))
    assert store.move([replace(move, fields=fields)]) == ["ok"]


def call_again(store: Store, delivery_id: str = "d1") -> None:
    fields: dict[str, Any] = {"call_sid": None, "call_again": 1}
    move = Move(id=delivery_id, to=Status.QUEUED, restarts=True, wait_s=0, fields=fields)
    rang = frozenset({Status.DELIVERED, Status.UNKNOWN, Status.CANCELLED})
    assert store.move([replace(move, from_statuses=rang)]) == ["ok"]


def found(store: Store, delivery_id: str = "d1") -> Delivery:
    delivery = store.delivery(delivery_id)
    assert delivery is not None
    return delivery


def listed(store: Store, *outcome: str) -> list[str]:
    page = store.deliveries(Filters(outcome=outcome), before=None, limit=200, brief=True)
    return [one.id for one in page.items]


def check(store: Store, delivery_id: str = "d1") -> None:
    """Fail unless index, list, detail and the pure function agree."""
    delivery = found(store, delivery_id)
    best = newest(delivery.outcomes, delivery.past)
    is_silent = delivery.status is Status.DELIVERED and delivery.to == "call"
    place = str(best.result) if best else NO_OUTCOME if is_silent else None
    for each_place in PLACES:
        is_there = store.redis.zscore(f"{P}deliveries:outcome:{each_place}", delivery_id)
        assert (is_there is not None) == (each_place == place), each_place
    [brief] = store.deliveries(Filters(), before=None, limit=1, brief=True).items
    assert brief.headline == delivery.headline
    if place:
        assert listed(store, place) == [delivery_id]


# --- what is the newest -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        # A later dial, whichever came first.
        (("CA1", 0, 10, "not_reached"), ("CA1", 1, 20, "connected"), "connected"),
        (("CA1", 1, 20, "connected"), ("CA1", 0, 10, "not_reached"), "connected"),
        (("CA1", 2, 5, "voicemail"), ("CA2", 1, 50, "connected"), "voicemail"),
        # The same dial of two calls: the later time.
        (("CA1", 0, 10, "not_reached"), ("CA2", 0, 20, "connected"), "connected"),
        (("CA2", 0, 20, "connected"), ("CA1", 0, 10, "not_reached"), "connected"),
        (("CA1", 0, 0.002, "voicemail"), ("CA2", 0, 0.001, "connected"), "voicemail"),
        # A person who called CallKaro does not count.
        (("CA1", 0, 10, "not_reached"), ("CA2", -1, 99, "connected"), "not_reached"),
        (("CA2", -1, 99, "connected"), ("CA1", 0, 10, "not_reached"), "not_reached"),
        # Doubled: the first is kept.
        (("CA1", 0, 10, "not_reached"), ("CA1", 0, 99, "connected"), "not_reached"),
    ],
)
def test_the_newest_outcome_is_that_of_the_latest_dial(
    store: Store, first: Any, second: Any, result: str
) -> None:
    put(store, "d1")
    deliver(store)
    check(store)
    for sid, try_count, at_s, word in (first, second):
        store.keep_outcome(an_outcome(sid, try_count, at_s, result=Result(word)))
        check(store)
    assert str(found(store).headline.result) == result
    assert listed(store, result) == ["d1"]


def test_without_a_time_of_callkaro_the_time_of_receipt_counts(store: Store) -> None:
    put(store, "d1")
    deliver(store)
    early, late = START, START + timedelta(hours=1)
    store.keep_outcome(an_outcome("CA2", at_s=None, result=Result.VOICEMAIL), now=late)
    store.keep_outcome(an_outcome("CA1", at_s=None, result=Result.NOT_REACHED), now=early)
    check(store)
    assert found(store).headline.result == Result.VOICEMAIL
    assert found(store).headline.at == late


def test_an_outcome_has_what_lists_show(store: Store) -> None:
    put(store, "d1")
    deliver(store)
    store.keep_outcome(
        an_outcome(
            try_count=2,
            duration_s=299,
            conversion_status=False,
            disposition_reason="asked for a visit",
            recording_url="https://recordings.example/1.mp3",
            call_link="javascript:alert(1)",
            transcription="long " * 100,
        )
    )
    shown = found(store).headline
    assert (shown.tries, shown.talked_s, shown.converted) == (3, 299, False)
    assert shown.disposition == "asked for a visit"
    assert (shown.recording_url, shown.call_link) == ("https://recordings.example/1.mp3", None)
    store.erase_deliveries(["d1"])
    check(store)
    shown = found(store).headline
    assert (shown.result, shown.tries, shown.is_final) == (Result.CONNECTED, 3, True)
    assert {shown.talked_s, shown.converted, shown.disposition, shown.recording_url} == {None}


# --- calls before "call again" ------------------------------------------------------------------


def test_an_old_call_is_never_shown_as_the_newer_one(store: Store) -> None:
    put(store, "d1")
    deliver(store, "CA1")
    store.keep_outcome(an_outcome("CA1", result=Result.NOT_REACHED, is_final=False))
    call_again(store)
    check(store)
    assert found(store).headline is None
    store.keep_outcome(an_outcome("CA1", 1, 60, result=Result.CONNECTED))
    check(store)
    assert found(store).headline is None
    deliver(store, "CA2")
    assert listed(store, NO_OUTCOME) == ["d1"]
    store.keep_outcome(an_outcome("CA1", 2, 10**6, result=Result.CONNECTED))
    assert listed(store, NO_OUTCOME) == ["d1"]
    store.keep_outcome(an_outcome("CA2", 0, 90, result=Result.VOICEMAIL))
    check(store)
    assert listed(store, "voicemail", "connected") == ["d1"]
    assert found(store).headline.result == Result.VOICEMAIL


UNKNOWN_IDS = [None, "CA-unknown", "with space:and:colons"]


@pytest.mark.parametrize("sid", UNKNOWN_IDS)
def test_an_outcome_from_before_call_again_is_past(store: Store, sid: str | None) -> None:
    put(store, "d1")
    deliver(store, None)
    store.keep_outcome(an_outcome(sid))
    assert found(store).headline.result == Result.CONNECTED
    call_again(store)
    check(store)
    assert (found(store).headline, found(store).status) == (None, Status.QUEUED)
    deliver(store, "CA2")
    check(store)
    assert listed(store, NO_OUTCOME) == ["d1"]


@pytest.mark.parametrize("sid", UNKNOWN_IDS)
@pytest.mark.parametrize("is_settled", [True, False])
def test_an_old_call_whose_id_was_not_known_is_told_by_its_time(
    store: Store, sid: str | None, is_settled: bool
) -> None:
    put(store, "d1")
    deliver(store, None)
    call_again(store)
    if is_settled:
        deliver(store, "CA2")
    else:
        store.move([to_sending("d1", claim(store)["d1"])])
    store.keep_outcome(an_outcome(sid, 5, at_s=0))  # it ended long before "call again"
    check(store)
    assert found(store).headline is None
    assert found(store).status == (Status.DELIVERED if is_settled else Status.SENDING)
    later = (datetime.now(UTC) - START).total_seconds() + 60
    store.keep_outcome(an_outcome("CA2", 0, later, result=Result.VOICEMAIL))
    check(store)
    assert found(store).headline.result == Result.VOICEMAIL


@pytest.mark.parametrize("sid", UNKNOWN_IDS)
def test_an_old_call_that_is_proved_before_the_new_one_went_out_is_the_only_one(
    store: Store, sid: str | None
) -> None:
    put(store, "d1")
    deliver(store, None)
    call_again(store)
    store.keep_outcome(an_outcome(sid))
    assert claim(store) == {}  # the second call is dropped
    assert found(store).status == Status.DELIVERED
    assert found(store).headline.result == Result.CONNECTED
    check(store)


def test_an_outcome_without_a_time_still_proves_the_new_call(store: Store) -> None:
    put(store, "d1")
    deliver(store, "CA1")
    call_again(store)
    assert store.keep_outcome(an_outcome("CA9", at_s=None)) == ("stored", "d1")
    assert found(store).status == Status.DELIVERED
    assert found(store).headline.result == Result.CONNECTED
    check(store)


def test_a_call_id_that_came_second_is_past_and_so_is_its_outcome(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    store.move([to_sending("d1", lease)])
    store.keep_outcome(an_outcome("CA1", 0, 5, result=Result.NOT_REACHED))
    store.keep_outcome(an_outcome("CA2", 0, 9, result=Result.CONNECTED))
    assert found(store).headline.result == Result.CONNECTED
    move = Move(id="d1", to=Status.DELIVERED, lease=lease, attempt=(1, {"number": 1}))
    store.move([replace(move, fields={"call_sid": "CA2"})])
    check(store)
    assert found(store).headline.result == Result.NOT_REACHED


@pytest.mark.parametrize("broken", ["{", "[]", "7", "null", '"text"', ""])
def test_a_broken_outcome_does_not_keep_away_the_next_one(store: Store, broken: str) -> None:
    put(store, "d1")
    deliver(store)
    store.redis.hset(f"{P}delivery:d1", "outcome:CA0:0", broken)
    assert store.keep_outcome(an_outcome("CA1", 1, result=Result.VOICEMAIL)) == ("stored", "d1")
    store.redis.hdel(f"{P}delivery:d1", "outcome:CA0:0")
    check(store)
    assert listed(store, "voicemail") == ["d1"]


@pytest.mark.parametrize("word", ["busy", "none", "", "two words", 7, None])
def test_a_result_of_a_newer_release_is_unrecognised(store: Store, word: object) -> None:
    put(store, "d1")
    deliver(store)
    record = orjson.dumps({**as_record(an_outcome("CA0", 3)), "result": word})
    store.redis.hset(f"{P}delivery:d1", "outcome:CA0:3", record)
    store.redis.hset(f"{P}delivery:d1", "outcomes", 1)
    audit_all(store)
    check(store)
    assert listed(store, "unrecognised") == ["d1"]


# --- lists --------------------------------------------------------------------------------------


def test_lists_filter_by_several_results_and_with_other_filters(store: Store) -> None:
    for number, result in enumerate(["connected", "voicemail", "connected", None, "failed"]):
        delivery_id = f"d{number}"
        route = "odd" if number % 2 else "even"
        accept(store, (an_event(), [a_delivery(delivery_id, route=route)]))
        deliver(store, f"CA{number}", delivery_id)
        if result:
            outcome = an_outcome(f"CA{number}", result=Result(result))
            store.keep_outcome(replace(outcome, delivery_id=delivery_id))
    accept(store, (an_event(), [a_delivery("campaign", to="campaign")]))
    deliver(store, None, "campaign")

    assert listed(store, "connected") == ["d2", "d0"]
    assert listed(store, "connected", "voicemail") == ["d2", "d1", "d0"]
    assert listed(store, NO_OUTCOME) == ["d3"]  # not the campaign: it calls nobody
    assert listed(store, "not_reached") == []
    both = Filters(outcome=("connected", NO_OUTCOME), route="odd")
    page = store.deliveries(both, before=None, limit=10, brief=True)
    assert [one.id for one in page.items] == ["d3"]
    both = Filters(outcome=("connected", "failed"), status=("delivered", "unknown"), route="even")
    page = store.deliveries(both, before=None, limit=1, brief=False)
    assert ([one.id for one in page.items], page.next_cursor is None) == (["d4"], False)


def test_a_total_is_known_for_a_single_index(store: Store) -> None:
    put(store, "d1", "d2", "d3")
    assert store.count(Filters()) == 3
    assert store.count(Filters(status=("queued", "held"))) == 3
    assert store.count(Filters(route="call back")) == 3
    assert store.count(Filters(source="website", route="call back")) is None
    assert store.count(Filters(reason="bulk")) is None
    assert store.count(Filters(until=datetime(2000, 1, 1, tzinfo=UTC))) == 0
    assert store.count(Filters(outcome=("connected",))) is None  # not all is indexed yet
    audit_all(store)
    assert store.count(Filters(outcome=("connected", NO_OUTCOME))) == 0
    leases = claim(store)
    store.move([to_sending(one, lease) for one, lease in leases.items()])
    store.keep_outcome(an_outcome())
    assert store.count(Filters(outcome=("connected", NO_OUTCOME))) == 1


# --- an older release, and repair ---------------------------------------------------------------


def audit_all(store: Store) -> int:
    """Audit a whole round; return how many deliveries were repaired in an index."""
    place, repaired = store.audit((0, 0), lease_s=60)
    indexed = repaired.indexed
    while place != (0, 0):
        place, repaired = store.audit(place, lease_s=60)
        indexed += repaired.indexed
    return indexed


def as_an_older_release(store: Store, delivery_id: str = "d1") -> None:
    """Remove what an older release did not write."""
    store.redis.hdel(f"{P}delivery:{delivery_id}", "newest", "again_ms")
    for place in PLACES:
        store.redis.delete(f"{P}deliveries:outcome:{place}")
    store.redis.delete(f"{P}indexed")


def test_the_audit_indexes_what_an_older_release_stored(store: Store) -> None:
    put(store, "d1")
    deliver(store)
    store.keep_outcome(an_outcome("CA1", 0, 10, result=Result.NOT_REACHED, is_final=False))
    store.keep_outcome(an_outcome("CA1", 1, 3600.25, result=Result.CONNECTED))
    before = store.redis.hget(f"{P}delivery:d1", "newest")
    as_an_older_release(store)
    assert listed(store, "connected") == []
    indexing = store.indexing()
    assert indexing is not None
    assert (indexing.done, indexing.of) == (0, 1)
    assert audit_all(store) == 0  # no fault, and so no warning
    assert store.indexing() is None
    assert store.redis.hget(f"{P}delivery:d1", "newest") == before
    check(store)


def test_the_audit_repairs_an_index_and_an_outcome_of_an_older_process(store: Store) -> None:
    put(store, "d1")
    deliver(store)
    audit_all(store)
    store.redis.zrem(f"{P}deliveries:outcome:none", "d1")
    store.redis.zadd(f"{P}deliveries:outcome:failed", {"d1": 1})
    assert audit_all(store) == 1
    check(store)
    # A process of the older release still runs, and keeps an outcome without `newest`.
    record = orjson.dumps(as_record(an_outcome("CA1", result=Result.VOICEMAIL))).decode()
    store.redis.hset(f"{P}delivery:d1", "outcome:CA1:0", record)
    store.redis.hincrby(f"{P}delivery:d1", "outcomes", 1)
    audit_all(store)
    check(store)
    assert listed(store, "voicemail") == ["d1"]


def test_a_pruned_delivery_is_in_no_index(store: Store) -> None:
    put(store, "d1")
    deliver(store)
    put(store, "d2")
    deliver(store, "CA2", "d2")
    store.keep_outcome(an_outcome())
    assert store.prune(datetime.now(UTC) + timedelta(days=1)) == 2
    assert not store.redis.keys(f"{P}deliveries*")


def test_an_index_that_can_not_be_written_stops_no_pruning(store: Store) -> None:
    put(store, "d1")
    deliver(store)
    store.redis.delete(f"{P}deliveries:outcome:none")
    store.redis.set(f"{P}deliveries:outcome:none", "of another type")
    assert store.prune(datetime.now(UTC) + timedelta(days=1)) == 1
    assert store.delivery("d1") is None


def test_what_an_older_release_pruned_is_in_no_index_and_in_no_total(store: Store) -> None:
    put(store, "d1", "d2")
    deliver(store)
    store.keep_outcome(an_outcome())
    store.redis.delete(f"{P}delivery:d1")
    for name in ("", ":status:delivered", ":route:call back", ":source:website"):
        store.redis.zrem(f"{P}deliveries{name}", "d1")
    store.forget_stale_terms(0)
    assert store.redis.zcard(f"{P}deliveries:outcome:connected") == 0


# --- everything in any order --------------------------------------------------------------------

SIDS = st.sampled_from([None, "CA1", "CA2", "CA3"])


class Outcomes(RuleBasedStateMachine):
    """A delivery, its outcomes and what people do with it, in any order."""

    store: Store  # set by the test

    @initialize()
    def begin(self) -> None:
        self.store.redis.flushdb()
        put(self.store, "d1")

    @rule(
        sid=SIDS,
        try_count=st.integers(-1, 3),
        at_s=st.one_of(st.none(), st.integers(0, 5), st.just(10**9)),
        result=st.sampled_from(Result),
        is_final=st.booleans(),
    )
    def hear(self, sid: str | None, try_count: int, at_s: int | None, **more: Any) -> None:
        self.store.keep_outcome(an_outcome(sid, try_count, at_s, **more))

    @rule(sid=st.sampled_from(["CA1", "CA2", None]))
    def send(self, sid: str | None) -> None:
        leases = claim(self.store)
        if "d1" in leases:
            self.store.move([to_sending("d1", leases["d1"])])
            move = Move(
                id="d1", to=Status.DELIVERED, lease=leases["d1"], attempt=(1, {"number": 1})
            )
            self.store.move([replace(move, fields={"call_sid": sid} if sid else {})])

    @rule(sid=SIDS, result=st.sampled_from(Result))
    def hear_early(self, sid: str | None, result: Result) -> None:
        if sid:
            outcome = replace(an_outcome(sid, result=result), delivery_id=None)
            self.store.keep_outcome(outcome)

    @rule(again=st.booleans())
    def restart(self, again: bool) -> None:
        fields: dict[str, Any] = {"call_sid": None, **({"call_again": 1} if again else {})}
        move = Move(id="d1", to=Status.QUEUED, restarts=True, wait_s=0, fields=fields)
        ended = frozenset({Status.DELIVERED, Status.CANCELLED})
        self.store.move([replace(move, from_statuses=ended)])

    @rule()
    def cancel(self) -> None:
        self.store.move([Move(id="d1", to=Status.CANCELLED)])

    @rule()
    def erase(self) -> None:
        self.store.erase_deliveries(["d1"])

    @rule(is_old=st.booleans())
    def audit(self, is_old: bool) -> None:
        if is_old:
            as_an_older_release(self.store)
        audit_all(self.store)

    @invariant()
    def all_agree(self) -> None:
        check(self.store)


@pytest.fixture
def machine(store: Store) -> type[Outcomes]:
    return type("OfThisStore", (Outcomes,), {"store": store})


def test_index_and_headline_follow_the_record_whatever_happens(machine: type[Outcomes]) -> None:
    run_state_machine_as_test(machine, settings=settings(examples(120), stateful_step_count=15))
