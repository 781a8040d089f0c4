"""The daily summary: yesterday's calls and what waits, as an alert at ALERT_SUMMARY_AT."""

from dataclasses import asdict
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from config import log
from rules.figures import day_number, figures_of
from schemas.settings import Settings
from store import Store

logger = log.get(__name__)


class DailySummary:
    """Puts the summary once a day. A worker that starts after the hour puts it then."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._at = settings.alert_summary_at if settings.alert_webhook_url else None
        self._zone = ZoneInfo(settings.callkaro_timezone)
        self._store = store
        self._done: date | None = None  # so that the store is not read every few seconds

    def look(self, now: datetime) -> None:
        """Put the summary if its hour has come. Raises StoreUnavailable."""
        local = now.astimezone(self._zone)
        today = local.date()
        if self._at is None or self._done == today or local.time() < self._at:
            return
        yesterday = today - timedelta(days=1)
        facts = {
            "day": yesterday.isoformat(),
            "funnel": self._funnel(yesterday),
            "waiting": self._store.waiting(),
        }
        if self._store.put_summary(today, facts):
            logger.info("summary.put", day=yesterday.isoformat())
        self._done = today

    def _funnel(self, day: date) -> dict[str, int]:
        """Return the figures of a day by name, as /api/stats has them."""
        number = day_number(day)
        cells = dict(self._store.figures([number])).get(number, {})
        return asdict(figures_of(number, cells))
