"""When an event happened: the ways in which CRMs and forms write a time. Pure."""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
AHEAD: Final = timedelta(days=1)  # a CRM's clock may be wrong, and its zone, too
_LONGEST: Final = 64

_EPOCH: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]*)?")
# ISO 8601 in its extended and basic form: a calendar, an ordinal or a week date, and a time. The
# blank in place of T and before the offset are from RFC 3339 and from databases.
_DAY: Final = (
    r"(?P<year>[0-9]{4})(?:(?P<dash>-?)(?P<month>[0-9]{2})(?P=dash)(?P<day>[0-9]{2})"
    r"|-?W(?P<week>[0-9]{2})-?(?P<weekday>[1-7])|-?(?P<ordinal>[0-9]{3}))"
)
_TIME: Final = (
    r"(?P<hour>[0-9]{2})(?::?(?P<minute>[0-9]{2})(?::?(?P<second>[0-9]{2}))?)?"
    r"(?:[.,](?P<fraction>[0-9]+))?"
)
_ZONE: Final = (
    r" ?(?:(?P<utc>Z|UTC|GMT)|(?P<sign>[+\u2212-])(?P<off_h>[0-9]{2}):?(?P<off_m>[0-9]{2})?)?"
)
_ISO: Final = re.compile(rf"{_DAY}(?:(?:T| +){_TIME}{_ZONE})?", re.IGNORECASE)
# 20261128024644 and 202611280246, as programs write them: ISO 8601 without its T.
_RUN: Final = re.compile(r"([12][0-9]{3}[01][0-9][0-3][0-9])([0-2][0-9][0-5][0-9](?:[0-5][0-9])?)")


def read_time(value: Any, zone: str | None = None) -> datetime | date | None:
    """Return the time that a value is, aware and in UTC; a date, if it names a day alone.

    Read are ISO 8601 in its extended and short forms ("2026-11-28T02:46:44Z", "20261128T0246",
    "2026-W48-6") and epochs in s (10 digits) or ms (13 digits). zone is that of a time without one;
    None: UTC. Returns None for everything else: the caller goes on without a time.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    # The bounds come first: Python does not print integers of more than 4300 digits.
    if not isinstance(value, str) and not 0 < value < 10**15:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip() if not isinstance(value, str) or len(value) <= _LONGEST else ""
    try:
        if found := _RUN.fullmatch(text):
            text = f"{found[1]}T{found[2]}"
        if found := _ISO.fullmatch(text):
            return _instant(found, zone)
        if _EPOCH.fullmatch(text):
            return _of_epoch(float(text))
    except (ValueError, OverflowError, OSError):
        return None
    return None


def event_time(found: datetime | date | None, zone: str, now: datetime) -> datetime | None:
    """Return the time of an event, as far as it can be one; None: it is not given.

    A day alone counts as its end in `zone`, so a lead is not too old on that day. A time before
    2000 or more than a day after `now` is a mistake and counts as not given.
    """
    if found is None:
        return None
    at = found if isinstance(found, datetime) else None
    try:
        starts = at or _in_utc(datetime.combine(found, time.min), zone)
        ends = at or _in_utc(datetime.combine(found, time.max), zone)
    except OverflowError:
        return None
    return ends if EARLIEST <= starts <= now + AHEAD else None


def _of_epoch(number: float) -> datetime | None:
    # Above 10^11 it is in ms: in s it would be the year 5138.
    at = datetime.fromtimestamp(number / 1000 if number > 1e11 else number, UTC)
    return at if at >= EARLIEST else None


def _instant(found: re.Match[str], zone: str | None) -> datetime | date:
    """Return what an ISO 8601 text means. Raises ValueError if there is no such time."""
    day = _day(found)
    if found["hour"] is None:
        return day
    hour, minute, second = (int(found[name] or 0) for name in ("hour", "minute", "second"))
    # A fraction is one of the smallest unit that is given.
    unit_s = 1 if found["second"] else 60 if found["minute"] else 3600
    rest = timedelta(seconds=float(f"0.{found['fraction'] or 0}") * unit_s)
    if (hour, minute, second) == (24, 0, 0) and not rest:
        day, hour = day + timedelta(days=1), 0
    second, leap = (59, 1) if second == 60 else (second, 0)
    local = datetime.combine(day, time(hour, minute, second)) + timedelta(seconds=leap) + rest
    if found["utc"] or not found["sign"]:
        return _in_utc(local, "UTC" if found["utc"] else zone or "UTC")
    minutes = int(found["off_h"]) * 60 + int(found["off_m"] or 0)
    if minutes > 18 * 60:  # further than any zone
        raise ValueError
    offset = timedelta(minutes=minutes)
    return (local + offset if found["sign"] != "+" else local - offset).replace(tzinfo=UTC)


def _day(found: re.Match[str]) -> date:
    year = int(found["year"])
    if found["week"]:
        return date.fromisocalendar(year, int(found["week"]), int(found["weekday"]))
    if found["ordinal"]:
        day = date(year, 1, 1) + timedelta(days=int(found["ordinal"]) - 1)
        if day.year != year:
            raise ValueError
        return day
    return date(year, int(found["month"]), int(found["day"]))


def _in_utc(local: datetime, zone: str) -> datetime:
    """Return the instant of a local time; where the clock shows it twice, the later one."""
    both = (local.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1))
    return max(both)
