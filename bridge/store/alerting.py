"""Alerting: what people are to be told of, once a change, and what of it is still to be sent."""

import time

import orjson

from bridge.records import UNREADABLE, at
from bridge.store.base import Base, P
from schemas.alert import REFUSED_IN_A_ROW, Alert, read_alert

KEPT = 200  # messages that wait for a receiver who does not answer; beyond, the oldest go


class Alerting(Base):
    """What is wrong just now, as it was told; and the messages about it."""

    def look_for_alerts(self, *, backlog_age_s: float) -> int:
        """Find what began and ended to be wrong, and keep a message of each. Returns how many."""
        return int(self._run("alert", int(backlog_age_s * 1000), REFUSED_IN_A_ROW, KEPT))

    def is_alert_due(self) -> bool:
        """Say whether a message waits to be sent now."""
        with self._reached():
            seconds, micros = self.redis.time()
            until = seconds * 1000 + micros // 1000
            return bool(self.redis.zcount(f"{P}due:alert", "-inf", until))

    def claim_alerts(self, limit: int, *, lease_s: float) -> list[Alert]:
        """Lease messages that are due; one that is not ended in lease_s is due again."""
        flat = self._run("alert_claim", limit, int(lease_s * 1000))
        found = []
        for message_id, record in zip(flat[::2], flat[1::2], strict=True):
            try:
                found.append(read_alert(message_id, orjson.loads(record), at))
            except UNREADABLE:
                continue  # an older release's: the newer one that wrote it goes on with it
        return found

    def put_off_alert(self, message_id: str, wait_s: float) -> None:
        """Let a message be due in wait_s seconds; one that is forgotten stays so."""
        with self._reached():
            seconds, micros = self.redis.time()
            due_ms = int((seconds + micros / 1e6 + wait_s) * 1000)
            self.redis.zadd(f"{P}due:alert", {message_id: due_ms}, xx=True)

    def end_alert(self, message_id: str) -> None:
        """Forget a message that was sent, or is given up."""
        with self._reached():
            pipe = self.redis.pipeline()
            pipe.zrem(f"{P}due:alert", message_id)
            pipe.hdel(f"{P}alerts:out", message_id)
            pipe.execute()

    # --- signatures that fail in a row; one that is accepted ends the row: see accept.lua ---------

    def note_refused(self, source: str) -> None:
        """Count a request that did not prove to be its source's.

        While Redis hangs it is not counted: who forges requests must not have us wait for it.
        """
        if time.monotonic() >= self._away_until:
            with self._reached():
                self.redis.hincrby(f"{P}alerts:refused", source, 1)
