"""`preview`: what a body would become, and why."""

from datetime import UTC, datetime
from typing import Any, BinaryIO, Final
from zoneinfo import ZoneInfo

import click
from requests.structures import CaseInsensitiveDict

from bridge.cli.client import Failure, read_settings
from bridge.cli.screen import print_json
from bridge.cli.send import CONTENT_TYPE, find_source
from bridge.cli.times import TIME
from bridge.preview import guess_content_type, incoming, look, read_header
from schemas.errors import BridgeError, RequestError
from schemas.json_body import read_json
from schemas.outcome import Outcome, read_outcome

STDIN: Final = "<stdin>"  # its name as a file


@click.command(short_help="Show what a body would become, and why.")
@click.argument("source")
@click.argument("body", type=click.File("rb"))
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="Add this header to the request. It can be given several times.",
)
@CONTENT_TYPE
@click.option(
    "--record",
    type=click.File("rb"),
    help="A JSON file with the full record of a thin event, or with several records by id.",
)
@click.option(
    "--outcome",
    type=click.File("rb"),
    help="A JSON file with an outcome as CallKaro posts it (call_ended), for what is written back. "
    "Without it: connected, 62 s.",
)
@click.option(
    "--at",
    type=TIME,
    metavar="TIME",
    help="Preview as of this time: 2026-01-31T09:30, or how long ago: 90s, 15m, 1h, 3d. A time "
    "without a zone is in CALLKARO_TIMEZONE. Without it: now.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the preview as JSON, in UTC.")
def preview(
    source: str,
    body: BinaryIO,
    headers: tuple[str, ...],
    content_type: str | None,
    record: BinaryIO | None,
    outcome: BinaryIO | None,
    at: datetime | None,
    as_json: bool,
) -> None:
    """Show what BODY would become if SOURCE posted it, and why. Nothing is sent or fetched.

    The preview shows the result of every check. Checks that need a number's history (is it
    suppressed, was it called lately) are made only when a call is sent.

    BODY is a file, or - for stdin. The signature is not checked. A thin event carries only an id:
    with --record, give the record that the worker would fetch, as the CRM's API answers or as plain
    fields.

    If the route has a [route.write_back], the preview also shows what the CRM would be told of the
    call, for a sample outcome or that of --outcome.
    """
    settings = read_settings(needs=frozenset({"ROUTES"}))
    found = find_source(settings, source)
    _check_stdin(body, outcome)
    raw = body.read()
    given = CaseInsensitiveDict(_read_header(header) for header in headers)
    kind = content_type or given.get("Content-Type") or guess_content_type(body.name, raw)
    request = incoming(found, raw, kind, base_url="https://bridge.example", headers=dict(given))
    zone = ZoneInfo(settings.callkaro_timezone)
    try:
        seen = look(
            settings,
            found,
            request,
            now=_instant(at, zone),
            record=_read_json(record, "--record"),
            ended=_read_outcome(outcome, settings.callkaro_timezone),
        )
    except BridgeError as error:
        raise Failure(str(error)) from None
    if as_json:
        print_json(seen.as_json())
    else:
        click.echo(seen.text(zone))


def _read_header(text: str) -> tuple[str, str]:
    try:
        return read_header(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--header") from None


def _instant(at: datetime | None, zone: ZoneInfo) -> datetime:
    """Return an aware time; None: now."""
    if at is None:
        return datetime.now(UTC)
    return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)


def _read_json(file: BinaryIO | None, hint: str) -> Any:
    try:
        return None if file is None else read_json(file.read())
    except RequestError:
        raise click.BadParameter("the file is not JSON", param_hint=hint) from None


def _check_stdin(body: BinaryIO, outcome: BinaryIO | None) -> None:
    names = [getattr(file, "name", STDIN) for file in (body, outcome) if file is not None]
    if names == [STDIN, STDIN]:
        hint = "only one of BODY and --outcome can be -, stdin"
        raise click.BadParameter(hint, param_hint="--outcome")


def _read_outcome(file: BinaryIO | None, zone: str) -> Outcome | None:
    """Return the outcome in a file; None: there is no file."""
    if file is None:
        return None
    found = read_outcome(_read_json(file, "--outcome"), zone)
    if found is None:
        wanted = 'the file has no outcome: {"event": "call_ended", "data": {"callSid": …, …}}'
        raise click.BadParameter(wanted, param_hint="--outcome")
    return found
