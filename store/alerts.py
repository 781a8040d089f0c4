"""Alerts: what is wrong now, and the messages about it that must still be sent."""

import time
from collections.abc import Collection

import orjson

from schemas.alert import REFUSED_IN_A_ROW, TRIES, Alert, read_alert
from store.base import Base, P
from store.records import UNREADABLE, at

KEPT = 200  # messages at most, for a receiver that does not answer; then the oldest are dropped
BLOCKS_S = 3600.0  # how old a message may become while a newer one of its name waits for it


class AlertStore(Base):
    """What is wrong now, and the messages about it."""

    def look_for_alerts(
        self, *, backlog_age_s: float, sources: Collection[str], is_suspended: bool = False
    ) -> int:
        """Find what began and what ended to be wrong; keep a message for each. Returns how many.

        sources: the sources that exist; the counts of other sources are deleted. is_suspended: RQ's
        workers are.
        """
        self._forget_refused_but_of(sources)
        backlog_ms = int(backlog_age_s * 1000)
        return int(self._run("alert", backlog_ms, REFUSED_IN_A_ROW, KEPT, int(is_suspended)))

    def is_alert_due(self) -> bool:
        """Say whether a message may be sent now."""
        return bool(self._run("alert_claim", 0, TRIES))

    def claim_alert(self, *, lease_s: float) -> Alert | None:
        """Lease the oldest message that may be sent now; it is due again after lease_s.

        None: there is none, or each waits for an older message of its name.
        """
        while claimed := self._run("alert_claim", int(lease_s * 1000), TRIES):
            message_id, record = claimed
            try:
                return read_alert(message_id, orjson.loads(record), at)
            except UNREADABLE:
                continue  # a newer release wrote it, and will send it
        return None

    def put_off_alert(self, message_id: str, wait_s: float) -> bool:
        """Make a message due in wait_s seconds.

        False: it blocked a newer one for too long and was dropped, or it is gone.
        """
        wait_ms, blocks_ms = int(wait_s * 1000), int(BLOCKS_S * 1000)
        return bool(self._run("alert_put_off", message_id, wait_ms, blocks_ms))

    def end_alert(self, message_id: str) -> None:
        """Delete a message that was sent, or that will not be tried again."""
        with self._reached():
            pipe = self.redis.pipeline()
            pipe.zrem(f"{P}due:alert", message_id)
            pipe.hdel(f"{P}alerts:out", message_id)
            pipe.execute()

    # --- what fails in a row; an accepted request ends the row: see accept.lua --------------------

    def note_refused(self, source: str) -> None:
        """Count a request that did not prove its source.

        While Redis hangs nothing is counted: a forged request must not keep a thread waiting.
        """
        if time.monotonic() >= self._away_until:
            with self._reached():
                self.redis.hincrby(f"{P}alerts:refused", source, 1)

    def note_unparsed(self, source: str) -> None:
        """Count a request that proved its source and can't be parsed; as with note_refused().

        Its proof ends the row of requests without one.
        """
        if time.monotonic() >= self._away_until:
            with self._reached():
                pipe = self.redis.pipeline()
                pipe.hincrby(f"{P}alerts:unparsed", source, 1)
                pipe.hdel(f"{P}alerts:refused", source)
                pipe.execute()

    def _forget_refused_but_of(self, sources: Collection[str]) -> None:
        """Delete the counts of sources that no longer exist: nothing would ever end their rows."""
        with self._reached():
            for key in (f"{P}alerts:refused", f"{P}alerts:unparsed"):
                if gone := [name for name in self.redis.hkeys(key) if name not in sources]:
                    self.redis.hdel(key, *gone)
