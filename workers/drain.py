"""The drain: claims due deliveries in batches and sends them, with a pool of threads.

    claim ► hydrate (pool) ► prepare ► campaign (pool) ► record "sending" ► POST (pool) ► settle

One thread coordinates, and only that thread moves deliveries. The threads of the pool only make
HTTP requests. So a few requests to Redis serve many deliveries. Each step has its own module:
hydration, preparation, campaigns, sending, cancellation. They see the drain as a DrainContext.
"""

import contextlib
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from config import log
from rules import write_back
from rules.backoff import doubled_s
from rules.mapping import campaigns_of_now
from rules.plan import Ready
from rules.transitions import after_crash, crashed, in_row, keep_waiting, skip_forbidden
from rules.verdict import Verdict
from schemas.delivery import WRITE_BACK, Delivery, Status
from schemas.errors import StoreUnavailable
from schemas.records import Claim, Move
from schemas.settings import Settings
from store import Store
from workers import traces
from workers.background_tasks import BackgroundTasks
from workers.callkaro import CallKaro
from workers.campaigns import Campaigns
from workers.cancellation import Cancellation
from workers.crm import CrmClient
from workers.drain_context import request_id_of
from workers.hydration import Hydration
from workers.moving import CRASHED, UNMADE, move_each, remember_or_log
from workers.pool import Pool
from workers.preparation import MakeWhole, Preparation
from workers.reporting import REPORT_EVERY_S, DrainStats, Reports
from workers.sending import Sending
from workers.standby import Standby
from workers.write_back import WriteBacks

logger = log.get(__name__)

LEASE_S = 60.0
SLICE_S = 60.0  # then a drain ends, so that a worker of a new release starts soon
LINGER_S = 0.25  # how long a drain stays when nothing is due, so that a burst needs no new process
STANDBY_S = 30.0  # how long it then waits for the bell, so that the next webhook needs none either
# How long a drain works after a stop. Heroku sends SIGKILL 30 s after SIGTERM, compose.yaml 35 s
# (Docker's default: 10 s).
STOP_S = 25.0
# With a rate cap, a drain claims at most the calls that the cap permits in this time.
CLAIMED_S = 5.0
STORE_AWAY_S = 2.0  # the longest wait for the next try while Redis is away
POLL_S = 0.02
LONGEST_POLL_S = 1.0
CLAIM_AT_ONCE = 200
MOVE_AT_ONCE = 500
# Deliveries that are prepared in one turn, in some 4 ms. The threads wait no longer for what comes
# next, however many were claimed at once.
PREPARE_AT_ONCE = 16
# After a step crashed, the next step claims nothing, and only finishes what the drain has.
# After more crashes in a row than this, the drain returns at once.
CRASHES = 10


class Drain:
    """Sends due deliveries until nothing is due, its time slice is over, or it must stop."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        callkaro: CallKaro,
        crm_client: CrmClient,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        remember: Callable[[Iterable[Move]], None] = lambda moves: None,
        stir: Callable[[], None] = lambda: None,
        standby: Standby | None = None,
        jitter: Callable[[], float] = random.random,
        slice_s: float = SLICE_S,
    ) -> None:
        self._store = store
        self._settings = settings
        self._http = callkaro.http
        self._pool = Pool(settings.worker_threads)
        self._should_stop = should_stop
        self._remember = remember
        self._stir = stir
        self._standby = standby
        self._jitter = jitter
        self._slice_s = slice_s
        self._most_claimed = 2 * settings.worker_threads
        if settings.max_rate:
            # Further deliveries would only wait here until their leases expire.
            self._most_claimed = min(self._most_claimed, max(1, int(settings.max_rate * CLAIMED_S)))
        self._failing_after = settings.route_failing_after
        self._reports = Reports(store)
        self._campaigns = Campaigns(store, callkaro, self, jitter)
        self._preparation = Preparation(store, settings, self, self._campaigns)
        self._hydration = Hydration(store, settings, crm_client, self, self._prepare_later, jitter)
        self._sending = Sending(
            store, settings, callkaro, self, self._campaigns, self._reports, remember, jitter
        )
        self._cancellation = Cancellation(store, callkaro, self, jitter)
        self._write_backs = WriteBacks(store, settings, crm_client, self, jitter)
        self._background_tasks = BackgroundTasks(store, settings, crm_client, self)
        # The writes to Redis that are not moves, each with what to do if it raises an error.
        self._to_store: deque[tuple[Callable[[], None], Callable[[Exception], None]]] = deque()
        self._unprepared: deque[tuple[Claim, MakeWhole | None]] = deque()
        self._moves: list[Move] = []
        self._taken: dict[str, Claim] = {}  # by delivery: what is claimed and not moved
        self._claimed = 0  # deliveries that this drain claimed and has not moved since
        self._is_cut = False  # whether the latest claim was cut for its bytes
        self._claimed_some = False  # whether this turn found due deliveries
        self._no_claim_before = 0.0  # monotonic; set after a claim that found nothing
        self._clock = timedelta(0)  # this machine's clock plus this is the time of Redis
        self._store_failures = 0
        self._crashes = 0
        self._has_successor = False

    def run(self) -> DrainStats:
        """Run the drain. Return its counts. Raises StoreUnavailable if Redis is away at first."""
        self._store.clear_wakeup()
        with self._pool:
            self._loop()
        if self._standby is not None:
            self._standby.end(has_successor=self._has_successor)
        with contextlib.suppress(StoreUnavailable):
            self._reports.write_all()
        stats = self._reports.stats
        logger.info(
            "drain.done",
            claimed=stats.claimed,
            attempts=stats.attempts,
            **{f"to_{status}": count for status, count in sorted(stats.moved.items())},
        )
        return stats

    def _loop(self) -> None:
        began = busy_at = time.monotonic()
        stop_at: float | None = None  # when the stop was requested
        while True:
            now = time.monotonic()
            if stop_at is None and self._should_stop():
                stop_at = now
            is_over = now - began > self._slice_s or bool(self._crashes)
            is_ending = stop_at is not None or is_over
            self._try_step(is_ending)
            if self._crashes > CRASHES:
                return
            if self._is_busy():
                busy_at = now
                # It still has work 25 s after the stop, usually because Redis is away. SIGKILL
                # comes soon. The sweep then makes `unknown` of each call in `sending`, and the
                # rest due again.
                if stop_at is not None and now - stop_at > STOP_S:
                    return
            elif is_ending or not self._stays(now - busy_at, self._slice_s - (now - began)):
                over = time.monotonic()
                # Its successor stands by, too, so that no webhook meets a gap between the two.
                self._has_successor = (
                    not (self._should_stop() or self._crashes)
                    and over - began >= self._slice_s
                    and over - busy_at < STANDBY_S
                )
                return
            elif self._standby is not None:
                continue  # nothing is running, and something may have been rung for
            self._take_in_results()

    def _stays(self, idle_s: float, slice_s: float) -> bool:
        """Say whether a drain with nothing to do goes on, after it has waited for the bell.

        slice_s: what is left of its time slice.
        """
        standby = self._standby
        if standby is None:
            return idle_s <= LINGER_S
        self._stir()
        self._look_at_once()
        if not standby.is_open:
            if not standby.open():
                self._standby = None
            return True
        for_s = min(STANDBY_S - idle_s, slice_s)
        if standby.wait(min(for_s, REPORT_EVERY_S)):
            return True
        with contextlib.suppress(StoreUnavailable):
            self._reports.write_all()
        return standby.is_open and standby.wait(for_s - REPORT_EVERY_S)

    def _look_at_once(self) -> None:
        """Let the next step look for all work, however short ago the last look was."""
        self._no_claim_before = 0.0
        self._background_tasks.hurry()
        self._write_backs.hurry()

    def _is_busy(self) -> bool:
        is_at_work = self._pool.running or self._sending or self._campaigns or self._unprepared
        return bool(
            is_at_work
            or self._moves
            or self._to_store
            or self._claimed_some
            or self._sending.is_awaited  # also where the system gave no thread for it
        )

    # --- one turn ---------------------------------------------------------------------------------

    def _try_step(self, is_ending: bool) -> None:
        """Do a step. While Redis is away, wait longer each time; no move and no write is lost."""
        try:
            self._step(is_ending)
        except StoreUnavailable as error:
            self._store_failures += 1
            if self._store_failures == 1:
                logger.warning("store.away", error=str(error))
            wait_s = doubled_s(0.1, self._store_failures, STORE_AWAY_S)
            time.sleep(wait_s * (0.5 + self._jitter() / 2))
        except Exception as error:
            # A bug of ours. The drain still receives and records the answers to running requests.
            self._crashes += 1
            logger.error("drain.crashed", exc_info=error)
        else:
            if self._store_failures:
                logger.info("store.back", failures=self._store_failures)
            self._store_failures = 0
            self._crashes = 0

    def _step(self, is_ending: bool) -> None:
        self._write_to_store()
        self._claimed_some = False
        self._write_backs.is_ending = is_ending
        if is_ending:
            self._give_back()
            self._flush()
            return
        # Before the claim: a thread that an answer made free does not wait for it. And the claim
        # raises an error while too few replicas confirm; what is on the wire is settled still.
        self._flush_and_start()
        self._background_tasks.take()
        self._take(self._claim())
        self._take_write_backs()
        self._prepare()
        self._campaigns.make()
        self._flush_and_start()
        self._flush()
        self._reports.write_if_due()

    def _claim(self) -> Iterable[Claim]:
        # Calls that wait for their campaign do not count, so that they do not stop other calls, and
        # write-backs have a share of their own.
        others = self._campaigns.waiting + self._write_backs.in_hand
        room = self._most_claimed - (self._claimed - others)
        # After a claim of large records, what the drain has comes first: its memory is bounded.
        if self._is_cut and room < self._most_claimed:
            return ()
        if room <= self._most_claimed // 8 or time.monotonic() <= self._no_claim_before:
            return ()
        campaigns = campaigns_of_now(self._settings, self.now())
        began_ns = time.time_ns()
        found = self._store.claim(min(room, CLAIM_AT_ONCE), lease_s=LEASE_S, campaigns=campaigns)
        self._clock = found.now - datetime.now(UTC)
        if not found.looked_at or found.wait_s:
            # Not for all of wait_s: the answer to a running request may close the breaker.
            wait_s = min(max(POLL_S, found.wait_s), LONGEST_POLL_S)
            self._no_claim_before = time.monotonic() + wait_s
        self._is_cut = found.is_cut
        self._claimed_some = bool(found.looked_at)
        self._claimed += len(found.claims)
        self._reports.stats.claimed += len(found.claims)
        return traces.claimed(found.claims, began_ns)

    def _take(self, claims: Iterable[Claim]) -> None:
        to_send = []
        for claim in claims:
            self._taken[claim.delivery.id] = claim
            if claim.delivery.status is Status.DELIVERED:
                self._cancellation.take(claim)
            else:
                to_send.append(claim)
        self._hydration.take(to_send)

    def _prepare_later(self, claim: Claim, make_whole: MakeWhole | None) -> None:
        self._unprepared.append((claim, make_whole))

    def _prepare(self) -> None:
        for _ in range(min(PREPARE_AT_ONCE, len(self._unprepared))):
            self._preparation.prepare(*self._unprepared.popleft())

    def _take_write_backs(self) -> None:
        for claim in self._write_backs.take(self._pool.free):
            self._taken[claim.delivery.id] = claim
            self._claimed += 1
            self._claimed_some = True
            self._reports.stats.claimed += 1

    def _write_to_store(self) -> None:
        while self._to_store:
            write, otherwise = self._to_store[0]
            try:
                write()
            except StoreUnavailable:
                raise
            except Exception as error:
                self._to_store.popleft()
                otherwise(error)
            else:
                self._to_store.popleft()

    def _flush_and_start(self) -> None:
        """Make the collected moves, and start requests in the threads that are free: in one trip.

        With REDIS_ACKS in two: a request waits for replicas, and may have to be taken back. What
        an answer says must not.
        """
        if self._store.acks:
            self._flush()
        if self._moves or (self._sending and self._pool.free > 0):
            self._flush(partial(self._sending.start, self._pool.free))

    def _flush(self, make: Callable[[Sequence[Move]], list[str]] | None = None) -> None:
        """Make the collected moves; if Redis is away, they stay for the next turn.

        make: makes them, and may make others with them; returns their answers.
        """
        if not self._moves and make is None:
            return
        moves = [self._in_row(move) for move in self._moves[:MOVE_AT_ONCE]]
        began_ns = time.time_ns()
        answers = make(moves) if make else move_each(self._store, moves)
        del self._moves[: len(moves)]
        recorded, unmade = [], []
        for move, answer in zip(moves, answers, strict=True):
            if answer.startswith("no "):
                # The number's history forbids the call. Moves for DRY_RUN and for closed hours
                # carry the history check, too.
                self._moves.append(skip_forbidden(move, answer))
                continue
            if answer == UNMADE:
                unmade.append(move)
                continue
            if answer == CRASHED:
                self._after_crash(move)
                if not move.is_after_crash:
                    continue
            if answer.startswith("paused ") and (claim := self._taken.get(move.id)):
                # The route was paused. The next claim holds the delivery.
                self._moves.append(keep_waiting(claim.delivery, 0))
                continue
            if ended := self._taken.pop(move.id, None):
                traces.settled(ended, move, answer, began_ns)
            self._reports.stats.moved[move.to if answer == "ok" else "lost"] += 1
            if answer != "ok":
                logger.info("delivery.move_lost", delivery=move.id, to=move.to, answer=answer)
            elif move.attempt:
                recorded.append(move)
        self._moves[:0] = unmade
        remember_or_log(self._remember, recorded)

    def _in_row(self, move: Move) -> Move:
        claim = self._taken.get(move.id)
        return in_row(move, claim, self._failing_after, self.now()) if claim else move

    def _after_crash(self, move: Move) -> None:
        """Make a plain move instead of one that raised an error. If it raised one, too, give up."""
        if not move.is_after_crash:
            self._moves.extend(self._instead_of(move))
            return
        give_up = partial(self._store.count_error, move.id, "both moves raised", is_last=True)
        self.store_later(give_up, partial(_log_lost, move.id))

    def _instead_of(self, move: Move) -> Iterator[Move]:
        """Yield the move to make instead of one that raised an error: a plain one."""
        claim = self._taken.get(move.id)
        if move.attempt:
            is_write_back = claim is not None and claim.delivery.to == WRITE_BACK
            instead_of = write_back.after_crash if is_write_back else after_crash
            yield instead_of(move, self.now())
        elif claim is not None:
            yield replace(crashed(claim.delivery, self.now(), self._jitter), is_after_crash=True)

    def _give_back(self) -> None:
        """Make due again what is claimed and not being sent, so that another worker claims it."""
        readies = (*self._sending.give_back(), *self._campaigns.give_back())
        claims = (*(ready.claim for ready in readies), *(claim for claim, _ in self._unprepared))
        self._unprepared.clear()
        for claim in claims:
            self.move(keep_waiting(claim.delivery, 0))

    def _take_in_results(self) -> None:
        """Take in the results of the pool. Wait a moment for one if there is nothing else to do."""
        self._http.cut_overdue()
        self._write_backs.cut_overdue()
        self._sending.give_up_unsent()
        timeout_s = POLL_S
        if self._unprepared:
            timeout_s = 0.0
        elif self._claimed_some or (self._sending and self._pool.free > 0):
            timeout_s = min(max(self._sending.start_in_s(), 0.001), POLL_S)
        self._pool.take_in(timeout_s)

    # --- what the parts use: DrainContext ---------------------------------------------------------

    def submit(
        self,
        task: Callable[[], Any],
        then: Callable[[Any], None],
        otherwise: Callable[[Exception], None],
    ) -> None:
        """Run `task` in the pool, and then `then` with its result in the coordinating thread.

        otherwise: runs there, too, if `task` raised an error.
        """
        self._pool.submit(task, then, otherwise)

    def store_later(
        self, write: Callable[[], None], otherwise: Callable[[Exception], None]
    ) -> None:
        """Write to the store in the next turn; repeat the write until Redis has accepted it.

        otherwise: runs if the write raised another error than StoreUnavailable.
        """
        self._to_store.append((write, otherwise))

    def crashed(self, claim: Claim, error: Exception) -> None:
        """Let a claimed delivery wait that raised an error before its request went out.

        The second time it ends as `failed`.
        """
        logger.error(
            "delivery.crashed",
            delivery=claim.delivery.id,
            **request_id_of(claim),
            exc_info=error,
        )
        self.move(crashed(claim.delivery, self.now(), self._jitter))

    def move(self, *moves: Move) -> None:
        """Queue moves of one claimed delivery: the drain makes them in this turn or the next."""
        self._claimed -= 1
        self._moves += moves

    def let_go(self, delivery: Delivery) -> None:
        """Forget a claimed delivery without a move, because its lease was lost."""
        self._claimed -= 1
        taken = self._taken.get(delivery.id)
        # This drain may have claimed it again in the meantime.
        if taken is not None and taken.delivery.lease == delivery.lease:
            del self._taken[delivery.id]

    def enqueue(self, ready: Ready) -> None:
        """Add a request to those that wait for a free thread."""
        self._sending.enqueue(ready)

    def note_health(self, verdict: Verdict) -> None:
        """Keep CallKaro's latest answer for the status page."""
        self._reports.note_health(verdict, self.now())

    def now(self) -> datetime:
        """Return the time of Redis."""
        return datetime.now(UTC) + self._clock


def _log_lost(delivery_id: str, error: Exception) -> None:
    logger.error("delivery.crashed", delivery=delivery_id, exc_info=error)
