"""`refused`: the requests that proved their source and could not be parsed, or one in full."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import click
from rich.text import Text

from bridge.cli.bulk_options import read_id, with_bridge, with_filters
from bridge.cli.client import open_api, quoted
from bridge.cli.lists import LIMIT, Pages, show_table
from bridge.cli.screen import show, show_refused, table_with_times
from bridge.cli.times import local_time


@click.command(short_help="List refused requests, or show one.")
@click.argument("refused_id", metavar="[ID]", required=False)
@with_filters("source")
@LIMIT
@with_bridge
def refused(
    refused_id: str | None, source: str | None, limit: int, as_json: bool, url: str | None
) -> None:
    """List the requests that proved their source and could not be parsed, the newest first.

    With an ID, show that request with its body. It can't be replayed: fix the template in the CRM
    or form, and have it send the request again.
    """
    api = open_api(url)
    if refused_id is not None:
        if source is not None:
            raise click.UsageError("An ID names one request; --source is for the list.")
        found = api.get(f"/api/refused/{quoted(read_id(refused_id))}")
        show(found, as_json, partial(show_refused, timezone=api.timezone))
        return
    pages = Pages(api, "/api/refused", api.filters({"source": source}))
    show(pages.first(limit), as_json, lambda found: _show_list(found, pages))


def _show_list(found: Mapping[str, Any], pages: Pages) -> None:
    zone = pages.api.timezone
    columns = ("Received", "Source", "Bytes", "Problem", "ID")
    table = table_with_times(*columns, time="Received", timezone=zone)
    for one in found["items"]:
        row = (local_time(one["at"], zone), one["source"], str(one["bytes"]), one["problem"])
        table.add_row(*map(Text, (*row, one["id"])))
    show_table(found, table, pages, none="No refused request.")
