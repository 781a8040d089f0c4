"""The drain: claims what is due in batches and delivers it with a pool of threads.

One thread coordinates and is the only one that moves deliveries; the pool's threads only talk
HTTP. So Redis is asked a few times for many deliveries, and there is one place where a request
is permitted: `_start`, after `sending` was recorded and Redis said ok.

    claim ► hydrate (pool) ► prepare ► campaign (pool) ► record "sending" ► POST (pool) ► settle

Campaigns that calls share are campaigns.py's.
"""

import contextlib
import queue
import random
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from config import log
from rules.plan import Ready, prepare, screen
from rules.transitions import (
    begun,
    dropped,
    dry,
    failed,
    forbidden,
    needs_more_time,
    never_sent,
    record_missing,
    settled,
    waits,
)
from rules.verdict import Meaning, Verdict, verdict
from schemas.delivery import Delivery, Reason, Status
from schemas.errors import StoreUnavailable
from schemas.event import CALL_ME
from schemas.http_result import TOO_LATE, HttpResult
from schemas.records import Claim, HistoryCheck, Move
from schemas.settings import Settings
from schemas.source import Source
from store import Store
from store.counters import Measures
from store.suppression import person_key
from workers.background_tasks import BackgroundTasks
from workers.callkaro import CallKaro
from workers.campaigns import Campaigns
from workers.crm import CrmClient, FetchFailed, Records
from workers.http import CONNECT_S, SendDeadline

logger = log.get(__name__)

LEASE_S = 60.0
MARGIN_S = 5.0  # of the lease that must outlast a request's longest time
SLICE_S = 60.0  # a drain ends after this, so that a new release's worker takes over soon
LINGER_S = 0.25  # how long it stays when nothing is due: a burst then needs no new process
STOP_S = 25.0  # Heroku and Docker kill 30 s (or sooner) after they ask to stop
HOLD_S = 5.0  # with a rate cap: how much of it to hold, in seconds
POLL_S = 0.02
LOOK_S = 1.0
PATIENCE_S = 10.0  # of a lease, for a cancellation to wait for its turn under the rate cap
TELL_S = 1.0
CRASHES = 10  # in a row, of steps; then the drain gives up


@dataclass(slots=True)
class DrainStats:
    """What a drain did, for its one log line."""

    claimed: int = 0
    attempts: int = 0
    moved: dict[str, int] = field(default_factory=lambda: defaultdict(int))


class Drain:
    """Delivers what is due until nothing is, its time slice is over, or it is told to stop."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        callkaro: CallKaro,
        crm_client: CrmClient,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        remember: Callable[[Iterable[Move]], None] = lambda moves: None,
        jitter: Callable[[], float] = random.random,
        slice_s: float = SLICE_S,
    ) -> None:
        self.store = store
        self.settings = settings
        self.callkaro = callkaro
        self.crm_client = crm_client
        self.stats = DrainStats()
        self._should_stop = should_stop
        self._remember = remember
        self._jitter = jitter
        self._slice_s = slice_s
        self._needs_s = callkaro.http.longest_s + MARGIN_S
        self._most_held = 2 * settings.worker_threads
        if settings.max_rate:
            # More would only wait here, and lose their leases.
            self._most_held = min(self._most_held, max(1, int(settings.max_rate * HOLD_S)))
        self._clock = timedelta(0)  # what to add to this machine's clock to have Redis'
        self._ready: deque[Ready] = deque()
        self._moves: list[Move] = []
        self._campaigns = Campaigns(store, callkaro, self, jitter)
        self._background_tasks = BackgroundTasks(store, settings, crm_client, self)
        self._to_store: deque[Callable[[], None]] = deque()  # what the store must be told besides
        self._unsent: dict[str, tuple[SendDeadline, Ready, datetime]] = {}  # by delivery
        self._given_up: set[tuple[str, int]] = set()  # (delivery, lease) whose thread hangs still
        self._running = 0  # tasks in the pool
        self._held = 0  # deliveries claimed and not moved on yet
        self._done: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._no_start_before = 0.0  # monotonic: the rate cap
        self._no_claim_before = 0.0  # monotonic: nothing was due a moment ago
        self._store_failures = 0
        self._crashes = 0
        self._took_some = False
        self._health_to_note: Verdict | None = None  # the latest of CallKaro's that is not told yet
        self._told_at = 0.0
        self._measures = Measures()  # since the store was last told
        self._measured_at = 0.0

    def run(self) -> DrainStats:
        """Drain. Returns what was done; raises StoreUnavailable if Redis is away at the start."""
        self.store.clear_wakeup()
        began = idle_since = time.monotonic()
        told_to_stop_at: float | None = None
        with ThreadPoolExecutor(self.settings.worker_threads, thread_name_prefix="send") as pool:
            self._pool = pool
            while True:
                now = time.monotonic()
                if told_to_stop_at is None and self._should_stop():
                    told_to_stop_at = now
                stopping = bool(
                    told_to_stop_at is not None or now - began > self._slice_s or self._crashes
                )
                self._guarded(partial(self._step, stopping))
                if self._crashes > CRASHES:
                    break
                if self._is_busy():
                    idle_since = now
                    # Redis stays away and the platform's SIGKILL is near: what is not recorded
                    # by now becomes `unknown` by the sweep.
                    if told_to_stop_at is not None and now - told_to_stop_at > STOP_S:
                        break
                elif stopping or now - idle_since > LINGER_S:
                    break
                self._collect()
        with contextlib.suppress(StoreUnavailable):
            self._tell_measures()
        logger.info(
            "drain.done",
            claimed=self.stats.claimed,
            attempts=self.stats.attempts,
            **{f"to_{status}": count for status, count in sorted(self.stats.moved.items())},
        )
        return self.stats

    def _is_busy(self) -> bool:
        at_work = self._running or self._moves or self._to_store or self._ready or self._campaigns
        return bool(at_work or self._took_some)

    # --- one turn -----------------------------------------------------------------------------

    def _collect(self) -> None:
        """Take in what the pool has done; wait a moment for it if there is nothing else to do."""
        self.callkaro.http.cut_overdue()
        self._give_up_unsent()
        until_start_s = self._no_start_before - time.monotonic()
        if self._took_some or (self._ready and self._running < self.settings.worker_threads):
            timeout_s = min(max(until_start_s, 0.001), POLL_S)
        else:
            timeout_s = POLL_S
        try:
            self._done.get(timeout=timeout_s)()
            while True:
                self._done.get_nowait()()
        except queue.Empty:
            return

    def _guarded(self, step: Callable[[], None]) -> None:
        """Do a step; while Redis is away, back off and keep what is to be recorded."""
        try:
            step()
        except Exception as error:
            if not isinstance(error, StoreUnavailable):
                # A mistake of ours. What is on the wire is still taken in and recorded.
                self._crashes += 1
                logger.error("drain.crashed", exc_info=error)
                return
            self._store_failures += 1
            if self._store_failures == 1:
                logger.warning("store.away", error=str(error))
            time.sleep(min(0.1 * 2**self._store_failures, 2.0) * (0.5 + self._jitter() / 2))
        else:
            if self._store_failures:
                logger.info("store.back", failures=self._store_failures)
            self._store_failures = 0
            self._crashes = 0

    def _step(self, stopping: bool) -> None:
        while self._to_store:
            self._to_store[0]()
            self._to_store.popleft()
        self._flush()
        self._took_some = False
        if stopping:
            self._give_back()
            self._flush()
            return
        self._background_tasks.take()
        room = self._most_held - (self._held - self._campaigns.waiting)
        if room > self._most_held // 8 and time.monotonic() > self._no_claim_before:
            self._take(self._claim(min(room, 200)))
        self._start()
        self._flush()
        self._store_health()
        if time.monotonic() - self._measured_at >= TELL_S:
            self._tell_measures()

    def _tell_measures(self) -> None:
        """Keep what was measured, in one go; what Redis did not take stays for the next time."""
        self._measured_at = time.monotonic()
        self.store.measure(self._measures)
        self._measures = Measures()

    def _measure(self, ready: Ready, reply: HttpResult, move: Move) -> None:
        result = str(reply.status_code) if reply.status_code else (reply.error or "no_answer")
        self._measures.attempt(result, reply.duration_ms / 1000)
        event = ready.claim.event
        if move.to is Status.DELIVERED and event:
            waited_s = (self.now() - event.received_at).total_seconds()
            self._measures.accepted(ready.route.name, waited_s)

    def _store_health(self) -> None:
        """Let the status page know how CallKaro takes our requests, once a second at the most."""
        if self._health_to_note is None or time.monotonic() - self._told_at < TELL_S:
            return
        self._told_at = time.monotonic()
        heard, self._health_to_note = self._health_to_note, None
        answered = heard.meaning in (Meaning.ACCEPTED, Meaning.REFUSED)
        self.store.note_callkaro(answered=answered, message=heard.public)

    def _claim(self, limit: int) -> list[Claim]:
        found = self.store.claim(limit, lease_s=LEASE_S)
        self._clock = found.now - datetime.now(UTC)
        if not found.looked_at or found.wait_s:
            # Not for the whole of its wait: an answer that was on the wire may close the breaker.
            self._no_claim_before = time.monotonic() + min(max(POLL_S, found.wait_s), LOOK_S)
        self._took_some = bool(found.looked_at)
        self._held += len(found.claims)
        self.stats.claimed += len(found.claims)
        return list(found.claims)

    def now(self) -> datetime:
        """Return Redis' time."""
        return datetime.now(UTC) + self._clock

    # --- hydrate, prepare ---------------------------------------------------------------------

    def _take(self, claims: Iterable[Claim]) -> None:
        """Prepare what is complete; fetch the records of what is thin, a batch in one request."""
        thin: dict[tuple[str, str], list[Claim]] = defaultdict(list)
        for claim in claims:
            if claim.delivery.status is Status.DELIVERED:
                self.store_later(partial(self._drop, claim))
                continue
            event = claim.event
            source = self.settings.routes.sources.get(claim.delivery.source)
            if event and event.hydrate and event.subject and source and source.kind.hydration:
                if move := screen(claim, self.settings, self.now()):
                    self.move(move)
                    continue
                thin[source.name, event.hydrate].append(claim)
            else:
                self._prepare(claim)
        for (name, crm_object), group in thin.items():
            source = self.settings.routes.sources[name]
            for batch in _batches(group, source):
                self._hydrate(source, crm_object, batch)

    def _hydrate(self, source: Source, crm_object: str, batch: list[Claim]) -> None:
        ids = sorted({str(claim.event.subject) for claim in batch if claim.event})
        wanted = sorted(set(self._fields(source, batch)))
        self.submit(
            partial(self.crm_client.fetch, source, crm_object, ids, wanted),
            partial(self._hydrated, source, batch),
        )

    def _fields(self, source: Source, batch: list[Claim]) -> Iterator[str]:
        """Yield the CRM fields that the routes of these deliveries read, and their `fetch`."""
        hydration = source.kind.hydration
        for name in {claim.delivery.route for claim in batch}:
            route = self.settings.routes.named(name)
            if route and hydration:
                yield from hydration.fields(route.paths_with(source))
                yield from route.fetch

    def _hydrated(self, source: Source, batch: list[Claim], answer: Records) -> None:
        hydration = source.kind.hydration
        for claim in batch:
            if claim.event is None or hydration is None:
                continue
            record = answer.get(str(claim.event.subject))
            if isinstance(record, FetchFailed):
                self.move(
                    needs_more_time(
                        claim.delivery,
                        "record",
                        record.message,
                        self.now(),
                        self._jitter,
                        retry_after_s=record.retry_after_s,
                        may_give_up=not record.is_account,
                    )
                )
            elif record is None:
                self.move(record_missing(claim.delivery, self.now(), self._jitter))
            else:
                self._prepare(claim, partial(hydration.merge, claim.event.data, record))

    def _prepare(self, claim: Claim, whole: Callable[[], Any] | None = None) -> None:
        """Prepare a delivery; whole makes its data whole, None: the event's own is complete."""
        try:
            data = whole() if whole else claim.event and claim.event.data
            prepared = prepare(claim, data, self.settings, self.now())
        except Exception as error:
            # One bad item never costs its neighbours: it is shown as failed; the log says where.
            logger.error(
                "delivery.crashed",
                delivery=claim.delivery.id,
                **_request(claim),
                exc_info=error,
            )
            prepared = failed(
                claim.delivery,
                Reason.BAD_REQUEST,
                "This record broke the bridge itself; the log says where.",
            )
        if isinstance(prepared, Move):
            self.move(self._findable(claim, prepared))
        elif self.settings.dry_run:
            self.store_later(partial(self._run_dry, prepared))
        else:
            self._campaigns.join(prepared)

    def _findable(self, claim: Claim, move: Move) -> Move:
        """Let a delivery that goes no further be found by its number, where it came to have one.

        One that would wait for its hours does not wait if the number is suppressed.
        """
        number = orjson.loads(str(move.fields.get("request") or "{}")).get("to_number")
        if not number:
            return move
        try:
            phone = self.store.phone_key(number)
            person = person_key(claim.event, self.store) if claim.event else None
        except StoreUnavailable:
            return move  # its neighbours in the batch matter more
        guard = HistoryCheck(phone=phone, person=person, rings_at=self.now())
        return replace(move, phone=phone, guard=guard if move.to is Status.HELD else None)

    def _run_dry(self, ready: Ready) -> None:
        """Do all but the send; what the number's history forbids is told here, too."""
        self.move(dry(ready, self._guard(ready)))

    def enqueue(self, ready: Ready) -> None:
        """Put a call into the line to be sent."""
        self._ready.append(ready)

    # --- cancel at CallKaro -------------------------------------------------------------------

    def _drop(self, claim: Claim) -> None:
        """Have CallKaro delete a scheduled call, as a person asked, be it paused or not."""
        delivery = claim.delivery
        permit = self.store.may_ask_callkaro(
            f"cancel:{delivery.id}", despite_pause=True, patience_s=PATIENCE_S
        )
        if not permit.is_granted:
            self.move(waits(delivery, permit.wait_s, message=delivery.message))
            return
        self.submit(
            partial(self._ask_to_drop, delivery, permit.wait_s), partial(self._dropped, claim)
        )

    def _ask_to_drop(self, delivery: Delivery, wait_s: float) -> tuple[HttpResult, Verdict]:
        time.sleep(wait_s)  # its turn under the rate cap
        request = delivery.request or {}
        return self.callkaro.delete_scheduled(request["agent_id"], request["to_number"])

    def _dropped(self, claim: Claim, answer: tuple[HttpResult, Verdict]) -> None:
        delivery = claim.delivery
        reply, verdict = answer
        logger.info(
            "delivery.dropped",
            delivery=delivery.id,
            **_request(claim),
            meaning=verdict.meaning.name.lower(),
            status_code=reply.status_code,
            error=reply.error,
        )
        self.move(dropped(delivery, reply, verdict, self.now(), self._jitter))

    # --- send, settle -------------------------------------------------------------------------

    def _start(self) -> None:
        """Record `sending` for as many as there are free threads; send those Redis said ok to."""
        self._campaigns.make()
        free = self.settings.worker_threads - self._running
        if not self._ready or free <= 0 or time.monotonic() < self._no_start_before:
            return
        batch = [self._ready.popleft() for _ in range(min(free, len(self._ready)))]
        line_by = time.monotonic() + MARGIN_S
        now = self.now()
        try:
            moves = [
                begun(ready, now, guard=self._guard(ready), needs_s=self._needs_s)
                for ready in batch
            ]
            answers = self.store.move(moves)
        except StoreUnavailable:
            # Maybe recorded, surely not begun.
            for ready in batch:
                self._held -= 1
                for move in never_sent(ready, now, wait=1.0):
                    self._moves.append(move)
            raise
        self._remember(move for move, answer in zip(moves, answers, strict=True) if answer == "ok")
        for ready, move, answer in zip(batch, moves, answers, strict=True):
            if answer.startswith("no "):
                self.move(forbidden(move, answer))
            else:
                self._started(ready, answer, now, SendDeadline(line_by))

    def _started(self, ready: Ready, answer: str, now: datetime, line: SendDeadline) -> None:
        if answer == "ok":
            self.stats.attempts += 1
            self.submit(
                partial(self.callkaro.post, ready.to, ready.body, send_deadline=line),
                partial(self._attempted, ready, now),
            )
            self._unsent[ready.delivery.id] = (line, ready, now)
        elif answer.startswith("wait "):
            self._no_start_before = time.monotonic() + int(answer[5:]) / 1000
            self._ready.append(ready)
        elif answer.startswith("paused "):
            # A pause came, or the breaker opened, after the claim: the next claim knows of it.
            self.move(waits(ready.delivery, int(answer[7:]) / 1000))
        else:
            # Too little is left of its lease, or it is no longer ours: the sweep or its new
            # owner goes on with it.
            self._held -= 1
            logger.info(
                "delivery.lost_lease",
                delivery=ready.delivery.id,
                answer=answer,
                **_request(ready.claim),
            )

    def _give_up_unsent(self) -> None:
        """Settle attempts that hang before their first byte: their lease must not run out on them.

        A name that does not resolve can take longer than a lease; then a call that surely was not
        made would be `unknown`. The thread stays where it hangs, and finds itself given up.
        """
        now = time.monotonic()
        late = [one for one in self._unsent.values() if now > one[0].start_by + CONNECT_S]
        for line, ready, began in late:
            del self._unsent[ready.delivery.id]
            if line.give_up():
                took_ms = round((self.now() - began).total_seconds() * 1000)
                self._given_up.add((ready.delivery.id, ready.delivery.lease))
                reply = HttpResult(sent=False, duration_ms=took_ms, error=TOO_LATE)
                meant = verdict(ready.to, sent=False, status_code=None, body=b"")
                self._answered(ready, began, (reply, meant))

    def _attempted(self, ready: Ready, began: datetime, answer: tuple[HttpResult, Verdict]) -> None:
        claim = (ready.delivery.id, ready.delivery.lease)
        self._unsent.pop(ready.delivery.id, None)
        if claim in self._given_up:
            self._given_up.discard(claim)  # it was settled without it
        else:
            self._answered(ready, began, answer)

    def _answered(self, ready: Ready, began: datetime, answer: tuple[HttpResult, Verdict]) -> None:
        reply, meant = answer
        move = settled(ready, reply, meant, began, self._jitter)
        # An unknown one waits for a person, so it is no everyday line.
        log_it = logger.warning if move.to is Status.UNKNOWN else logger.info
        log_it(
            "delivery.attempted",
            delivery=ready.delivery.id,
            **_request(ready.claim),
            route=ready.route.name,
            status=move.to,
            attempt=ready.number,
            duration_ms=reply.duration_ms,
            status_code=reply.status_code,
            error=reply.error,
            retry_in_s=None if move.wait_s is None else round(move.wait_s, 1),
        )
        self._measure(ready, reply, move)
        self.note_health(meant)
        if ready.makes and meant.meaning is Meaning.ACCEPTED and meant.id:
            # Kept before the delivery is settled: a crash between the two then loses no campaign.
            self.store_later(partial(self._made, ready.makes, meant.id, ready.body, move))
        else:
            self.move(move)

    def _made(self, key: str, batch_id: str, body: dict[str, Any], move: Move) -> None:
        kept = self._campaigns.keep(key, batch_id, body)
        self.move(replace(move, fields={**move.fields, "batch_id": kept}))

    def _guard(self, ready: Ready) -> HistoryCheck | None:
        """Return what a call asks of its number's history; None: a campaign rings nobody."""
        if ready.to != "call":
            return None
        route, event = ready.route, ready.claim.event
        is_asked_for = event is not None and event.type == CALL_ME
        zone = ZoneInfo(self.settings.callkaro_timezone)
        return HistoryCheck(
            phone=self.store.phone_key(ready.body["to_number"]),
            person=person_key(event, self.store) if event else None,
            again_s=0 if is_asked_for else route.again_after_s,
            number_cap=0 if is_asked_for else self.settings.max_per_number,
            day_cap=route.max_per_day,
            day=ready.rings_at.astimezone(zone).date().isoformat(),
            rings_at=ready.rings_at,
            closes_at=ready.closes_at,
        )

    # --- within -------------------------------------------------------------------------------

    def submit(self, task: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Run task in the pool, and `then` with its result in the coordinating thread."""
        self._running += 1

        def finished(future: "Future[Any]") -> None:
            self._done.put(partial(self._finished, future, then))

        self._pool.submit(task).add_done_callback(finished)

    def _finished(self, future: "Future[Any]", then: Callable[[Any], None]) -> None:
        self._running -= 1
        try:
            then(future.result())
        except Exception as error:
            # The lease of what it was about runs out, and the sweep takes it from there.
            logger.error("drain.crashed", exc_info=error)

    def note_health(self, verdict: Verdict) -> None:
        """Note how CallKaro took a request, for the status page."""
        self._health_to_note = verdict

    def store_later(self, store_later: Callable[[], None]) -> None:
        """Tell the store something, again and again until it took it."""
        self._to_store.append(store_later)

    def move(self, move: Move) -> None:
        """Let a claimed delivery go on as `move` says."""
        self._held -= 1
        self._moves.append(move)

    def _flush(self) -> None:
        """Make the moves that have come together; those that fail stay for the next turn."""
        if not self._moves:
            return
        moves = self._moves[:500]
        answers = self.store.move(moves)
        del self._moves[: len(moves)]
        # DRY_RUN asks a number's history, too.
        no = [(move, answer) for move, answer in zip(moves, answers, strict=True) if move.guard]
        self._moves += [forbidden(move, answer) for move, answer in no if answer[:3] == "no "]
        told = zip(moves, answers, strict=True)
        self._remember(move for move, answer in told if answer == "ok" and move.attempt)
        for move, answer in zip(moves, answers, strict=True):
            if answer[:3] == "no ":
                continue  # it is moved elsewhere, in the next turn
            self.stats.moved[move.to if answer == "ok" else "lost"] += 1
            if answer != "ok":
                logger.info("delivery.move_lost", delivery=move.id, to=move.to, answer=answer)

    def _give_back(self) -> None:
        """Put back what is claimed and not on the wire, so that another worker has it at once."""
        waiting = [*self._ready, *self._campaigns.give_back()]
        self._ready.clear()
        for ready in waiting:
            self.move(waits(ready.delivery, 0))


def _request(claim: Claim) -> dict[str, str]:
    """Return the id of the webhook request that brought a claim's event, for its log lines."""
    event = claim.event
    return {"request_id": event.request_id} if event and event.request_id else {}


def _batches(claims: list[Claim], source: Source) -> Iterator[list[Claim]]:
    size = source.kind.hydration.batch if source.kind.hydration else 1
    for start in range(0, len(claims), size):
        yield claims[start : start + size]
