"""What an event wants done to its person, whatever the routes. Pure."""

from typing import Literal

from schemas.event import Event
from schemas.expression import ExpressionError
from schemas.source import Source


def privacy_action(event: Event, source: Source) -> Literal["erase", "opt_out"] | None:
    """Return what an event wants done to its person, whatever the routes; None: nothing.

    An opt_out that can't be worked out over a notification is no opt-out: the full record is asked
    again before each call, and there it counts as one.
    """
    if event.problem:
        return None
    if event.type in source.kind.erased_by:
        return "erase"
    try:
        is_opt_out = source.opt_out is not None and source.opt_out.search(event.data) is True
    except ExpressionError:
        return None
    return "opt_out" if is_opt_out else None
