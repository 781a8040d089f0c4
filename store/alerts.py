"""Alerting: what people are to be told of, once a change, and what of it is still to be sent."""

import time
from collections.abc import Collection

import orjson

from schemas.alert import REFUSED_IN_A_ROW, TRIES, Alert, read_alert
from store.base import Base, P
from store.records import UNREADABLE, at

KEPT = 200  # messages that wait for a receiver who does not answer; beyond, the oldest go
HOLDS_UP_S = 3600.0  # how old one may become while a newer one of its name waits behind it


class AlertStore(Base):
    """What is wrong just now, as it was told; and the messages about it."""

    def look_for_alerts(self, *, backlog_age_s: float, sources: Collection[str]) -> int:
        """Find what began and ended to be wrong, and keep a message of each. Returns how many.

        sources: those that there are; what was refused of others is forgotten.
        """
        self._forget_refused_but_of(sources)
        return int(self._run("alert", int(backlog_age_s * 1000), REFUSED_IN_A_ROW, KEPT))

    def is_alert_due(self) -> bool:
        """Say whether a message may be sent now."""
        return bool(self._run("alert_claim", 0, TRIES))

    def claim_alert(self, *, lease_s: float) -> Alert | None:
        """Lease the oldest message that may be sent now; not ended in lease_s, it is due again.

        None: there is none, or what there is waits for an older one of its name.
        """
        while claimed := self._run("alert_claim", int(lease_s * 1000), TRIES):
            message_id, record = claimed
            try:
                return read_alert(message_id, orjson.loads(record), at)
            except UNREADABLE:
                continue  # a newer release's, which goes on with it
        return None

    def put_off_alert(self, message_id: str, wait_s: float) -> bool:
        """Let a message be due in wait_s seconds.

        False: it is given up, as it held up a newer one for too long, or was forgotten meanwhile.
        """
        wait_ms, holds_up_ms = int(wait_s * 1000), int(HOLDS_UP_S * 1000)
        return bool(self._run("alert_put_off", message_id, wait_ms, holds_up_ms))

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

    def _forget_refused_but_of(self, sources: Collection[str]) -> None:
        """Forget what was refused of sources that are gone: nothing can end their rows any more."""
        key = f"{P}alerts:refused"
        with self._reached():
            if gone := [name for name in self.redis.hkeys(key) if name not in sources]:
                self.redis.hdel(key, *gone)
