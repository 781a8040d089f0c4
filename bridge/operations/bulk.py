"""Operations on many: how much one request may do, and what it answers."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.access import note_act
from config import log
from schemas.access import Action

logger = log.get(__name__)

MOST_AT_ONCE = 5000  # deliveries or events in one request; the caller goes on from its cursor
PAGE = 200
# A filter that matches few of very many reads for long. The request is answered before its sender
# gives up.
SLICE_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Bulk:
    """The result of an operation on many."""

    matched: int  # how many matched the filters
    done: int
    refused: int  # how many matched and could not be changed
    next_cursor: str | None  # where the next request goes on; None: that was all
    refused_by: Mapping[str, int] = field(default_factory=dict)  # refused, by the status seen


class Slice:
    """The share of the work that one request may do; it begins when this is made."""

    def __init__(self) -> None:
        self._ends = time.monotonic() + SLICE_S

    def is_over(self, matched: int) -> bool:
        """Say whether the time is over, or whether `matched` is as many as one request may do."""
        return matched >= MOST_AT_ONCE or time.monotonic() > self._ends


def log_many(what: Action, done: Bulk, *, of: str = "delivery", **options: bool) -> None:
    """Log one operation on many; of: what they are. One that changed something is in the audit."""
    name = str(what)
    logger.info("operation.many", operation=name, matched=done.matched, done=done.done, **options)
    if done.done and not options["dry_run"]:
        note_act(what, of, count=done.done)


def cursor_of(before: int | None) -> str | None:
    """Return a place in a list as its caller sends it back; None: the list has ended."""
    return None if before is None else str(before)
