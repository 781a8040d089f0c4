"""`zoho watch`: have Zoho notify a bridge of what its routes want."""

from collections.abc import Mapping
from functools import partial
from time import sleep
from typing import Any

import click

from bridge.cli.bulk_options import with_bridge
from bridge.cli.client import Api, Failure, open_api, quoted
from bridge.cli.screen import show
from bridge.cli.times import zoned_time

LOOK_S = 1.0  # between two looks at what became of it
LONGEST_LOOKS = 60


@click.group(short_help="Have Zoho notify a bridge.")
def zoho() -> None:
    """Commands for Zoho CRM."""


@zoho.command(short_help="Make or renew the notification channel.")
@click.argument("source", default="zoho", required=False)
@click.option("--stop", is_flag=True, help="Renew the channel no longer. It ends within a day.")
@with_bridge
def watch(source: str, stop: bool, as_json: bool, url: str | None) -> None:
    """Have Zoho notify the bridge of what its routes want: new and changed records.

    SOURCE is zoho, or a second account. The worker renews the channel well before it expires, so
    run this once. Where the channel exists, it is renewed now.
    """
    api = open_api(url)
    path = f"/api/sources/{quoted(source)}/channel"
    if stop:
        found = api.request("DELETE", path)
    else:
        before = api.get(path, or_none=True) or {}
        api.post(path, {})
        found = _wait(api, path, before)
    show(found, as_json, partial(_show, timezone=api.timezone, is_stopped=stop))
    if found["message"] and not stop:
        raise Failure(f"There is no channel yet; the worker tries again. {found['message']}")


def _wait(api: Api, path: str, before: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the channel once a worker has made or renewed it, or failed to."""
    for _ in range(LONGEST_LOOKS):
        found: Mapping[str, Any] = api.get(path)
        is_renewed = found["renewed_at"] != before.get("renewed_at")
        if is_renewed or found["failures"] > before.get("failures", 0):
            return found
        sleep(LOOK_S)
    raise Failure("No worker has made the channel yet. Is one running? See `status`.")


def _show(found: Mapping[str, Any], *, timezone: str, is_stopped: bool) -> None:
    until = zoned_time(found["expires_at"], timezone)
    if is_stopped:
        click.echo(f"The channel is renewed no longer. Zoho notifies the bridge until {until}.")
    elif not found["message"]:
        click.echo(f"Zoho notifies the bridge of {', '.join(found['events'])}, until {until}.")
        click.echo("The worker renews the channel before that.")
