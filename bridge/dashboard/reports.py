"""The page of figures: how many events became calls, and how those ended."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, partial
from typing import Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import Blueprint, render_template, request, url_for
from markupsafe import Markup

from bridge.dashboard.charts import GAP, HEIGHT, WIDTH
from bridge.dashboard.deliveries import NAMES
from bridge.dashboard.words import length_words
from bridge.figures import FigureReader
from bridge.operations import Operations
from rules.figures import WEEKDAYS, span
from schemas.errors import BadQuery
from schemas.fields import mask_marked
from schemas.figures import NONE, OTHER, By, FigureQuery, Figures, FigureTable
from schemas.outcome import Result

# Days up to today, by the word in the address.
PERIODS: Final = {"today": 1, "7": 7, "30": 30}
USUAL: Final = "7"
OWN: Final = "own"  # from `since` to `until`
FILTERS: Final = (By.ROUTE, By.SOURCE, By.CAMPAIGN)
GROUPS: Final = (By.ROUTE, By.SOURCE, By.CAMPAIGN, By.AGENT, By.VERSION)
HEAT_LEVELS: Final = 5
MOST_COLUMNS: Final = 400  # days of the chart: figures are kept that long
# The results of calls that were dialled, as `dialled` counts them.
DIALLED: Final = ",".join(
    result for result in Result if result not in (Result.NOT_DIALLED, Result.CANCELLED)
)
# The filter of the list of deliveries behind a figure, in the query of its address. No list is
# filtered by conversions.
LISTS: Final[Mapping[str, str]] = {
    "events": "",
    "accepted": "status=delivered",
    "skipped": "status=skipped",
    "failed": "status=failed",
    "unknown": "status=unknown",
    "dialled": urlencode({"outcome": DIALLED}),
    "connected": "outcome=connected",
    "voicemail": "outcome=voicemail",
    "not_reached": "outcome=not_reached",
    "wrong_number": "outcome=wrong_number",
    "other": urlencode({"outcome": "not_dialled,cancelled,failed,unrecognised"}),
}
FUNNEL: Final = ("events", "accepted", "dialled", "connected", "converted")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a person wants to see. Days are those of CALLKARO_TIMEZONE."""

    period: str
    first: date
    last: date  # included
    only: tuple[By, str] | None = None  # one route, source or campaign; None: all


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of the funnel."""

    name: str
    count: int
    share: float | None  # of the step before; None: there is none, or it is 0
    width: float  # of its bar, 0 to 1


@dataclass(frozen=True, kw_only=True, slots=True)
class HeatCell:
    """The answer rate of one hour of one weekday."""

    dialled: int
    connected: int
    rate: float | None  # None: nobody was dialled
    level: int  # of its colour, 0 to HEAT_LEVELS
    title: str
    day: str | None  # ISO 8601; None: the period has several days of this weekday
    hour: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One day of the chart: its places in the SVG, and its tooltip."""

    x: float
    width: float
    dialled: float  # heights
    connected: float
    title: str


def add(dashboard: Blueprint, operations: Operations, reader: FigureReader) -> None:
    """Give the blueprint its page of figures."""
    store, settings = operations.store, operations.settings
    zone = ZoneInfo(settings.callkaro_timezone)

    @dashboard.app_template_filter("percent")
    def percent(share: float | None) -> str:
        if share is None:
            return "—"
        # Only all is 100 %: the last one may be the lead that somebody looks for.
        return f"{min(round(100 * share), 99) if share < 1 else 100} %"

    @dashboard.app_template_filter("talk_time")
    def talk_time(seconds: float | None) -> str:
        return length_words(seconds) or "—"

    @dashboard.get("/reports")
    def reports() -> str | tuple[str, int]:
        today, problem = datetime.now(zone).date(), ""
        try:
            wanted = read_wanted(request.args, today)
        except BadQuery as error:
            problem, wanted = str(error), read_wanted({}, today)
        found = tables(reader, wanted, zone)
        total = found[By.DAY].total
        campaigns = {
            str(one["batch_id"]): mask_marked(str(one.get("name") or one["key"]))
            for one in store.campaigns()
        }
        page = render_template(
            "reports.html",
            problem=problem,
            wanted=wanted,
            total=total,
            funnel=funnel(total),
            heat=list(heat_map(found[By.WEEKDAY_HOUR], wanted)),
            days=found[By.DAY].items,
            columns=columns(wanted, found[By.DAY]),
            most=max((figures.dialled for _, figures in found[By.DAY].items), default=0),
            groups={by: found[by].items for by in GROUPS},
            campaigns=campaigns,
            choices=_choices(operations, campaigns),
            number=numbers(wanted),
        )
        return (page, 400) if problem else page


# --- what is wanted -------------------------------------------------------------------------------


def read_wanted(args: Mapping[str, str], today: date) -> Wanted:
    """Return what an address wants. Raises BadQuery."""
    by, _, name = args.get("of", "").partition(":")
    if by and (by not in FILTERS or not name):
        raise BadQuery("Choose a route, a source or a campaign from the list.")
    only = (By(by), name) if by else None
    period = args.get("period") or USUAL
    if period in PERIODS:
        first = today - timedelta(days=PERIODS[period] - 1)
        return Wanted(period=period, first=first, last=today, only=only)
    if period != OWN:
        raise BadQuery("Choose today, 7 days, 30 days, or days of your own.")
    first, last = _day(args.get("since"), "first"), _day(args.get("until"), "last")
    if first > last:
        raise BadQuery("The first day must not be after the last day.")
    return Wanted(period=OWN, first=first, last=last, only=only)


def _day(text: str | None, which: str) -> date:
    try:
        found = date.fromisoformat(text or "")
    except ValueError:
        raise BadQuery(f"Enter the {which} day, such as 2026-11-28.") from None
    if not 2000 <= found.year < 9000:
        raise BadQuery(f"The {which} day must be one of this century.")
    return found


def _choices(
    operations: Operations, campaigns: Mapping[str, str]
) -> dict[str, list[tuple[str, str]]]:
    """Return what the figures can be narrowed to: (value, name) by heading."""
    routes = [one.name for one in operations.settings.routes.routes if one.to == "call"]
    return {
        "Routes": [(f"route:{name}", name) for name in routes],
        "Sources": [(f"source:{name}", name) for name in operations.settings.routes.sources],
        "Campaigns": [(f"campaign:{batch_id}", name) for batch_id, name in campaigns.items()],
    }


# --- the figures ----------------------------------------------------------------------------------


def tables(reader: FigureReader, wanted: Wanted, zone: ZoneInfo) -> dict[By, FigureTable]:
    """Return the figures of a period by all that the page shows."""
    since, until = (
        datetime.combine(day, time(), zone)
        for day in (wanted.first, wanted.last + timedelta(days=1))
    )
    first, last = span(since, until, now=datetime.now(UTC), zone=zone)
    query = FigureQuery(by=By.DAY, first=first, last=last)
    if wanted.only:
        query = reader.narrowed(query, *wanted.only)
    shown = (By.DAY, By.WEEKDAY_HOUR, *GROUPS)
    found = reader.tables([replace(query, by=by) for by in shown])
    return dict(zip(shown, found, strict=True))


def funnel(total: Figures) -> list[Step]:
    """Return the steps from event to conversion, each with its share of the step before."""
    counts = [(name, int(getattr(total, name))) for name in FUNNEL]
    most = max(count for _, count in counts) or 1
    steps: list[Step] = []
    for name, count in counts:
        before = steps[-1].count if steps else 0
        share = count / before if before else None
        steps.append(Step(name=name, count=count, share=share, width=count / most))
    return steps


def columns(wanted: Wanted, table: FigureTable) -> list[Column]:
    """Return the columns of the chart by day, also of days without a call; empty: no dial."""
    found = dict(table.items)
    most = max((figures.dialled for figures in found.values()), default=0)
    count = (wanted.last - wanted.first).days + 1
    if not most or count > MOST_COLUMNS:
        return []
    width = WIDTH / count
    made = []
    for place in range(count):
        day = str(wanted.first + timedelta(days=place))
        figures = found.get(day, Figures())
        made.append(
            Column(
                x=place * width,
                width=max(width - GAP, 0.5),
                dialled=HEIGHT * figures.dialled / most,
                connected=HEIGHT * figures.connected / most,
                title=f"{day}: {figures.connected} of {figures.dialled} connected",
            )
        )
    return made


def heat_map(table: FigureTable, wanted: Wanted) -> Iterator[tuple[str, list[HeatCell]]]:
    """Yield each hour with its seven weekdays, from the first hour with a dial to the last one."""
    found = {key: figures for key, figures in table.items if figures.dialled}
    hours = sorted({int(key[4:]) for key in found})
    if not hours:
        return
    best = max(figures.answer_rate or 0 for figures in found.values()) or 1
    dates = _dates(wanted)
    for hour in range(hours[0], hours[-1] + 1):
        keys = [(day, f"{day} {hour:02d}") for day in WEEKDAYS]
        yield (
            f"{hour:02d}:00",
            [_heat(dates.get(day), key, found.get(key, Figures()), best) for day, key in keys],
        )


def _dates(wanted: Wanted) -> dict[str, str]:
    """Return the date of each weekday; of a period that has a weekday twice: empty."""
    count = (wanted.last - wanted.first).days + 1
    if count > len(WEEKDAYS):
        return {}
    days = [wanted.first + timedelta(days=place) for place in range(count)]
    return {WEEKDAYS[day.weekday()]: str(day) for day in days}


def _heat(day: str | None, key: str, figures: Figures, best: float) -> HeatCell:
    rate, when = figures.answer_rate, f"{key.capitalize()}:00"
    title = f"{when}: {figures.connected} of {figures.dialled} connected"
    return HeatCell(
        dialled=figures.dialled,
        connected=figures.connected,
        rate=rate,
        level=0 if rate is None else min(HEAT_LEVELS, round(HEAT_LEVELS * rate / best)),
        title=title if figures.dialled else f"{when}: nobody was dialled",
        day=day,
        hour=int(key[-2:]),
    )


# --- the lists behind the figures -----------------------------------------------------------------


def numbers(wanted: Wanted) -> Callable[..., str]:
    """Return a function that writes a count, as a link to the list of deliveries behind it."""
    deliveries = url_for("dashboard.deliveries")
    # The page has some hundred links, of few figures, rows and times: each part is written once.
    of_rows, of_times = cache(partial(_of_row, wanted)), cache(partial(_times, wanted))

    def number(
        count: int,
        figure: str,
        by: str | None = None,
        key: str = "",
        day: str | None = None,
        hour: int | None = None,
    ) -> str:
        """Return the count; it is no link if it is 0, or if lists can't be filtered by that."""
        of_row, of_figure = of_rows(by, key), LISTS.get(figure)
        if not count or of_row is None or of_figure is None:
            return f"{count:,}"
        query = "&".join(part for part in (of_row, of_figure, of_times(day, hour)) if part)
        return Markup('<a href="{}">{}</a>').format(f"{deliveries}?{query}", f"{count:,}")

    return number


def _of_row(wanted: Wanted, by: str | None, key: str) -> str | None:
    """Return the filters of one row in the query of an address; None: lists don't have them."""
    given = [wanted.only] if wanted.only else []
    if by is not None:
        given.append((By(by), key))
    # The page would pass over a filter that it does not have, and so would its commands on many.
    if any(of not in FILTERS or of not in NAMES or name in (NONE, OTHER) for of, name in given):
        return None
    return urlencode({str(of): name for of, name in given})


def _times(wanted: Wanted, day: str | None, hour: int | None) -> str:
    """Return the times of whole days, or of one hour of a day, in the query of an address.

    day: None: all days that are wanted.
    """
    first, last = (date.fromisoformat(day),) * 2 if day else (wanted.first, wanted.last)
    since = datetime.combine(first, time(hour or 0))
    until = datetime.combine(last + timedelta(days=1), time())
    if hour is not None:
        until = since + timedelta(hours=1)
    return urlencode({"since": f"{since:%Y-%m-%dT%H:%M}", "until": f"{until:%Y-%m-%dT%H:%M}"})
