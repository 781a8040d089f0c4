"""Campaigns that calls share: looked up, or created by one worker while the others wait.

Everything here runs in the drain's coordinating thread, but for the request itself.
"""

import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from config import log
from rules.backoff import Jitter
from rules.plan import Ready
from rules.transitions import (
    account_pause,
    callkaro_ok,
    failed,
    hold_for_campaign,
    needs_more_time,
    waits,
)
from rules.verdict import Meaning, Verdict
from schemas.delivery import Reason
from schemas.http_result import HttpResult
from schemas.records import Move
from store import Store
from workers.callkaro import CallKaro
from workers.http import SendDeadline

logger = log.get(__name__)

IN_USE_S = 0.3  # when to look again for a campaign that another worker is creating
IN_USE_LONGEST_S = 20.0  # of the lease; then the call is put back
CAMPAIGN_START_S = 20.0  # to wait for a free thread; with the request it ends before its lock does
PATIENCE_S = 10.0  # of these, to wait for its turn under the rate cap
MOST_WAITING = 500  # calls of a drain that wait here; more are put back
CROWDED_S = 5.0


class DrainContext(Protocol):
    """What a drain does for its campaigns."""

    def submit(self, task: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Run task in the pool, and `then` with its result in the coordinating thread."""

    def store_later(self, store_later: Callable[[], None]) -> None:
        """Tell the store something, again and again until it took it."""

    def move(self, move: Move) -> None:
        """Let a delivery go on as `move` says."""

    def enqueue(self, ready: Ready) -> None:
        """Put a call into the line to be sent."""

    def note_health(self, verdict: Verdict) -> None:
        """Note how CallKaro took a request, for the status page."""

    def now(self) -> datetime:
        """Return Redis' time."""


class Campaigns:
    """The campaigns of one drain's calls."""

    def __init__(
        self, store: Store, callkaro: CallKaro, drain: DrainContext, jitter: Jitter
    ) -> None:
        self._store = store
        self._callkaro = callkaro
        self._drain = drain
        self._jitter = jitter
        self._kept: dict[str, str] = {}  # key -> batch_id
        self._awaiting: dict[str, list[Ready]] = {}  # by the campaign being created for them
        self._creating: set[str] = set()
        self._look_again: dict[str, tuple[float, float]] = {}  # key -> (when, since), monotonic

    def __bool__(self) -> bool:
        """Say whether calls wait here."""
        return bool(self._awaiting)

    def join(self, ready: Ready) -> None:
        """Put a call into its campaign, and into the line as soon as that is there."""
        if ready.campaign is None:
            self._drain.enqueue(ready)
        elif batch_id := self._kept.get(ready.campaign.key):
            self._drain.enqueue(ready.in_campaign(batch_id))
        elif self.waiting >= MOST_WAITING:
            self._drain.move(
                waits(ready.delivery, CROWDED_S, message="Its campaign is not there yet.")
            )
        else:
            self._awaiting.setdefault(ready.campaign.key, []).append(ready)

    @property
    def waiting(self) -> int:
        """Return how many calls wait here. They hold no place of those that can be sent."""
        return sum(map(len, self._awaiting.values()))

    def give_back(self) -> list[Ready]:
        """Return the calls that wait here, and forget them."""
        waiting = [ready for group in self._awaiting.values() for ready in group]
        self._awaiting.clear()
        return waiting

    def make(self) -> None:
        """Look up the campaigns that calls wait for; create what is not there, one worker each."""
        now = time.monotonic()
        unknown = [
            key
            for key in self._awaiting
            if key not in self._creating and self._look_again.get(key, (0.0, 0.0))[0] <= now
        ]
        if not unknown:
            return
        for key, batch_id in self._store.campaigns_kept(unknown).items():
            self._is_there(key, batch_id)
        for key in unknown:
            if key not in self._awaiting:
                continue
            need = self._awaiting[key][0].campaign
            body = need.body if need else None
            if body is None:
                for ready in self._awaiting.pop(key):
                    self._drain.move(hold_for_campaign(ready, key, self._drain.now()))
            elif self._store.may_create_campaign(key):
                self._create(key, body)
            else:
                self._look_again_for(key, now)

    def _look_again_for(self, key: str, now: float) -> None:
        """Let those that wait for a campaign of another worker's wait here, but not for too long.

        Put back at once, they would have their records fetched anew each time they look.
        """
        _, since = self._look_again.get(key, (0.0, now))
        if now - since < IN_USE_LONGEST_S:
            self._look_again[key] = (now + IN_USE_S, since)
            return
        del self._look_again[key]
        self._let_wait(key, "Its campaign is being created.", wait=IN_USE_S)

    def _create(self, key: str, body: dict[str, Any]) -> None:
        # Between our look and our right to create it, another worker may have done it.
        if kept := self._store.campaigns_kept([key]):
            self._store.give_up_campaign(key)
            self._is_there(key, kept[key])
            return
        waiting = [ready.delivery.id for ready in self._awaiting[key]]
        permit = self._store.may_ask_callkaro(
            _who(key), on_behalf_of=waiting, patience_s=PATIENCE_S
        )
        if not permit.is_granted:
            self._store.give_up_campaign(key)
            # Nothing is asked of CallKaro just now: what is paused is held by the next claim.
            self._let_wait(key, "Its campaign can't be asked for just now.", wait=permit.wait_s)
            return
        self._creating.add(key)
        self._look_again.pop(key, None)
        line = SendDeadline(time.monotonic() + CAMPAIGN_START_S)
        self._drain.submit(
            partial(self._ask_for, body, line, permit.wait_s),
            partial(self._answered, key, body),
        )

    def _ask_for(
        self, body: dict[str, Any], line: SendDeadline, wait_s: float
    ) -> tuple[HttpResult, Verdict]:
        time.sleep(wait_s)  # its turn under the rate cap
        return self._callkaro.post("campaign", body, send_deadline=line)

    def _answered(self, key: str, body: dict[str, Any], answer: tuple[HttpResult, Verdict]) -> None:
        reply, verdict = answer
        self._drain.note_health(verdict)
        logger.info(
            "campaign.attempted",
            meaning=verdict.meaning.name.lower(),
            status_code=reply.status_code,
            duration_ms=reply.duration_ms,
            error=reply.error,
        )
        self._drain.store_later(partial(self._settle, key, body, reply, verdict))

    def _settle(self, key: str, body: dict[str, Any], reply: HttpResult, verdict: Verdict) -> None:
        if verdict.meaning is Meaning.ACCEPTED and verdict.id:
            kept = self.keep(key, verdict.id, body)
            self._took(key, reply, verdict)
            self._creating.discard(key)
            self._is_there(key, kept)
            return
        self._took(key, reply, verdict)
        self._store.give_up_campaign(key)
        self._creating.discard(key)
        if verdict.meaning is Meaning.REFUSED:
            message = f"Its campaign could not be created. {verdict.message}"
            for ready in self._awaiting.pop(key, []):
                self._drain.move(failed(ready.delivery, Reason.REFUSED, message))
        else:
            self._let_wait(
                key,
                f"Its campaign can't be created yet. {verdict.message}",
                retry_after_s=reply.retry_after_s,
                # An account that is refused is no fault of the leads: they wait for a person.
                may_give_up=verdict.meaning is not Meaning.PAUSE,
            )

    def _took(self, key: str, reply: HttpResult, verdict: Verdict) -> None:
        pause = account_pause(verdict, self._drain.now())
        self._store.note_callkaro_result(_who(key), well=callkaro_ok(verdict, reply), pause=pause)

    def keep(self, key: str, batch_id: str, body: dict[str, Any]) -> str:
        """Keep a campaign that CallKaro made; the first batch_id wins and is returned."""
        record = {**body, "created_at": self._drain.now().isoformat()}
        return self._store.keep_campaign(key, batch_id, record)

    def _is_there(self, key: str, batch_id: str) -> None:
        self._kept[key] = batch_id
        self._look_again.pop(key, None)
        for ready in self._awaiting.pop(key, []):
            self._drain.enqueue(ready.in_campaign(batch_id))

    def _let_wait(
        self,
        key: str,
        message: str,
        *,
        wait: float | None = None,
        retry_after_s: float | None = None,
        may_give_up: bool = True,
    ) -> None:
        """Let all that wait for a campaign look again later; wait None: by backoff."""
        for ready in self._awaiting.pop(key, []):
            if wait is not None:
                self._drain.move(waits(ready.delivery, wait, message=message))
                continue
            self._drain.move(
                needs_more_time(
                    ready.delivery,
                    "campaign",
                    message,
                    self._drain.now(),
                    self._jitter,
                    retry_after_s=retry_after_s,
                    may_give_up=may_give_up,
                )
            )


def _who(key: str) -> str:
    return f"campaign:{key}"
