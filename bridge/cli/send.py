"""`send`: sign a body as its source would, and post it."""

import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import BinaryIO

import click
import requests
from rich.table import Table

from bridge.cli.client import Failure, address_of, ask, is_here, json_of, read_settings
from bridge.cli.screen import console, progress
from bridge.preview import guess_content_type, incoming
from schemas.settings import Settings
from schemas.source import Source


@click.command(short_help="Sign a body and post it.")
@click.argument("source")
@click.argument("body", type=click.File("rb"))
@click.option("--url", help="Where the bridge runs. Default: this machine, at PORT.")
@click.option("--content-type", help="Default: by the file's name, else by its looks.")
@click.option("--times", type=click.IntRange(1, 10_000), default=1, help="Send it so often.")
@click.option("--json", "as_json", is_flag=True, help="The answers, as they are: a list.")
def send(
    source: str,
    body: BinaryIO,
    url: str | None,
    content_type: str | None,
    times: int,
    as_json: bool,
) -> None:
    """Sign BODY with SOURCE's secret and post it to a bridge that runs.

    BODY is a file, or - for stdin. More than once is what a CRM does when it resends: the second
    adds nothing where the event has an id. If a real CALLKARO_API_KEY is set over there, a phone
    may ring.
    """
    settings = read_settings(needs=frozenset({"ROUTES"}))
    found = find_source(settings, source)
    raw = body.read()
    base_url = address_of(url or f"http://localhost:{settings.port}")
    kind = content_type or guess_content_type(body.name, raw)
    # One message, resent: only the time and so the signature are new.
    sent_id = f"msg_{os.urandom(12).hex()}"
    answers = []
    with progress("sent", times) as tell:
        for number in range(times):
            answer = post_signed(settings, found, raw, kind, base_url=base_url, message_id=sent_id)
            answers.append(answer)
            tell(number + 1)
    if as_json:
        told = [{"status_code": answer.status_code, **json_of(answer)} for answer in answers]
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        _show_answers(answers)
    if not all(answer.ok for answer in answers):
        raise Failure("Not all of it was taken in.")


def post_signed(
    settings: Settings,
    source: Source,
    body: bytes,
    content_type: str,
    *,
    base_url: str,
    message_id: str | None = None,
) -> requests.Response:
    """Post a body to /webhooks/<source>, signed as its CRM would. Raises Failure."""
    from schemas.signatures import sign

    secrets = settings.secrets.get(source.name)
    if not secrets:
        raise Failure(f"{source.variable_prefix}WEBHOOK_SECRET is not set, so it can't be signed.")
    base_url = address_of(base_url)
    # A bridge that knows its public address checks signatures over that one.
    signed_url = settings.public_url if settings.public_url and is_here(base_url) else base_url
    request = incoming(source, body, content_type, base_url=signed_url)
    proof = sign(source.auth, secrets[0], request, now=datetime.now(UTC), message_id=message_id)
    return ask(
        "POST",
        f"{base_url}/webhooks/{source.name}",
        headers={"Content-Type": content_type, **proof},
        data=body,
    )


def _show_answers(answers: Sequence[requests.Response]) -> None:
    table = Table("HTTP", "Event", "Became", "Deliveries", box=None, pad_edge=False)
    for answer in answers:
        for row in _answer_rows(answer):
            table.add_row(str(answer.status_code), *row)
    console().print(table)


def _answer_rows(answer: requests.Response) -> Iterator[tuple[str, str, str]]:
    """Yield a row for each event of the answer, or one that says what it says instead."""
    content = json_of(answer)
    if not answer.ok or not isinstance(content.get("events"), list):
        yield "-", str(content.get("error", "?")), str(content.get("message", answer.reason))
        return
    for event in content["events"]:
        word = "duplicate" if event["duplicate"] else event["status"]
        deliveries = "\n".join(f"{one['id']}  {one['route']}" for one in event["deliveries"])
        yield event["id"], word, deliveries or "-"
    if not content["events"]:
        yield "-", "no event", "-"


def find_source(settings: Settings, name: str) -> Source:
    """Return the source of that name. Raises UsageError that names those there are."""
    source = settings.routes.sources.get(name)
    if source is None:
        known = ", ".join(settings.routes.sources)
        raise click.UsageError(f"There is no source {name!r}; there are {known}.")
    return source
