"""`reconcile`: ask a CRM for what never arrived, and take it in."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from time import sleep
from typing import Any

import click

from bridge.cli.bulk_options import with_bridge
from bridge.cli.client import Api, Failure, open_api, quoted
from bridge.cli.screen import show
from bridge.cli.times import TIME, utc_text

LOOK_S = 1.0  # between two looks at how far it has come
ENDED = ("done", "failed")


@click.command(short_help="Take in what a CRM has and never arrived.")
@click.argument("source")
@click.option(
    "--since",
    type=TIME,
    required=True,
    metavar="TIME",
    help="Look at records that were created or changed at this time or later: 2026-01-31T09:30, or "
    "how long ago: 15m, 24h, 3d.",
)
@click.option("--dry-run", is_flag=True, help="Only count; take nothing.")
@with_bridge
def reconcile(source: str, since: datetime, dry_run: bool, as_json: bool, url: str | None) -> None:
    """Ask the CRM of SOURCE for records that never arrived by webhook, and take them in.

    SOURCE is hubspot, zoho, or a second account of one of them.

    It is counted first. More than five events are held until you release them.
    """
    api = open_api(url)
    path = f"/api/sources/{quoted(source)}/reconcile"
    body = {"since": utc_text(since, api.timezone), "dry_run": dry_run}
    found = _wait(api, path, api.post(path, body))
    show(found, as_json, partial(_show, dry_run=dry_run))
    if found["status"] == "failed":
        raise Failure(f"The reconcile failed: {found['message']}")


def _wait(api: Api, path: str, found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the reconcile once it has ended. While it waits, say why, once for each cause."""
    told = None
    while found["status"] not in ENDED:
        if found["message"] not in (None, told):
            told = found["message"]
            click.echo(f"Waiting: {told} Ctrl-C ends only this command.", err=True)
        sleep(LOOK_S)
        found = api.get(path)
    return found


def _show(found: Mapping[str, Any], *, dry_run: bool) -> None:
    click.echo(
        f"Never arrived: {found['missed']}. Known already: {found['known']}. Left out: "
        f"{found['left_out']} that no route takes from a reconcile, {found['own']} that the bridge "
        "wrote to."
    )
    for one in found["examples"]:
        click.echo(f"  {one['type']} of {one['subject']}, {one['at'] or 'time not known'}")
    if dry_run or found["status"] == "failed":
        return
    click.echo(f"Taken: {found['taken']}.")
    if found["is_held"]:
        click.echo(
            "They are held. To call five of them: python -m bridge release --source "
            f"{found['source']} --limit 5"
        )
