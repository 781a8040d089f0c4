"""Reconciles: the latest one of each source, and the background task that does it."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import orjson

from schemas.event import Event
from schemas.reconcile import RUNNING, ReconcileRun, as_record, read_run
from schemas.records import BackgroundTask
from store.base import P
from store.records import background_task_record
from store.suppressions import SuppressionStore

TASK = "reconcile:"
OLD_RELEASE_ENDS = timedelta(minutes=10)


class ReconcileStore(SuppressionStore):
    """The latest reconcile of each source."""

    def start_reconcile(self, run: ReconcileRun) -> bool:
        """Keep a reconcile, which a worker does; False: one of this source has not ended yet."""
        task = BackgroundTask(id=f"{TASK}{run.source}", what="reconcile", key=run.source)
        record, task_record = orjson.dumps(as_record(run)), background_task_record(task)
        return bool(
            self._run("start_reconcile", run.source, record, task.id, task_record, *RUNNING)
        )

    def keep_reconcile(self, run: ReconcileRun) -> None:
        """Keep how far a reconcile has come."""
        with self._reached():
            self.redis.hset(f"{P}reconciles", run.source, orjson.dumps(as_record(run)))

    def reconcile(self, source: str) -> ReconcileRun | None:
        """Return the latest reconcile of a source; None: there was none."""
        with self._reached():
            kept = self.redis.hget(f"{P}reconciles", source)
        return read_run(orjson.loads(str(kept))) if kept else None

    def last_daily_reconcile(self, source: str) -> date | None:
        """Return the day on which the latest daily reconcile of a source began; None: never."""
        with self._reached():
            kept = self.redis.hget(f"{P}reconciled", source)
        return date.fromisoformat(str(kept)) if kept else None

    def note_daily_reconcile(self, source: str, day: date) -> None:
        """Note that the daily reconcile of a source has begun on this day."""
        with self._reached():
            self.redis.hset(f"{P}reconciled", source, day.isoformat())

    def note_happenings(self, now: datetime) -> None:
        """Note once since when this store notes what a webhook and a reconcile have in common.

        A new store: always. Else an older release was here, and its last web processes end some
        minutes later.
        """
        with self._reached():
            is_new = not self.redis.exists(f"{P}order")
            since_ms = 0 if is_new else int((now + OLD_RELEASE_ENDS).timestamp() * 1000)
            self.redis.set(f"{P}happenings_since", since_ms, nx=True)

    def happenings_since(self) -> datetime | None:
        """Return since when note_happenings() says it is noted; None: always."""
        with self._reached():
            since_ms = int(str(self.redis.get(f"{P}happenings_since") or 0))
        return datetime.fromtimestamp(since_ms / 1000, UTC) if since_ms else None

    def were_written(self, events: Sequence[Event]) -> list[bool]:
        """Say of each event whether the bridge told the CRM of a call to its record lately."""
        records = [
            {
                "source": event.source,
                "subject": event.subject or "",
                "types": sorted(
                    {event.subject_type or "", event.record[1] if event.record else ""}
                ),
            }
            for event in events
        ]
        return [bool(found) for found in self._run("were_written", *map(orjson.dumps, records))]
