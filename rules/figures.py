"""Sums up the figures of days, as the store counts them: by hour and names, in cells."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from schemas.figures import (
    DAYS_KEPT,
    MOST_KEYS,
    NAMES,
    NONE,
    OTHER,
    By,
    FigureQuery,
    Figures,
    FigureTable,
)

# The cells of a day: "<hour>\t<source>\t<route>\t<campaign>\t<agent>\t<version>" -> "<sum>,<sum>…".
Cells = Mapping[str, str]
Rows = dict[str, list[list[str]]]  # by key: the sums of each of its cells, as texts

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FIRST_DAY: Final = date(1970, 1, 1).toordinal()
_PLACES: Final = {By.SOURCE: 1, By.ROUTE: 2, By.CAMPAIGN: 3, By.AGENT: 4, By.VERSION: 5}


def hour_of(at: datetime, zone: ZoneInfo) -> tuple[int, str]:
    """Return the day since 1970 and the hour of an aware time, in a zone."""
    local = at.astimezone(zone)
    return local.date().toordinal() - _FIRST_DAY, f"{local.hour:02d}"


def span(
    since: datetime | None, until: datetime | None, *, now: datetime, zone: ZoneInfo
) -> tuple[tuple[int, str], tuple[int, str]]:
    """Return the first and the last hour of a time; None: since the first, until the last one."""
    today, _ = hour_of(now, zone)
    earliest = (today - DAYS_KEPT, "00")
    first = max(hour_of(since, zone), earliest) if since else earliest
    last = (today + 1, "23")
    if until and until > datetime.min.replace(tzinfo=UTC):
        last = min(hour_of(until - timedelta(microseconds=1), zone), last)
    return first, last


def summed(days: Iterable[tuple[int, Cells]], query: FigureQuery) -> FigureTable:
    """Return the figures that a query wants, from the cells of its days."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0] * len(NAMES))
    for day, cells in days:
        found = {key: _added(rows) for key, rows in _rows_of(day, cells, query).items()}
        for key, of_day in _largest(found, query.by):
            sums[key] = [a + b for a, b in zip(sums[key], of_day, strict=True)]
    items = sorted(sums.items(), key=lambda item: _place(item, query.by))
    return FigureTable(
        items=tuple((key, Figures.of(of_key)) for key, of_key in items),
        total=Figures.of([sum(column) for column in zip(*sums.values(), strict=True)]),
    )


def _rows_of(day: int, cells: Cells, query: FigureQuery) -> Rows:
    (first_day, first_hour), (last_day, last_hour) = query.first, query.last
    from_hour = first_hour if day == first_day else "00"
    to_hour = last_hour if day == last_day else "23"
    of_day = date.fromordinal(_FIRST_DAY + day)
    weekday, place = WEEKDAYS[of_day.weekday()], _PLACES.get(query.by)
    rows: Rows = defaultdict(list)
    for cell, sums in cells.items():
        names = cell.split("\t")
        hour = names[0]
        if len(names) <= len(_PLACES) or not from_hour <= hour <= to_hour:
            continue
        if query.only and names[_PLACES[query.only[0]]] != query.only[1]:
            continue
        if place:
            key = names[place] or NONE
        elif query.by is By.HOUR:
            key = hour
        elif query.by is By.DAY:
            key = of_day.isoformat()
        else:
            key = weekday if query.by is By.WEEKDAY else f"{weekday} {hour}"
        rows[key].append(sums.split(","))
    return rows


def _added(rows: list[list[str]]) -> list[int]:
    """Return the sums of cells; another release may have written fewer or more of them."""
    columns = [sum(map(int, column)) for column in zip(*rows, strict=False)]
    return (columns + [0] * len(NAMES))[: len(NAMES)]


def _largest(found: dict[str, list[int]], by: By) -> Iterator[tuple[str, list[int]]]:
    """Yield the figures of a day by key; those of the smallest keys come under (other)."""
    if by not in _PLACES or len(found) <= MOST_KEYS:
        yield from found.items()
        return
    ranked = sorted(found.items(), key=lambda item: (item[0] == OTHER, -item[1][0], item[0]))
    yield from ranked[:MOST_KEYS]
    yield from ((OTHER, sums) for _, sums in ranked[MOST_KEYS:])


def _place(item: tuple[str, list[int]], by: By) -> tuple[int, str]:
    """Return the place of a key: by time, or the largest first and (other) last."""
    key, sums = item
    if by in _PLACES:
        return (1, key) if key == OTHER else (-sums[0], key)
    return (WEEKDAYS.index(key[:3]) if by in (By.WEEKDAY, By.WEEKDAY_HOUR) else 0), key
