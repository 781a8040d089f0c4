"""Times on the command line: how a person types one, and how one is shown.

People read times in CALLKARO_TIMEZONE, with the zone written beside them. `--json` shows the times
as the API has them, in UTC.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import click

from schemas.routes_toml import duration_s

YEARS = range(1970, 9000)  # what every zone can show
WIDTH = len("2026-01-31 09:30:00")


class TimeType(click.ParamType[datetime]):
    """A time, or how long ago it was.

    A time that was typed without a zone stays without one: see utc_text().
    """

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the time. Raises BadParameter, which says what to write."""
        if isinstance(value, datetime):
            return value
        try:
            at = datetime.now(UTC) - timedelta(seconds=duration_s(value))
        except ValueError:
            at = self._time_of(value, param, ctx)
        if at.year not in YEARS:
            self.fail(f"{value!r} is too far away.", param, ctx)
        return at

    def _time_of(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        try:
            return datetime.fromisoformat(value.strip())
        except ValueError:
            self.fail(
                f"{value!r} is not a time. Write a time such as 2026-01-31T09:30:00+05:30, or how "
                "long ago it was: 90s, 15m, 1h, 3d.",
                param,
                ctx,
            )


TIME = TimeType()


def utc_text(at: datetime, timezone: str) -> str:
    """Return a time as the API reads it. timezone: of a time that was typed without one."""
    zoned = at if at.tzinfo else at.replace(tzinfo=ZoneInfo(timezone))
    return zoned.astimezone(UTC).isoformat().replace("+00:00", "Z")


def local_time(at: str, timezone: str) -> str:
    """Return a time of the API in a zone, to the second."""
    return f"{datetime.fromisoformat(at).astimezone(ZoneInfo(timezone)):%Y-%m-%d %H:%M:%S}"


def zoned_time(at: str | None, timezone: str) -> str | None:
    """Return a time of the API in a zone, and the zone's name; None: there is no time."""
    return f"{local_time(at, timezone)} {timezone}" if at else None
