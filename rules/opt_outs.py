"""Whether an event opts its person out or asks to erase them, whatever the routes are. Pure."""

from typing import Literal

from schemas.event import Event
from schemas.expression import ExpressionError
from schemas.source import Source


def privacy_action(event: Event, source: Source) -> Literal["erase", "opt_out"] | None:
    """Return what an event does to its person, whatever the routes are; None: nothing.

    If the source's opt-out expression can't be evaluated over a notification, the event is not an
    opt-out. The expression is evaluated again over the full record before each call, and counts
    there.
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
