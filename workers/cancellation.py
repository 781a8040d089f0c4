"""Cancellation: has CallKaro delete a scheduled call of a delivery that it had accepted."""

import time
from functools import partial

from config import log
from rules.backoff import Jitter
from rules.transitions import keep_waiting, settle_cancellation
from rules.verdict import Verdict
from schemas.delivery import Delivery
from schemas.http_result import HttpResult
from schemas.records import Claim
from store import Store
from workers.callkaro import CallKaro
from workers.drain_context import DrainContext, request_id_of

logger = log.get(__name__)

PATIENCE_S = 10.0  # of the lease, to wait for a turn under the rate cap


class Cancellation:
    """The scheduled calls that one drain has CallKaro delete."""

    def __init__(
        self, store: Store, callkaro: CallKaro, drain: DrainContext, jitter: Jitter
    ) -> None:
        self._store = store
        self._callkaro = callkaro
        self._drain = drain
        self._jitter = jitter

    def take(self, claim: Claim) -> None:
        """Have CallKaro delete the scheduled call of this delivery, even during a pause."""
        self._drain.store_later(partial(self._start, claim), partial(self._drain.crashed, claim))

    def _start(self, claim: Claim) -> None:
        delivery = claim.delivery
        permit = self._store.may_ask_callkaro(
            f"cancel:{delivery.id}", despite_pause=True, patience_s=PATIENCE_S
        )
        if not permit.is_granted:
            self._drain.move(keep_waiting(delivery, permit.wait_s, message=delivery.message))
            return
        self._drain.submit(
            partial(self._delete, delivery, permit.wait_s),
            partial(self._answered, claim),
            partial(self._drain.crashed, claim),
        )

    def _delete(self, delivery: Delivery, wait_s: float) -> tuple[HttpResult, Verdict]:
        time.sleep(wait_s)  # its turn under the rate cap
        request = delivery.request or {}
        return self._callkaro.delete_scheduled(request["agent_id"], request["to_number"])

    def _answered(self, claim: Claim, answer: tuple[HttpResult, Verdict]) -> None:
        try:
            self._settle(claim, *answer)
        except Exception as error:
            self._drain.crashed(claim, error)

    def _settle(self, claim: Claim, result: HttpResult, verdict: Verdict) -> None:
        delivery = claim.delivery
        logger.info(
            "delivery.dropped",
            delivery=delivery.id,
            **request_id_of(claim),
            meaning=verdict.meaning.name.lower(),
            status_code=result.status_code,
            error=result.error,
        )
        now = self._drain.now()
        self._drain.move(settle_cancellation(delivery, result, verdict, now, self._jitter))
