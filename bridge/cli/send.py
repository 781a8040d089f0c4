"""`send`: sign a body as its source does, and post it."""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import BinaryIO

import click
import requests
from rich.table import Table
from rich.text import Text

from bridge.cli.client import Failure, address_of, http_request, is_here, json_of, read_settings
from bridge.cli.screen import console, print_json, progress
from bridge.preview import guess_content_type, incoming
from schemas.nearest import did_you_mean
from schemas.settings import Settings
from schemas.source import Source
from schemas.visible import visible

CONTENT_TYPE = click.option(
    "--content-type",
    metavar="TYPE",
    help="The body's media type. Without it: by the file's name, or else by how the body begins.",
)


@click.command(short_help="Sign a body and post it to a bridge.")
@click.argument("source")
@click.argument("body", type=click.File("rb"))
@click.option("--url", help="The address of the bridge. Without it: this machine, at PORT.")
@CONTENT_TYPE
@click.option(
    "--times", type=click.IntRange(1, 10_000), default=1, metavar="N", help="Send the body N times."
)
@click.option("--json", "as_json", is_flag=True, help="Print the bridge's answers as a JSON list.")
def send(
    source: str,
    body: BinaryIO,
    url: str | None,
    content_type: str | None,
    times: int,
    as_json: bool,
) -> None:
    """Sign BODY with SOURCE's secret and post it to a running bridge.

    BODY is a file, or - for stdin. With --times, the body is sent again as a CRM resends it; the
    bridge adds nothing if the event has an id. A phone may ring if that bridge has a real
    CALLKARO_API_KEY.
    """
    settings = read_settings(needs=frozenset({"ROUTES"}))
    found = find_source(settings, source)
    raw = body.read()
    base_url = address_of(url or f"http://localhost:{settings.port}")
    kind = content_type or guess_content_type(body.name, raw)
    # One message, sent again: only its time and its signature are new.
    sent_id = f"msg_{os.urandom(12).hex()}"
    responses = []
    with progress("sent", times) as advance:
        for number in range(times):
            responses.append(
                post_signed(settings, found, raw, kind, base_url=base_url, message_id=sent_id)
            )
            advance(number + 1)
    if as_json:
        answers = [{"status_code": one.status_code, **json_of(one)} for one in responses]
        print_json(answers)
    else:
        _show_responses(responses)
    if not all(one.ok for one in responses):
        raise Failure("The bridge did not accept every request.")


def post_signed(
    settings: Settings,
    source: Source,
    body: bytes,
    content_type: str,
    *,
    base_url: str,
    message_id: str | None = None,
) -> requests.Response:
    """Post a body to /webhooks/<source>, signed as its CRM signs it. Raises Failure."""
    from schemas.signatures import sign

    secrets = settings.secrets.get(source.name)
    if not secrets:
        raise Failure(
            f"{source.variable_prefix}WEBHOOK_SECRET is not set, so the body can't be signed."
        )
    base_url = address_of(base_url)
    # A bridge with a PUBLIC_URL checks signatures over that address.
    signed_url = settings.public_url if settings.public_url and is_here(base_url) else base_url
    request = incoming(source, body, content_type, base_url=signed_url)
    proof = sign(source.auth, secrets[0], request, now=datetime.now(UTC), message_id=message_id)
    return http_request(
        "POST",
        f"{base_url}/webhooks/{source.name}",
        headers={"Content-Type": content_type, **proof},
        data=body,
    )


def _show_responses(responses: Sequence[requests.Response]) -> None:
    table = Table("HTTP", "Event", "Result", "Deliveries", box=None, pad_edge=False)
    for response in responses:
        for row in _rows(response):
            table.add_row(
                str(response.status_code), *(Text(visible(cell, keeps="\n")) for cell in row)
            )
    console().print(table)


def _rows(response: requests.Response) -> Iterator[tuple[str, str, str]]:
    """Yield a row for each event of a response; or one row with its error."""
    content = json_of(response)
    if not response.ok or not isinstance(content.get("events"), list):
        yield "-", str(content.get("error", "?")), str(content.get("message", response.reason))
        return
    for event in content["events"]:
        word = "duplicate" if event["duplicate"] else event["status"]
        deliveries = "\n".join(f"{one['id']}  {one['route']}" for one in event["deliveries"])
        yield event["id"], word, deliveries or "-"
    if not content["events"]:
        yield "-", "no event", "-"


def find_source(settings: Settings, name: str) -> Source:
    """Return the source of that name. Raises UsageError that names all sources."""
    source = settings.routes.sources.get(name)
    if source is None:
        known = ", ".join(settings.routes.sources)
        near = did_you_mean(name, settings.routes.sources)
        raise click.UsageError(f"There is no source {name!r}. {near}The sources are {known}.")
    return source
