"""Calling hours: when a phone may ring, by the clock on the wall where it rings.

Pure: the instant is always an argument. A number may belong to several zones (a Russian mobile
to sixteen); then a call is lawful only while the window is open in every one of them.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from phonenumbers import NumberParseException
from phonenumbers.timezone import UNKNOWN_TIMEZONE, time_zones_for_number

_DAY_MIN: Final = 24 * 60
_HORIZON: Final = timedelta(days=8)
"""How far next_opening looks: a week, and a day for a clock change."""

_PROBE: Final = timedelta(hours=6)
"""How far apart a zone's offset is probed. Clock changes lie days apart at the least."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The part of every day in which phones may ring, from start_min up to, not including, end_min.

    Both are minutes after midnight of wall-clock time (540 is 09:00, 1440 is 24:00). always means
    that no clock is consulted, not even a zone that is unknown.

    Raises:
        ValueError: the window is empty, crosses midnight or leaves the day.
    """

    start_min: int
    end_min: int
    always: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.start_min < self.end_min <= _DAY_MIN:
            raise ValueError("The window must start before it ends, on the same day.")

    def __str__(self) -> str:
        if self.always:
            return "always"
        return "-".join(f"{at // 60:02}:{at % 60:02}" for at in (self.start_min, self.end_min))


ALWAYS: Final = Window(start_min=0, end_min=_DAY_MIN, always=True)


def parse_window(text: str) -> Window:
    """Read "09:00-21:00" or "always". The end may be "24:00".

    Raises:
        ValueError: with a sentence that quotes the text; it comes from settings, not from people.
    """
    trimmed = text.strip()
    if trimmed.lower() == "always":
        return ALWAYS
    found = re.fullmatch(r"([0-9]{1,2}):([0-9]{2})\s*-\s*([0-9]{1,2}):([0-9]{2})", trimmed)
    if found is None:
        raise ValueError(f'{text!r} is not a window: write "HH:MM-HH:MM" or "always".')
    start_h, start_m, end_h, end_m = map(int, found.groups())
    start_min, end_min = start_h * 60 + start_m, end_h * 60 + end_m
    if start_m > 59 or end_m > 59 or start_h > 23 or end_min > _DAY_MIN:
        raise ValueError(f"{text!r} is not a window: there is no such time of day.")
    if start_min >= end_min:
        # Across midnight would ring people at night, and most often is a slip of the pen.
        raise ValueError(f"{text!r} is not a window: it must end after it starts, the same day.")
    return Window(start_min=start_min, end_min=end_min)


def zones_of(number: str) -> frozenset[str]:
    """Return the IANA zones that a number in E.164 may ring in; empty if none is known.

    By the number's prefix only: a mobile that travels keeps its home's zones. Names may be aliases
    ("Asia/Calcutta").
    """
    try:
        parsed = phonenumbers.parse(number, None)
    except NumberParseException:
        return frozenset()
    return frozenset(time_zones_for_number(parsed)) - {UNKNOWN_TIMEZONE}


def open_at(window: Window, zones: Iterable[str], at: datetime) -> bool:
    """Tell whether the window is open in every zone at that instant (aware).

    No zone at all, or a zone that is unknown, is closed: where it is not known what time it is for
    people, their phone stays silent.

    Raises:
        ValueError: at is naive.
    """
    _require_aware(at)
    if window.always:
        return True
    known = _load(zones)
    if not known:
        return False
    try:
        return all(_is_open(window, at.astimezone(zone)) for zone in known)
    except OverflowError:  # a zone's year 0 or 10000
        return False


def next_opening(window: Window, zones: Iterable[str], at: datetime) -> datetime | None:
    """Return the first instant from at on (aware) that is open in every zone, as UTC.

    None if there is none within 8 days: the zones have no open hour in common, or one is unknown,
    or there is none.

    Raises:
        ValueError: at is naive.
    """
    _require_aware(at)
    if window.always:
        return at.astimezone(UTC)
    known = _load(zones)
    if not known:
        return None
    try:
        since = at.astimezone(UTC)
        common = [(since, since + _HORIZON)]
        for zone in known:
            common = list(_intersect(common, _open_spans(window, zone, since)))
    except OverflowError:  # the year 10000
        return None
    return common[0][0] if common else None


def _require_aware(at: datetime) -> None:
    if at.utcoffset() is None:
        raise ValueError("The instant must be an aware datetime.")


def _load(zones: Iterable[str]) -> list[ZoneInfo] | None:
    """Return the zones, or None if one of them is unknown."""
    try:
        return [ZoneInfo(name) for name in sorted(set(zones))]
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: "America" is a directory
        return None


def _is_open(window: Window, local: datetime) -> bool:
    return window.start_min <= local.hour * 60 + local.minute < window.end_min


Span = tuple[datetime, datetime]
"""From an instant up to, not including, another; both UTC."""


def _open_spans(window: Window, zone: ZoneInfo, since: datetime) -> Iterator[Span]:
    """Yield, in order, the spans in which the window is open in one zone, from since to 8 days on.

    Between two clock changes a zone is a fixed offset, so each stretch is plain arithmetic, and
    hours that clocks skip or repeat need no special case.
    """
    for first, last, offset in _stretches(zone, since, since + _HORIZON):
        # Shifted by the offset, the UTC calendar reads as the wall's.
        midnight = datetime.combine((first + offset).date(), time(), tzinfo=UTC) - offset
        while midnight < last:
            opens = max(first, midnight + timedelta(minutes=window.start_min))
            closes = min(last, midnight + timedelta(minutes=window.end_min))
            if opens < closes:
                yield opens, closes
            midnight += timedelta(days=1)


def _stretches(
    zone: ZoneInfo, since: datetime, until: datetime
) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """Cut since to until at the zone's clock changes. Yield from, to, and the offset from UTC."""
    first, at, offset = since, since, _offset(zone, since)
    while at < until:
        step = min(at + _PROBE, until)
        if _offset(zone, step) != offset:
            change = _change(zone, at, step)
            yield first, change, offset
            first, offset = change, _offset(zone, change)
        at = step
    yield first, until, offset


def _change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Return the instant, to the second, between the two at which the zone's offset changes."""
    old = _offset(zone, before)
    # Changes stand on whole seconds; so must the halves.
    low, high = 0, int(_PROBE.total_seconds()) + 1
    start = before.replace(microsecond=0)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, start + timedelta(seconds=middle)) == old:
            low = middle
        else:
            high = middle
    return min(start + timedelta(seconds=high), after)


def _offset(zone: ZoneInfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta(0)


def _intersect(left: Iterable[Span], right: Iterable[Span]) -> Iterator[Span]:
    """Yield, in order, what two ordered rows of spans have in common."""
    lefts, rights = iter(left), iter(right)
    one, other = next(lefts, None), next(rights, None)
    while one is not None and other is not None:
        opens, closes = max(one[0], other[0]), min(one[1], other[1])
        if opens < closes:
            yield opens, closes
        if one[1] <= other[1]:
            one = next(lefts, None)
        else:
            other = next(rights, None)
