"""No sequence of outcomes, dead workers and lost answers leaves a CRM with old news."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from faults.machines import run
from faults.told import TOLD
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
from support.storing import a_delivery, accept, an_event, claim, to_sending

from schemas.delivery import Delivery, Reason, Status
from schemas.outcome import Outcome, Result
from schemas.records import Move
from schemas.write_back import Moment
from store import Store
from store.base import P

# Call -> the CRM's record that it is about. Two are about one.
RECORDS = {"d1": "101", "d2": "101", "d3": "102"}
ENDS = (Status.DELIVERED, Status.UNKNOWN, Status.FAILED, Status.SKIPPED)
STATUS, OUTCOME = "status", "outcome"  # the fields of a record; only outcomes set the second
OPEN = (Status.QUEUED, Status.HELD, Status.RETRYING, Status.SENDING)
MOST_LOOKS = 50  # until everything is told


@dataclass(frozen=True)
class Sent:
    """A write-back whose request goes out, and whether the CRM takes it."""

    delivery: Delivery
    number: int
    is_taken: bool


class Machine(RuleBasedStateMachine):
    """A store, workers that may die at any time, CallKaro, and a CRM."""

    on_the_wire = Bundle("on_the_wire")
    store: Store  # set by the test

    def __init__(self) -> None:
        super().__init__()
        self.store.redis.flushall()
        self.store.note_write_back_routes({"call back": [*Moment]})
        # Record and field -> what it was set from.
        self.fields: dict[tuple[str, str], Delivery] = {}
        self.begun: Counter[str] = Counter()  # requests of each write-back

    # --- calls, and what CallKaro says about them ---------------------------------------------

    @initialize()
    def webhooks(self) -> None:
        for call, record in RECORDS.items():
            event = an_event(f"e-{call}", subject=record, subject_type="contact")
            accept(self.store, (event, [a_delivery(call)]))
        self.leases = claim(self.store)

    @rule(call=st.sampled_from([*RECORDS]), end=st.sampled_from(ENDS))
    def call_ends_up(self, call: str, end: Status) -> None:
        lease = self.leases.pop(call, None)
        if lease is None:
            return
        if end is Status.SKIPPED:
            moves = [Move(id=call, to=end, lease=lease, reason=Reason.NO_NUMBER)]
        else:
            fields = {"call_sid": f"CA-{call}"} if end is Status.DELIVERED else {}
            attempt = (1, {"number": 1})
            answer = Move(id=call, to=end, lease=lease, fields=fields, attempt=attempt)
            moves = [to_sending(call, lease), answer]
        assert self.store.move(moves) == ["ok"] * len(moves)

    @rule(call=st.sampled_from([*RECORDS]), try_count=st.integers(0, 2))
    def outcome(self, call: str, try_count: int) -> None:
        found = self._found(call)
        if found.status not in (Status.DELIVERED, Status.UNKNOWN):
            return
        outcome = Outcome(
            call_sid=f"CA-{call}",
            delivery_id=call,
            try_count=try_count,
            result=Result.CONNECTED,
            # In whole seconds, as CallKaro has it: it may seem to be before what was told already.
            ended_at=datetime.now(UTC).replace(microsecond=0),
        )
        self.store.keep_outcome(outcome)

    # --- workers, and the CRM -----------------------------------------------------------------

    @rule(target=on_the_wire, limit=st.integers(1, 3), is_taken=st.booleans())
    def begun_and_not_answered(self, limit: int, is_taken: bool) -> Any:
        return multiple(*self._begin(limit, is_taken=is_taken))

    @rule(limit=st.integers(1, 3), is_taken=st.booleans())
    def begun_and_answered(self, limit: int, is_taken: bool) -> None:
        for told in self._begin(limit, is_taken=is_taken):
            self._answer(told, is_lost=not is_taken)

    @rule(told=consumes(on_the_wire), is_lost=st.booleans())
    def answered(self, told: Sent, is_lost: bool) -> None:
        self._answer(told, is_lost=is_lost or not told.is_taken)

    @rule(told=consumes(on_the_wire))
    def worker_dies(self, told: Sent) -> None:
        """Its lease runs out, and the sweep finds it: see leases_run_out()."""

    @rule()
    def leases_run_out(self) -> None:
        for one in self.store.redis.zrange(f"{P}leased", 0, -1):
            if one not in self.leases:
                self.store.redis.zadd(f"{P}leased", {one: 1})
        self.store.sweep()

    def _begin(self, limit: int, *, is_taken: bool) -> list[Sent]:
        for one in self.store.redis.zrange(f"{P}due:write_back", 0, -1):
            self.store.redis.zadd(f"{P}due:write_back", {one: 1})
        found = []
        for claimed in self.store.claim_write_backs(limit, {}, lease_s=60):
            one, number = claimed.delivery, len(claimed.delivery.attempts) + 1
            attempt = (number, {"number": number})
            sent = {"sent_fields": orjson.dumps(_sets(one)).decode()}
            begins = Move(
                id=one.id, to=Status.SENDING, lease=one.lease, attempt=attempt, fields=sent
            )
            [answer] = self.store.move([begins])
            if answer == "ok":
                self._sent(one, is_taken=is_taken)
                found.append(Sent(one, number, is_taken))
            elif answer == "no superseded":
                self._move(one, Status.SKIPPED, reason=Reason.SUPERSEDED)
            else:
                assert answer.startswith("behind "), answer
                self._move(one, one.status, wait_s=0)
        return found

    def _sent(self, one: Delivery, *, is_taken: bool) -> None:
        self.begun[one.id] += 1
        for field in _sets(one) if is_taken else ():
            self.fields[RECORDS[str(one.of)], field] = one

    def _answer(self, told: Sent, *, is_lost: bool) -> None:
        attempt = (told.number, {"number": told.number})
        to, wait_s = (Status.RETRYING, 0) if is_lost else (Status.DELIVERED, None)
        self._move(told.delivery, to, attempt=attempt, wait_s=wait_s)

    def _move(self, one: Delivery, to: Status, **more: Any) -> None:
        self.store.move([Move(id=one.id, to=to, lease=one.lease, **more)])

    # --- what holds at any time, and in the end -----------------------------------------------

    @invariant()
    def one_request_at_a_time_is_of_a_record(self) -> None:
        sending = Counter(
            RECORDS[call]
            for call in RECORDS
            for one in self.store.write_backs_of(call)
            if one.status is Status.SENDING
        )
        assert not sending or max(sending.values()) == 1, sending

    def teardown(self) -> None:
        for _ in range(MOST_LOOKS):
            self.leases_run_out()
            for told in self._begin(100, is_taken=True):
                self._answer(told, is_lost=False)
            if not any(self.store.write_back_counts()[status] for status in OPEN):
                break
        newest: defaultdict[tuple[str, str], list[Delivery]] = defaultdict(list)
        for call, record in RECORDS.items():
            made = self.store.write_backs_of(call)
            assert all((one.status, one.reason) in TOLD for one in made), made
            last_of_call = max(made, key=_place_in_call, default=None)
            for field in _names(last_of_call) if last_of_call else ():
                newest[record, field].append(last_of_call)
        for field, of_calls in newest.items():
            last = max(int(self._at_ms(one)) for one in of_calls)
            told = self.fields[field]
            assert told.id in {one.id for one in of_calls if int(self._at_ms(one)) == last}

    def _found(self, call: str) -> Delivery:
        found = self.store.delivery(call)
        assert found is not None
        return found

    def _at_ms(self, one: Delivery) -> str:
        return str(self.store.redis.hget(f"{P}write_back:{one.id}", "at_ms"))


def _names(one: Delivery) -> list[str]:
    """Return the fields that tell of a moment: nothing is known of how a call ended before."""
    return [STATUS, OUTCOME] if one.moment == "outcome" else [STATUS]


def _sets(one: Delivery) -> list[str]:
    return [name for name in _names(one) if name not in one.newer_fields]


def _place_in_call(one: Delivery) -> tuple[bool, int, int]:
    """Return what is larger of a later moment of a call: an outcome is the last, by its dial."""
    return one.moment == "outcome", one.try_count or 0, one.order


def test_no_sequence_leaves_a_crm_with_old_news(store: Store) -> None:
    Machine.store = store
    run(Machine, steps=30)
