"""`stats`: how many events became calls, and how those ended."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import click
from rich.table import Table
from rich.text import Text

from bridge.cli.bulk_options import with_bridge, with_filters
from bridge.cli.client import open_api
from bridge.cli.screen import console, show
from schemas.figures import By

COUNTS = ("events", "accepted", "dialled", "connected", "converted")


@click.command(short_help="Show how many events became calls, and how those ended.")
@click.option(
    "--by",
    type=click.Choice([str(by) for by in By]),
    default=str(By.ROUTE),
    show_default=True,
    help="What the figures are grouped by.",
)
@with_filters("route", "source", "campaign", "since", "until")
@with_bridge
def stats(by: str, as_json: bool, url: str | None, **filters: str | datetime | None) -> None:
    """Show the figures of calls: of all, or of one route, source or campaign.

    Whole hours of CALLKARO_TIMEZONE count. Test calls do not count.
    """
    api = open_api(url)
    query = {"by": by, **api.filters(filters)}
    found = api.get(f"/api/stats?{urlencode(query)}")
    show(found, as_json, lambda found: _show_table(found, by))


def _show_table(found: Mapping[str, Any], by: str) -> None:
    if not found["items"]:
        click.echo("No call in this time.")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column(by.replace("_", " ").capitalize())
    for name in (*COUNTS, "answer rate", "talk time"):
        table.add_column(name.capitalize(), justify="right")
    for one in found["items"]:
        table.add_row(Text(one["key"]), *_cells(one))
    if len(found["items"]) > 1:
        table.add_row("all", *_cells(found["total"]))
    console().print(table)


def _cells(of: Mapping[str, Any]) -> list[str]:
    rate = of["answer_rate"]
    return [
        *(str(of[name]) for name in COUNTS),
        "" if rate is None else f"{rate:.0%}",
        str(timedelta(seconds=of["talked_s"])),
    ]
