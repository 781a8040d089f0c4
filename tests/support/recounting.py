"""An oracle of the figures: written from their definition, over records as they are read."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from schemas.delivery import Delivery
from schemas.outcome import Outcome

RESULTS = ("connected", "voicemail", "not_reached", "wrong_number")


def recount(
    deliveries: Iterable[Delivery],
    has_converted: Callable[[Delivery, Outcome], bool] = lambda _, one: bool(one.conversion_status),
) -> dict[str, int]:
    """Return the figures of these deliveries that are not 0; leave out what is not a call.

    has_converted: whether an outcome was converted; a record does not say so of an erased person.
    """
    found: Counter[str] = Counter()
    for one in deliveries:
        if one.to != "call":
            continue
        found["events"] += 1
        found["accepted"] += any(change.status == "delivered" for change in one.timeline)
        for status in ("skipped", "failed", "unknown"):
            found[status] += one.status == status
        # While there are past calls, nobody knows of which call an outcome without a call_sid is.
        dials = [
            o
            for o in one.outcomes
            if o.try_count >= 0 and (o.call_sid not in one.past if o.call_sid else not one.past)
        ]
        found["talked_s"] += sum(o.duration_s or 0 for o in dials)
        if not dials:
            continue
        never = datetime.min.replace(tzinfo=UTC)
        newest = max(
            dials,
            key=lambda o: (o.try_count, o.ended_at or o.received_at or never, o.call_sid or ""),
        )
        found["dialled"] += newest.result not in ("not_dialled", "cancelled")
        if not newest.is_final:
            continue
        found["ended"] += 1
        found[str(newest.result) if newest.result in RESULTS else "other"] += 1
        found["converted"] += has_converted(one, newest)
    return dict(+found)
