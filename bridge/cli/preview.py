"""`preview`: what a body would become, and why."""

import json
from datetime import UTC, datetime
from typing import Any, BinaryIO

import click
from requests.structures import CaseInsensitiveDict

from bridge.cli.client import Failure, read_settings
from bridge.cli.send import find_source
from bridge.preview import guess_content_type, incoming, look
from schemas.errors import BridgeError


@click.command(short_help="Show what a body would become, and why.")
@click.argument("source")
@click.argument("body", type=click.File("rb"))
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header of it.")
@click.option("--content-type", help="Default: by the file's name, else by its looks.")
@click.option("--record", type=click.File("rb"), help="The full record(s) of a thin event, JSON.")
@click.option("--at", metavar="TIME", help="As of this time (ISO 8601). Default: now.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def preview(
    source: str,
    body: BinaryIO,
    headers: tuple[str, ...],
    content_type: str | None,
    record: BinaryIO | None,
    at: str | None,
    as_json: bool,
) -> None:
    """Show what BODY, posted by SOURCE, would become, and why. Nothing is sent or fetched.

    Every guard's verdict is shown; what hangs on history (who is suppressed, who was called
    lately) is known at the send alone.

    BODY is a file, or - for stdin. The signature is not checked. A thin event carries only an id:
    --record gives the record that would be fetched, as its CRM's API answers or as plain fields;
    several of them by id.
    """
    settings = read_settings(needs=frozenset({"ROUTES"}))
    found = find_source(settings, source)
    raw = body.read()
    given = CaseInsensitiveDict(_read_header(header) for header in headers)
    kind = content_type or given.get("Content-Type") or guess_content_type(body.name, raw)
    request = incoming(found, raw, kind, base_url="https://bridge.example", headers=dict(given))
    try:
        seen = look(
            settings, found, request, now=_read_time(at), record=_read_json(record, "--record")
        )
    except BridgeError as error:
        raise Failure(str(error)) from None
    click.echo(json.dumps(seen.as_json(), indent=2, ensure_ascii=False) if as_json else seen.text())


def _read_header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.BadParameter("write it as 'Name: value'", param_hint="--header")
    return name.strip(), value.strip()


def _read_time(text: str | None) -> datetime:
    """Return an aware time; one without a zone is in this machine's; None: now."""
    if text is None:
        return datetime.now(UTC)
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            "write it as 2026-01-31T09:30:00+05:30", param_hint="--at"
        ) from None


def _read_json(file: BinaryIO | None, hint: str) -> Any:
    try:
        return None if file is None else json.loads(file.read())
    except (ValueError, RecursionError):
        raise click.BadParameter("the file is not JSON", param_hint=hint) from None
