"""Campaigns that calls share: looked up, or created by one worker while the others wait.

This runs in the drain's coordinating thread, except for the request itself.
"""

import time
from functools import partial
from typing import Any

from config import log
from rules.backoff import Jitter
from rules.mapping import OWN_KEY
from rules.plan import Ready
from rules.transitions import (
    account_pause,
    callkaro_ok,
    fail,
    hold_for_campaign,
    keep_waiting,
    retry_lookup,
)
from rules.verdict import Meaning, Verdict
from schemas.delivery import Reason
from schemas.errors import StoreUnavailable
from schemas.http_result import HttpResult
from store import Store
from workers.callkaro import CallKaro
from workers.drain_context import DrainContext
from workers.http import SendDeadline

logger = log.get(__name__)

IN_USE_S = 0.3  # until the next look for a campaign that another worker is creating
IN_USE_LONGEST_S = 20.0  # of the lease; then the calls are put back
# How long a creation may wait for a free thread. With its request it ends before its lock does.
CAMPAIGN_START_S = 20.0
PATIENCE_S = 10.0  # of CAMPAIGN_START_S, to wait for a turn under the rate cap
MOST_WAITING = 500  # calls that wait here in one drain; further calls are put back
IN_CREATION = "Waiting for the campaign: it is being created."
CROWDED_S = 5.0  # until a call that was put back looks again


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
        self._agents: dict[str, str] = {}  # key -> the agent that the campaign was made with
        # batch_id of a record -> the agent of the campaign; None: the bridge did not make it
        self._agents_of_given: dict[str, str | None] = {}
        self._awaiting: dict[str, list[Ready]] = {}  # by the campaign being created for them
        self._creating: set[str] = set()
        # key -> (when to look again, since when we look), monotonic
        self._look_again: dict[str, tuple[float, float]] = {}

    def __bool__(self) -> bool:
        """Say whether calls wait here."""
        return bool(self._awaiting)

    def join(self, ready: Ready) -> None:
        """Give a call its campaign, and enqueue it as soon as the campaign exists."""
        if ready.campaign is None and ready.to == "call" and ready.body.get("batch_id"):
            check = partial(self._join_given, ready)
            self._drain.store_later(check, partial(self._drain.crashed, ready.claim))
        elif ready.campaign is None:
            self._drain.enqueue(ready)
        elif batch_id := self._kept.get(ready.campaign.key):
            self._enqueue(ready.in_campaign(batch_id), self._agents.get(ready.campaign.key))
        elif self.waiting >= MOST_WAITING:
            self._drain.move(keep_waiting(ready.delivery, CROWDED_S, message=IN_CREATION))
        else:
            self._awaiting.setdefault(ready.campaign.key, []).append(ready)

    def _join_given(self, ready: Ready) -> None:
        """Enqueue a call whose own record names its campaign."""
        batch_id = str(ready.body["batch_id"])
        if batch_id not in self._agents_of_given:
            self._agents_of_given[batch_id] = self._store.campaign_agent(batch_id)
        self._enqueue(ready, self._agents_of_given[batch_id])

    @property
    def waiting(self) -> int:
        """Return how many calls wait here. They take no room from calls that can be sent."""
        return sum(map(len, self._awaiting.values()))

    def give_back(self) -> list[Ready]:
        """Return the calls that wait here, and forget them."""
        waiting = [ready for group in self._awaiting.values() for ready in group]
        self._awaiting.clear()
        return waiting

    def make(self) -> None:
        """Look up the campaigns that calls wait for; one worker creates each that is missing."""
        now = time.monotonic()
        unknown = [
            key
            for key in self._awaiting
            if key not in self._creating and self._look_again.get(key, (0.0, 0.0))[0] <= now
        ]
        if not unknown:
            return
        kept = self._store.campaigns_kept(unknown)
        for key in unknown:
            try:
                if key in kept:
                    self._use_kept(key, kept[key])
                else:
                    self._make(key, now)
            except StoreUnavailable:
                raise
            except Exception as error:  # one campaign must not cost the others
                self._crashed(key, error)

    def _use_kept(self, key: str, batch_id: str) -> None:
        # A campaign that the bridge names itself has the agent of its calls.
        if key.startswith(OWN_KEY):
            self._agents |= self._store.campaign_agents([key])
        self._use(key, batch_id)

    def _make(self, key: str, now: float) -> None:
        need = self._awaiting[key][0].campaign
        body = need.body if need else None
        if body is None:
            for ready in self._awaiting.pop(key):
                self._drain.move(hold_for_campaign(ready, key, self._drain.now()))
        elif self._store.may_create_campaign(key):
            self._create(key, body)
        else:
            self._look_again_soon(key, now)

    def _crashed(self, key: str, error: Exception) -> None:
        """Let the calls of a campaign wait whose creation raised an error."""
        self._creating.discard(key)
        for ready in self._awaiting.pop(key, []):
            self._drain.crashed(ready.claim, error)

    def _look_again_soon(self, key: str, now: float) -> None:
        """Let calls wait here while another worker creates their campaign, but not for too long.

        If they were put back at once, each look would fetch their records again.
        """
        _, since = self._look_again.get(key, (0.0, now))
        if now - since < IN_USE_LONGEST_S:
            self._look_again[key] = (now + IN_USE_S, since)
            return
        del self._look_again[key]
        self._let_wait(key, IN_CREATION, wait=IN_USE_S)

    def _create(self, key: str, body: dict[str, Any]) -> None:
        # Another worker may have created it after we looked and before we got the lock.
        if kept := self._store.campaigns_kept([key]):
            self._store.give_up_campaign(key)
            self._use(key, kept[key])
            return
        waiting = [ready.delivery.id for ready in self._awaiting[key]]
        permit = self._store.may_ask_callkaro(
            _requester(key), on_behalf_of=waiting, patience_s=PATIENCE_S
        )
        if not permit.is_granted:
            self._store.give_up_campaign(key)
            # CallKaro is paused or the rate cap is reached. The next claim holds what is paused.
            message = "Waiting: the campaign can't be created just now."
            self._let_wait(key, message, wait=permit.wait_s)
            return
        self._creating.add(key)
        self._look_again.pop(key, None)
        deadline = SendDeadline(time.monotonic() + CAMPAIGN_START_S)
        self._drain.submit(
            partial(self._post, body, deadline, permit.wait_s),
            partial(self._answered, key, body),
            partial(self._crashed, key),
        )

    def _post(
        self, body: dict[str, Any], deadline: SendDeadline, wait_s: float
    ) -> tuple[HttpResult, Verdict]:
        time.sleep(wait_s)  # its turn under the rate cap
        return self._callkaro.post("campaign", body, send_deadline=deadline)

    def _answered(self, key: str, body: dict[str, Any], answer: tuple[HttpResult, Verdict]) -> None:
        result, verdict = answer
        settle = partial(self._settle, key, body, result, verdict)
        self._drain.store_later(settle, partial(self._crashed, key))
        self._drain.note_health(verdict)
        logger.info(
            "campaign.attempted",
            meaning=verdict.meaning.name.lower(),
            status_code=result.status_code,
            duration_ms=result.duration_ms,
            error=result.error,
        )

    def _settle(self, key: str, body: dict[str, Any], result: HttpResult, verdict: Verdict) -> None:
        if verdict.meaning is Meaning.ACCEPTED and verdict.id:
            kept = self.keep(key, verdict.id, body)
            self._note_result(key, result, verdict)
            self._creating.discard(key)
            self._use(key, kept)
            return
        self._note_result(key, result, verdict)
        self._store.give_up_campaign(key)
        self._creating.discard(key)
        if verdict.meaning is Meaning.REFUSED:
            message = f"The campaign could not be created. {verdict.message}"
            for ready in self._awaiting.pop(key, []):
                self._drain.move(fail(ready.delivery, Reason.REFUSED, message))
        else:
            self._let_wait(
                key,
                f"The campaign can't be created yet. {verdict.message}",
                retry_after_s=result.retry_after_s,
                # The leads are not at fault if CallKaro refuses the account: a person must act.
                may_give_up=verdict.meaning is not Meaning.PAUSE,
            )

    def _note_result(self, key: str, result: HttpResult, verdict: Verdict) -> None:
        pause = account_pause(verdict, self._drain.now())
        self._store.note_callkaro_result(
            _requester(key), well=callkaro_ok(verdict, result), pause=pause
        )

    def keep(self, key: str, batch_id: str, body: dict[str, Any]) -> str:
        """Keep a campaign that CallKaro created. Returns the batch_id that was kept first."""
        self.note_agent(batch_id, body)
        record = {**body, "created_at": self._drain.now().isoformat()}
        return self._store.keep_campaign(key, batch_id, record)

    def note_agent(self, batch_id: str, body: dict[str, Any]) -> None:
        """Keep the agent (v1) of a campaign that CallKaro created."""
        if agent := body.get("agent_id"):
            self._store.note_campaign_agent(batch_id, str(agent))

    def _use(self, key: str, batch_id: str) -> None:
        self._kept[key] = batch_id
        self._look_again.pop(key, None)
        for ready in self._awaiting.pop(key, []):
            self._enqueue(ready.in_campaign(batch_id), self._agents.get(key))

    def _enqueue(self, ready: Ready, agent: str | None) -> None:
        """Enqueue a call that has its campaign, unless the campaign is another agent's."""
        own = str(ready.body.get("agent_id"))
        if agent is None or agent == own:
            self._drain.enqueue(ready)
            return
        message = (
            f"agent_id: the call has the agent {own}, and its campaign was made with the agent "
            f"{agent}. CallKaro wants the same agent in both. Fix the routes, then retry."
        )
        self._drain.move(fail(ready.delivery, Reason.BAD_REQUEST, message))

    def _let_wait(
        self,
        key: str,
        message: str,
        *,
        wait: float | None = None,
        retry_after_s: float | None = None,
        may_give_up: bool = True,
    ) -> None:
        """Let all calls that wait for a campaign look again later; wait None: by backoff."""
        for ready in self._awaiting.pop(key, []):
            if wait is not None:
                self._drain.move(keep_waiting(ready.delivery, wait, message=message))
                continue
            self._drain.move(
                retry_lookup(
                    ready.delivery,
                    "campaign",
                    message,
                    self._drain.now(),
                    self._jitter,
                    retry_after_s=retry_after_s,
                    may_give_up=may_give_up,
                )
            )


def _requester(key: str) -> str:
    return f"campaign:{key}"
