"""`call-me`: one real call by a route, to a number that a person names."""

import json
import time
from collections.abc import Mapping
from typing import Any, BinaryIO

import click

from bridge.cli.bulk_options import with_bridge
from bridge.cli.client import Api, Failure, open_api, quoted, read_settings
from bridge.cli.screen import show, show_delivery

PATIENCE_S = 15.0
LOOK_S = 0.25
ON_ITS_WAY = ("queued", "sending")


@click.command("call-me", short_help="Have a route call your own phone.")
@click.argument("number")
@click.option("--route", help="Which; not needed where only one calls.")
@click.option("--record", type=click.File("rb"), help="In the place of the CRM's record, JSON.")
@with_bridge
def call_me(
    number: str, route: str | None, record: BinaryIO | None, as_json: bool, url: str | None
) -> None:
    """Have a route call NUMBER, now: a real call, unless the bridge calls a stand-in.

    The route's match, when, consent and again_after are not asked, nor is the cap by number; all
    other guards are.
    """
    body = {"to_number": number, "record": _read_record(record)}
    name = route if route is not None else _only_route()
    api = open_api(url)
    made = api.post(f"/api/routes/{quoted(name)}/call-me", body)
    found = _settled(api, made)
    show(found, as_json, show_delivery)
    if found["status"] != "delivered":
        raise Failure(_why_not(found))


def _read_record(file: BinaryIO | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        record = json.loads(file.read())
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise click.BadParameter("the file is no JSON object", param_hint="--record")
    return record


def _only_route() -> str:
    """Return the name of the only route that calls. Raises UsageError where it is not clear."""
    routes = read_settings(needs=frozenset({"API_TOKEN", "ROUTES"})).routes.routes
    names = [one.name for one in routes if one.to == "call"]
    if not names:
        raise click.UsageError("No route calls.")
    if len(names) > 1:
        raise click.UsageError(f"Give --route: one of {', '.join(map(repr, names))}.")
    return names[0]


def _settled(api: Api, made: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a delivery once it is no longer on its way, or as it stands when patience ends."""
    ends = time.monotonic() + PATIENCE_S
    found = made
    while found["status"] in ON_ITS_WAY and time.monotonic() < ends:
        time.sleep(LOOK_S)
        found = api.get(f"/api/deliveries/{quoted(made['id'])}")
    return found


def _why_not(found: Mapping[str, Any]) -> str:
    """Return why nothing was delivered (yet), in a sentence or two."""
    reason = f" ({found['reason']})" if found["reason"] else ""
    until = f" until {found['next_attempt_at']}" if found["status"] == "held" else ""
    message = f" {found['message']}" if found["message"] else ""
    if found["status"] in ON_ITS_WAY:
        return (
            f"It is still {found['status']}.{message} Does a worker run? Look again: "
            f"flask --app bridge status {found['id']}"
        )
    if found["status"] == "held":
        message += f" Then it rings. To call it off: flask --app bridge cancel {found['id']}"
    return f"It is {found['status']}{reason}{until}.{message}"
