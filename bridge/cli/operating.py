"""`retry`, `cancel`, `resolve`, `replay`, `pause`, `resume`: what a person has a bridge do."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from bridge.cli.client import Api, id_in, open_api, quoted
from bridge.cli.screen import show, show_delivery

Command = TypeVar("Command", bound=Callable[..., Any])


def _with_bridge(command: Command) -> Command:
    """Give a command the options that all of them have."""
    where = "Where the bridge runs. Default: PUBLIC_URL, else this machine."
    command = click.option("--url", help=where)(command)
    return click.option("--json", "as_json", is_flag=True, help="What the API answers.")(command)


def _with_filters(*names: str) -> Callable[[Command], Command]:
    """Give a command these filters, and what doing it to many takes."""
    says = {
        "status": "Several with commas.",
        "subject": "The CRM's record id.",
        "since": "Came in at or after this time (ISO 8601, UTC).",
        "until": "Came in at or before this time.",
    }

    def add(command: Command) -> Command:
        command = click.option("--yes", is_flag=True, help="Don't ask.")(command)
        command = click.option("--dry-run", is_flag=True, help="Only count.")(command)
        for name in reversed(names):
            command = click.option(f"--{name}", help=says.get(name))(command)
        return command

    return add


# --- deliveries -----------------------------------------------------------------------------


@click.command(short_help="Have deliveries tried again, now.")
@click.argument("some_id", metavar="[ID]", required=False)
@click.option("--call-again", is_flag=True, help="Although a phone rang, or may have.")
@_with_filters("status", "route", "source", "subject", "phone", "since", "until")
@_with_bridge
def retry(
    some_id: str | None,
    call_again: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    url: str | None,
    **filters: str | None,
) -> None:
    """Have a delivery tried again, by its ID; or all that fit the filters.

    Without --status: the failed ones. What rang, or may have, needs --call-again.
    """
    options = {"call_again": call_again} if call_again else {}
    if _is_one(some_id, filters, dry_run=dry_run):
        _order("POST", f"/api/deliveries/{_id(some_id)}/retry", options, url, as_json)
        return
    again = " People may be rung a second time." if call_again else ""
    bulk = _Bulk(
        api=open_api(url),
        path="/api/deliveries/retry",
        body={**_set(filters), **options},
        fit="deliveries fit",
        done="retried",
        left="refused",
        ask=f"Try them again?{again}",
    )
    bulk.run(dry_run=dry_run, yes=yes, as_json=as_json)


@click.command(short_help="Call a delivery off.")
@click.argument("some_id", metavar="ID")
@_with_bridge
def cancel(some_id: str, as_json: bool, url: str | None) -> None:
    """Call a delivery off: one that waits, or a call that CallKaro holds scheduled."""
    _order("POST", f"/api/deliveries/{_id(some_id)}/cancel", {}, url, as_json)


@click.command(short_help="Settle an unknown delivery.")
@click.argument("some_id", metavar="ID")
@click.argument("found", metavar="delivered|failed", type=click.Choice(["delivered", "failed"]))
@_with_bridge
def resolve(some_id: str, found: str, as_json: bool, url: str | None) -> None:
    """Say how an unknown delivery ended, as CallKaro's dashboard shows it."""
    _order("POST", f"/api/deliveries/{_id(some_id)}/resolve", {"as": found}, url, as_json)


# --- events ---------------------------------------------------------------------------------


@click.command(short_help="Match events again, under today's routes.")
@click.argument("some_id", metavar="[ID]", required=False)
@_with_filters("status", "source", "since", "until")
@_with_bridge
def replay(
    some_id: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    url: str | None,
    **filters: str | None,
) -> None:
    """Match an event again, by its ID, under today's routes; or all that fit the filters.

    An event gets only the deliveries that it never had. Without --status: those unrouted or
    unreadable.
    """
    if _is_one(some_id, filters):
        body = {"dry_run": True} if dry_run else {}
        found = open_api(url).post(f"/api/events/{_id(some_id)}/replay", body)
        show(found, as_json, _show_replayed)
        return
    bulk = _Bulk(
        api=open_api(url),
        path="/api/events/replay",
        body=_set(filters),
        fit="events fit",
        done="replayed",
        left="unchanged",
        ask="Replay them?",
    )
    bulk.run(dry_run=dry_run, yes=yes, as_json=as_json)


def _show_replayed(found: Mapping[str, Any]) -> None:
    would = "would be " if found["dry_run"] else ""
    if not found["deliveries"]:
        click.echo(f"It stays {found['status']}: no route makes a delivery that it never had.")
    for one in found["deliveries"]:
        click.echo(f"{would}new: {one['id']}  {one['route']}")


# --- pauses ---------------------------------------------------------------------------------


@click.command(short_help="Pause all, a source, a route or CallKaro.")
@click.argument("scope")
@click.option("--message", default="", help="Why, for whoever finds it paused.")
@_with_bridge
def pause(scope: str, message: str, as_json: bool, url: str | None) -> None:
    """Pause SCOPE: all, callkaro, source:NAME or route:NAME. Webhooks are taken in all the same."""
    body = {"message": message} if message else {}
    found = open_api(url).ask("PUT", f"/api/pauses/{quoted(scope)}", body)
    show(
        found,
        as_json,
        lambda it: click.echo(f"{it['scope']} is paused since {it['since']}: {it['message']}"),
    )


@click.command(short_help="End a pause.")
@click.argument("scope")
@_with_bridge
def resume(scope: str, as_json: bool, url: str | None) -> None:
    """End the pause of SCOPE; what it held goes on now."""
    found = open_api(url).ask("DELETE", f"/api/pauses/{quoted(scope)}")
    show(
        found,
        as_json,
        lambda it: click.echo(f"{it['scope']} goes on; {it['released']} were held by it."),
    )


# --- one and many ---------------------------------------------------------------------------


def _is_one(some_id: str | None, filters: Mapping[str, str | None], **never: bool) -> bool:
    """Say whether one is meant, or many. Raises UsageError where that is not clear."""
    is_filtered = bool(_set(filters))
    if some_id is None and not is_filtered:
        raise click.UsageError("Give an ID, or at least one filter.")
    if some_id is not None and (is_filtered or any(never.values())):
        raise click.UsageError("An ID is one; filters (and retry's --dry-run) are for many.")
    return some_id is not None


def _id(text: str | None) -> str:
    """Return the ID that was given, be it as a status_url. Raises UsageError for what is none."""
    found = id_in(text or "")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", found):  # a dot would lead to another address
        raise click.UsageError(f"{found!r} is no ID.")
    return found


def _set(filters: Mapping[str, str | None]) -> dict[str, Any]:
    return {name: value for name, value in filters.items() if value is not None}


def _order(method: str, path: str, body: Mapping[str, Any], url: str | None, as_json: bool) -> None:
    show(open_api(url).ask(method, path, body), as_json, show_delivery)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bulk:
    """An order about many: counted first, then done, page after page.

    done and left are the answer's words for what can be done and what can't.
    """

    api: Api
    path: str
    body: Mapping[str, Any]
    fit: str
    done: str
    left: str
    ask: str

    def run(self, *, dry_run: bool, yes: bool, as_json: bool) -> None:
        """Count, ask unless told not to, and do it."""
        found = self._all(dry_run=True)
        if not as_json or not (dry_run or yes):
            click.echo(self._said(found, "would be "), err=as_json)
        if not dry_run and found[self.done]:
            if not yes:
                click.confirm(self.ask, abort=True, err=as_json)
            found = self._all(dry_run=False)
            if not as_json:
                click.echo(self._said(found, ""))
        if as_json:
            click.echo(json.dumps({**found, "dry_run": dry_run}, indent=2))

    def _all(self, *, dry_run: bool) -> dict[str, Any]:
        """Follow the cursor to its end, and return the counts of all pages together."""
        names = ("matched", self.done, self.left)
        total, body = dict.fromkeys(names, 0), {**self.body, "dry_run": dry_run}
        while True:
            page = self.api.post(self.path, body)
            for name in names:
                total[name] += page[name]
            if page["next_cursor"] is None:
                return total
            body["cursor"] = page["next_cursor"]

    def _said(self, found: Mapping[str, Any], would: str) -> str:
        return (
            f"{found['matched']} {self.fit}; {would}{self.done}: {found[self.done]}, "
            f"{self.left}: {found[self.left]}."
        )
