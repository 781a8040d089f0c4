"""Write-backs: the deliveries that tell a CRM about calls. They have indexes of their own.

The scripts make them, in the step that moves a call or keeps its outcome: see
store/scripts/includes/write_backs.lua.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import orjson

from schemas.delivery import Status
from schemas.write_back import CallKey, CrmCall, WriteBackClaim
from store.base import P
from store.leases import CLAIM_BYTES, PAUSE_CHECK_S, RESTART_GRACE_S, LeaseStore
from store.records import read_write_back_claim

MAY_EXIST: Final = "?"  # as in scripts/crm_calls.lua


class WriteBackStore(LeaseStore):
    """What workers and the API need of write-backs."""

    def note_write_back_routes(self, routes: Mapping[str, Collection[str]]) -> None:
        """Note which moments of its calls each route tells the CRM; a worker does at its start.

        routes: the moments by route; a route without any is left out, or has none.
        """
        kept: dict[Any, Any] = {
            route: " ".join(sorted(moments)) for route, moments in routes.items() if moments
        }
        with self._reached():
            pipe = self.redis.pipeline()
            pipe.delete(f"{P}write_back_on")
            if kept:
                pipe.hset(f"{P}write_back_on", mapping=kept)
            pipe.execute()

    def claim_write_backs(
        self, threads: int, rooms: Mapping[str, int], *, lease_s: float
    ) -> list[WriteBackClaim]:
        """Lease write-backs that are due, for so many threads; each is moved with `move()`.

        rooms: how many one thread takes of a source at most, by source; of any other source it
        takes one.
        """
        if not self.is_migrated():
            return []
        raised, *found = self._run_in(
            "claim_write_backs",
            threads,
            int(lease_s * 1000),
            int(RESTART_GRACE_S * 1000),
            int(PAUSE_CHECK_S * 1000),
            CLAIM_BYTES,
            orjson.dumps(rooms),
        )
        self._count_errors(raised)
        claims = [read_write_back_claim(*claim) for claim in found]
        self._fail_unreadable([one for one, claim in zip(found, claims, strict=True) if not claim])
        return [claim for claim in claims if claim is not None]

    def may_ask_crm(
        self, source: str, *, rate: int, patience_s: float, is_write: bool = False
    ) -> float | None:
        """Reserve the turn of one request to a CRM, at most `rate` in any 10 s over all workers.

        Write-backs get two thirds of the turns at most: calls wait for what is read.

        Returns in how many seconds the request may go; None: not within patience_s, and no turn is
        reserved.
        """
        if is_write:
            rate = max(rate * 2 // 3, 1)
        wait_ms = int(self._run("crm_turn", source, rate, int(patience_s * 1000), int(is_write)))
        return wait_ms / 1000 if wait_ms >= 0 else None

    def slow_crm(self, source: str, *, for_s: float, writes_only: bool = False) -> None:
        """Permit no request to a CRM for this many seconds; writes_only: no write-back."""
        self._run("crm_slow", source, max(int(for_s * 1000), 1), int(writes_only))

    def crm_calls(self, calls: Sequence[CallKey]) -> list[CrmCall | None]:
        """Return what is known of the CRM's records of calls.

        None: the delivery is gone or its person was erased, so nothing may be written.
        """
        return [_crm_call(text) for text in self._note_crm_calls(dict.fromkeys(calls, ""), calls)]

    def begin_crm_calls(self, calls: Sequence[CallKey]) -> list[CrmCall | None]:
        """Note that a request creates the CRM's records of calls; return as crm_calls() before."""
        noted = self._note_crm_calls(dict.fromkeys(calls, "begin"), calls)
        return [_crm_call(text) for text in noted]

    def keep_crm_calls(self, ids: Mapping[CallKey, str | None]) -> None:
        """Keep the CRM's ids of its records of calls, so that later moments update them.

        None: the CRM surely created none. Of an erased person none is kept.
        """
        changes = {call: "none" if id_ is None else f"id {id_}" for call, id_ in ids.items()}
        self._note_crm_calls(changes, list(ids))

    def _note_crm_calls(
        self, changes: Mapping[CallKey, str], calls: Sequence[CallKey]
    ) -> list[str]:
        if not calls:
            return []
        asked = [[delivery, call_sid, changes[delivery, call_sid]] for delivery, call_sid in calls]
        return [str(text) for text in self._run("crm_calls", orjson.dumps(asked))]

    def write_back_counts(self) -> dict[str, int]:
        """Return how many write-backs have each status."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for status in Status:
                pipe.zcard(f"{P}write_backs:status:{status}")
            return dict(zip(Status, pipe.execute(), strict=True))


def _crm_call(text: str) -> CrmCall | None:
    if text == "gone":
        return None
    return CrmCall(None, may_exist=True) if text == MAY_EXIST else CrmCall(text or None)
