"""`suppress` and `erase`: people who are not to be called, or not to be known."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import click
from rich.table import Table
from rich.text import Text

from bridge.cli.bulk_options import with_bridge
from bridge.cli.client import Api, Failure, open_api, quoted
from bridge.cli.screen import console, progress, show
from rules.number_list import read_numbers

AT_ONCE = 200  # numbers in one request: each calls off what was planned, and that takes its time
PAGE = 200  # the most that a page of the list may have
NAMED = 50  # lines that are named in a message

# --- suppressing ----------------------------------------------------------------------------


@click.command(short_help="Have numbers not called; list them.")
@click.argument("number", metavar="[NUMBER]", required=False)
@click.option("--message", help="Why, for whoever finds it suppressed.")
@click.option("--remove", is_flag=True, help="Let it be called again; the ID of the list will do.")
@click.option("--import", "file", type=click.File("rb"), help="All of a CSV's numbers; - is stdin.")
@click.option("--list", "is_list", is_flag=True, help="Show who is suppressed, the newest first.")
@click.option("--limit", type=click.IntRange(min=1), help="With --list: so many. Default: 50.")
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
    """Have NUMBER not called from now on, by any route; what is planned for it is called off.

    A CSV's numbers stand in the column named phone, mobile or number, else in the first that looks
    like it; one number a line will do.
    """
    if [number is not None, file is not None, is_list].count(True) != 1:
        raise click.UsageError("Give a NUMBER, or --import FILE, or --list: one of them.")
    if (remove and (number is None or message)) or (is_list and message):
        raise click.UsageError("--remove goes with a NUMBER alone, and --list without --message.")
    if limit and not is_list:
        raise click.UsageError("--limit is for --list.")
    said = {"message": message} if message else {}
    if file is not None:
        _import(open_api(url), file.read(), said, as_json=as_json)
    elif is_list:
        show(_listed(open_api(url), limit or 50), as_json, _show_list)
    else:
        path = f"/api/suppressions/{quoted(_read_number(number))}"
        api = open_api(url)
        if remove:
            show(api.ask("DELETE", path), as_json, lambda _: click.echo("It may be called again."))
        else:
            show(api.ask("PUT", path, said), as_json, _show_suppressed)


def _read_number(text: str | None) -> str:
    """Return a number as it can stand in a path. Raises UsageError for what has no digit."""
    if text is None or not re.search(r"\d", text):
        raise click.UsageError("That is no number; write it in full, such as +919876543210.")
    return text.strip().replace("/", "-")


def _show_suppressed(found: Mapping[str, Any]) -> None:
    why = f": {found['message']}" if found["message"] else ""
    who = found["phone"] or "A person who was erased"
    click.echo(f"{who} is suppressed since {found['since']} ({found['reason']}){why}")
    click.echo(
        f"Called off: {found['cancelled']} that waited; CallKaro is asked to drop "
        f"{found['dropping']}."
    )
    if found["on_the_wire"]:
        click.echo(f"On the wire right now, so that a phone may ring: {found['on_the_wire']}.")


def _import(api: Api, raw: bytes, said: Mapping[str, str], *, as_json: bool) -> None:
    """Suppress the numbers of a file, and fail if there was one that could not be read."""
    try:
        numbers, without = read_numbers(raw)
    except ValueError as error:
        raise Failure(str(error)) from None
    if not numbers:
        raise Failure("There is no number in that file.")
    done = {"suppressed": 0, "known": 0}
    unread = set(without)
    with progress("suppressed", len(numbers)) as tell:
        for start in range(0, len(numbers), AT_ONCE):
            part = numbers[start : start + AT_ONCE]
            answer = _suppress_many(api, part, said)
            for word in done:
                done[word] += answer[word]
            unread |= {part[one["place"]][0] for one in answer["refused"]}
            tell(start + len(part))
    lines = sorted(unread)
    if as_json:
        click.echo(json.dumps({**done, "unread": lines}, indent=2))
    else:
        click.echo(f"{done['suppressed']} suppressed, {done['known']} known already.")
    if lines:
        raise Failure(
            f"{len(lines)} line(s) have no number that can be read, and nobody of them is "
            f"suppressed unless another line has the number: {_places(lines)}"
        )


def _suppress_many(api: Api, part: Sequence[tuple[int, str]], said: Mapping[str, str]) -> Any:
    """Suppress the numbers of some lines. Raises Failure that names the first of them."""
    try:
        return api.post("/api/suppressions", {**said, "numbers": [number for _, number in part]})
    except Failure as error:
        raise Failure(
            f"{error.message} It stopped at line {part[0][0]}; import the file again, for what "
            "is done already does no harm."
        ) from None


def _places(lines: Sequence[int]) -> str:
    more = f" and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
    return ", ".join(map(str, lines[:NAMED])) + more


def _listed(api: Api, limit: int) -> dict[str, Any]:
    """Return the newest suppressions, in the shape of one page."""
    items: list[Any] = []
    cursor = None
    while True:
        after = f"&cursor={quoted(cursor)}" if cursor else ""
        page = api.get(f"/api/suppressions?limit={min(PAGE, limit - len(items))}{after}")
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None or len(items) >= limit:
            return {"items": items, "next_cursor": cursor}


def _show_list(found: Mapping[str, Any]) -> None:
    if not found["items"]:
        click.echo("Nobody is suppressed.")
        return
    columns = ("Since", "Number", "Reason", "Source", "Message", "ID")
    table = Table(*columns, box=None, pad_edge=False)
    for one in found["items"]:
        phone = one["phone"] or ("-" if one["reason"] == "erased" else "of a record")
        row = (one["since"], phone, one["reason"], one["source"] or "-", one["message"] or "")
        table.add_row(*map(Text, row), Text(one["id"], no_wrap=True))
    console().print(table)
    if found["next_cursor"]:
        click.echo("There are more: --limit.")


# --- erasing --------------------------------------------------------------------------------


@click.command(short_help="Erase a person, by their number.")
@click.argument("number")
@click.option("--yes", is_flag=True, help="Don't ask.")
@with_bridge
def erase(number: str, yes: bool, as_json: bool, url: str | None) -> None:
    """Erase the person whose NUMBER it is; it stays suppressed, as a keyed hash.

    Nothing is erased at CallKaro or in the CRM.
    """
    phone = _read_number(number)
    api = open_api(url)
    if not yes:
        click.echo(
            "The person's records lose number, name, answers, transcripts and links; that they "
            "were there stays. Nobody calls that number again. This can't be undone.",
            err=as_json,
        )
        click.confirm("Erase them?", abort=True, err=as_json)
    show(api.post("/api/erasures", {"phone": phone}), as_json, _show_erased)


def _show_erased(found: Mapping[str, Any]) -> None:
    click.echo(
        f"Gone through: {found['deliveries']} deliveries, {found['events']} events of theirs."
    )
    if not found["done"]:
        click.echo("That is not all yet: a worker goes on with it.")
