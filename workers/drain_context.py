"""What the drain does for its parts."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from rules.plan import Ready
from rules.verdict import Verdict
from schemas.delivery import Delivery
from schemas.records import Claim, Move


class DrainContext(Protocol):
    """The drain, as its parts see it. Only the coordinating thread calls these methods."""

    def submit(
        self,
        task: Callable[[], Any],
        then: Callable[[Any], None],
        otherwise: Callable[[Exception], None],
    ) -> None:
        """Run `task` in the pool, and then `then` with its result in the coordinating thread.

        otherwise: runs there, too, if `task` raised an error.
        """

    def store_later(
        self, write: Callable[[], None], otherwise: Callable[[Exception], None]
    ) -> None:
        """Write to the store in the next turn; repeat the write until Redis has accepted it.

        otherwise: runs if the write raised another error than StoreUnavailable.
        """

    def crashed(self, claim: Claim, error: Exception) -> None:
        """Let a claimed delivery wait that raised an error before its request went out.

        The second time it ends as `failed`.
        """

    def move(self, *moves: Move) -> None:
        """Queue moves of one claimed delivery: the drain makes them in this turn or the next."""

    def let_go(self, delivery: Delivery) -> None:
        """Forget a claimed delivery without a move, because its lease was lost."""

    def enqueue(self, ready: Ready) -> None:
        """Add a request to those that wait for a free thread."""

    def note_health(self, verdict: Verdict) -> None:
        """Keep CallKaro's latest answer for the status page."""

    def now(self) -> datetime:
        """Return the time of Redis."""


def request_id_of(claim: Claim) -> dict[str, str]:
    """Return the id of the webhook request that brought the claim's event, as a log field."""
    event = claim.event
    return {"request_id": event.request_id} if event and event.request_id else {}
