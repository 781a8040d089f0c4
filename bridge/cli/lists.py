"""`deliveries`, `events` and `audit`: lists by filters, the newest first."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import click
from rich.table import Table
from rich.text import Text

from bridge.cli.bulk_options import with_bridge, with_filters
from bridge.cli.client import Api, open_api
from bridge.cli.screen import console, show, table_with_times
from bridge.cli.times import local_time

PAGE = 200  # the most that a page of the API may have
LENGTH = 50  # of a list, unless --limit says otherwise
LIMIT = click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=LENGTH,
    show_default=True,
    metavar="N",
    help="List at most N.",
)
MORE = "There are more. --limit N lists more of them."


@click.command(short_help="List deliveries by filters.")
@with_filters(
    *("status", "outcome", "route", "source", "campaign", "phone", "subject", "reason"),
    *("to", "of", "since", "until"),
)
@click.option(
    "--find",
    "q",
    metavar="TEXT",
    help="Only this lead: words of the name, the e-mail, the last 4 to 10 digits, or an id.",
)
@LIMIT
@with_bridge
def deliveries(
    limit: int, as_json: bool, url: str | None, **filters: str | datetime | None
) -> None:
    """List the deliveries that match every filter, the newest first."""
    api = open_api(url)
    pages = Pages(api, "/api/deliveries", api.filters(filters))
    found = pages.first(limit)
    show(found, as_json, lambda found: _show_deliveries(found, pages))


@click.command(short_help="List events by filters.")
@with_filters("status", "source", "since", "until")
@LIMIT
@with_bridge
def events(limit: int, as_json: bool, url: str | None, **filters: str | datetime | None) -> None:
    """List the events that match every filter, the newest first."""
    api = open_api(url)
    pages = Pages(api, "/api/events", api.filters(filters))
    found = pages.first(limit)
    show(found, as_json, lambda found: _show_events(found, pages))


@click.command(short_help="List what people did.")
@with_filters("actor", "action", "since")
@LIMIT
@with_bridge
def audit(limit: int, as_json: bool, url: str | None, **filters: str | datetime | None) -> None:
    """List what people did and to which id, the newest first. It needs the token of an admin."""
    api = open_api(url)
    pages = Pages(api, "/api/audit", api.filters(filters))
    show(pages.first(limit), as_json, lambda found: _show_acts(found, pages))


class Pages:
    """A list of the API, read page by page."""

    def __init__(self, api: Api, path: str, filters: Mapping[str, str]) -> None:
        self.api = api
        self._path = path
        self._filters = filters

    def first(self, limit: int) -> dict[str, Any]:
        """Return the first `limit` items, in the shape of one page. Raises Failure."""
        items: list[Any] = []
        cursor: str | None = None
        while True:
            page = self._page(cursor, min(PAGE, limit - len(items)))
            items += page["items"]
            cursor = page["next_cursor"]
            if cursor is None or len(items) >= limit:
                return {"items": items, "next_cursor": cursor}

    def has_more(self, cursor: str | None) -> bool:
        """Return whether any item follows. A page may have a cursor and still be the last one."""
        while cursor is not None:
            page = self._page(cursor, 1)
            if page["items"]:
                return True
            cursor = page["next_cursor"]
        return False

    def _page(self, cursor: str | None, limit: int) -> Any:
        query = {**self._filters, "limit": str(limit), **({"cursor": cursor} if cursor else {})}
        return self.api.get(f"{self._path}?{urlencode(query)}")


def _show_deliveries(found: Mapping[str, Any], pages: Pages) -> None:
    columns = ("Received", "Status", "Route", "Source", "Subject", "Message", "ID")
    zone = pages.api.timezone
    table = table_with_times(*columns, time="Received", timezone=zone)
    for one in found["items"]:
        received = local_time(one["created_at"], zone)
        because = f"{one['status']} ({one['reason']})" if one["reason"] else one["status"]
        row = (received, because, one["route"], one["source"], one["subject"], one["message"])
        table.add_row(*_texts(*row, one["id"]))
    show_table(found, table, pages, none="No delivery matches.")


def _show_events(found: Mapping[str, Any], pages: Pages) -> None:
    columns = ("Received", "Status", "Source", "Type", "Subject", "Deliveries", "ID")
    zone = pages.api.timezone
    table = table_with_times(*columns, time="Received", timezone=zone)
    for one in found["items"]:
        received = local_time(one["received_at"], zone)
        made = "\n".join(f"{each['status']}  {each['route']}" for each in one["deliveries"])
        row = (received, one["status"], one["source"], one["type"], one["subject"], made)
        table.add_row(*_texts(*row, one["id"]))
    show_table(found, table, pages, none="No event matches.")


def _show_acts(found: Mapping[str, Any], pages: Pages) -> None:
    zone = pages.api.timezone
    table = table_with_times("When", "Who", "Did", "To", time="When", timezone=zone)
    for one in found["items"]:
        to = " ".join(filter(None, (one["kind"], one["target"])))
        if one["count"] is not None:
            to = f"{to}: {one['count']}" if one["target"] else f"{one['count']} of kind {to}"
        table.add_row(*_texts(local_time(one["at"], zone), one["actor"], one["action"], to))
    show_table(found, table, pages, none="Nobody did anything that matches.")


def _texts(*cells: str | None) -> Iterator[Text]:
    """Yield cells that show a text as it is, also one with square brackets."""
    return (Text(cell or "") for cell in cells)


def show_table(found: Mapping[str, Any], table: Table, pages: Pages, *, none: str) -> None:
    """Print a list, and whether there are more; `none` is printed when the list is empty."""
    if not found["items"]:
        click.echo(none)
        return
    console().print(table)
    if pages.has_more(found["next_cursor"]):
        click.echo(MORE)
