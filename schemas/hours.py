"""Calling hours: when a phone may ring, by local time where it rings.

Pure: the time is always an argument. A number may belong to several zones (a Russian mobile to
sixteen). Then a call is lawful only while the hours are open in all of its zones. Several rules may
apply at once: the outer limit and a route's own. A call is lawful while all of them are open.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from phonenumbers import NumberParseException
from phonenumbers.timezone import UNKNOWN_TIMEZONE, time_zones_for_number

from schemas.fields import read_e164

_DAY_MIN: Final = 24 * 60
_DAY: Final = timedelta(days=1)
_HORIZON: Final = timedelta(days=35)
"""How far next_opening looks: holidays and days of the week may close whole weeks."""

_REACH: Final = timedelta(hours=24)
"""How far open_span looks to each side."""

_PROBE: Final = timedelta(hours=6)
"""How far apart a zone's offset is probed. Clock changes are at least days apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The part of every day in which phones may ring, from start_min up to, not including, end_min.

    Both are minutes after midnight, local time (540 is 09:00, 1440 is 24:00). always: open at any
    time, even if the zone is unknown.

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
        # Across midnight would ring people at night, and is usually a mistake.
        raise ValueError(f"{text!r} is not a window: it must end after it starts, the same day.")
    return Window(start_min=start_min, end_min=end_min)


def zones_of(number: str) -> frozenset[str]:
    """Return the IANA zones in which a number in E.164 may ring; empty if none is known.

    By the number's prefix only: a mobile that travels keeps its home's zones. Names may be aliases
    ("Asia/Calcutta").
    """
    try:
        parsed = read_e164(number)
    except NumberParseException:
        return frozenset()
    return frozenset(time_zones_for_number(parsed)) - {UNKNOWN_TIMEZONE}


ALL_DAYS: Final = frozenset(range(7))
_DAY_NAMES: Final = (
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hours:
    """The part of the week in which phones may ring: a window, on some days, but not on holidays.

    days are numbers, 0 for Monday; holidays are local dates. A window "always" with days or
    holidays means the whole of each such day.

    Raises:
        ValueError: no day, no such day, or a holiday that has a time.
    """

    window: Window
    days: frozenset[int] = ALL_DAYS
    holidays: frozenset[date] = frozenset()

    def __post_init__(self) -> None:
        if not self.days or not self.days <= ALL_DAYS:
            raise ValueError("The days must be numbers from 0 to 6, and at least one.")
        # A datetime is a date to isinstance, but never equal to one: the holiday would be open.
        if any(type(holiday) is not date for holiday in self.holidays):
            raise ValueError("The holidays must be dates without a time.")

    def __str__(self) -> str:
        if self.always:
            return "always"
        parts = ["all day" if self.window.always else str(self.window)]
        if self.days != ALL_DAYS:
            parts.append(_days_text(self.days))
        if self.holidays:
            parts.append("not on holidays")
        return ", ".join(parts)

    @property
    def always(self) -> bool:
        """Whether the hours are open at any time, even if the zone is unknown."""
        return self.window.always and self.days == ALL_DAYS and not self.holidays

    def has(self, local: datetime) -> bool:
        """Say whether a local time is within the hours."""
        minute = local.hour * 60 + local.minute
        return (
            self.window.start_min <= minute < self.window.end_min
            and local.weekday() in self.days
            and local.date() not in self.holidays
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """Hours, and the zones (IANA names) in all of which they must be open, by local time."""

    hours: Hours
    zones: frozenset[str]


def _days_text(days: frozenset[int]) -> str:
    """Write days as parse_days reads them: "mon-wed,fri"; two in a row are two words."""
    pieces = []
    for first in sorted(day for day in days if (day - 1) % 7 not in days):
        length = next(n for n in range(1, 8) if (first + n) % 7 not in days)
        names = [_DAY_NAMES[(first + n) % 7][:3] for n in range(length)]
        pieces += [f"{names[0]}-{names[-1]}"] if length > 2 else names
    return ",".join(pieces)


def parse_days(value: object) -> frozenset[int]:
    """Read "mon-sat", "mon,wed,fri", "sat-mon" (across the week's end), or a list of such texts.

    Days are named by three letters or in full, capital or small. Returns numbers, 0 for Monday.

    Raises:
        ValueError: with a sentence that quotes the text; it comes from routes.toml.
    """
    texts = list(value) if isinstance(value, list | tuple) else [value]
    if not texts:
        raise ValueError("[] are no days: name at least one.")
    days: set[int] = set()
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f'{text!r} are no days: write text such as "mon-sat".')
        for piece in text.split(","):
            days |= _parse_piece(piece, text)
    return frozenset(days)


def _parse_piece(piece: str, text: str) -> set[int]:
    """Return the days of "mon" or "mon-sat", a piece of text. Raises ValueError."""
    first, dash, last = (word.strip().lower() for word in piece.partition("-"))
    start, end = _day(first), _day(last if dash else first)
    if start is None or end is None:
        raise ValueError(f'{text!r} are no days: write "mon-sat" or "mon,wed,fri".')
    return {(start + n) % 7 for n in range((end - start) % 7 + 1)}


def _day(word: str) -> int | None:
    names = [(name, name[:3]) for name in _DAY_NAMES]
    return next((number for number, known in enumerate(names) if word in known), None)


def parse_holidays(value: object) -> frozenset[date]:
    """Read a file's text, one date (2026-11-08) a line, or a list of dates or such texts.

    In text, "#" starts a comment and a line may be blank.

    Raises:
        ValueError: with a sentence that names the line or the entry that is wrong, by its number;
            it is not quoted, because a wrong file may contain people's data.
    """
    if isinstance(value, str):
        # Windows' editors put a byte order mark first.
        lines = enumerate(value.removeprefix("\ufeff").splitlines(), start=1)
        texts = ((number, line.partition("#")[0].strip()) for number, line in lines)
        return frozenset(_holiday(text, f"Line {number}") for number, text in texts if text)
    if isinstance(value, list | tuple):
        entries = enumerate(value, start=1)
        return frozenset(_holiday(entry, f"Entry {number}") for number, entry in entries)
    raise ValueError("Holidays must be a list of dates, or text with a date a line.")


def _holiday(value: object, where: str) -> date:
    """Return the date of a line or an entry. Raises ValueError."""
    if type(value) is date:  # not a datetime, which TOML has too: its time would be lost
        return value
    text = value.strip() if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError(f"{where} of the holidays is not a date: write it as 2026-11-08.")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{where} of the holidays is a date that does not exist.") from None


_NO_PLACE: Final = frozenset({"Factory", "localtime"})
"""Names in the zone data that are not zones: a placeholder, and the machine's own setting."""

_LONGEST_NAME: Final = 64


def read_zone(text: object) -> str | None:
    """Return the IANA name of a zone as people and CRMs write it; None if there is no such zone.

    Upper and lower case are the same, and so are blanks and underscores: "america/new york".
    HubSpot writes "asia_slash_kolkata" and "america_slash_port_hyphen_au_hyphen_prince"
    (unconfirmed: seen in public connectors' lists of hs_timezone, not in HubSpot's documentation).
    """
    if not isinstance(text, str) or len(text) > _LONGEST_NAME:
        return None
    name = "_".join(text.lower().split())
    # No zone has a name with these words between underscores.
    name = name.replace("_slash_", "/").replace("_hyphen_", "-")
    return _zone_names().get(name)


@cache
def _zone_names() -> dict[str, str]:
    """Return every zone's name by its spelling in small letters. Reads the zone data once."""
    return {name.lower(): name for name in available_timezones() - _NO_PLACE}


def open_at(rules: Sequence[Rule], at: datetime) -> bool:
    """Say whether every rule is open, in each of its zones, at that time (aware).

    A rule without a zone, or with an unknown zone, is closed: a phone must not ring if the local
    time is not known. Without rules, every time is open.

    Raises:
        ValueError: at is naive.
    """
    _require_aware(at)
    try:
        return all(_is_open(rule, at) for rule in rules)
    except OverflowError:  # a zone's year 0 or 10000
        return False


def _is_open(rule: Rule, at: datetime) -> bool:
    if rule.hours.always:
        return True
    known = _load(rule.zones)
    return bool(known) and all(rule.hours.has(at.astimezone(zone)) for zone in known or ())


Span = tuple[datetime, datetime]
"""From a start up to, not including, an end; both UTC."""


def next_opening(rules: Sequence[Rule], at: datetime) -> datetime | None:
    """Return the first time from `at` on (aware) at which all rules are open, in UTC.

    None: there is no such time within 35 days, because the rules have no open hour in common, or
    because a zone is unknown or missing.

    Raises:
        ValueError: at is naive.
    """
    _require_aware(at)
    try:
        since = at.astimezone(UTC)
        if all(rule.hours.always for rule in rules):
            return since
        first = next(_common_spans(rules, since, since + _HORIZON), None)
    except OverflowError:  # the years 0 and 10000
        return None
    return first[0] if first else None


def open_span(rules: Sequence[Rule], at: datetime) -> Span | None:
    """Return the whole open span around `at` (aware): UTC, without its end.

    The span is cut at 24 h to each side. Days that meet at midnight (00:00-24:00) are one span.
    None: `at` is closed. If every rule is always open: 24 h to each side.

    Raises:
        ValueError: at is naive.
    """
    _require_aware(at)
    try:
        middle = at.astimezone(UTC)
        for opens, closes in _joined(_common_spans(rules, middle - _REACH, middle + _REACH)):
            if opens <= middle < closes:
                return opens, closes
            if middle < opens:
                return None
    except OverflowError:  # the years 0 and 10000
        return None
    return None


def trigger_times(span: Span, at: datetime, zone: str) -> tuple[str, str] | None:
    """Return CallKaro's min_trigger_time and max_trigger_time for a call at that time (aware).

    ("10:00", "19:00"): the part of the span on the day of `at`, in zone (an IANA name), rounded
    inwards to whole minutes. A span from before midnight starts at 00:00; a span that goes on past
    midnight ends at 23:59. CallKaro redials by itself between the two, so each minute from the
    first up to, not including, the second must be within the span. If clocks repeat an hour, a time
    is cut off if one of its two turns is outside the span.

    None: less than a minute is left, or the time of `at` is cut off or outside the span, or the
    zone is unknown. Then no redial is known to be lawful.

    Raises:
        ValueError: at is naive.
    """
    _require_aware(at)
    known = _load([zone])
    if not known:
        return None
    try:
        local = at.astimezone(known[0]).replace(tzinfo=None, fold=0)
        times = _lawful_times(span, local, known[0])
    except OverflowError:  # the years 0 and 10000
        return None
    if times is None:
        return None
    midnight = datetime.combine(local.date(), time())
    first_min = -((midnight - times[0]) // timedelta(minutes=1))
    # CallKaro does not accept 24:00.
    last_min = min((times[1] - midnight) // timedelta(minutes=1), _DAY_MIN - 1)
    if first_min >= last_min:
        return None
    return _clock(first_min), _clock(last_min)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _lawful_times(span: Span, local: datetime, zone: ZoneInfo) -> Span | None:
    """Return the local times (naive) around `local`, on its day, that are only inside the span.

    None if `local` is not one of them.
    """
    midnight = datetime.combine(local.date(), time())
    inside, outside = _split_day(span, midnight, zone)
    first = max((end for _, end in outside if end <= local), default=midnight)
    last = min((start for start, _ in outside if local < start), default=midnight + _DAY)
    if any(start <= local < end for start, end in outside):
        return None
    # Times that clocks skip are neither inside nor outside; the ends must be times that exist.
    whole = [(max(first, start), min(last, end)) for start, end in inside]
    whole = [(start, end) for start, end in whole if start < end]
    if not whole:
        return None
    return min(start for start, _ in whole), max(end for _, end in whole)


def _split_day(span: Span, midnight: datetime, zone: ZoneInfo) -> tuple[list[Span], list[Span]]:
    """Return the parts of the day from midnight inside and outside the span, in local time.

    Everything except the span is naive. If clocks go back, the same times may be in both.
    """
    inside: list[Span] = []
    outside: list[Span] = []
    around = midnight.replace(tzinfo=UTC)
    # A zone's day begins within a day of the UTC one, and lasts a day and a clock change at most.
    for first, last, offset in _stretches(zone, around - _DAY, around + 2 * _DAY):
        # The day's part of the stretch, before the span, in it, and after it.
        begins = max(first, around - offset)
        ends = max(begins, min(last, around - offset + _DAY))
        cuts = [begins, *(min(max(edge, begins), ends) for edge in span), ends]
        for (start, end), pieces in zip(pairwise(cuts), (outside, inside, outside), strict=True):
            if start < end:
                shifted = [(edge + offset).replace(tzinfo=None) for edge in (start, end)]
                pieces.append((shifted[0], shifted[1]))
    return inside, outside


def _require_aware(at: datetime) -> None:
    if at.utcoffset() is None:
        raise ValueError("The time must be an aware datetime.")


def _load(zones: Iterable[str]) -> list[ZoneInfo] | None:
    """Return the zones, or None if one of them is unknown."""
    try:
        return [_zone(name) for name in sorted(set(zones))]
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: "America" is a directory
        return None


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    # zoneinfo itself caches eight. A failure is not cached: a lack of file handles may cause it.
    return ZoneInfo(name)


def _common_spans(rules: Sequence[Rule], since: datetime, until: datetime) -> Iterator[Span]:
    """Yield, in order, the spans in which all rules are open. Neighbours may touch."""
    common: Iterator[Span] = iter([(since, until)])
    for rule in rules:
        if rule.hours.always:
            continue
        known = _load(rule.zones)
        if not known:
            return
        for zone in known:
            # Lazily: the first day of thirty-five usually has the answer.
            common = _intersect(common, _open_spans(rule.hours, zone, since, until))
    yield from common


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Yield ordered spans; spans that touch are joined."""
    current: Span | None = None
    for opens, closes in spans:
        if current and opens == current[1]:
            current = current[0], closes
            continue
        if current:
            yield current
        current = opens, closes
    if current:
        yield current


def _open_spans(hours: Hours, zone: ZoneInfo, since: datetime, until: datetime) -> Iterator[Span]:
    """Yield, in order, the spans between two times in which the hours are open in one zone.

    Between two clock changes, a zone has a fixed offset. So each stretch is simple arithmetic, and
    hours that clocks skip or repeat need no special case.
    """
    for first, last, offset in _stretches(zone, since, until):
        # Shifted by the offset, UTC reads as local time.
        day = (first + offset).date()
        midnight = datetime.combine(day, time(), tzinfo=UTC) - offset
        while midnight < last:
            opens = max(first, midnight + timedelta(minutes=hours.window.start_min))
            closes = min(last, midnight + timedelta(minutes=hours.window.end_min))
            if opens < closes and day.weekday() in hours.days and day not in hours.holidays:
                yield opens, closes
            midnight += _DAY
            day += _DAY


def _stretches(
    zone: ZoneInfo, since: datetime, until: datetime
) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """Cut since to until at the zone's clock changes. Yield from, to, and the offset from UTC.

    About a day at a time, so that a search for the first opening does not compute all days.
    """
    first, at, offset = since, since, _offset(zone, since)
    while at < until:
        step = min(at + _PROBE, until)
        if _offset(zone, step) != offset:
            change = _change(zone, at, step)
            yield first, change, offset
            first, offset = change, _offset(zone, change)
        elif step - first >= _DAY:
            yield first, step, offset
            first = step
        at = step
    if first < until:
        yield first, until, offset


def _change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Return the second between the two times at which the zone's offset changes."""
    old = _offset(zone, before)
    # Clocks change at whole seconds, so the search uses whole seconds.
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
    """Yield, in order, the common parts of two ordered rows of spans."""
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
