"""`deliveries` and `events`: lists by filters, the newest first."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import click
from rich.table import Table
from rich.text import Text

from bridge.cli.bulk_options import given, with_bridge, with_filters
from bridge.cli.client import Api, open_api
from bridge.cli.screen import console, show

PAGE = 200  # the most that a page of the API may have
LIMIT = click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="So many."
)


@click.command(short_help="List deliveries.")
@with_filters("status", "route", "source", "phone", "subject", "reason", "since", "until")
@LIMIT
@with_bridge
def deliveries(limit: int, as_json: bool, url: str | None, **filters: str | None) -> None:
    """List the deliveries that fit every filter, the newest first."""
    found = collected(open_api(url), "/api/deliveries", given(filters), limit)
    show(found, as_json, _show_deliveries)


@click.command(short_help="List events.")
@with_filters("status", "source", "since", "until")
@LIMIT
@with_bridge
def events(limit: int, as_json: bool, url: str | None, **filters: str | None) -> None:
    """List the events that came in and fit every filter, the newest first."""
    found = collected(open_api(url), "/api/events", given(filters), limit)
    show(found, as_json, _show_events)


def collected(api: Api, path: str, filters: Mapping[str, str], limit: int) -> dict[str, Any]:
    """Return the first `limit` of a list, in the shape of one page. Raises Failure."""
    items: list[Any] = []
    asked = dict(filters)
    while True:
        asked["limit"] = str(min(PAGE, limit - len(items)))
        page = api.get(f"{path}?{urlencode(asked)}")
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None or len(items) >= limit:
            return {"items": items, "next_cursor": cursor}
        asked["cursor"] = cursor


def _show_deliveries(found: Mapping[str, Any]) -> None:
    columns = ("Came in", "Status", "Route", "Source", "Subject", "Message")
    table = Table(*columns, box=None, pad_edge=False)
    table.add_column("ID", no_wrap=True)
    for one in found["items"]:
        because = f"{one['status']} ({one['reason']})" if one["reason"] else one["status"]
        row = (one["created_at"], because, one["route"], one["source"], one["subject"])
        table.add_row(*(Text(cell or "") for cell in (*row, one["message"], one["id"])))
    _show_table(found, table, "No delivery fits.")


def _show_events(found: Mapping[str, Any]) -> None:
    columns = ("Came in", "Status", "Source", "Type", "Subject", "Deliveries")
    table = Table(*columns, box=None, pad_edge=False)
    table.add_column("ID", no_wrap=True)
    for one in found["items"]:
        became = "\n".join(f"{each['status']}  {each['route']}" for each in one["deliveries"])
        row = (one["received_at"], one["status"], one["source"], one["type"], one["subject"])
        table.add_row(*(Text(cell or "") for cell in (*row, became, one["id"])))
    _show_table(found, table, "No event fits.")


def _show_table(found: Mapping[str, Any], table: Table, none: str) -> None:
    if not found["items"]:
        click.echo(none)
        return
    console().print(table)
    if found["next_cursor"]:
        click.echo("There are more: --limit.")
