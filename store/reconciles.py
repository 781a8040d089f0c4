"""Reconciles: the latest one of each source, and the background task that does it."""

import hashlib
from collections.abc import Sequence
from datetime import date

import orjson

from schemas.event import Event
from schemas.reconcile import ReconcileRun, as_record, read_run
from schemas.records import BackgroundTask
from store.base import P
from store.suppressions import SuppressionStore

TASK = "reconcile:"
DAY_S = 86_400


class ReconcileStore(SuppressionStore):
    """The latest reconcile of each source."""

    def start_reconcile(self, run: ReconcileRun) -> bool:
        """Keep a reconcile, which a worker does; False: one of this source has not ended yet."""
        latest = self.reconcile(run.source)
        if latest is not None and latest.is_running:
            return False
        self.keep_reconcile(run)
        self.go_on_with_reconcile(run.source)
        return True

    def go_on_with_reconcile(self, source: str, *, in_s: float = 0) -> None:
        """Let a worker go on with the reconcile of a source."""
        task = BackgroundTask(id=f"{TASK}{source}", what="reconcile", key=source)
        self.put_background_task(task, in_s=in_s)

    def keep_reconcile(self, run: ReconcileRun) -> None:
        """Keep how far a reconcile has come."""
        with self._reached():
            self.redis.hset(f"{P}reconciles", run.source, orjson.dumps(as_record(run)))

    def reconcile(self, source: str) -> ReconcileRun | None:
        """Return the latest reconcile of a source; None: there was none."""
        with self._reached():
            kept = self.redis.hget(f"{P}reconciles", source)
        return read_run(orjson.loads(str(kept))) if kept else None

    def is_first_today(self, source: str, day: date) -> bool:
        """Say once whether the daily reconcile of a source begins on this day."""
        key = f"{P}reconciled:{source}:{day.isoformat()}"
        with self._reached():
            return bool(self.redis.set(key, "1", nx=True, ex=2 * DAY_S))

    def were_written(self, events: Sequence[Event]) -> list[bool]:
        """Say of each event whether the bridge told the CRM of a call to its record lately."""
        with self._reached(), self.redis.pipeline(transaction=False) as pipe:
            for event in events:
                pipe.exists(*_write_back_records(event))
            return [bool(found) for found in pipe.execute()]


def _write_back_records(event: Event) -> list[str]:
    """Return where includes/write_back_record.lua keeps what was written to an event's record.

    A write-back has the type of its record only if its event says it.
    """
    words = dict.fromkeys((event.subject_type or "", event.record[1] if event.record else ""))
    names = (f"{event.source}\n{word}\n{event.subject or ''}" for word in words)
    return [
        f"{P}write_back_record:{hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()}"
        for name in names
    ]
