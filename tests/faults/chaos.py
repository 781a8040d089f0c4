"""Kills everything at random moments, under load, and then counts what was lost or doubled.

A seed fixes what is sent, what is killed and how the APIs misbehave; the moments are counted in
webhooks and requests, so a second run with it is much like the first, and not the same.
"""

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.dials import TOKEN, Dials
from faults.harm import (
    CALLS,
    TIMEOUT_S,
    Harm,
    Hurry,
    Misbehaviour,
    within,
)
from faults.load import ROUTES, Crms, Leads
from faults.power import PowerCut
from faults.report import Report, judge, unfinished
from faults.told import Judge, PostedBack, counted, environment, listen
from support import Bridge, Valkey, simulated_crms, until
from support.cluster import Cluster
from support.receiver import serving

from schemas.delivery import Status
from schemas.errors import StoreUnavailable
from simulator import Simulator
from store import Store, connect

# A work-horse more often than others: only its death leaves a request that nobody waits for.
KINDS = (
    *("horse", "horse", "stalled horse", "rq worker", "supervisor"),
    *("valkey", "web child", "web master"),
)
WAITING = (Status.QUEUED, Status.HELD, Status.SENDING, Status.RETRYING)
# When nothing has moved for so long, and nobody made a request, whoever holds a lease is dead, or
# waits: for a turn at a CRM, or for the access token that another one fetches.
STILL_S = 2.0
WAITING_S = 3.0  # what who lives may wait besides, for replicas and until the next try of a drain
MOST_TOLD = 15  # calls that a CRM is told of until the next harm while it is told
LOG_LINES = 15
CUT_PER_S = 25.0  # webhooks: a cut then loses a part of a round, and not the whole of it
JITTER_S = 0.1  # what is waited for has just happened; the harm may come in the midst of the next


class UnfinishedError(Exception):
    """The run did not come to its end in time; the message says what is unfinished."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What to do. power_cut: only Valkey dies, and with it what it wrote in the second before.

    in_a_hurry: the campaigns are there before the first death, for one over their creation costs a
    minute; and so does the lease of the dead. What would end by time is ended once nothing moves
    any more: see Hurry.

    is_over_cluster: the store is a cluster, and REDIS_ACKS=1; its replicas are harmed, too.
    """

    seed: int
    rounds: int = 20
    webhooks: int = 2000
    fsync: str = "always"
    power_cut: bool = False
    is_over_cluster: bool = False
    kinds: tuple[str, ...] = KINDS
    in_a_hurry: bool = False
    deadline_s: float = 900.0
    tell: Callable[[str], object] = field(default=lambda line: None, repr=False)

    @property
    def head(self) -> str:
        """Return the line that stands above everything, with the seed first."""
        cut = ", power cuts" if self.power_cut else ""
        cut += ", over a cluster" if self.is_over_cluster else ""
        return (
            f"seed {self.seed}: {self.rounds} rounds, {self.webhooks} webhooks, "
            f"fsync {self.fsync}{cut}"
        )

    @property
    def still_s(self) -> float:
        """For how long nothing moves before a run in a hurry does what time would do."""
        return STILL_S + WAITING_S if self.is_over_cluster else STILL_S

    @property
    def outage_in(self) -> int | None:
        """The round in which CallKaro is away for a while: one in the middle, if there is time."""
        return None if self.in_a_hurry or self.power_cut else max(self.rounds // 2, 1)

    @property
    def harms_while_telling(self) -> tuple[str, ...]:
        """The kinds of harm that come while the CRMs are told of the last calls."""
        return () if self.power_cut else ("horse", "valkey")

    def harms(self, dice: random.Random) -> list[str]:
        """Return the kind of harm of each round, each kind about as often."""
        kinds = ("valkey",) if self.power_cut else self.kinds
        kinds += ("replica",) if self.is_over_cluster else ()
        found: list[str] = []
        while len(found) < self.rounds:
            found += dice.sample(kinds, len(kinds))
        return found[: self.rounds]


def run(plan: Plan, folder: Path) -> Report:
    """Run a plan in an empty folder and report what came of it; everything is stopped then.

    Raises:
        UnfinishedError: it did not settle in time.
    """
    with contextlib.ExitStack() as stack:
        chaos = _Chaos(plan, folder, stack)
        try:
            return chaos.run()
        except AssertionError as error:
            raise UnfinishedError(chaos.state_of_things(str(error))) from error


class _Chaos:
    """One run: a Valkey, a simulator, a web process and two workers, CRMs, and their enemy."""

    def __init__(self, plan: Plan, folder: Path, stack: contextlib.ExitStack) -> None:
        self.plan = plan
        self._began = time.monotonic()
        self._dice = random.Random(plan.seed)  # noqa: S311  (dice, no secrets)
        self._folder = folder
        self._stack = stack
        self._simulator = stack.enter_context(Simulator())
        self._receiver = stack.enter_context(serving())
        self._posted_back = PostedBack(self._receiver)
        self._apis = Misbehaviour(
            state=self._simulator.state, receiver=self._receiver, dice=self._dice
        )
        self._leads = Leads(self._simulator.state, self._dice, lists=not plan.power_cut)
        self._valkey = self._start_valkey()
        self._store = Store(stack.enter_context(connect(self._valkey.url, retries=1)))
        self._bridges = self._start_bridges()
        listen(self._simulator.state, self._bridges[0].url)
        # Dice of their own: how many calls there are then changes nothing else.
        own_dice = random.Random(plan.seed)  # noqa: S311  (dice, no secrets)
        self._dials = Dials(self._bridges[0], self._simulator, own_dice)
        stack.callback(self._dials.close)
        self._crms = Crms(self._bridges[0], per_s=CUT_PER_S if plan.power_cut else None)
        stack.callback(self._crms.close)
        self._harm = Harm(
            valkey=self._valkey,
            web=self._bridges[0],
            workers=self._bridges,
            crms=self._crms,
            state=self._simulator.state,
            store=self._store,
            dice=self._dice,
            power=self._watch_power(),
        )
        stack.callback(self._harm.end_orphans)

    def run(self) -> Report:
        """Go through the rounds, let all settle, and judge."""
        if self.plan.in_a_hurry:
            self._crms.post(self._leads.one_of_each(of="the start"))
            self._settle()
        for number, kind in enumerate(self.plan.harms(self._dice), start=1):
            self._round(number, kind)
        self._tell()
        self._settle()
        self._apis.end()
        return self._report()

    # --- its processes ------------------------------------------------------------------------

    def _start_valkey(self) -> Valkey | Cluster:
        folder = self._folder / "valkey"
        folder.mkdir()
        valkey = (
            Cluster(folder) if self.plan.is_over_cluster else Valkey(folder, fsync=self.plan.fsync)
        )
        self._stack.callback(valkey.stop)
        return valkey.start()

    def _start_bridges(self) -> tuple[Bridge, ...]:
        """Start a web process and two workers."""
        (self._folder / "routes.toml").write_text(ROUTES, "utf-8")
        first = Bridge(self._folder_of("one"), self._environment())
        self._stack.callback(first.stop)
        second = Bridge(self._folder_of("two"), self._environment(), shared=first)
        self._stack.callback(second.stop)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(Bridge.start, (first, second)))
        return first, second

    def _folder_of(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder

    def _environment(self) -> dict[str, str]:
        url = self._simulator.url
        return {
            "REDIS_URL": self._valkey.url,
            "REDIS_ACKS": "1" if self.plan.is_over_cluster else "0",
            "ROUTES_FILE": str(self._folder / "routes.toml"),
            "WORKER_THREADS": "8",
            "CALLKARO_API_KEY": "a-key",
            "CALLKARO_BASE_URL": url,
            "CALLKARO_TIMEOUT_S": str(TIMEOUT_S),
            "CALLKARO_WEBHOOK_TOKEN": TOKEN,
            **simulated_crms(url),
            **environment(self._receiver),
        }

    def _watch_power(self) -> PowerCut | None:
        if not self.plan.power_cut:
            return None
        assert isinstance(self._valkey, Valkey)
        power = PowerCut(self._valkey.folder)
        self._stack.callback(power.close)
        return power

    # --- a round ------------------------------------------------------------------------------

    def _round(self, number: int, kind: str) -> None:
        """Send a share of the webhooks; while they come in, and calls go out, do harm."""
        share = self._share(number)
        self._apis.go_on(with_outage=number == self.plan.outage_in)
        webhooks = self._leads.webhooks(share, of=f"{self.plan.seed} {number}")
        self._crms.post(self._posted_back.webhooks() + webhooks[: share // 2])
        self._await_moment(share // 2)
        self._crms.post(webhooks[share // 2 :])
        time.sleep(self._dice.uniform(0, JITTER_S))
        done = self._harm.do(kind)
        self._await(lambda: not self._crms.waiting, f"round {number}: every webhook's 202")
        self.plan.tell(f"round {number}, {self._seconds} s: {done}; {self._statuses()}")

    def _share(self, number: int) -> int:
        rounds, webhooks = self.plan.rounds, self.plan.webhooks
        return webhooks * number // rounds - webhooks * (number - 1) // rounds

    def _await_moment(self, share: int) -> None:
        """Wait for a moment that nobody can foresee: so many webhooks in, or requests out."""
        of_calls = self._dice.random() < 0.5
        wanted = self._count(of_calls) + self._dice.randint(1, max(share, 1))
        within(lambda: self._count(of_calls) >= wanted, 3.0)

    def _count(self, of_calls: bool) -> int:
        if of_calls:
            return int(self._simulator.state.totals()["requests"])
        return self._crms.counts["webhooks"]

    @property
    def _seconds(self) -> int:
        return round(time.monotonic() - self._began)

    def _statuses(self) -> str:
        counts = {status: count for status, count in self._store.counts().items() if count}
        return ", ".join(f"{status} {count}" for status, count in counts.items())

    def _tell(self) -> None:
        """Do harm once more while the CRMs are told: that comes after the calls."""
        self._apis.go_wrong_in_writing()
        for kind in self.plan.harms_while_telling:
            wanted = self._told() + self._dice.randint(1, MOST_TOLD)
            within(lambda wanted=wanted: self._told() >= wanted, 5.0)
            done = self._harm.do(kind)
            self.plan.tell(f"telling, {self._seconds} s: {done}; {self._told()} told")

    def _told(self) -> int:
        """Return how much the CRMs have been told."""
        return int(self._simulator.state.totals()["written"]) + len(self._receiver.got)

    # --- the end ------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Wait until every webhook is acknowledged and every delivery has come to an end."""
        self._await(lambda: not self._crms.waiting, "every webhook's 202")
        still: tuple[dict[str, int], float] = ({}, time.monotonic())
        patience_s, hurry = self.plan.still_s, Hurry(harm=self._harm)

        def has_settled() -> bool:
            nonlocal still, patience_s
            self._resume_routes()
            self._crms.post(self._posted_back.webhooks())
            counts = self._unsettled()
            if counts is None or any(counts.values()):
                moved = {**(counts or {}), **self._requests()}
                if moved != still[0] or moved["in flight"]:
                    still = (moved, time.monotonic())
                elif self.plan.in_a_hurry and time.monotonic() - still[1] > patience_s:
                    self.plan.tell(f"nothing moves, {self._seconds} s: {hurry.go_on()}")
                    if hurry.of_the_dead:
                        patience_s *= 1.5  # on a busy machine the killed one may only be slow
                    still = (moved, time.monotonic())
                return False
            return True

        # What settled while the rest was looked at may have come back to us as a webhook.
        self._await(lambda: has_settled() and has_settled(), "the end of every delivery")

    def _resume_routes(self) -> None:
        """Resume the routes that the bridge paused, as a person does.

        While CallKaro is away no accepted call ends the row of leads that a route can't map.
        """
        with contextlib.suppress(StoreUnavailable):
            for pause in self._store.pauses():
                if pause.reason == "failing":
                    self._store.resume(pause.scope)

    def _unsettled(self) -> dict[str, int] | None:
        """Return how much is on its way still, in the order of the way; None: Redis is away."""
        with contextlib.suppress(StoreUnavailable):
            webhooks, deliveries = self._crms.waiting, self._store.counts()
            dials, told = self._dials.waiting, self._store.write_back_counts()
            return {
                "webhooks": webhooks,
                "dials": dials,
                **{status: deliveries[status] for status in WAITING},
                **{f"write-backs {status}": told[status] for status in WAITING},
            }
        return None

    def _requests(self) -> dict[str, int]:
        """Return how many requests the workers have made, and how many are not answered yet."""
        totals = self._simulator.state.totals()
        made = int(totals["requests"]) + len(self._receiver.got)
        return {"requests": made, "in flight": int(totals["in_flight"])}

    def _await(self, condition: Callable[[], object], what: str) -> None:
        """Wait within the deadline of the whole; wrong answers end the wait, too."""
        left_s = self._began + self.plan.deadline_s - time.monotonic()
        # What was lost with the power is new when it comes again, and then has new ids.
        lists = [] if self.plan.power_cut else [self._crms.wrong, self._dials.wrong]
        until(lambda: condition() or any(lists), what=what, timeout_s=max(left_s, 0.1))
        wrong = [line for one in lists for line in one]
        assert not wrong, "; ".join(wrong[:5])

    def _report(self) -> Report:
        state, crms = self._simulator.state, self._crms
        told = Judge(self._store, state, self._receiver, self._dials.by_delivery())
        broken, ends = judge(self._store, state, crms.acknowledged, crms.wrong, told)
        figures: dict[str, Any] = {
            "webhooks": crms.counts["webhooks"],
            "events": len(crms.acknowledged),
            "resent": f"{_listed(crms.failures)}; {crms.counts['duplicates']} though acknowledged",
            "harm": _listed(self._harm.done),
            "restarts": f"{self._harm.done['valkey']} of Redis",
            "attempts": len(state.requests_to(CALLS)),
            "accepted": f"{len(state.calls)} calls, {len(state.campaigns)} campaigns",
            "deliveries": _listed(ends),
            "outcomes": _listed(self._dials.counts()),
            "told": _listed(counted(self._receiver, state, self._store)),
        }
        if self._harm.power:
            figures["cut off"] = (
                f"{self._harm.power.lost_bytes} bytes, at {CUT_PER_S:.0f} webhooks/s"
            )
        figures["seconds"] = self._seconds
        return Report(
            head=self.plan.head, harm=dict(self._harm.done), figures=figures, broken=broken
        )

    def state_of_things(self, why: str) -> str:
        """Return what there is to know of a run that does not end."""
        parts = [self.plan.head, why, f"{self._crms.waiting} webhooks are not acknowledged"]
        parts.append(f"harm: {_listed(self._harm.done)}")
        try:
            parts.append(unfinished(self._store, self._crms.acknowledged))
        except StoreUnavailable as error:
            parts.append(str(error))
        for bridge, name in (
            (self._bridges[0], "web"),
            *((one, "worker") for one in self._bridges),
        ):
            lines = bridge.log(name).splitlines()[-LOG_LINES:]
            parts.append("\n".join([f"{bridge.folder.name}/{name}.log:", *lines]))
        return "\n".join(parts)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
