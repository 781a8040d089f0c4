"""`call-me`: one real call by a route, to a number that a person types."""

import json
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, BinaryIO

import click

from bridge.cli.bulk_options import with_bridge
from bridge.cli.client import Api, Failure, open_api, quoted, read_settings
from bridge.cli.screen import show, show_delivery
from bridge.cli.times import zoned_time

WAIT_S = 15.0  # for the call to be handed over
LOOK_S = 0.25
ON_ITS_WAY = ("queued", "sending")


@click.command("call-me", short_help="Have a route call your own phone.")
@click.argument("number")
@click.option(
    "--route", metavar="ROUTE", help="The route that calls. Not needed if only one route calls."
)
@click.option(
    "--record", type=click.File("rb"), help="A JSON file to use as the CRM's record of this person."
)
@with_bridge
def call_me(
    number: str, route: str | None, record: BinaryIO | None, as_json: bool, url: str | None
) -> None:
    """Have a route call NUMBER now: a real call, unless the bridge uses a stand-in for CallKaro.

    These checks are left out: the route's match, when, consent and again_after, and
    MAX_PER_NUMBER_PER_DAY. All other checks apply.
    """
    body = {"to_number": number, "record": _read_record(record)}
    name = route if route is not None else _only_route()
    api = open_api(url)
    made = api.post(f"/api/routes/{quoted(name)}/call-me", body)
    found = settled(api, made)
    show(found, as_json, partial(show_delivery, timezone=api.timezone))
    if found["status"] != "delivered":
        raise Failure(why_not(found, api.timezone))


def _read_record(file: BinaryIO | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        record = json.loads(file.read())
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise click.BadParameter("the file is not a JSON object", param_hint="--record")
    return record


def _only_route() -> str:
    """Return the name of the only route that calls. Raises UsageError if there are more or none."""
    routes = read_settings(needs=frozenset({"API_TOKEN", "ROUTES"})).routes.routes
    names = [one.name for one in routes if one.to == "call"]
    if not names:
        raise click.UsageError("No route calls.")
    if len(names) > 1:
        raise click.UsageError(f"Give --route: one of {', '.join(map(repr, names))}.")
    return names[0]


def settled(api: Api, made: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a delivery once it is no longer on its way, or as it is after WAIT_S."""
    ends = time.monotonic() + WAIT_S
    found = made
    while found["status"] in ON_ITS_WAY and time.monotonic() < ends:
        time.sleep(LOOK_S)
        found = api.get(f"/api/deliveries/{quoted(made['id'])}")
    return found


def why_not(found: Mapping[str, Any], timezone: str) -> str:
    """Return why the call was not delivered (yet), in a sentence or two."""
    reason = f" ({found['reason']})" if found["reason"] else ""
    message = f" {found['message']}" if found["message"] else ""
    if found["status"] in ON_ITS_WAY:
        return (
            f"The delivery is still {found['status']}.{message} Does a worker run? Look again: "
            f"python -m bridge status {found['id']}"
        )
    at = zoned_time(found["next_attempt_at"], timezone)
    until = ""
    if found["status"] == "held":
        until = f" until {at}" if at else ""
        message += f" Then the phone rings. To cancel: python -m bridge cancel {found['id']}"
    return f"The delivery is {found['status']}{reason}{until}.{message}"
