"""The daily reconcile, of each source that says `reconcile` in routes.toml."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from config import log
from schemas.reconcile import ReconcileRun, ReconcileStatus, longest_back
from schemas.settings import Settings
from store import Store

logger = log.get(__name__)

AT: Final = time(3)  # in CALLKARO_TIMEZONE
# A bridge that has never done it begins by night, not in the middle of a day.
LATEST: Final = time(6)
# Each looks back a bit further than to the one before: it begins some seconds earlier or later, and
# a CRM's search finds new records only after a while.
OVERLAP: Final = timedelta(hours=1)


class DailyReconcile:
    """Starts the reconciles of a day, once over all workers; later, if no worker ran."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._longest = longest_back(settings.dedupe_days)
        self._sources = {
            source.name: timedelta(seconds=source.reconcile_s)
            for source in settings.routes.sources.values()
            if source.reconcile_s and settings.secrets.get(source.name)
        }
        self._zone = ZoneInfo(settings.callkaro_timezone)
        self._store = store
        self._done: date | None = None  # so that the store is not asked every minute

    def look(self, now: datetime) -> None:
        """Start the reconciles if their hour has come. Raises StoreUnavailable."""
        local = now.astimezone(self._zone)
        if not self._sources or self._done == local.date() or local.time() < AT:
            return
        if all([self._is_done(name, back, local) for name, back in self._sources.items()]):
            self._done = local.date()

    def _is_done(self, name: str, back: timedelta, local: datetime) -> bool:
        """Start the reconcile of a source if it has not begun today.

        Returns False if another one of the source runs: then this one begins after it.
        """
        today, last = local.date(), self._store.last_daily_reconcile(name)
        if last == today or (last is None and local.time() >= LATEST):
            return True
        now = local.astimezone(UTC)
        since = max(self._since(name, back, now, last), now - self._longest)
        is_started = self._store.start_reconcile(
            ReconcileRun(source=name, since=since, started_at=now)
        )
        if is_started:
            self._store.note_daily_reconcile(name, today)
            logger.info("reconcile.daily", source=name)
        return is_started

    def _since(self, name: str, back: timedelta, now: datetime, last: date | None) -> datetime:
        """Return how far to look back: also over missed days, and a reconcile that failed."""
        found = [now - back]
        if last is not None:
            found.append(datetime.combine(last, AT, self._zone).astimezone(UTC))
        latest = self._store.reconcile(name)
        if latest is not None and latest.status is ReconcileStatus.FAILED:
            found.append(latest.since)
        return min(found) - OVERLAP
