"""Write-backs: the deliveries that tell a CRM about calls. They have indexes of their own.

The scripts make them, in the step that moves a call or keeps its outcome: see
store/scripts/includes/write_backs.lua.
"""

from collections.abc import Collection, Mapping
from typing import Any

from schemas.delivery import Status
from schemas.write_back import WriteBackClaim
from store.base import P
from store.leases import CLAIM_BYTES, PAUSE_CHECK_S, RESTART_GRACE_S, LeaseStore
from store.records import read_write_back_claim


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

    def claim_write_backs(self, limit: int, *, lease_s: float) -> list[WriteBackClaim]:
        """Lease at most `limit` write-backs that are due; each is moved with `move()`."""
        if not self.is_migrated():
            return []
        raised, *found = self._run_in(
            "claim_write_backs",
            limit,
            int(lease_s * 1000),
            int(RESTART_GRACE_S * 1000),
            int(PAUSE_CHECK_S * 1000),
            CLAIM_BYTES,
        )
        self._count_errors(raised)
        claims = [read_write_back_claim(*claim) for claim in found]
        self._fail_unreadable([one for one, claim in zip(found, claims, strict=True) if not claim])
        return [claim for claim in claims if claim is not None]

    def may_ask_crm(self, source: str, *, rate: int, patience_s: float) -> float | None:
        """Reserve the turn of one request to a CRM, at most `rate` in any 10 s over all workers.

        Returns in how many seconds the request may go; None: not within patience_s, and no turn is
        reserved.
        """
        wait_ms = int(self._run("crm_turn", source, rate, int(patience_s * 1000)))
        return wait_ms / 1000 if wait_ms >= 0 else None

    def slow_crm(self, source: str, *, for_s: float) -> None:
        """Permit no request to a CRM for this many seconds, because it asked for that."""
        self._run("crm_slow", source, max(int(for_s * 1000), 1))

    def crm_call(self, parent_id: str, call_sid: str | None) -> str | None:
        """Return the id of the CRM's record of a call; None: it was not written yet."""
        with self._reached():
            found = self.redis.hget(f"{P}delivery:{parent_id}", f"crm_call:{call_sid or ''}")
        return str(found) if found else None

    def keep_crm_call(self, parent_id: str, call_sid: str | None, crm_id: str) -> None:
        """Keep the id of the CRM's record of a call, so that later moments update it.

        Of an erased person it is not kept.
        """
        self._run("keep_crm_call", parent_id, call_sid or "", crm_id)

    def write_back_counts(self) -> dict[str, int]:
        """Return how many write-backs have each status."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for status in Status:
                pipe.zcard(f"{P}write_backs:status:{status}")
            return dict(zip(Status, pipe.execute(), strict=True))
