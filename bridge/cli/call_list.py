"""`call-list`: call the people of a CSV file by a route."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from shlex import quote
from typing import Any, BinaryIO

import click

from bridge.cli.bulk_options import with_bridge
from bridge.cli.client import open_api, read_settings
from bridge.cli.screen import show
from rules.call_list import guess_mapping
from schemas.csv_table import decoded, read_table
from schemas.errors import BadQuery
from schemas.nearest import did_you_mean

NAMED = 50  # unreadable lines that are printed
TIMEOUT_S = 180.0  # of 10,000 rows; a busy bridge stores 300 a second


@click.command("call-list", short_help="Call the people of a CSV file.")
@click.argument("file", type=click.File("rb"))
@click.option("--route", required=True, metavar="ROUTE", help="The route that calls.")
@click.option(
    "--map",
    "pairs",
    multiple=True,
    metavar="PATH=COLUMN",
    help="Fill a path that the route reads from this column. It can be given several times. "
    "Without it, columns are found by their names.",
)
@click.option(
    "--name",
    metavar="LIST",
    help="The name of the list. A number that a list of this name had is not called again. "
    "Without it: the name of the file.",
)
@click.option("--dry-run", is_flag=True, help="Only count; store nothing.")
@with_bridge
def call_list(
    file: BinaryIO,
    route: str,
    pairs: tuple[str, ...],
    name: str | None,
    dry_run: bool,
    as_json: bool,
    url: str | None,
) -> None:
    """Make a delivery of ROUTE of each row of FILE. Nobody is called before you release them.

    FILE is a CSV file, or - for stdin. Its first line names the columns.
    """
    text = decoded(file.read())
    mapping = _read_pairs(pairs) or _guess(text, route, is_silent=as_json)
    body = {
        "route": route,
        "name": _name_of(file) if name is None else name,
        "mapping": mapping,
        "csv": text,
        "dry_run": dry_run,
    }
    api = replace(open_api(url), timeout_s=TIMEOUT_S)
    found = api.post("/api/call-lists", body)
    show(found, as_json, partial(_show, route=route, dry_run=dry_run))


def _read_pairs(pairs: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        path, equals, column = (part.strip() for part in pair.partition("="))
        if not (path and equals and column):
            raise click.BadParameter("write it as PATH=COLUMN", param_hint="--map")
        if path in found:
            raise click.BadParameter(f"{path} has two columns; give it one", param_hint="--map")
        found[path] = column
    return found


def _guess(text: str, name: str, *, is_silent: bool) -> dict[str, str]:
    """Return the columns whose names fit the route's paths, and say which these are."""
    routes = read_settings(needs=frozenset({"API_TOKEN", "ROUTES"})).routes
    route = routes.named(name)
    if route is None or route.to != "call":
        near = did_you_mean(name, (one.name for one in routes.routes if one.to == "call"))
        raise click.UsageError(
            f"No route of routes.toml here calls under this name. {near}Give --map if the bridge "
            "has other routes."
        )
    try:
        columns = read_table(text).columns
    except BadQuery as error:
        raise click.BadParameter(str(error), param_hint="FILE") from None
    found = guess_mapping(route, routes.sources[route.source], columns)
    if not is_silent:
        for path, column in found.items():
            click.echo(f"Guessed by its name: {path} = {column}")
    return found


def _name_of(file: BinaryIO) -> str:
    name = str(getattr(file, "name", "-"))
    if name in ("-", "<stdin>"):
        raise click.UsageError("Give --name: stdin has no name.")
    return PurePath(name).stem


def _show(found: Mapping[str, Any], *, route: str, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    unreadable = found["unreadable"]
    click.echo(
        f"{found['rows']} rows; {would}held: {found['accepted']}, duplicates: "
        f"{found['duplicates']}, suppressed: {found['suppressed']}, unreadable: {len(unreadable)}."
    )
    for one in unreadable[:NAMED]:
        click.echo(f"Line {one['line']}: {one['message']}")
    if len(unreadable) > NAMED:
        click.echo(f"And {len(unreadable) - NAMED} more lines.")
    if found["accepted"] and not dry_run:
        click.echo(
            f"To call five of them: python -m bridge release --route {quote(route)} --limit 5"
        )
