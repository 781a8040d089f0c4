"""Moves of several deliveries, where an error that one move raises costs that move alone."""

from collections.abc import Callable, Iterable, Sequence

from config import log
from schemas.errors import StoreUnavailable
from schemas.records import Move
from store import Store

logger = log.get(__name__)

CRASHED = "crashed"  # the answer for a move that raised an error, here or in move.lua
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


def remember_or_log(remember: Callable[[Iterable[Move]], None], moves: Iterable[Move]) -> None:
    """Keep moves in the journal. An error there must stop neither a request nor its settling."""
    try:
        remember(moves)
    except Exception as error:
        logger.error("journal.crashed", exc_info=error)
