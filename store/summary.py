"""The daily summary: its figures, and its message, which many workers put once."""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson

from schemas.delivery import Status
from store.alerts import KEPT
from store.base import Base, P

# What became of the deliveries of a day, by the names of the figures.
FUNNEL: Final = {
    "accepted": Status.DELIVERED,
    "skipped": Status.SKIPPED,
    "failed": Status.FAILED,
    "unknown": Status.UNKNOWN,
}


class SummaryStore(Base):
    """What the daily summary says, and that it was put."""

    def funnel(self, day: date, zone: ZoneInfo) -> Mapping[str, int]:
        """Return what became of the deliveries that were made on a day, by its figures' names.

        `events`: how many were made; the others: how many of these have a status now. The day is
        one of `zone`.
        """
        first, end = (
            int(datetime.combine(one, time(), zone).timestamp() * 1e6)
            for one in (day, day + timedelta(days=1))
        )
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            pipe.zcount(f"{P}deliveries", first, f"({end}")
            for status in FUNNEL.values():
                pipe.zcount(f"{P}deliveries:status:{status}", first, f"({end}")
            return dict(zip(("events", *FUNNEL), map(int, pipe.execute()), strict=True))

    def waiting(self) -> Mapping[str, int]:
        """Return how many deliveries wait now: to be sent, as bulk, and for a person's decision."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for name in ("queued", "retrying", "held", "unknown"):
                pipe.zcard(f"{P}deliveries:status:{name}")
            pipe.zcard(f"{P}bulk")
            queued, retrying, held, unknown, bulk = map(int, pipe.execute())
        return {"queued": queued + retrying, "held": held, "bulk": bulk, "unknown": unknown}

    def put_summary(self, day: date, facts: Mapping[str, Any]) -> bool:
        """Put the summary that is sent on a day; False: it, or a later one, was put before."""
        return bool(self._run("summary", day.isoformat(), orjson.dumps(facts), KEPT))
