"""Lists as CSV files: written a page at a time, so that a file of any length needs little memory.

The API and the dashboard both answer with these.
"""

import contextvars
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from flask import Response
from marshmallow import Schema

from bridge.api.access import note_many_revealed
from config import log
from schemas.csv_cells import cells, columns_of, csv_lines
from schemas.errors import Busy, StoreUnavailable
from schemas.links import Addresses
from schemas.records import Filters
from schemas.responses import DeliveryBrief, SuppressionResponse, UtcTime, revealed
from store import Store

logger = log.get(__name__)

ROWS: Final = 500  # in a page
# A client that reads slowly keeps one of gunicorn's 8 threads, and webhooks need the others.
MOST: Final = 2  # files that one process writes at a time
BOM: Final = "\ufeff"  # Excel reads a file without it in the code page of its country
MEDIA: Final = "text/csv"
# What people look for comes first, then all other fields in the order of the API.
FIRST: Final = (
    *("created_at", "since", "name", "phone", "source", "route"),
    *("status", "reason", "message"),
)

Row = dict[str, Any]
_places = threading.BoundedSemaphore(MOST)


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """The form of a file."""

    reveals: bool = False  # numbers in full; each page is logged with its ids
    # Times as pages show them, and a BOM: for people who open the file in Excel. None: as the API
    # writes them.
    zone: ZoneInfo | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _List:
    """A list to write."""

    name: str
    what: str  # one item of it, for the log
    schema: Schema
    # A page from before a cursor (None: the newest): its rows with their ids, the next cursor.
    read: Callable[[int | None], tuple[list[Row], str | None]] = field(repr=False)


def deliveries_csv(store: Store, filters: Filters, form: Form, *, addresses: Addresses) -> Response:
    """Return the deliveries that match, as CSV. Raises Busy, StoreUnavailable."""
    brief = DeliveryBrief(addresses)

    def read(before: int | None) -> tuple[list[Row], str | None]:
        page = store.deliveries(filters, before=before, limit=ROWS, brief=True)
        with revealed(form.reveals):
            rows: list[Row] = brief.rows(page.items)
        return rows, page.next_cursor

    return _answer(_List(name="deliveries", what="delivery", schema=brief, read=read), form)


def suppressions_csv(store: Store, form: Form) -> Response:
    """Return all suppressions as CSV. Raises Busy, StoreUnavailable."""
    answer = SuppressionResponse()

    def read(before: int | None) -> tuple[list[Row], str | None]:
        page = store.suppressions(before=before, limit=ROWS)
        with revealed(form.reveals):
            rows: list[Row] = answer.dump(page.items, many=True)
        return rows, page.next_cursor

    return _answer(_List(name="suppressions", what="suppression", schema=answer, read=read), form)


def _answer(listed: _List, form: Form) -> Response:
    if not _places.acquire(blocking=False):
        raise Busy("The bridge is writing other CSV files now. Try again in a minute.")
    with ExitStack() as stack:
        stack.callback(_places.release)
        first = listed.read(None)  # before the answer begins: what fails now is an error answer
        place = stack.pop_all()
    lines = _in_this_context(_lines(listed, form, first, place))
    answer = Response(lines, mimetype=MEDIA)
    answer.call_on_close(place.close)  # lines that were never begun, as for a HEAD, have no end
    day = datetime.now(form.zone or UTC).date()
    answer.headers["Content-Disposition"] = f'attachment; filename="{listed.name}-{day}.csv"'
    return answer


def _in_this_context(lines: Iterator[str]) -> Iterator[str]:
    """Return an iterator that runs in the context of this request, for its log lines.

    gunicorn asks for the lines when the request's own context has ended. Flask's
    stream_with_context() fails when several of these end in another order than they began.
    """
    context = contextvars.copy_context()
    return iter(lambda: context.run(next, lines, None), None)


def _lines(
    listed: _List, form: Form, first: tuple[list[Row], str | None], place: ExitStack
) -> Iterator[str]:
    """Yield the file in pieces, and leave the place at its end; an ExitStack closes once."""
    with place:
        yield from _pages(listed, form, *first)


def _pages(listed: _List, form: Form, rows: list[Row], cursor: str | None) -> Iterator[str]:
    columns = columns_of(listed.schema, first=FIRST)
    yield (BOM if form.zone else "") + csv_lines([columns])
    times = [
        name for name, one in listed.schema.fields.items() if form.zone and isinstance(one, UtcTime)
    ]
    while True:
        if form.reveals and rows:
            note_many_revealed(listed.what, [row["id"] for row in rows])
        yield csv_lines(cells(_local(row, times, form.zone), columns) for row in rows)
        if cursor is None:
            return
        try:
            rows, cursor = listed.read(int(cursor))
        except StoreUnavailable:
            # The connection is cut before the answer's end, so that no client takes it for whole.
            logger.warning("csv.cut", list=listed.name)
            raise


def _local(row: Mapping[str, Any], times: Sequence[str], zone: ZoneInfo | None) -> Row:
    """Return a row with its times in a zone, in the form that spreadsheets read as a time."""
    found = dict(row)
    for name in times:
        if found.get(name):
            at = datetime.fromisoformat(found[name]).astimezone(zone)
            found[name] = f"{at:%Y-%m-%d %H:%M:%S}"
    return found
