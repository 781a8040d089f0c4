"""Commands by which a person acts: retry, cancel, release, resolve, replay, pause and resume."""

import sys
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

import click

from bridge.cli.bulk_options import Bulk, act_on_one, for_many, given, is_one, read_id, with_bridge
from bridge.cli.client import open_api, quoted
from bridge.cli.screen import show
from bridge.cli.times import zoned_time

EVER = "1970-01-01T00:00:00Z"  # the API requires a filter, so that an empty body never means all

# --- deliveries -----------------------------------------------------------------------------


@click.command(short_help="Try deliveries again, now.")
@click.argument("some_id", metavar="[ID]", required=False)
@click.option(
    "--call-again",
    is_flag=True,
    help="Also retry calls where the phone rang or may have rung. It may ring again.",
)
@for_many(
    *("status", "reason", "route", "source", "campaign", "subject", "phone", "to", "since", "until")
)
@with_bridge
def retry(
    some_id: str | None,
    call_again: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    url: str | None,
    **filters: str | datetime | None,
) -> None:
    """Try a delivery again, by its ID; or all deliveries that match the filters.

    Without --status, the filters select failed deliveries. A call where the phone rang or may have
    rung is refused without --call-again.
    """
    options = {"call_again": call_again} if call_again else {}
    if is_one(some_id, filters, dry_run=dry_run):
        act_on_one("POST", f"/api/deliveries/{read_id(some_id)}/retry", options, url, as_json)
        return
    again = " Phones that rang may ring again." if call_again else ""
    api = open_api(url)
    bulk = Bulk(
        api=api,
        path="/api/deliveries/retry",
        body={**api.filters(filters), **options},
        match="deliveries match",
        done="retried",
        left="refused",
        question=f"Retry them?{again}",
    )
    bulk.run(dry_run=dry_run, yes=yes, as_json=as_json)


@click.command(short_help="Cancel deliveries that wait.")
@click.argument("some_id", metavar="[ID]", required=False)
@for_many(
    *("status", "reason", "route", "source", "campaign", "subject", "phone", "to", "since", "until")
)
@with_bridge
def cancel(
    some_id: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    url: str | None,
    **filters: str | datetime | None,
) -> None:
    """Cancel a delivery, by its ID; or all deliveries that match the filters.

    A delivery can be cancelled while it waits, or while CallKaro has its call scheduled. Without
    --status, the filters select deliveries that wait; with --campaign both.
    """
    if is_one(some_id, filters, dry_run=dry_run):
        act_on_one("POST", f"/api/deliveries/{read_id(some_id)}/cancel", {}, url, as_json)
        return
    api = open_api(url)
    bulk = Bulk(
        api=api,
        path="/api/deliveries/cancel",
        body=api.filters(filters),
        match="deliveries match",
        done="cancelled",
        left="refused",
        question="Cancel them?",
    )
    bulk.run(dry_run=dry_run, yes=yes, as_json=as_json)


@click.command(short_help="Release deliveries that are held as bulk.")
@click.option("--all", "everything", is_flag=True, help="Release those of all routes.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Release at most N, the newest first.",
)
@for_many("route", "source", "campaign", "subject", "since", "until")
@with_bridge
def release(
    everything: bool,
    limit: int | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    url: str | None,
    **filters: str | datetime | None,
) -> None:
    """Release deliveries of an import or of a flood of events, which are held as bulk.

    Phones will ring. All other checks still apply. To drop these deliveries instead, use
    cancel --reason bulk.
    """
    if everything == bool(given(filters)):
        raise click.UsageError(
            "Give at least one filter (--route, --source, --campaign, --subject, --since, "
            "--until); or give --all alone, for every route."
        )
    api = open_api(url)
    bulk = Bulk(
        api=api,
        path="/api/deliveries/release",
        body={"since": EVER} if everything else api.filters(filters),
        match="deliveries match",
        done="released",
        left="refused",
        question="Release them? Phones will ring.",
        limit=limit,
    )
    bulk.run(dry_run=dry_run, yes=yes, as_json=as_json)


@click.command(short_help="Settle an unknown delivery.")
@click.argument("some_id", metavar="ID")
@click.argument("result", metavar="delivered|failed", type=click.Choice(["delivered", "failed"]))
@with_bridge
def resolve(some_id: str, result: str, as_json: bool, url: str | None) -> None:
    """Record how an unknown delivery ended. CallKaro's dashboard shows whether it has the call."""
    path = f"/api/deliveries/{read_id(some_id)}/resolve"
    act_on_one("POST", path, {"as": result}, url, as_json)


# --- events ---------------------------------------------------------------------------------


@click.command(short_help="Match events again, with today's routes.")
@click.argument("some_id", metavar="[ID]", required=False)
@for_many("status", "source", "since", "until")
@with_bridge
def replay(
    some_id: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    url: str | None,
    **filters: str | datetime | None,
) -> None:
    """Match an event with today's routes, by its ID; or all events that match the filters.

    A replay only makes deliveries that the event does not have yet. Without --status, the filters
    select events that are unrouted or unreadable.
    """
    if is_one(some_id, filters):
        body = {"dry_run": True} if dry_run else {}
        found = open_api(url).post(f"/api/events/{read_id(some_id)}/replay", body)
        show(found, as_json, _show_replayed)
        return
    api = open_api(url)
    bulk = Bulk(
        api=api,
        path="/api/events/replay",
        body=api.filters(filters),
        match="events match",
        done="replayed",
        left="unchanged",
        question="Replay them?",
    )
    bulk.run(dry_run=dry_run, yes=yes, as_json=as_json)


def _show_replayed(found: Mapping[str, Any]) -> None:
    would = "would be " if found["dry_run"] else ""
    if not found["deliveries"] and found["status"] == "unreadable":
        click.echo("The event stays unreadable, and no route can change that. Fix what is sent.")
    elif not found["deliveries"]:
        click.echo(f"The event stays {found['status']}: no route makes a new delivery for it.")
    for one in found["deliveries"]:
        click.echo(f"{would}new: {one['id']}  {one['route']}")


# --- pauses ---------------------------------------------------------------------------------


@click.command(short_help="Pause all, a source, a route, a campaign or CallKaro.")
@click.argument("scope")
@click.option("--message", default="", help="The reason, for everybody who sees the pause.")
@with_bridge
def pause(scope: str, message: str, as_json: bool, url: str | None) -> None:
    """Pause SCOPE: all, callkaro, source:NAME, route:NAME, campaign:BATCH_ID or crm:SOURCE.

    Webhooks are still accepted.
    """
    body = {"message": message} if message else {}
    api = open_api(url)
    found = api.request("PUT", f"/api/pauses/{quoted(scope)}", body)
    show(found, as_json, partial(_show_paused, timezone=api.timezone))


def _show_paused(found: Mapping[str, Any], *, timezone: str) -> None:
    since = zoned_time(found["since"], timezone)
    click.echo(f"{found['scope']} is paused since {since}: {found['message']}")


@click.command(short_help="End a pause.")
@click.argument("scope")
@click.option("--dry-run", is_flag=True, help="Only count what goes out. Ends nothing.")
@with_bridge
def resume(scope: str, dry_run: bool, as_json: bool, url: str | None) -> None:
    """End the pause of SCOPE. The deliveries that it held go on now.

    At a terminal it first says how many that are, and asks.
    """
    api, path = open_api(url), f"/api/pauses/{quoted(scope)}"
    if not dry_run and sys.stdin.isatty():
        _show_resumed(api.request("DELETE", path, {"dry_run": True}))
        click.confirm("Resume?", abort=True)
    show(api.request("DELETE", path, {"dry_run": dry_run}), as_json, _show_resumed)


def _show_resumed(found: Mapping[str, Any]) -> None:
    if found.get("dry_run"):
        goes_out = found["released"] - found["too_old"]
        click.echo(
            f"{found['scope']} is paused. After a resume, {goes_out} deliveries go out, and "
            f"{found['too_old']} are skipped, because they are older than max_age."
        )
    else:
        click.echo(f"{found['scope']} is resumed; deliveries released: {found['released']}.")
