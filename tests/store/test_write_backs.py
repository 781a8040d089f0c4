"""Write-backs: made with the change that they tell of, moved, forgotten with their call."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from support.storing import a_delivery, accept, an_event, claim, put, to_sending

from schemas.delivery import WRITE_BACK, Delivery, Reason, Status
from schemas.outcome import Outcome, Result
from schemas.records import Filters, Move
from schemas.write_back import CrmCall, WriteBackClaim
from store import Store
from store.base import P
from store.records import written

START = datetime(2026, 1, 5, 6, 30, tzinfo=UTC)
ALL = ("accepted", "outcome", "failed", "skipped", "unknown")
LEASE_S = 60.0


@pytest.fixture
def told(store: Store) -> Store:
    """A store whose only route tells its CRM everything."""
    store.note_write_back_routes({"call back": ALL})
    return store


def an_outcome(
    try_count: int = 0, *, call: str = "d1", sid: str = "CA1", at_s: float = 0, **more: Any
) -> Outcome:
    fields: dict[str, Any] = {"result": Result.CONNECTED, "is_final": True, **more}
    ended_at = START + timedelta(seconds=at_s)
    return Outcome(call_sid=sid, delivery_id=call, try_count=try_count, ended_at=ended_at, **fields)


def call(store: Store, call_id: str = "d1", to: Status = Status.DELIVERED, **more: Any) -> None:
    """Store an event of a CRM's record, and let its call end up in a status."""
    event = {"subject": "101", "subject_type": "contact", **more}
    put(store, call_id, **event)
    lease = claim(store)[call_id]
    if to is Status.SKIPPED:
        moves = [Move(id=call_id, to=to, lease=lease, reason=Reason.NO_NUMBER)]
    else:
        fields = {"call_sid": f"CA{call_id[1:]}"} if to is Status.DELIVERED else {}
        end = Move(id=call_id, to=to, lease=lease, fields=fields, attempt=(1, {"number": 1}))
        moves = [to_sending(call_id, lease), end]
    assert store.move(moves) == ["ok"] * len(moves)


def moments(store: Store, call_id: str = "d1") -> list[tuple[str | None, int | None]]:
    return [(one.moment, one.try_count) for one in store.write_backs_of(call_id)]


def only(store: Store, call_id: str = "d1") -> Delivery:
    [found] = store.write_backs_of(call_id)
    return found


def claimed(store: Store) -> dict[str, WriteBackClaim]:
    found = store.claim_write_backs(100, {}, lease_s=LEASE_S)
    return {one.delivery.moment or "": one for one in found}


def send(store: Store, one: Delivery, *fields: str, number: int = 1) -> str:
    sent = {"sent_fields": orjson.dumps(fields).decode()}
    attempt = (number, {"number": number})
    move = Move(id=one.id, to=Status.SENDING, lease=one.lease, attempt=attempt, fields=sent)
    return store.move([move])[0]


def settle(store: Store, one: Delivery, to: Status = Status.DELIVERED, **more: Any) -> str:
    attempt = (1, {"number": 1, **({"status_code": 200} if to is Status.DELIVERED else {})})
    return store.move([Move(id=one.id, to=to, lease=one.lease, attempt=attempt, **more)])[0]


# --- which there are -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "moment"),
    [
        (Status.DELIVERED, "accepted"),
        (Status.FAILED, "failed"),
        (Status.UNKNOWN, "unknown"),
        (Status.SKIPPED, "skipped"),
    ],
)
def test_a_write_back_is_made_with_the_status_that_it_tells_of(
    told: Store, to: Status, moment: str
) -> None:
    call(told, to=to)
    found = only(told)
    assert (found.moment, found.to, found.of) == (moment, "write_back", "d1")
    assert (found.source, found.route, found.subject) == ("website", "call back", "101")
    assert found.status is Status.QUEUED
    assert found.call_sid == ("CA1" if to is Status.DELIVERED else None)


def test_each_dial_has_one_of_its_own(told: Store) -> None:
    call(told)
    for try_count in (0, 0, 1):
        told.keep_outcome(an_outcome(try_count, is_final=try_count == 1))
    assert moments(told) == [("accepted", None), ("outcome", 0), ("outcome", 1)]


def test_an_outcome_that_came_before_the_answer_is_told(told: Store) -> None:
    put(told, "d1", subject="101")
    told.keep_outcome(an_outcome(call="", sid="CA9"))
    lease = claim(told)["d1"]
    end = Move(id="d1", to=Status.DELIVERED, lease=lease, attempt=(1, {"number": 1}))
    told.move([to_sending("d1", lease), replace(end, fields={"call_sid": "CA9"})])
    assert moments(told) == [("accepted", None), ("outcome", 0)]


def test_an_outcome_that_proves_the_acceptance_tells_both(told: Store) -> None:
    put(told, "d1", subject="101")
    told.keep_outcome(an_outcome())
    assert moments(told) == [("accepted", None), ("outcome", 0)]


def test_a_dead_worker_leaves_a_call_whose_state_is_told_as_unknown(told: Store) -> None:
    put(told, "d1", subject="101")
    told.move([to_sending("d1", claim(told)["d1"])])
    told.redis.zadd(f"{P}leased", {"d1": 1})
    told.sweep()
    assert moments(told) == [("unknown", None)]


def test_an_outcome_without_a_call_sid_is_of_the_call_that_was_accepted(told: Store) -> None:
    call(told)
    told.keep_outcome(replace(an_outcome(), call_sid=None))
    assert {one.call_sid for one in told.write_backs_of("d1")} == {"CA1"}


def test_a_person_who_calls_callkaro_is_not_told(told: Store) -> None:
    call(told)
    told.keep_outcome(an_outcome(-1))
    assert moments(told) == [("accepted", None)]


def test_only_the_moments_of_the_route_are_told(store: Store) -> None:
    store.note_write_back_routes({"call back": ["outcome"], "other": ALL, "none": []})
    call(store)
    assert moments(store) == []
    store.keep_outcome(an_outcome())
    assert moments(store) == [("outcome", 0)]


@pytest.mark.parametrize("event_type", ["call_me.test", "list.row"])
def test_a_call_that_a_person_made_tells_nothing(told: Store, event_type: str) -> None:
    call(told, type=event_type, subject=None)
    assert moments(told) == []


@pytest.mark.parametrize("subject", [None, ""])
def test_calls_without_a_record_are_told_apart(told: Store, subject: str | None) -> None:
    call(told, "d1", subject=subject)
    call(told, "d2", subject=subject)
    claims = {
        one.delivery.of: one.delivery for one in told.claim_write_backs(2, {}, lease_s=LEASE_S)
    }
    assert [send(told, one) for one in claims.values()] == ["ok", "ok"]
    assert [settle(told, claims[call_id]) for call_id in ("d2", "d1")] == ["ok", "ok"]


def test_a_campaign_tells_nothing(told: Store) -> None:
    accept(told, (an_event(subject="101"), [a_delivery("d1", to="campaign")]))
    told.move([Move(id="d1", to=Status.FAILED, lease=claim(told)["d1"])])
    assert moments(told) == []


def test_the_same_moment_of_the_same_call_is_told_once(told: Store) -> None:
    call(told, to=Status.FAILED)
    again = Move(id="d1", to=Status.QUEUED, from_statuses=frozenset({Status.FAILED}), wait_s=0)
    told.move([again])
    told.move([Move(id="d1", to=Status.FAILED, lease=claim(told)["d1"])])
    assert moments(told) == [("failed", None)]


# --- where they are -------------------------------------------------------------------------------


def test_it_is_in_no_list_and_no_count_of_deliveries(told: Store) -> None:
    call(told)
    one = only(told)
    listed = told.deliveries(Filters(), before=None, limit=9)
    assert [found.id for found in listed.items] == ["d1"]
    assert told.counts()[Status.DELIVERED] == 1
    assert told.counts()[Status.QUEUED] == 0
    assert told.write_back_counts()[Status.QUEUED] == 1
    assert told.due_count() == 0
    assert told.oldest_waiting_s() is None
    assert claim(told) == {}
    counts = told.redis.hgetall(f"{P}status_counts")
    assert {name: int(count) for name, count in counts.items() if int(count)} == {
        "delivered call back": 1
    }
    assert told.redis.zscore(f"{P}deliveries:subject:101", one.id) is None
    assert told.next_due_s() <= 0


def test_lists_have_it_where_they_are_asked_for_it(told: Store) -> None:
    call(told)
    call(told, "d2", source="website")
    both = told.deliveries(Filters(to=(WRITE_BACK,)), before=None, limit=9)
    assert [one.of for one in both.items] == ["d2", "d1"]
    first = told.deliveries(Filters(to=(WRITE_BACK,)), before=None, limit=1, brief=True)
    rest = told.deliveries(Filters(to=(WRITE_BACK,)), before=int(first.next_cursor or 0), limit=9)
    assert [one.of for one in (*first.items, *rest.items)] == ["d2", "d1"]
    of_one = told.deliveries(Filters(to=(WRITE_BACK,), of="d1"), before=None, limit=9)
    assert [one.of for one in of_one.items] == ["d1"]
    mixed = told.deliveries(Filters(to=("call", "write_back")), before=None, limit=9)
    assert [one.to for one in mixed.items] == ["write_back", "call", "write_back", "call"]
    queued = Filters(to=(WRITE_BACK,), status=("queued",))
    assert told.count(queued) == len(told.deliveries(queued, before=None, limit=9).items) == 2
    other = Filters(to=(WRITE_BACK,), route="other")
    assert told.deliveries(other, before=None, limit=9).items == ()


def test_the_call_knows_what_its_crm_was_told(told: Store) -> None:
    call(told)
    before = told.change_token("d1")
    claims = claimed(told)
    send(told, claims["accepted"].delivery)
    settle(told, claims["accepted"].delivery)
    found = told.delivery("d1")
    assert found is not None
    assert [(one.moment, one.status) for one in found.write_backs] == [("accepted", "delivered")]
    assert told.change_token("d1") != before


# --- claims and moves -----------------------------------------------------------------------------


def test_a_claim_has_the_call_and_the_event(told: Store) -> None:
    call(told)
    [found] = claimed(told).values()
    assert found.parent is not None
    assert found.parent.id == "d1"
    assert found.event is not None
    assert found.event.subject_type == "contact"
    assert claimed(told) == {}


def test_a_dead_worker_leaves_a_write_back_that_is_tried_again(told: Store) -> None:
    call(told)
    one = claimed(told)["accepted"].delivery
    assert send(told, one) == "ok"
    told.redis.zadd(f"{P}leased", {one.id: 1})
    told.sweep()
    assert (only(told).status, only(told).reason) == (Status.RETRYING, Reason.WORKER_DIED)
    assert claimed(told)["accepted"].delivery.id == one.id


def test_a_newer_moment_of_the_call_supersedes_the_older(told: Store) -> None:
    call(told)
    told.keep_outcome(an_outcome(1))
    told.keep_outcome(an_outcome(0, is_final=False))  # it arrived late
    found = told.claim_write_backs(9, {}, lease_s=LEASE_S)
    answers = {(one.delivery.moment, one.delivery.try_count): one.delivery for one in found}
    assert send(told, answers["accepted", None]) == "no superseded"
    assert send(told, answers["outcome", 0]) == "no superseded"
    assert send(told, answers["outcome", 1]) == "ok"


def test_one_write_back_of_a_record_is_on_the_wire(told: Store) -> None:
    call(told)
    call(told, "d2")
    first, second = (one.delivery for one in told.claim_write_backs(9, {}, lease_s=LEASE_S))
    assert send(told, first) == "ok"
    assert send(told, second) == f"behind {first.id}"
    settle(told, first)
    assert send(told, second) == "ok"


def test_records_of_two_types_with_one_id_do_not_wait_for_each_other(told: Store) -> None:
    call(told)
    call(told, "d2", subject_type="deal")
    assert [send(told, one.delivery) for one in told.claim_write_backs(9, {}, lease_s=LEASE_S)] == [
        "ok",
        "ok",
    ]


@pytest.mark.parametrize(
    "end", [{}, {"to": Status.FAILED, "reason": Reason.REFUSED}], ids=["delivered", "refused"]
)
def test_an_older_call_does_not_overwrite_the_fields_of_a_newer_one(
    end: dict[str, Any], told: Store
) -> None:
    told.note_write_back_routes({"call back": ["outcome"]})
    for name in ("d1", "d2"):
        call(told, name)
    told.keep_outcome(an_outcome(call="d2", sid="CA2", at_s=60))
    told.keep_outcome(an_outcome(call="d1", sid="CA1", at_s=0))
    claims = {one.delivery.of: one.delivery for one in told.claim_write_backs(9, {}, lease_s=60)}
    newer, older = claims["d2"], claims["d1"]
    send(told, newer, "status", "a:b")
    settle(told, newer, **end)
    # It was claimed with its fields, before the newer one was written.
    assert send(told, older, "city", "status") == f"behind {newer.id}"
    told.move([Move(id=older.id, to=Status.QUEUED, lease=older.lease, wait_s=0)])
    again = claimed(told)["outcome"].delivery
    assert again.newer_fields == {"status", "a:b"}
    assert send(told, again, "city") == "ok"
    settle(told, again)
    # Each field was written by a call of its own, and a third call is held against each.
    call(told, "d3")
    told.keep_outcome(an_outcome(call="d3", sid="CA3", at_s=-60))
    assert claimed(told)["outcome"].delivery.newer_fields == {"status", "a:b", "city"}


@pytest.mark.parametrize("scope", ["all", "crm:website"])
def test_a_pause_holds_it_until_a_person_resumes(told: Store, scope: str) -> None:
    call(told)
    told.pause(scope, reason="person", message="")
    assert claimed(told) == {}
    assert only(told).status is Status.HELD
    assert told.write_back_counts()[Status.HELD] == 1
    assert told.resume(scope) == 1
    one = claimed(told)["accepted"].delivery
    told.pause(scope, reason="person", message="")
    assert send(told, one) == "paused 0"


@pytest.mark.parametrize("scope", ["callkaro", "route:call back", "source:website", "crm:other"])
def test_other_pauses_do_not_hold_it(told: Store, scope: str) -> None:
    call(told)
    told.pause(scope, reason="person", message="")
    assert send(told, claimed(told)["accepted"].delivery) == "ok"


def test_its_own_pause_is_of_its_crm(told: Store) -> None:
    call(told)
    one = claimed(told)["accepted"].delivery
    send(told, one)
    pause = {"reason": "credentials", "message": "", "since_ms": 1}
    settle(told, one, Status.RETRYING, wait_s=0, pause=pause)
    assert [one.scope for one in told.pauses()] == ["crm:website"]


# --- the end --------------------------------------------------------------------------------------


def test_erasing_the_person_writes_nothing_more(told: Store) -> None:
    call(told)
    told.keep_outcome(an_outcome())
    found = claimed(told)
    one, on_the_wire = found["accepted"].delivery, found["outcome"].delivery
    told.keep_crm_calls({("d1", "CA1"): "501"})
    assert send(told, on_the_wire) == "ok"
    told.erase_deliveries(["d1"])
    assert send(told, one).startswith(("stale", "refused"))
    assert settle(told, on_the_wire, Status.RETRYING, wait_s=0) == "ok"
    assert claimed(told) == {}
    assert {found.status for found in told.write_backs_of("d1")} == {Status.CANCELLED}
    assert all(found.subject is None for found in told.write_backs_of("d1"))
    assert told.crm_calls([("d1", "CA1")]) == [None]
    told.keep_outcome(an_outcome(1))
    assert len(told.write_backs_of("d1")) == 2


def test_it_is_forgotten_with_its_call(told: Store) -> None:
    call(told)
    one = only(told)
    told.prune(datetime.now(UTC) + timedelta(days=1))
    assert told.delivery(one.id) is None
    assert not list(told.redis.scan_iter(f"{P}write_backs*"))
    assert told.redis.zcard(f"{P}due:write_back") == 0


def test_the_audit_repairs_its_indexes(told: Store) -> None:
    call(told)
    one = only(told)
    for name in ("write_backs", "write_backs:status:queued", "due:write_back"):
        told.redis.delete(f"{P}{name}")
    told.redis.zadd(f"{P}write_backs:status:failed", {one.id: 1})
    place, repaired = told.audit((0, 0), lease_s=LEASE_S)
    while place != (0, 0):
        place, more = told.audit(place, lease_s=LEASE_S)
        repaired = replace(repaired, indexed=repaired.indexed + more.indexed)
    assert repaired.indexed >= 1
    assert told.write_back_counts()[Status.QUEUED] == 1
    assert told.write_back_counts()[Status.FAILED] == 0
    assert told.redis.zscore(f"{P}deliveries", one.id) is None
    assert claimed(told)["accepted"].delivery.id == one.id


def test_one_whose_call_an_older_release_forgot_is_forgotten_too(told: Store) -> None:
    call(told)
    one = only(told)
    told.redis.delete(f"{P}delivery:d1")
    told.prune(datetime.now(UTC) + timedelta(days=1))
    assert told.delivery(one.id) is None


def test_one_whose_person_an_older_release_erased_is_not_sent(told: Store) -> None:
    call(told)
    told.redis.hset(f"{P}delivery:d1", "erased_ms", 1)
    assert claimed(told) == {}
    assert only(told).status is Status.CANCELLED


def test_an_older_release_does_not_take_it_for_a_call(told: Store) -> None:
    call(told)
    # It repairs, indexes and claims whatever has a key of this name.
    assert list(told.redis.scan_iter(f"{P}delivery:*")) == [f"{P}delivery:d1"]


def test_an_error_of_its_record_on_the_wire_does_not_make_it_unknown(told: Store) -> None:
    call(told)
    one = claimed(told)["accepted"].delivery
    send(told, one)
    told.count_error(one.id, "an error")
    assert only(told).status is Status.RETRYING
    told.count_error(one.id, "an error")
    assert only(told).status is Status.FAILED


def test_one_that_redis_lost_while_it_was_sent_is_made_as_one_that_may_have_arrived(
    told: Store,
) -> None:
    call(told)
    one = claimed(told)["accepted"].delivery
    told.redis.delete(f"{P}write_back:{one.id}")
    told.redis.hdel(f"{P}delivery:d1", "write_backs")
    assert settle(told, one) == "gone"
    told.redis.hset(f"{P}delivery:d1", mapping={"status": "unknown", "reason": "no_answer"})
    told.move([Move(id="d1", to=Status.DELIVERED, fields={}, reason=Reason.BY_PERSON)])
    assert claimed(told)["accepted"].delivery.was_lost


@pytest.mark.parametrize("end", [Status.DELIVERED, Status.RETRYING, Status.FAILED, None])
def test_what_redis_forgot_of_an_attempt_is_said_again(told: Store, end: Status | None) -> None:
    call(told)
    one = claimed(told)["accepted"].delivery
    attempt = (1, {"number": 1})
    moves = [Move(id=one.id, to=Status.SENDING, lease=one.lease, attempt=attempt)]
    if end:
        moves.append(Move(id=one.id, to=end, lease=one.lease, attempt=attempt, wait_s=60))
    told.move(moves)
    key = f"{P}write_back:{one.id}"
    told.redis.hset(key, mapping={"status": "queued", "lease": 0})
    told.redis.hdel(key, "attempt:1")
    told.redis.zrem(f"{P}leased", one.id)
    told.redis.zadd(f"{P}due:write_back", {one.id: 1})

    noted = [orjson.loads(orjson.dumps(written(move))) for move in moves]
    assert told.replay_journal(noted, lease_s=LEASE_S) == len(moves)

    assert only(told).status == (end or Status.SENDING)
    assert claimed(told) == {}
    assert told.replay_journal(noted, lease_s=LEASE_S) == 0


# --- the CRM --------------------------------------------------------------------------------------


def test_the_crm_is_never_asked_more_often_than_its_rate(store: Store) -> None:
    waits = [store.may_ask_crm("hubspot", rate=3, patience_s=100) for _ in range(10)]
    assert None not in waits
    now_s = 0.0  # the requests of this test are made within a moment
    turns = sorted(now_s + (wait or 0) for wait in waits)
    assert all(later - turn >= 10 for turn, later in zip(turns, turns[3:], strict=False))
    assert store.may_ask_crm("zoho", rate=3, patience_s=0) == 0


def test_a_turn_that_is_too_far_away_is_not_reserved(store: Store) -> None:
    assert store.may_ask_crm("hubspot", rate=1, patience_s=0) == 0
    assert store.may_ask_crm("hubspot", rate=1, patience_s=1) is None
    later = store.may_ask_crm("hubspot", rate=1, patience_s=60)
    assert later is not None
    assert later < 11


def test_a_crm_that_asks_for_it_is_left_alone(store: Store) -> None:
    store.slow_crm("hubspot", for_s=30)
    store.slow_crm("hubspot", for_s=1)
    assert store.may_ask_crm("hubspot", rate=9, patience_s=5) is None
    wait_s = store.may_ask_crm("hubspot", rate=9, patience_s=60)
    assert wait_s is not None
    assert wait_s > 20


def test_reads_have_turns_that_write_backs_do_not_get(store: Store) -> None:
    def turn(*, is_write: bool) -> float | None:
        return store.may_ask_crm("hubspot", rate=3, patience_s=0, is_write=is_write)

    assert [turn(is_write=True) for _ in range(3)] == [0, 0, None]
    assert [turn(is_write=False) for _ in range(2)] == [0, None]


def test_a_break_of_write_backs_stops_no_reads(store: Store) -> None:
    store.slow_crm("hubspot", for_s=30, writes_only=True)
    assert store.may_ask_crm("hubspot", rate=9, patience_s=5, is_write=True) is None
    assert store.may_ask_crm("hubspot", rate=9, patience_s=5) == 0


def test_the_id_of_the_crms_record_is_kept_with_the_call(told: Store) -> None:
    call(told)
    one, other = ("d1", "CA1"), ("d1", "CA2")
    assert told.crm_calls([one]) == [CrmCall(None)]
    told.keep_crm_calls({one: "501"})
    assert told.crm_calls([one, other]) == [CrmCall("501"), CrmCall(None)]
    told.keep_crm_calls({("gone", ""): "501"})
    assert not told.redis.exists(f"{P}delivery:gone")
    assert told.crm_calls([]) == []


def test_a_record_may_exist_until_its_id_or_its_refusal_is_known(told: Store) -> None:
    call(told)
    one, other = ("d1", "CA1"), ("d1", "CA2")
    assert told.begin_crm_calls([one, other, ("gone", "")]) == [CrmCall(None), CrmCall(None), None]
    doubt = CrmCall(None, may_exist=True)
    assert told.crm_calls([one, other]) == [doubt, doubt]
    told.keep_crm_calls({one: None, other: "501"})
    assert told.crm_calls([one, other]) == [CrmCall(None), CrmCall("501")]
    told.begin_crm_calls([other])
    told.keep_crm_calls({other: None})
    assert told.crm_calls([other]) == [CrmCall("501")]


def test_a_thread_takes_a_batch_of_one_source_and_one_of_any_other(told: Store) -> None:
    for n in range(3):
        call(told, f"d{n}")
    assert told.claim_write_backs(2, {"website": 0}, lease_s=LEASE_S) == []
    assert len(told.claim_write_backs(1, {"website": 2}, lease_s=LEASE_S)) == 2
    assert told.claim_write_backs(0, {}, lease_s=LEASE_S) == []
    assert len(told.claim_write_backs(5, {}, lease_s=LEASE_S)) == 1


def test_thousands_of_a_source_without_room_do_not_hide_those_of_others(told: Store) -> None:
    with told.redis.pipeline() as pipe:
        for n in range(1000):
            pipe.hset(f"{P}write_back:wb-{n}", mapping={"source": "full", "status": "queued"})
            pipe.zadd(f"{P}due:write_back", {f"wb-{n}": n})
        pipe.execute()
    call(told)
    outcomes = told.claim_write_backs(4, {"full": 0}, lease_s=LEASE_S)
    assert [one.delivery.of for one in outcomes] == ["d1"]
