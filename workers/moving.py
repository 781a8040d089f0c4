"""Moves of several deliveries, where an error that one move raises costs that move alone."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from config import log
from rules.plan import Ready
from rules.transitions import undo_sending
from schemas.errors import StoreUnavailable, Unconfirmed
from schemas.records import Move
from store import Store

logger = log.get(__name__)

CRASHED = "crashed"  # the answer for a move that raised an error, here or in move.lua
UNCONFIRMED = (
    "Too few replicas of Redis confirmed that this may be sent (REDIS_ACKS). It was not sent, and "
    "the bridge tries again."
)
UNMADE = "unmade"  # the answer for a move that Redis refused after it had made others


def move_each(store: Store, moves: Sequence[Move]) -> list[str]:
    """Make moves and return an answer for each, CRASHED included. Raises StoreUnavailable.

    If the moves raise an error together, each is made alone.
    """
    try:
        return store.move(moves)
    except StoreUnavailable:
        raise
    except Exception as error:
        if len(moves) == 1:
            logger.error("move.crashed", delivery=moves[0].id, exc_info=error)
            return [CRASHED]
        return [answer for move in moves for answer in move_each(store, [move])]


def taken_back(
    ready: Ready, now: datetime, error: StoreUnavailable, *, wait: float
) -> tuple[Move, ...]:
    """Return the moves of a request that was surely not begun, because of this error.

    wait: until its next try, in seconds.
    """
    if not isinstance(error, Unconfirmed):
        return undo_sending(ready, now, wait=wait)
    back, waits = undo_sending(ready, now, wait=wait, message=UNCONFIRMED)
    return (back, waits) if error.is_written else (waits,)


def remember_or_log(remember: Callable[[Iterable[Move]], None], moves: Iterable[Move]) -> None:
    """Keep moves in the journal. An error there must stop neither a request nor its settling."""
    try:
        remember(moves)
    except Exception as error:
        logger.error("journal.crashed", exc_info=error)
