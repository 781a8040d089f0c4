"""GET /api/stats: how many events became calls, and how those ended."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, jsonify, request
from werkzeug.datastructures import MultiDict

from bridge.api.describe import operation
from bridge.api.queries import read_instant, refuse_unknown, refuse_unknown_names
from bridge.figures import FigureReader
from rules.figures import span
from schemas.errors import BadQuery
from schemas.figures import By, FigureQuery
from schemas.nearest import did_you_mean
from schemas.records import Filters
from schemas.settings import Settings
from schemas.stats import StatsQuery, StatsResponse, stats_answer
from store import Store

ONLY = (By.ROUTE, By.SOURCE, By.CAMPAIGN)  # at most one of them narrows the figures


def add(api: Blueprint, store: Store, settings: Settings, reader: FigureReader) -> None:
    """Add the route to /api."""

    @api.get("/stats")
    @operation(
        "Figures of calls",
        tag="Status",
        description="Each delivery counts once: in the hour in which it was made, and from its "
        "acceptance on in the hour of its first acceptance. since and until count whole hours of "
        "CALLKARO_TIMEZONE; 400 days are kept. Of each day, the 200 largest keys have figures of "
        "their own, the rest is (other).",
        query=StatsQuery,
        answers={200: StatsResponse},
        refusals=(400, 503),
    )
    def stats() -> Response:
        query = read_stats_query(request.args, settings, datetime.now(UTC))
        only = read_only(request.args)
        for by, name in only.items():
            query = reader.narrowed(query, by, name)
        table = reader.table(query)
        if not table.total.events:
            filters = Filters(route=only.get(By.ROUTE), source=only.get(By.SOURCE))
            refuse_unknown_names(filters, settings, store)
        return jsonify(stats_answer(table, query.by))


def read_only(args: MultiDict[str, str]) -> dict[By, str]:
    """Return the one route, source or campaign that figures are wanted of; empty: of all.

    Raises BadQuery.
    """
    given = {by: args[by] for by in ONLY if args.get(by)}
    if len(given) > 1:
        raise BadQuery("Give at most one of route, source and campaign.")
    return given


def read_stats_query(args: MultiDict[str, str], settings: Settings, now: datetime) -> FigureQuery:
    """Return when and by what figures are wanted. Raises BadQuery."""
    refuse_unknown(args, StatsQuery())
    word = args.get("by", "")
    if word not in set(By):
        near = did_you_mean(word, By)
        raise BadQuery(f"by must be one of: {', '.join(By)}. {near}".rstrip())
    zone = ZoneInfo(settings.callkaro_timezone)
    first, last = span(read_instant(args, "since"), read_instant(args, "until"), now=now, zone=zone)
    return FigureQuery(by=By(word), first=first, last=last)
