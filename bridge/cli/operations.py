"""`retry`, `cancel`, `release`, `resolve`, `replay`, `pause`, `resume`: what a person has it do."""

from collections.abc import Mapping
from typing import Any

import click

from bridge.cli.bulk_options import Bulk, for_many, given, is_one, order, read_id, with_bridge
from bridge.cli.client import open_api, quoted
from bridge.cli.screen import show

EVER = "1970-01-01T00:00:00Z"  # the API wants a filter, lest saying nothing mean all

# --- deliveries -----------------------------------------------------------------------------


@click.command(short_help="Have deliveries tried again, now.")
@click.argument("some_id", metavar="[ID]", required=False)
@click.option("--call-again", is_flag=True, help="Although a phone rang, or may have.")
@for_many("status", "reason", "route", "source", "subject", "phone", "since", "until")
@with_bridge
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
    if is_one(some_id, filters, dry_run=dry_run):
        order("POST", f"/api/deliveries/{read_id(some_id)}/retry", options, url, as_json)
        return
    again = " People may be rung a second time." if call_again else ""
    bulk = Bulk(
        api=open_api(url),
        path="/api/deliveries/retry",
        body={**given(filters), **options},
        fit="deliveries fit",
        done="retried",
        left="refused",
        ask=f"Try them again?{again}",
    )
    bulk.run(dry_run=dry_run, yes=yes, as_json=as_json)


@click.command(short_help="Call deliveries off.")
@click.argument("some_id", metavar="[ID]", required=False)
@for_many("status", "reason", "route", "source", "subject", "phone", "since", "until")
@with_bridge
def cancel(
    some_id: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    url: str | None,
    **filters: str | None,
) -> None:
    """Call a delivery off, by its ID; or all that fit the filters.

    That is one that waits, or a call that CallKaro holds scheduled. Without --status: what waits.
    """
    if is_one(some_id, filters, dry_run=dry_run):
        order("POST", f"/api/deliveries/{read_id(some_id)}/cancel", {}, url, as_json)
        return
    bulk = Bulk(
        api=open_api(url),
        path="/api/deliveries/cancel",
        body=given(filters),
        fit="deliveries fit",
        done="cancelled",
        left="refused",
        ask="Call them off?",
    )
    bulk.run(dry_run=dry_run, yes=yes, as_json=as_json)


@click.command(short_help="Let go what is held as bulk.")
@click.option("--all", "everything", is_flag=True, help="Of all routes.")
@click.option("--limit", type=click.IntRange(min=1), help="So many, the newest first.")
@for_many("route", "source", "subject", "since", "until")
@with_bridge
def release(
    everything: bool,
    limit: int | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    url: str | None,
    **filters: str | None,
) -> None:
    """Let go what an import or a flood of events made, and is held until a person releases it.

    All other guards are asked all the same. To drop it instead: cancel --reason bulk.
    """
    if everything == bool(given(filters)):
        raise click.UsageError(
            "Give at least one filter (--route, --source, --subject, --since, --until); or --all, "
            "which is every route's, and goes with none."
        )
    bulk = Bulk(
        api=open_api(url),
        path="/api/deliveries/release",
        body={"since": EVER} if everything else given(filters),
        fit="deliveries fit",
        done="released",
        left="refused",
        ask="Release them? Phones will ring.",
        limit=limit,
    )
    bulk.run(dry_run=dry_run, yes=yes, as_json=as_json)


@click.command(short_help="Settle an unknown delivery.")
@click.argument("some_id", metavar="ID")
@click.argument("found", metavar="delivered|failed", type=click.Choice(["delivered", "failed"]))
@with_bridge
def resolve(some_id: str, found: str, as_json: bool, url: str | None) -> None:
    """Say how an unknown delivery ended, as CallKaro's dashboard shows it."""
    order("POST", f"/api/deliveries/{read_id(some_id)}/resolve", {"as": found}, url, as_json)


# --- events ---------------------------------------------------------------------------------


@click.command(short_help="Match events again, under today's routes.")
@click.argument("some_id", metavar="[ID]", required=False)
@for_many("status", "source", "since", "until")
@with_bridge
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
    if is_one(some_id, filters):
        body = {"dry_run": True} if dry_run else {}
        found = open_api(url).post(f"/api/events/{read_id(some_id)}/replay", body)
        show(found, as_json, _show_replayed)
        return
    bulk = Bulk(
        api=open_api(url),
        path="/api/events/replay",
        body=given(filters),
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
@with_bridge
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
@with_bridge
def resume(scope: str, as_json: bool, url: str | None) -> None:
    """End the pause of SCOPE; what it held goes on now."""
    found = open_api(url).ask("DELETE", f"/api/pauses/{quoted(scope)}")
    show(
        found,
        as_json,
        lambda it: click.echo(f"{it['scope']} goes on; {it['released']} were held by it."),
    )
