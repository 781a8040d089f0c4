"""The daily summary: its figures, and its message, which many workers put once."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import orjson

from store.alerts import KEPT
from store.base import Base, P


class SummaryStore(Base):
    """What the daily summary says, and that it was put."""

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
