"""`suppress`: numbers that must not be called."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO

import click
from rich.text import Text

from bridge.cli.bulk_options import with_bridge
from bridge.cli.client import Api, Failure, open_api, quoted
from bridge.cli.lists import LENGTH, Pages, show_table
from bridge.cli.screen import progress, show, table_with_times
from bridge.cli.times import local_time, zoned_time
from rules.number_list import read_numbers

AT_ONCE = 200  # numbers in one request: each also cancels what was planned, which takes time
NAMED = 50  # lines that a message names


@click.command(short_help="Suppress numbers; list them.")
@click.argument("number", metavar="[NUMBER]", required=False)
@click.option("--message", help="The reason, for everybody who sees the suppression.")
@click.option(
    "--remove",
    is_flag=True,
    help="Allow calls to this number again. An ID of the list works as well.",
)
@click.option(
    "--import",
    "file",
    type=click.File("rb"),
    help="Suppress every number of a CSV file; - reads stdin.",
)
@click.option("--list", "is_list", is_flag=True, help="List the suppressions, the newest first.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"With --list: list at most N. Without it: {LENGTH}.",
)
@with_bridge
def suppress(
    number: str | None,
    message: str | None,
    remove: bool,
    file: BinaryIO | None,
    is_list: bool,
    limit: int | None,
    as_json: bool,
    url: str | None,
) -> None:
    """Stop all routes from calling NUMBER. Calls that are planned for it are cancelled.

    A CSV file has its numbers in the column phone, mobile or number, or else in the first column
    that looks like numbers. A file with one number a line works as well.
    """
    if [number is not None, file is not None, is_list].count(True) != 1:
        raise click.UsageError("Give one of these: a NUMBER, --import FILE, --list.")
    if (remove and (number is None or message)) or (is_list and message):
        raise click.UsageError("--remove takes only a NUMBER, and --list takes no --message.")
    if limit and not is_list:
        raise click.UsageError("--limit is for --list.")
    body = {"message": message} if message else {}
    if file is not None:
        _import(open_api(url), file.read(), body, as_json=as_json)
    elif is_list:
        pages = Pages(open_api(url), "/api/suppressions", {})
        show(pages.first(limit or LENGTH), as_json, partial(_show_list, pages=pages))
    else:
        path = f"/api/suppressions/{quoted(read_number(number))}"
        api = open_api(url)
        if remove:
            removed = api.request("DELETE", path)
            show(removed, as_json, lambda _: click.echo("The number may be called again."))
        else:
            found = api.request("PUT", path, body)
            show(found, as_json, partial(_show_suppressed, timezone=api.timezone))


def read_number(text: str | None) -> str:
    """Return a number as it can be in a path. Raises UsageError if it has no digit."""
    if text is None or not re.search(r"\d", text):
        raise click.UsageError("That is not a number. Write it in full, such as +919876543210.")
    return text.strip().replace("/", "-")


def _show_suppressed(found: Mapping[str, Any], *, timezone: str) -> None:
    why = f": {_why(found)}" if _why(found) else ""
    who = found["phone"] or "An erased person"
    since = zoned_time(found["since"], timezone)
    click.echo(f"{who} is suppressed since {since} ({found['reason']}){why}")
    click.echo(
        f"Cancelled: {found['cancelled']} that waited. The bridge asks CallKaro to delete: "
        f"{found['dropping']}."
    )
    if found["on_the_wire"]:
        click.echo(f"Being sent right now, so that a phone may still ring: {found['on_the_wire']}.")


def _import(api: Api, raw: bytes, body: Mapping[str, str], *, as_json: bool) -> None:
    """Suppress the numbers of a file. Raises Failure if a line could not be read."""
    try:
        numbers, without = read_numbers(raw)
    except ValueError as error:
        raise Failure(str(error)) from None
    if not numbers:
        raise Failure("There is no number in that file.")
    done = {"suppressed": 0, "known": 0}
    unread = set(without)
    with progress("suppressed", len(numbers)) as advance:
        for start in range(0, len(numbers), AT_ONCE):
            part = numbers[start : start + AT_ONCE]
            response = _suppress_many(api, part, body)
            for word in done:
                done[word] += response[word]
            unread |= {part[one["place"]][0] for one in response["refused"]}
            advance(start + len(part))
    lines = sorted(unread)
    if as_json:
        click.echo(json.dumps({**done, "unread": lines}, indent=2))
    else:
        click.echo(f"{done['suppressed']} suppressed, {done['known']} known already.")
    if lines:
        raise Failure(
            f"{len(lines)} line(s) have no number that can be read. These people are not "
            f"suppressed, unless another line has their number: {_places(lines)}"
        )


def _suppress_many(api: Api, part: Sequence[tuple[int, str]], body: Mapping[str, str]) -> Any:
    """Suppress the numbers of some lines. Raises Failure that names the first of these lines."""
    try:
        return api.post("/api/suppressions", {**body, "numbers": [number for _, number in part]})
    except Failure as error:
        raise Failure(
            f"{error.message} The import stopped at line {part[0][0]}. Import the file again: "
            "lines that are done already do no harm."
        ) from None


def _places(lines: Sequence[int]) -> str:
    more = f" and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
    return ", ".join(map(str, lines[:NAMED])) + more


def _why(one: Mapping[str, Any]) -> str:
    """Return the message of a suppression, and the id of what made it, for `status`."""
    made = next(
        (f"{kind} {one[f'{kind}_id']}" for kind in ("delivery", "event") if one.get(f"{kind}_id")),
        "",
    )
    return " ".join(filter(None, (one["message"], f"({made})" if made else "")))


def _show_list(found: Mapping[str, Any], *, pages: Pages) -> None:
    columns = ("Since", "Number", "Reason", "Source", "Message", "ID")
    zone = pages.api.timezone
    table = table_with_times(*columns, time="Since", timezone=zone)
    for one in found["items"]:
        phone = one["phone"] or ("-" if one["reason"] == "erased" else "of a record")
        since = local_time(one["since"], zone)
        row = (since, phone, one["reason"], one["source"] or "-", _why(one), one["id"])
        table.add_row(*map(Text, row))
    show_table(found, table, pages, none="No number is suppressed.")
