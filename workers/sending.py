"""Sending: records `sending`, makes the requests that Redis permits, and settles their answers.

Only `start` begins the request of a delivery, after Redis recorded `sending` and answered ok.
Shared campaigns and deletions ask may_ask_callkaro() instead. All of this module runs in the
drain's coordinating thread, except for the request itself.
"""

import contextlib
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from config import log
from config.tracing import Facts
from rules.backoff import Jitter
from rules.plan import Ready
from rules.transitions import (
    CRASH_WAIT_S,
    crashed,
    keep_waiting,
    settle,
    settle_crashed,
    skip_forbidden,
    start_sending,
    undo_sending,
    wait_for_pause,
)
from rules.verdict import Meaning, Verdict, verdict, verdict_of_crash
from schemas.delivery import Reason, Status
from schemas.errors import StoreUnavailable, Unconfirmed
from schemas.http_result import TOO_LATE, HttpResult
from schemas.outcome import DND_SENTENCE
from schemas.records import Claim, Move
from schemas.settings import Settings
from store import Store
from store.suppression import Suppressions
from workers import traces
from workers.callkaro import CallKaro
from workers.campaigns import Campaigns
from workers.drain_context import DrainContext, request_id_of
from workers.http import CONNECT_S, SendDeadline
from workers.moving import UNMADE, move_each, remember_or_log, taken_back
from workers.preparation import history_check
from workers.reporting import Reports

logger = log.get(__name__)

MARGIN_S = 5.0  # the part of the lease that must remain after the longest time of a request
BEHIND_S = 5.0  # until a call looks again for the answer to the call that may be for it, too
BEHIND = (
    "The CRM merged its record with that of another delivery, whose call is on the wire. It waits "
    "for CallKaro's answer to that call."
)
REDIS_AWAY_S = 1.0  # until the next try of a request, after Redis did not answer to `sending`

Answer = tuple[HttpResult, Verdict]
Remember = Callable[[Iterable[Move]], None]


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A request in the pool."""

    ready: Ready
    began: datetime
    deadline: SendDeadline


class Sending:
    """The deliveries of one drain that are ready to be sent, and their requests."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        callkaro: CallKaro,
        drain: DrainContext,
        campaigns: Campaigns,
        reports: Reports,
        remember: Remember,
        jitter: Jitter,
    ) -> None:
        self._store = store
        self._settings = settings
        self._callkaro = callkaro
        self._drain = drain
        self._campaigns = campaigns
        self._reports = reports
        self._remember = remember
        self._jitter = jitter
        self._needs_s = callkaro.http.longest_s + MARGIN_S
        self._ready: deque[Ready] = deque()
        self._in_pool: dict[str, _Attempt] = {}  # by delivery
        # By a delivery in the pool: those that are skipped if its call may have been accepted.
        self._behind: defaultdict[str, list[Ready]] = defaultdict(list)
        self._given_up: set[tuple[str, int]] = set()  # (delivery, lease): its thread still hangs
        self._no_start_before = 0.0  # monotonic: the rate cap

    def __bool__(self) -> bool:
        """Say whether requests wait for a free thread."""
        return bool(self._ready)

    @property
    def is_awaited(self) -> bool:
        """Say whether requests wait for their answers, or for give_up_unsent()."""
        return bool(self._in_pool)

    def enqueue(self, ready: Ready) -> None:
        """Add a request to those that wait for a free thread."""
        self._ready.append(ready)

    def give_back(self) -> list[Ready]:
        """Return the requests that wait for a free thread, and forget them."""
        waiting = list(self._ready)
        self._ready.clear()
        return waiting

    def start_in_s(self) -> float:
        """Return the seconds until the rate cap permits a request; below 0: it permits one now."""
        return self._no_start_before - time.monotonic()

    def start(self, free_threads: int, before: Sequence[Move] = ()) -> list[str]:
        """Record `sending` for a delivery per free thread; POST the requests that Redis permits.

        before: moves that are made first, in the same trip to Redis. Returns their answers. Raises
        StoreUnavailable: then the deliveries are taken back, and those moves may be made or not.
        """
        may_start = free_threads > 0 and self.start_in_s() <= 0
        count = min(free_threads, len(self._ready)) if may_start else 0
        batch = [self._ready.popleft() for _ in range(count)]
        start_by = time.monotonic() + MARGIN_S
        now = self._drain.now()
        starts: list[tuple[Ready, Move]] = []
        broken: list[tuple[Ready, Exception]] = []
        try:
            for ready in batch:
                try:
                    starts.append((ready, self._start_of(ready, now)))
                except StoreUnavailable:
                    raise
                except Exception as error:
                    broken.append((ready, error))
            answers = move_each(self._store, [*before, *(move for _, move in starts)])
        except StoreUnavailable as error:
            # `sending` may be recorded, but surely no request was begun.
            for ready in batch:
                self._drain.move(*taken_back(ready, now, error, wait=REDIS_AWAY_S))
            raise
        for ready, cause in broken:
            self._drain.crashed(ready.claim, cause)
        self._begin(starts, answers[len(before) :], now, start_by)
        return answers[: len(before)]

    def _begin(
        self,
        starts: Sequence[tuple[Ready, Move]],
        answers: Sequence[str],
        now: datetime,
        start_by: float,
    ) -> None:
        permitted = [
            move for (_, move), answer in zip(starts, answers, strict=True) if answer == "ok"
        ]
        remember_or_log(self._remember, permitted)
        for (ready, move), answer in zip(starts, answers, strict=True):
            if answer == "ok":
                self._post(_Attempt(ready, now, SendDeadline(start_by)))
            elif answer == UNMADE:
                self._drain.move(*undo_sending(ready, now, wait=REDIS_AWAY_S))
            else:
                self._not_permitted(ready, move, answer, now)

    def _start_of(self, ready: Ready, now: datetime) -> Move:
        check = history_check(ready, self._store, self._settings)
        return start_sending(ready, now, guard=check, needs_s=self._needs_s)

    def _not_permitted(self, ready: Ready, move: Move, answer: str, now: datetime) -> None:
        word, _, rest = answer.partition(" ")
        match word:
            case "no":
                self._drain.move(skip_forbidden(move, answer))
            case "behind" if rest in self._in_pool:
                self._behind[rest].append(ready)
            case "behind":  # another worker makes that call
                self._drain.move(keep_waiting(ready.delivery, BEHIND_S, message=BEHIND))
            case "wait":  # the rate cap
                self._no_start_before = time.monotonic() + int(rest) / 1000
                self._ready.append(ready)
            case "crashed":
                # `sending` may be recorded, but surely no request was begun.
                back, _ = undo_sending(ready, now, wait=CRASH_WAIT_S)
                waits = crashed(ready.delivery, now, self._jitter)
                self._drain.move(replace(back, fields={**back.fields, **waits.fields}), waits)
            case "paused":
                # A pause began, or the breaker opened, after the claim. The next claim sees it.
                self._drain.move(wait_for_pause(ready, int(rest) / 1000))
            case _:
                # Too little of the lease is left, or another worker has the delivery. The sweep
                # or that worker continues with it.
                self._drain.let_go(ready.delivery)
                logger.info(
                    "delivery.lost_lease",
                    delivery=ready.delivery.id,
                    answer=answer,
                    **request_id_of(ready.claim),
                )

    # --- POST -------------------------------------------------------------------------------------

    def _post(self, attempt: _Attempt) -> None:
        ready = attempt.ready
        self._reports.stats.attempts += 1
        self._in_pool[ready.delivery.id] = attempt
        post = partial(
            self._callkaro.post, ready.at_callkaro, ready.body, send_deadline=attempt.deadline
        )
        try:
            self._drain.submit(
                traces.around("send", [ready.claim], post, _told),
                partial(self._answered, attempt),
                partial(self._answer_crashed, attempt),
            )
        except RuntimeError as error:
            # The system gives no thread. give_up_unsent() settles the attempt as never sent.
            logger.warning("thread.refused", delivery=ready.delivery.id, error=str(error))

    def _answer_crashed(self, attempt: _Attempt, error: Exception) -> None:
        """Settle an attempt whose answer raised an error: its request may have been accepted."""
        logger.error("answer.crashed", delivery=attempt.ready.delivery.id, exc_info=error)
        result = HttpResult(sent=True, duration_ms=0, error="crashed")
        self._answered(attempt, (result, verdict_of_crash(attempt.ready.at_callkaro)))

    def give_up_unsent(self) -> None:
        """Settle attempts that hang before their first byte, so that their leases do not expire.

        To resolve a host name can take longer than a lease. Without this, a call that surely was
        not made would become `unknown`. The thread still hangs. Its result, when it comes, is
        ignored.
        """
        now = time.monotonic()
        late = [one for one in self._in_pool.values() if now > one.deadline.start_by + CONNECT_S]
        for attempt in late:
            delivery = attempt.ready.delivery
            del self._in_pool[delivery.id]
            if attempt.deadline.give_up():
                self._given_up.add((delivery.id, delivery.lease))
                took_ms = round((self._drain.now() - attempt.began).total_seconds() * 1000)
                result = HttpResult(sent=False, duration_ms=took_ms, error=TOO_LATE)
                meant = verdict(attempt.ready.at_callkaro, sent=False, status_code=None, body=b"")
                self._settle(attempt, result, meant)

    def _answered(self, attempt: _Attempt, answer: Answer) -> None:
        delivery = attempt.ready.delivery
        self._in_pool.pop(delivery.id, None)
        if (delivery.id, delivery.lease) in self._given_up:
            self._given_up.discard((delivery.id, delivery.lease))  # it is settled already
        else:
            self._settle(attempt, *answer)

    # --- settle -----------------------------------------------------------------------------------

    def _settle(self, attempt: _Attempt, result: HttpResult, meant: Verdict) -> None:
        ready = attempt.ready
        # Redis decides again, after the move that settles this attempt.
        self._ready.extend(self._behind.pop(ready.delivery.id, ()))
        try:
            move = settle(ready, result, meant, attempt.began, self._jitter)
        except Exception as error:
            logger.error("settle.crashed", delivery=ready.delivery.id, exc_info=error)
            self._drain.move(settle_crashed(ready, attempt.began))
            return
        try:
            _log_attempt(ready, result, move)
            self._reports.note_attempt(ready, result, move, self._drain.now())
            self._drain.note_health(meant)
        except Exception as error:  # a report must not stop the settling
            logger.error("report.crashed", delivery=ready.delivery.id, exc_info=error)
        if meant.refusal is Reason.DND_NUMBER and ready.to == "call":
            suppress = partial(self._suppress, ready.body["to_number"], ready.delivery.id)
            self._drain.store_later(suppress, _log_lost_suppression)
        if ready.campaign_key and meant.meaning is Meaning.ACCEPTED and meant.id:
            # Store the campaign first, then settle its delivery. A crash between the two then
            # loses no campaign.
            keep = partial(self._keep_campaign, ready.campaign_key, meant.id, ready.body, move)
            self._drain.store_later(keep, partial(self._kept_no_campaign, move))
            return
        if ready.to == "campaign" and meant.meaning is Meaning.ACCEPTED and meant.id:
            note = partial(self._campaigns.note_agent, meant.id, ready.body)
            self._drain.store_later(note, partial(_log_lost_agent, move.id))
        self._drain.move(move)

    def _suppress(self, number: str, delivery_id: str) -> None:
        # Nobody waits for an answer here. It is stored, and CallKaro itself refuses the number.
        with contextlib.suppress(Unconfirmed):
            Suppressions(store=self._store).suppress(
                number, reason="by_callkaro", message=DND_SENTENCE, delivery_id=delivery_id
            )

    def _kept_no_campaign(self, move: Move, error: Exception) -> None:
        logger.error("campaign.crashed", delivery=move.id, exc_info=error)
        self._drain.move(move)

    def _keep_campaign(self, key: str, batch_id: str, body: dict[str, Any], move: Move) -> None:
        kept = self._campaigns.keep(key, batch_id, body)
        self._drain.move(replace(move, fields={**move.fields, "batch_id": kept}))


def _told(claim: Claim, answer: Answer) -> Facts:
    result, meant = answer
    return traces.answered(claim, result, meant)


def _log_lost_suppression(error: Exception) -> None:
    logger.error("suppression.crashed", exc_info=error)


def _log_attempt(ready: Ready, result: HttpResult, move: Move) -> None:
    # An `unknown` delivery waits for a person, so its line is a warning.
    log_it = logger.warning if move.to is Status.UNKNOWN else logger.info
    log_it(
        "delivery.attempted",
        delivery=ready.delivery.id,
        **request_id_of(ready.claim),
        route=ready.route.name,
        status=move.to,
        attempt=ready.number,
        duration_ms=result.duration_ms,
        status_code=result.status_code,
        error=result.error,
        retry_in_s=None if move.wait_s is None else round(move.wait_s, 1),
    )


def _log_lost_agent(delivery_id: str, error: Exception) -> None:
    logger.error("campaign.crashed", delivery=delivery_id, exc_info=error)
