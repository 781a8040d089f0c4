"""No sequence of claims, crashes, sweeps, retries and outcomes reaches a forbidden move."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from faults.machines import run
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from support.storing import a_delivery, accept, an_event

from schemas.delivery import (
    MOVES,
    RINGS_AGAIN,
    SETTLED,
    WAITING,
    Reason,
    Status,
    may_have_rung,
    retried,
)
from schemas.outcome import read_outcome
from schemas.records import Move
from store import Store
from store.base import P

IDS = ("d1", "d2", "d3")
# What a worker may find, and whether CallKaro may have accepted it then.
ENDS = {
    Status.DELIVERED: True,
    Status.UNKNOWN: True,
    Status.RETRYING: False,
    Status.FAILED: False,
}


@dataclass(frozen=True)
class Held:
    """A delivery in a worker's hands, under a lease; number: the attempt it would make."""

    id: str
    lease: int
    number: int

    @property
    def sid(self) -> str:
        """Return what CallKaro calls the call that comes of it."""
        return f"CA-{self.id}-{self.number}"


class Machine(RuleBasedStateMachine):
    """A store, workers that may die at any time, CallKaro, and a person."""

    in_hand, on_the_wire = Bundle("in_hand"), Bundle("on_the_wire")
    store: Store  # set by the test

    def __init__(self) -> None:
        super().__init__()
        self.store.redis.flushall()
        self.accepted: set[str] = set()  # ids that a webhook was answered 202 for
        self.permitted: Counter[str] = Counter()  # requests that went out
        self.refused: Counter[str] = Counter()  # of these, those that surely rang nobody
        self.called_again: Counter[str] = Counter()  # by a person
        self.called_sids: list[tuple[str, str]] = []

    # --- the intake and the workers -----------------------------------------------------------

    @initialize()
    def webhooks(self) -> None:
        for delivery in IDS:
            self.webhook(delivery)

    @rule(delivery=st.sampled_from(IDS))
    def webhook(self, delivery: str) -> None:
        """A webhook, or its resend."""
        accept(self.store, (an_event(f"e-{delivery}"), [a_delivery(delivery)]))
        self.accepted.add(delivery)

    @rule(target=in_hand, limit=st.integers(1, 3))
    def claimed(self, limit: int) -> Any:
        return multiple(*self._claim(limit))

    @rule(target=on_the_wire, held=consumes(in_hand))
    def begun(self, held: Held) -> Any:
        return held if self._begin(held) else multiple()

    @rule(target=on_the_wire, limit=st.integers(1, 3))
    def claimed_and_begun(self, limit: int) -> Any:
        return multiple(*(held for held in self._claim(limit) if self._begin(held)))

    @rule(limit=st.integers(1, 3), end=st.sampled_from(list(ENDS)))
    def claimed_begun_and_answered(self, limit: int, end: Status) -> None:
        for held in self._claim(limit):
            if self._begin(held):
                self._answer(held, end)

    @rule(held=consumes(on_the_wire), end=st.sampled_from(list(ENDS)))
    def answered(self, held: Held, end: Status) -> None:
        self._answer(held, end)

    @rule(held=consumes(on_the_wire), is_accepted=st.booleans())
    def worker_dies_on_the_wire(self, held: Held, is_accepted: bool) -> None:
        if is_accepted:
            self.called_sids.append((held.id, held.sid))

    @rule(held=consumes(in_hand), end=st.sampled_from([Status.HELD, Status.SKIPPED, Status.FAILED]))
    def not_to_be_sent(self, held: Held, end: Status) -> None:
        wait = 0 if end is Status.HELD else None
        move = Move(id=held.id, to=end, lease=held.lease, reason=Reason.TOO_OLD, wait_s=wait)
        self.store.move([move])

    def _claim(self, limit: int) -> list[Held]:
        self._let_all_be_due()
        found = [one.delivery for one in self.store.claim(limit, lease_s=60).claims]
        return [Held(id=one.id, lease=one.lease, number=len(one.attempts) + 1) for one in found]

    def _begin(self, held: Held) -> bool:
        attempt = (held.number, {"number": held.number})
        move = Move(id=held.id, to=Status.SENDING, lease=held.lease, attempt=attempt)
        if self.store.move([move]) != ["ok"]:
            return False
        self.permitted[held.id] += 1
        return True

    def _answer(self, held: Held, end: Status) -> None:
        if not ENDS[end]:
            self.refused[held.id] += 1
        elif end is Status.DELIVERED:
            self.called_sids.append((held.id, held.sid))
        move = Move(
            id=held.id,
            to=end,
            lease=held.lease,
            attempt=(held.number, {"number": held.number}),
            fields={"call_sid": held.sid} if end is Status.DELIVERED else {},
            wait_s=0 if end is Status.RETRYING else None,
            callkaro_ok=ENDS[end],
        )
        self.store.move([move])

    @rule()
    def leases_run_out(self) -> None:
        for one in self.store.redis.zrange(f"{P}leased", 0, -1):
            self.store.redis.zadd(f"{P}leased", {one: 1})
        self.store.sweep()

    @rule()
    def audited(self) -> None:
        _, repaired = self.store.audit((0, 0), lease_s=60)
        assert (repaired.woken, repaired.indexed, repaired.forgotten) == (0, 0, 0)

    def _let_all_be_due(self) -> None:
        for waiting in (f"{P}due", f"{P}due:retry", f"{P}due:cancel"):
            for one in self.store.redis.zrange(waiting, 0, -1):
                self.store.redis.zadd(waiting, {one: 1})
        if self.store.redis.hexists(f"{P}breaker", "probe_ms"):
            self.store.redis.hset(f"{P}breaker", "probe_ms", 1)

    # --- CallKaro -----------------------------------------------------------------------------

    @rule(data=st.data(), try_count=st.integers(0, 1), has_id=st.booleans())
    def outcome(self, data: st.DataObject, try_count: int, has_id: bool) -> None:
        if not self.called_sids:
            return
        delivery, sid = data.draw(st.sampled_from(self.called_sids))
        told = {"callSid": sid, "try_count": try_count}
        if has_id:
            told["call_metadata"] = {"bridge_delivery_id": delivery}  # type: ignore[assignment]
        found = read_outcome({"event": "call_ended", "data": told}, "Asia/Kolkata")
        assert found is not None
        self.store.keep_outcome(found)

    # --- a person -----------------------------------------------------------------------------

    @rule(delivery=st.sampled_from(IDS), call_again=st.booleans())
    def retry(self, delivery: str, call_again: bool) -> None:
        found = self.store.delivery(delivery)
        to = retried(found, call_again=call_again) if found else None
        if found is None or to is None:
            return
        fields: dict[str, Any] = {"call_sid": None, "spent": 0}
        move = Move(
            id=delivery,
            to=to,
            from_statuses=frozenset({found.status}),
            expected_lease=found.lease,
            restarts=found.status not in WAITING,
            fields={} if found.status in WAITING else fields,
            wait_s=0,
        )
        assert self.store.move([move]) == ["ok"]
        if may_have_rung(found):
            self.called_again[delivery] += 1

    @rule(delivery=st.sampled_from(IDS))
    def cancel(self, delivery: str) -> None:
        self._person(delivery, Status.CANCELLED, WAITING)

    @rule(delivery=st.sampled_from(IDS), to=st.sampled_from([Status.DELIVERED, Status.FAILED]))
    def resolve(self, delivery: str, to: Status) -> None:
        self._person(delivery, to, frozenset({Status.UNKNOWN}))

    def _person(self, delivery: str, to: Status, seen: frozenset[Status]) -> None:
        found = self.store.delivery(delivery)
        if found is not None and found.status in seen:
            move = Move(id=delivery, to=to, from_statuses=frozenset({found.status}))
            assert self.store.move([move]) == ["ok"]

    @rule(scope=st.sampled_from(["all", "callkaro", "source:website", "route:call back"]))
    def paused_for_a_while(self, scope: str) -> None:
        self.store.pause(scope, reason="person", message="Wait.")
        self._let_all_be_due()
        assert self.store.claim(3, lease_s=60).claims == ()
        self.store.resume(scope)

    # --- what holds at any time ---------------------------------------------------------------

    @invariant()
    def nothing_is_lost(self) -> None:
        waits = {
            one
            for key in ("due", "due:retry", "leased")
            for one in self.store.redis.zrange(f"{P}{key}", 0, -1)
        }
        for one in self.accepted:
            found = self.store.delivery(one)
            assert found is not None
            ended = found.status in SETTLED or found.status is Status.UNKNOWN
            assert ended or one in waits, f"nobody will look at {one}, which is {found.status}"

    @invariant()
    def no_phone_rings_twice_without_a_persons_word(self) -> None:
        for one in self.accepted:
            rang = self.permitted[one] - self.refused[one]
            assert rang <= 1 + self.called_again[one] + self._resolved_as_failed(one)

    def _resolved_as_failed(self, delivery: str) -> int:
        """Say how often a person said that no phone had rung, and then had it called."""
        found = self.store.delivery(delivery)
        steps = [change.status for change in found.timeline] if found else []
        return sum(pair == ("unknown", "failed") for pair in pairwise(steps))

    @invariant()
    def every_move_is_in_the_diagram(self) -> None:
        for one in self.accepted:
            found = self.store.delivery(one)
            steps = [Status(change.status) for change in found.timeline] if found else []
            for before, after in pairwise(steps):
                by_person = after is Status.QUEUED and before in SETTLED | {Status.UNKNOWN}
                proof = after is Status.DELIVERED
                stays = before is after
                assert after in MOVES[before] or by_person or proof or stays, (before, after)
            again = sum(
                pair[0] in RINGS_AGAIN and pair[1] is Status.QUEUED for pair in pairwise(steps)
            )
            assert again <= self.called_again[one]
            assert not steps or steps[-1] is found.status

    @invariant()
    def each_status_lists_its_own(self) -> None:
        for status in Status:
            listed = set(self.store.redis.zrange(f"{P}deliveries:status:{status}", 0, -1))
            assert listed == {
                one for one in self.accepted if self.store.delivery(one).status is status
            }


def test_no_sequence_reaches_a_forbidden_move(store: Store) -> None:
    Machine.store = store
    run(Machine, steps=40)
