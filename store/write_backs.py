"""Write-backs: the deliveries that tell a CRM about calls. They have indexes of their own."""

from collections.abc import Collection, Mapping

from schemas.delivery import Delivery
from schemas.write_back import WriteBackClaim
from store.base import Base


class WriteBackStore(Base):
    """What workers and the API need of write-backs."""

    def note_write_back_routes(self, routes: Mapping[str, Collection[str]]) -> None:
        """Note which moments of its calls each route tells the CRM; web and worker do at start."""
        raise NotImplementedError

    def claim_write_backs(self, limit: int, *, lease_s: float) -> list[WriteBackClaim]:
        """Lease at most `limit` write-backs that are due; each is moved with `move()`."""
        raise NotImplementedError

    def may_ask_crm(self, source: str, *, rate: int, patience_s: float) -> float | None:
        """Reserve the turn of one request to a CRM, at most `rate` in any 10 s over all workers.

        Returns in how many seconds the request may go; None: not within patience_s, and no turn is
        reserved.
        """
        raise NotImplementedError

    def slow_crm(self, source: str, *, for_s: float) -> None:
        """Permit no request to a CRM for this many seconds, because it asked for that."""
        raise NotImplementedError

    def crm_call(self, parent_id: str, call_sid: str | None) -> str | None:
        """Return the id of the CRM's record of a call; None: it was not written yet."""
        raise NotImplementedError

    def keep_crm_call(self, parent_id: str, call_sid: str | None, crm_id: str) -> None:
        """Keep the id of the CRM's record of a call, so that later moments update it."""
        raise NotImplementedError

    def write_backs_of(self, parent_id: str) -> list[Delivery]:
        """Return the write-backs of a call, the oldest first."""
        raise NotImplementedError

    def write_back_counts(self) -> dict[str, int]:
        """Return how many write-backs have each status."""
        raise NotImplementedError
