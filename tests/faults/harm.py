"""What is done to the bridge: processes killed -9 or stalled, answers that go wrong."""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from faults.load import Crms
from faults.power import PowerCut
from support import SECRETS, Bridge, Valkey, children, end, runs, until
from support.cluster import Cluster
from support.receiver import CUT, Receiver

from schemas.delivery import WRITE_BACK_ID
from schemas.errors import StoreUnavailable
from simulator import State
from store import Store
from store.base import P

CALLS, CAMPAIGNS = "/call/outbound", "/call/campaign"
HUBSPOT, ZOHO = "/crm/objects/2026-03/contacts/batch/read", "/crm/v8/Leads"
TIMEOUT_S = 2  # CALLKARO_TIMEOUT_S of the bridge under test

# Surely not accepted, perhaps accepted, accepted and not said so; and the CRMs' own troubles.
MISBEHAVIOURS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    (CALLS, {"status": 503}),
    (CALLS, {"status": 429, "retry_after": "1"}),
    (CALLS, {"status": 500}),
    (CALLS, {"status": 500, "html": True}),
    (CALLS, {"status": 502}),
    (CALLS, {"status": 504, "accept": True}),
    (CALLS, {"cut": "before"}),
    (CALLS, {"cut": "after"}),
    (CALLS, {"latency_ms": 1000}),
    (CALLS, {"latency_ms": (TIMEOUT_S + 1) * 1000}),
    (CALLS, {"drip_s": 0.5}),
    (CALLS, {"body": "{", "accept": True}),
    (CAMPAIGNS, {"status": 503}),
    (CAMPAIGNS, {"cut": "after"}),
    (HUBSPOT, {"status": 503}),
    (HUBSPOT, {"status": 429, "retry_after": "1"}),
    (HUBSPOT, {"cut": "before"}),
    (ZOHO, {"status": 500}),
    (ZOHO, {"latency_ms": 500}),
)
# The same of what is written to CRMs: its requests are no calls, so these are dealt apart.
HUBSPOT_CALLS, HUBSPOT_CONTACTS = "/crm/objects/2026-03/calls", "/crm/objects/2026-03/contacts"
ZOHO_CALLS = "/crm/v8/Calls"
MISBEHAVIOURS_OF_WRITING: tuple[tuple[str, Mapping[str, Any]], ...] = (
    (HUBSPOT_CALLS, {"cut": "after"}),
    (HUBSPOT_CALLS, {"status": 429, "retry_after": "1"}),
    (HUBSPOT_CALLS, {"status": 500}),
    (HUBSPOT_CALLS, {"status": 504, "accept": True}),
    (HUBSPOT_CALLS, {"body": "{", "accept": True}),
    (HUBSPOT_CONTACTS, {"cut": "after"}),
    (HUBSPOT_CONTACTS, {"status": 500}),
    (ZOHO_CALLS, {"cut": "after"}),
    (ZOHO_CALLS, {"status": 429, "retry_after": "1"}),
    (ZOHO_CALLS, {"status": 500, "accept": True}),
    (ZOHO, {"cut": "after"}),
)
ANSWERS = (CUT, 500, 429, 408, 204)  # of the receiver of signed webhooks
OUTAGE = 25  # requests: enough for the breaker, whose first probe then meets an API that is well
LATENCIES_MS = (20, 60, 150)


@dataclass(kw_only=True)
class Misbehaviour:
    """Has the APIs go wrong, in every way there is before any of them comes again."""

    state: State
    receiver: Receiver
    dice: random.Random
    deck: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    deck_of_writing: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def go_on(self, *, with_outage: bool) -> None:
        """Have some of the next requests go wrong in other ways than the last ones."""
        self.state.behave_normally()
        self.state.latency_ms = self.dice.choice(LATENCIES_MS)
        self._deal(self.deck, MISBEHAVIOURS)
        self._deal(self.deck_of_writing, MISBEHAVIOURS_OF_WRITING)
        self.receiver.answers += self.dice.choices(ANSWERS, k=4)
        if with_outage:
            self.state.behave(503, path=CALLS, times=OUTAGE)

    def _deal(
        self,
        deck: list[tuple[str, Mapping[str, Any]]],
        cards: Sequence[tuple[str, Mapping[str, Any]]],
    ) -> None:
        for _ in range(4):
            if not deck:
                deck += self.dice.sample(cards, len(cards))
            path, how = deck.pop()
            self.state.behave(path=path, times=self.dice.randint(1, 4), **how)

    def go_wrong_in_writing(self) -> None:
        """Have what is written to CRMs go wrong in each way once, and all else behave."""
        self.end()
        self.state.latency_ms = LATENCIES_MS[0]
        for path, how in self.dice.sample(MISBEHAVIOURS_OF_WRITING, len(MISBEHAVIOURS_OF_WRITING)):
            self.state.behave(path=path, times=1, **how)
        self.receiver.answers += ANSWERS

    def end(self) -> None:
        """Have them behave from now on, and at once."""
        self.receiver.answers.clear()
        self.state.behave_normally()
        self.state.latency_ms = 0


def within(condition: Callable[[], object], seconds: float) -> bool:
    """Tell whether a condition comes true in time; that it does not is no failure here."""
    with contextlib.suppress(AssertionError):
        until(condition, timeout_s=seconds)
        return True
    return False


@dataclass(kw_only=True)
class Harm:
    """Does harm to processes that were started here, and starts again what nobody else would.

    power: each death of Valkey is that of its machine; None: of its process alone.
    """

    valkey: Valkey | Cluster
    web: Bridge
    workers: tuple[Bridge, ...]
    crms: Crms
    state: State
    store: Store
    dice: random.Random
    power: PowerCut | None = None
    done: Counter[str] = field(default_factory=Counter)
    left: dict[int, str] = field(default_factory=dict)  # pid -> when it started, of orphans

    def do(self, kind: str) -> str:
        """Do harm of one kind and say which: with no such process at hand it is the supervisor."""
        harms: dict[str, Callable[[], bool]] = {
            "web master": self._kill_web_master,
            "web child": self._kill_web_child,
            "supervisor": self._kill_supervisor,
            "rq worker": lambda: self._kill(self._find(Bridge.rq_worker)),
            "horse": lambda: self._kill(self._find_busy_horse()),
            "stalled horse": self._stall_horse,
            "valkey": self._kill_valkey,
            "replica": self._stall_replica,
        }
        if not harms[kind]():
            kind = "supervisor"
            self._kill_supervisor()
        self.done[kind] += 1
        return kind

    def _kill_web_master(self) -> bool:
        process = self.web.web
        assert process is not None
        orphans = self._orphans_of(process.pid)
        self.web.session.close()
        end(process, by=signal.SIGKILL)
        # They notice that they are orphans, and leave the port to who comes after them.
        until(lambda: not any(map(runs, orphans)), what="the end of orphaned web processes")
        self.web.start_web()
        return True

    def _kill_web_child(self) -> bool:
        assert self.web.web is not None
        found = children(self.web.web.pid)
        if not found:
            return False
        _kill(self.dice.choice(found))
        return True

    def _kill_supervisor(self) -> bool:
        worker = self.dice.choice(self.workers)
        assert worker.worker is not None
        self._orphans_of(worker.worker.pid)
        end(worker.worker, by=signal.SIGKILL)
        self._let_pass()
        worker.start_worker()
        return True

    def _kill(self, pid: int | None) -> bool:
        if pid is None:
            return False
        self._orphans_of(pid)
        _kill(pid)
        return True

    def _stall_horse(self) -> bool:
        """Stop a drain for so long that its leases run out, and then let it go on."""
        pid = self._find_busy_horse()
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGSTOP)
            end_leases_of_calls(self.store)
            self._let_pass()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        return True

    def _kill_valkey(self) -> bool:
        killed_at = time.monotonic()
        self.valkey.kill()
        if self.power:
            self.power.cut(killed_at)
        self._let_fail()
        self.valkey.revive()
        return True

    def _stall_replica(self) -> bool:
        """Have the replica of a cluster's owner stand still without a link to it, then go on."""
        assert isinstance(self.valkey, Cluster)
        with self.valkey.replicas_standing_still():
            self._let_fail()
        self.valkey.await_whole()
        return True

    def _find(self, find: Callable[[Bridge], int | None]) -> int | None:
        """Return a process of this kind, of one worker or another; None: there is none now."""
        workers = self.dice.sample(self.workers, len(self.workers))
        found: list[int] = []

        def look() -> bool:
            found.extend(pid for worker in workers if (pid := find(worker)))
            return bool(found)

        return found[0] if within(look, 5.0) else None

    def _find_busy_horse(self) -> int | None:
        """Return a work-horse, if possible while CallKaro has accepted what it has not answered."""
        within(lambda: self.state.totals()["in_flight"] > 1, 2.0)
        return self._find(Bridge.horse)

    def kill_drains(self) -> None:
        """Kill every drain, and wait for its death: also those whose worker was killed before."""
        horses = [horse for worker in self.workers if (horse := worker.horse())]
        for horse in horses:
            _kill(horse)
        until(lambda: not any(map(runs, horses)), what="the death of the drains")
        self.end_orphans()

    def _let_pass(self) -> None:
        """Let some webhooks come in meanwhile."""
        wanted = len(self.crms.acknowledged) + self.dice.randint(0, 20)
        within(lambda: len(self.crms.acknowledged) >= wanted, 2.0)

    def _let_fail(self) -> None:
        """Let some webhooks fail meanwhile."""
        wanted = self.crms.failures.total() + self.dice.randint(0, 12)
        within(lambda: self.crms.failures.total() >= wanted, 3.0)

    def _orphans_of(self, pid: int) -> list[int]:
        """Remember who is about to lose its parent, so that nobody stays behind."""
        orphans = [one for child in children(pid) for one in (child, *children(child))]
        self.left.update((orphan, started) for orphan in orphans if (started := _started(orphan)))
        return orphans

    def end_orphans(self) -> None:
        """Kill who has lost its parent and is still there; nobody should be."""
        for pid, started in self.left.items():
            if _started(pid) == started and runs(pid):
                _kill(pid)


@dataclass(kw_only=True)
class Hurry:
    """Does what time would do, one thing at each call, whenever nothing has moved for a while.

    It ends the waits of write-backs; then it kills the drains; then it ends the leases that they
    had. A drain may wait for its turn at a CRM while nothing else moves, and its lease outlives
    that wait. So no lease may end while its drain lives, or while a request of it is on the wire.
    """

    harm: Harm
    has_ended_waits: bool = False
    of_the_dead: Mapping[str, float] = field(default_factory=dict)  # leases, with their end

    def go_on(self) -> str:
        """Do the next thing, and return what it was."""
        store = self.harm.store
        with contextlib.suppress(redis.RedisError, StoreUnavailable):
            if self.of_the_dead:
                ended, self.of_the_dead = self.of_the_dead, {}
                return f"{end_leases(store, ended)} leases of killed drains ended"
            if not self.has_ended_waits:
                self.has_ended_waits = True
                end_waits_of_write_backs(store)
                return "waits ended"
            self.has_ended_waits = False
            if leased := leases(store):  # before the kill: a new drain may claim at once
                self.harm.kill_drains()
                self.of_the_dead = leased
                return f"drains killed that had {len(leased)} leases"
        return "nothing"


def leases(store: Store) -> dict[str, float]:
    """Return the deliveries that are leased, and when each lease ends, in ms."""
    found: Any = store.redis.zrange(f"{P}leased", 0, -1, withscores=True)
    return dict(found)


def end_leases(store: Store, of: Mapping[str, float]) -> int:
    """Let these leases run out, as a minute later, and return how many. A newer one stays."""
    kept = leases(store)
    ended = [one for one, at in of.items() if kept.get(one) == at]
    count = sum(store.redis.zadd(f"{P}leased", {one: 1}, xx=True, ch=True) for one in ended)
    store.sweep()
    return int(count)


def end_leases_of_calls(store: Store) -> None:
    """Let the lease of each call run out, also of a drain that lives.

    A call's late answer still settles it. A write-back's lease is what keeps a newer one waiting.
    """
    with contextlib.suppress(redis.RedisError, StoreUnavailable):
        calls = {one: at for one, at in leases(store).items() if not one.startswith(WRITE_BACK_ID)}
        end_leases(store, calls)


def end_waits_of_write_backs(store: Store) -> None:
    """Let write-backs be due that wait for their next try, or for a CRM that asked us to wait."""
    with contextlib.suppress(redis.RedisError):
        for one in store.redis.zrange(f"{P}due:write_back", 0, -1):
            store.redis.zadd(f"{P}due:write_back", {one: 1}, xx=True)
        for source in SECRETS:
            store.redis.delete(f"{P}crm_slow:{source}", f"{P}crm_slow_writes:{source}")


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _started(pid: int) -> str | None:
    """Return when a process started, which tells it from a later one of the same number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[19]
    except OSError:
        return None
