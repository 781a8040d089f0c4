"""Write-backs: the drain tells CRMs about calls, with a share of its threads.

    claim ► prepare ► a turn at the CRM ► record "sending" ► request (pool) ► settle

A CRM with an API of ours is told of many calls at once: see workers/crm_writing.py. Any other
source gets a signed webhook for each (Standard Webhooks). Its id is the write-back's own, the same
at each attempt. All of this module runs in the drain's coordinating thread, except for the requests
themselves.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

import orjson

from config import log
from config.tracing import Facts
from rules import write_back as rules
from rules.backoff import Jitter, doubled_s
from rules.plan import Ready
from rules.transitions import CRASH_WAIT_S, crashed, keep_waiting, undo_sending
from rules.verdict import Meaning, Verdict
from schemas.delivery import Delivery
from schemas.errors import StoreUnavailable
from schemas.http_result import HttpResult
from schemas.records import Claim, Move
from schemas.settings import Settings
from schemas.write_back import WriteBackClaim
from store import Store
from workers import traces
from workers.alerts import signed
from workers.crm import CrmClient
from workers.crm_writing import Answer, CrmWriting
from workers.drain_context import DrainContext
from workers.http import SendDeadline
from workers.moving import UNMADE, move_each, taken_back

logger = log.get(__name__)

SHARE: Final = 4  # one of so many threads may make write-backs
BATCHES: Final = 2  # of one CRM at the same time; what comes meanwhile makes the next ones larger
IDLE_S: Final = 0.25  # until the next look after one that found nothing
LEASE_S: Final = 60.0
PATIENCE_S: Final = 1.0  # how long a request waits for its turn under the CRM's rate
MARGIN_S: Final = 5.0  # the part of the lease that must remain
NO_TURN_S: Final = 2.0  # until a write-back asks again for a turn
BEHIND_S: Final = 2.0  # until it looks again for the answer to another one of its record
STORE_AWAY_S: Final = 1.0
# The breaker: so many failures in a row at one CRM stop all its write-backs for a time.
FAILURES: Final = 5
FIRST_BREAK_S: Final = 5.0
LONGEST_BREAK_S: Final = 60.0


class WriteBacks:
    """The write-backs of one drain."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        crm_client: CrmClient,
        drain: DrainContext,
        jitter: Jitter,
    ) -> None:
        self._store = store
        self._settings = settings
        self._http = crm_client.http
        # Whether the drain ends: a batch then begins no further request, for calls wait meanwhile.
        self.is_ending = False
        self._crm_writing = CrmWriting(
            crm=crm_client, store=store, settings=settings, is_ending=lambda: self.is_ending
        )
        self._drain = drain
        self._jitter = jitter
        self._most = max(1, settings.worker_threads // SHARE)
        self._batches = {
            source.name: source.kind.write_back.batch
            for source in settings.routes.sources.values()
            if source.kind.write_back and settings.writes_by_api(source)
        }
        # A batch has several requests. None begins so late that its lease could end before it does.
        self._begin_s = MARGIN_S + (self._http.longest_s if self._batches else 0.0)
        self._needs_s = PATIENCE_S + self._begin_s + self._http.longest_s
        self._lease_s = LEASE_S + self._begin_s
        self._failures: Counter[str] = Counter()  # by source: in a row, of this drain
        self._running: Counter[str] = Counter()  # by source: the requests in the pool
        self._is_starting = False  # whether some are claimed whose requests are not in the pool
        self._no_turn_before: dict[str, float] = {}  # by source; monotonic
        self._no_look_before = 0.0  # monotonic
        self.in_hand = 0  # claimed, and neither moved nor let go

    def hurry(self) -> None:
        """Look for write-backs in the next step."""
        self._no_look_before = 0.0

    def take(self, free_threads: int) -> list[Claim]:
        """Claim what is due, as far as its share of the threads is free. Raises StoreUnavailable.

        Each that is returned is moved or let go.
        """
        threads = min(self._most - self._running.total(), free_threads)
        now = time.monotonic()
        if threads <= 0 or self._is_starting or now < self._no_look_before:
            return []
        rooms = {source: self._room(source, now) for source in self._batches}
        began_ns = time.time_ns()
        found = traces.claimed(
            self._store.claim_write_backs(threads, rooms, lease_s=self._lease_s), began_ns
        )
        if not found:
            self._no_look_before = now + IDLE_S
            return []
        self.in_hand += len(found)
        self._is_starting = True
        self._drain.store_later(partial(self._start, found), partial(self._start_crashed, found))
        return [
            Claim(delivery=one.delivery, event=one.event, traceparent=one.traceparent)
            for one in found
        ]

    def _room(self, source: str, now: float) -> int:
        """Return how many calls a CRM may be told of now, by its API."""
        waits = now < self._no_turn_before.get(source, 0.0)
        return 0 if waits or self._running[source] >= BATCHES else self._batches[source]

    def cut_overdue(self) -> None:
        """Close the connections of requests past their deadline."""
        self._http.cut_overdue()

    # --- before the request -----------------------------------------------------------------------

    def _start(self, claims: Sequence[WriteBackClaim]) -> None:
        now = self._drain.now()
        turns = list(self._turns(claims, now))
        ready = [one for turn in turns for one in turn.batch]
        try:
            answers = move_each(
                self._store, [rules.start(one, now, needs_s=self._needs_s) for one in ready]
            )
        except StoreUnavailable as error:
            # `sending` may be recorded, but surely no request was begun.
            for one in ready:
                self._move(*taken_back(one, now, error, wait=STORE_AWAY_S))
            self._is_starting = False
            return
        permitted = set()
        for one, answer in zip(ready, answers, strict=True):
            if answer == "ok":
                permitted.add(one.delivery.id)
            else:
                self._not_permitted(one, answer, now)
        for turn in turns:
            if batch := [one for one in turn.batch if one.delivery.id in permitted]:
                self._post(batch, now, turn.wait_s)
        self._is_starting = False

    def _start_crashed(self, claims: Sequence[WriteBackClaim], error: Exception) -> None:
        self._is_starting = False
        self._crashed([one.delivery for one in claims], error)

    def _turns(self, claims: Iterable[WriteBackClaim], now: datetime) -> Iterator["_Turn"]:
        """Yield what may be sent, by request, with the turn of each; move what may not."""
        for batch in self._requests(claims, now):
            source = batch[0].delivery.source
            wait_s = self._turn_in_s(source)
            if wait_s is not None:
                yield _Turn(batch, wait_s)
                continue
            self._no_turn_before[source] = time.monotonic() + NO_TURN_S
            for ready in batch:
                wait = NO_TURN_S * (0.5 + self._jitter() / 2)
                self._move(keep_waiting(ready.delivery, wait))

    def _requests(
        self, claims: Iterable[WriteBackClaim], now: datetime
    ) -> Iterator[Sequence[Ready]]:
        """Yield what one request, or one batch of them, tells."""
        batches: dict[str, list[Ready]] = {}
        for claim in claims:
            ready = self._prepared(claim, now)
            if ready is None:
                continue
            if ready.delivery.source in self._batches:
                batches.setdefault(ready.delivery.source, []).append(ready)
            else:
                yield [ready]
        yield from batches.values()

    def _prepared(self, claim: WriteBackClaim, now: datetime) -> Ready | None:
        try:
            found = rules.prepare(claim, self._settings, now)
        except Exception as error:  # one bad record must not cost the others
            self._crashed([claim.delivery], error)
            return None
        if isinstance(found, Ready) and self._settings.dry_run:
            found = rules.dry_run(found)
        if isinstance(found, Move):
            self._move(found)
            return None
        return found

    def _turn_in_s(self, source: str) -> float | None:
        rate, by_api = self._settings.crm_rates.get(source), source in self._batches
        if rate is None:
            return 0.0
        try:
            return self._store.may_ask_crm(
                self._asked(source), rate=rate, patience_s=PATIENCE_S, is_write=by_api
            )
        except StoreUnavailable:
            return None  # it waits, and so does the move that says so

    def _not_permitted(self, ready: Ready, answer: str, now: datetime) -> None:
        delivery = ready.delivery
        match answer.partition(" ")[0]:
            case "no":
                self._move(rules.superseded(ready))
            case "behind":
                self._move(keep_waiting(delivery, BEHIND_S))
            case "paused":  # the next claim holds it
                self._move(keep_waiting(delivery, 0))
            case "crashed":
                back, _ = undo_sending(ready, now, wait=CRASH_WAIT_S)
                waits = crashed(delivery, now, self._jitter)
                self._move(replace(back, fields={**back.fields, **waits.fields}), waits)
            case _ if answer == UNMADE:
                self._move(*undo_sending(ready, now, wait=STORE_AWAY_S))
            case _:
                # Too little of the lease is left, or somebody else moved it.
                self.in_hand -= 1
                self._drain.let_go(delivery)
                logger.info("write_back.lost_lease", delivery=delivery.id, answer=answer)

    # --- the request ------------------------------------------------------------------------------

    def _post(self, batch: Sequence[Ready], began: datetime, wait_s: float) -> None:
        source = batch[0].delivery.source
        until = time.monotonic() + wait_s
        deadline = SendDeadline(until + MARGIN_S)
        request: Callable[[], dict[str, Answer]]
        if source in self._batches:
            request = partial(self._write, batch, wait_s, until + self._begin_s)
        else:
            request = partial(self._send, batch[0], wait_s, deadline)
        try:
            self._drain.submit(
                traces.around("write-back", [ready.claim for ready in batch], request, _told),
                partial(self._answered, batch, began),
                partial(self._answer_crashed, batch, began),
            )
        except RuntimeError as error:  # the system gives no thread
            logger.warning("thread.refused", source=source, error=str(error))
            # A batch may run still: then the sweep takes over when its lease ends.
            if source not in self._batches and deadline.give_up():
                self._move(*undo_sending(batch[0], began, wait=STORE_AWAY_S))
            return
        self._running[source] += 1

    def _write(
        self, batch: Sequence[Ready], wait_s: float, begin_until: float
    ) -> dict[str, Answer]:
        time.sleep(wait_s)  # its turn under the CRM's rate
        return self._crm_writing.write(batch, begin_until)

    def _send(self, ready: Ready, wait_s: float, deadline: SendDeadline) -> dict[str, Answer]:
        time.sleep(wait_s)
        to = self._settings.webhooks_out[ready.delivery.source]
        body = orjson.dumps(ready.body)
        headers = signed(to.url, body, ready.delivery.id, to.secrets)
        headers["Content-Type"] = "application/json"
        result = self._http.request(
            "POST", to.url, headers=headers, data=body, send_deadline=deadline
        )
        return {ready.delivery.id: (result, rules.verdict(result))}

    # --- after the answer -------------------------------------------------------------------------

    def _answered(
        self, batch: Sequence[Ready], began: datetime, answers: Mapping[str, Answer]
    ) -> None:
        source = batch[0].delivery.source
        self._running[source] -= 1
        for ready in batch:
            try:
                result, meant = answers[ready.delivery.id]
                move = self._settled(ready, result, meant, began)
            except Exception as error:
                self._settle_crashed(ready, began, error)
                continue
            _log_attempt(ready, result, move)
            self._move(move)
        self._note_health(source, list(answers.values()))

    def _settled(self, ready: Ready, result: HttpResult, meant: Verdict, began: datetime) -> Move:
        source = self._settings.routes.sources[ready.delivery.source]
        api, prefix = source.kind.api, source.variable_prefix
        proof = f"{prefix}WRITE_BACK_SECRET or the receiver"
        if api is not None and source.name in self._batches:
            proof = f"the login ({prefix}{api.login.needs[-1]})"
        return rules.settle(ready, result, meant, began, self._jitter, proof=proof)

    def _answer_crashed(self, batch: Sequence[Ready], began: datetime, error: Exception) -> None:
        self._running[batch[0].delivery.source] -= 1
        for ready in batch:
            self._settle_crashed(ready, began, error)

    def _settle_crashed(self, ready: Ready, began: datetime, error: Exception) -> None:
        logger.error("answer.crashed", delivery=ready.delivery.id, exc_info=error)
        self._move(rules.settle_crashed(ready, began))

    def _note_health(self, source: str, answers: Sequence[Answer]) -> None:
        """Count failures in a row; after five, and while it asks for it, the CRM gets nothing."""
        failed = [result for result, meant in answers if meant.meaning is Meaning.AGAIN]
        if len(failed) < len(answers) or not failed:
            self._failures.pop(source, None)
            return
        self._failures[source] += 1
        for_s = min(max(result.retry_after_s or 0.0 for result in failed), LONGEST_BREAK_S)
        more = self._failures[source] - FAILURES
        if more >= 0:
            for_s = max(for_s, doubled_s(FIRST_BREAK_S, more, LONGEST_BREAK_S))
        if for_s:
            asked, by_api = self._asked(source), source in self._batches
            slow = partial(self._store.slow_crm, asked, for_s=for_s, writes_only=by_api)
            self._drain.store_later(slow, _log_lost_break)

    def _asked(self, source: str) -> str:
        """Return whose rate and breaker counts: the CRM's, or that of the webhooks' receiver."""
        return source if source in self._batches else f"{source} webhooks"

    # --- helpers ----------------------------------------------------------------------------------

    def _move(self, *moves: Move) -> None:
        """Queue moves of one claimed write-back."""
        self.in_hand -= 1
        self._drain.move(*moves)

    def _crashed(self, deliveries: Iterable[Delivery], error: Exception) -> None:
        for delivery in deliveries:
            logger.error("write_back.crashed", delivery=delivery.id, exc_info=error)
            self._move(crashed(delivery, self._drain.now(), self._jitter))


@dataclass(frozen=True, slots=True)
class _Turn:
    """What one request, or a batch of them, tells, and the seconds until its turn."""

    batch: Sequence[Ready]
    wait_s: float


def _told(claim: Claim, answers: Mapping[str, Answer]) -> Facts:
    result, meant = answers[claim.delivery.id]
    return traces.answered(claim, result, meant)


def _log_attempt(ready: Ready, result: HttpResult, move: Move) -> None:
    logger.info(
        "write_back.attempted",
        delivery=ready.delivery.id,
        of=ready.delivery.of,
        route=ready.delivery.route,
        status=move.to,
        attempt=ready.number,
        duration_ms=result.duration_ms,
        status_code=result.status_code,
        error=result.error,
        retry_in_s=None if move.wait_s is None else round(move.wait_s, 1),
    )


def _log_lost_break(error: Exception) -> None:
    logger.error("breaker.crashed", exc_info=error)
