"""Write-backs: the drain tells CRMs about calls, with a share of its threads.

    claim ► prepare ► a turn at the CRM ► record "sending" ► POST (pool) ► settle

A source without an API of ours gets a signed webhook (Standard Webhooks). Its id is the
write-back's own, the same at each attempt. All of this module runs in the drain's coordinating
thread, except for the request itself.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

import orjson

from config import log
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
from workers.alerts import signed
from workers.crm import CrmClient
from workers.crm_writing import PATIENCE_S, CrmWriting
from workers.drain_context import DrainContext
from workers.http import SendDeadline
from workers.moving import UNMADE, move_each

logger = log.get(__name__)

SHARE: Final = 4  # one of so many threads may make write-backs
CLAIM_AT_ONCE: Final = 100
IDLE_S: Final = 0.25  # until the next look after one that found nothing
LEASE_S: Final = 60.0
MARGIN_S: Final = 5.0  # the part of the lease that must remain
NO_TURN_S: Final = 5.0  # until a write-back asks again for a turn
BEHIND_S: Final = 2.0  # until it looks again for the answer to another one of its record
STORE_AWAY_S: Final = 1.0
# The breaker: so many failures in a row at one CRM stop all requests to it for a time.
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
        http = crm_client.http
        self._store = store
        self._settings = settings
        self._http = http
        self._drain = drain
        self._jitter = jitter
        self._most = max(1, settings.worker_threads // SHARE)
        self._crm_writing = CrmWriting(crm=crm_client, store=store, settings=settings)
        more_s = http.longest_s if settings.crm_rates else 0.0  # several requests
        self._needs_s = PATIENCE_S + http.longest_s + MARGIN_S + more_s
        self._lease_s = LEASE_S + more_s
        self._failures: Counter[str] = Counter()  # by source: in a row, of this drain
        self._no_look_before = 0.0  # monotonic
        self.in_hand = 0  # claimed, and neither moved nor let go

    def take(self, free_threads: int) -> list[Claim]:
        """Claim what is due, as far as its share of the threads is free. Raises StoreUnavailable.

        Each that is returned is moved or let go.
        """
        room = min(self._most - self.in_hand, free_threads, CLAIM_AT_ONCE)
        if room <= 0 or time.monotonic() < self._no_look_before:
            return []
        found = self._store.claim_write_backs(room, lease_s=self._lease_s)
        if not found:
            self._no_look_before = time.monotonic() + IDLE_S
            return []
        self.in_hand += len(found)
        self._drain.store_later(
            partial(self._start, found), partial(self._crashed, [one.delivery for one in found])
        )
        return [Claim(delivery=one.delivery, event=one.event) for one in found]

    def cut_overdue(self) -> None:
        """Close the connections of requests past their deadline."""
        self._http.cut_overdue()

    # --- before the request -----------------------------------------------------------------------

    def _start(self, claims: Sequence[WriteBackClaim]) -> None:
        now = self._drain.now()
        turns = list(self._with_turns(claims, now))
        moves = [rules.start(ready, now, needs_s=self._needs_s) for ready, _ in turns]
        try:
            answers = move_each(self._store, moves)
        except StoreUnavailable:
            # `sending` may be recorded, but surely no request was begun.
            for ready, _ in turns:
                self._move(*undo_sending(ready, now, wait=STORE_AWAY_S))
            return
        for (ready, wait_s), answer in zip(turns, answers, strict=True):
            if answer == "ok":
                self._post(ready, now, wait_s)
            else:
                self._not_permitted(ready, answer, now)

    def _with_turns(
        self, claims: Iterable[WriteBackClaim], now: datetime
    ) -> Iterable[tuple[Ready, float]]:
        """Yield what may be sent, each with the seconds until its turn; move what may not."""
        for claim in claims:
            ready = self._prepared(claim, now)
            if ready is None:
                continue
            wait_s = self._turn_in_s(ready)
            if wait_s is None:
                self._move(keep_waiting(ready.delivery, NO_TURN_S * (0.5 + self._jitter() / 2)))
            else:
                yield ready, wait_s

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

    def _turn_in_s(self, ready: Ready) -> float | None:
        source = ready.delivery.source
        try:
            rate = self._settings.crm_rates.get(source)
            rate = rate or self._settings.webhooks_out[source].rate
            return self._store.may_ask_crm(source, rate=rate, patience_s=PATIENCE_S)
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

    def _post(self, ready: Ready, began: datetime, wait_s: float) -> None:
        deadline = SendDeadline(time.monotonic() + wait_s + MARGIN_S)
        try:
            self._drain.submit(
                partial(self._request, ready, wait_s, deadline),
                partial(self._answered, ready, began),
                partial(self._answer_crashed, ready, began),
            )
        except RuntimeError as error:  # the system gives no thread
            logger.warning("thread.refused", delivery=ready.delivery.id, error=str(error))
            if deadline.give_up():
                self._move(*undo_sending(ready, began, wait=STORE_AWAY_S))

    def _request(
        self, ready: Ready, wait_s: float, deadline: SendDeadline
    ) -> tuple[HttpResult, Verdict]:
        time.sleep(wait_s)  # its turn under the CRM's rate
        if ready.delivery.source in self._settings.crm_rates:
            begin_until = deadline.start_by + self._http.longest_s
            return self._crm_writing.write(ready, begin_until)
        to = self._settings.webhooks_out[ready.delivery.source]
        body = orjson.dumps(ready.body)
        headers = signed(to.url, body, ready.delivery.id, to.secrets)
        headers["Content-Type"] = "application/json"
        result = self._http.request(
            "POST", to.url, headers=headers, data=body, send_deadline=deadline
        )
        return result, rules.verdict(result)

    # --- after the answer -------------------------------------------------------------------------

    def _answered(self, ready: Ready, began: datetime, answer: tuple[HttpResult, Verdict]) -> None:
        result, meant = answer
        try:
            move = self._settled(ready, result, meant, began)
        except Exception as error:
            self._answer_crashed(ready, began, error)
            return
        delivery = ready.delivery
        logger.info(
            "write_back.attempted",
            delivery=delivery.id,
            of=delivery.of,
            route=delivery.route,
            status=move.to,
            attempt=ready.number,
            duration_ms=result.duration_ms,
            status_code=result.status_code,
            error=result.error,
            retry_in_s=None if move.wait_s is None else round(move.wait_s, 1),
        )
        self._note_health(delivery.source, meant, result)
        self._move(move)

    def _settled(self, ready: Ready, result: HttpResult, meant: Verdict, began: datetime) -> Move:
        source = self._settings.routes.sources[ready.delivery.source]
        prefix, hydration = source.variable_prefix, source.kind.hydration
        if source.name not in self._settings.crm_rates or hydration is None:
            return rules.settle(ready, result, meant, began, self._jitter, variable_prefix=prefix)
        proof = hydration.login.needs[-1]
        return rules.settle(
            ready, result, meant, began, self._jitter, variable_prefix=prefix, proof=proof
        )

    def _answer_crashed(self, ready: Ready, began: datetime, error: Exception) -> None:
        logger.error("answer.crashed", delivery=ready.delivery.id, exc_info=error)
        self._move(rules.settle_crashed(ready, began))

    def _note_health(self, source: str, meant: Verdict, result: HttpResult) -> None:
        """Count failures in a row; after five, and while it asks for it, the CRM gets nothing."""
        if meant.meaning is not Meaning.AGAIN:
            self._failures.pop(source, None)
            return
        self._failures[source] += 1
        for_s = min(result.retry_after_s or 0.0, LONGEST_BREAK_S)
        more = self._failures[source] - FAILURES
        if more >= 0:
            for_s = max(for_s, doubled_s(FIRST_BREAK_S, more, LONGEST_BREAK_S))
        if for_s:
            slow = partial(self._store.slow_crm, source, for_s=for_s)
            self._drain.store_later(slow, _log_lost_break)

    # --- helpers ----------------------------------------------------------------------------------

    def _move(self, *moves: Move) -> None:
        """Queue moves of one claimed write-back."""
        self.in_hand -= 1
        self._drain.move(*moves)

    def _crashed(self, deliveries: Iterable[Delivery], error: Exception) -> None:
        for delivery in deliveries:
            logger.error("write_back.crashed", delivery=delivery.id, exc_info=error)
            self._move(crashed(delivery, self._drain.now(), self._jitter))


def _log_lost_break(error: Exception) -> None:
    logger.error("breaker.crashed", exc_info=error)
