"""The daily reconcile, of each source that says `reconcile` in routes.toml."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from config import log
from schemas.reconcile import ReconcileRun, longest_back
from schemas.settings import Settings
from store import Store

logger = log.get(__name__)

AT: Final = time(3)  # in CALLKARO_TIMEZONE
LATEST: Final = time(6)  # a worker that starts later leaves it to the next day


class DailyReconcile:
    """Starts the reconciles of a day, once over all workers."""

    def __init__(self, settings: Settings, store: Store) -> None:
        longest = longest_back(settings.dedupe_days)
        self._sources = {
            source.name: min(timedelta(seconds=source.reconcile_s), longest)
            for source in settings.routes.sources.values()
            if source.reconcile_s and settings.secrets.get(source.name)
        }
        self._zone = ZoneInfo(settings.callkaro_timezone)
        self._store = store
        self._done: date | None = None  # so that the store is not asked every minute

    def look(self, now: datetime) -> None:
        """Start the reconciles if their hour has come. Raises StoreUnavailable."""
        local = now.astimezone(self._zone)
        today = local.date()
        if not self._sources or self._done == today or not AT <= local.time() < LATEST:
            return
        for name, back in self._sources.items():
            if self._store.is_first_today(name, today):
                utc = now.astimezone(UTC)
                run = ReconcileRun(source=name, since=utc - back, started_at=utc)
                is_started = self._store.start_reconcile(run)
                logger.info("reconcile.daily", source=name, is_started=is_started)
        self._done = today
