"""`erase`: a person whose data must be deleted."""

from collections.abc import Mapping
from typing import Any

import click

from bridge.cli.bulk_options import with_bridge
from bridge.cli.client import open_api
from bridge.cli.screen import show
from bridge.cli.suppress import read_number


@click.command(short_help="Erase a person, by their number.")
@click.argument("number")
@click.option("--yes", is_flag=True, help="Do not ask before erasing.")
@with_bridge
def erase(number: str, yes: bool, as_json: bool, url: str | None) -> None:
    """Erase the data of the person with this NUMBER. The number stays suppressed, as a keyed hash.

    Nothing is erased at CallKaro or in the CRM.
    """
    phone = read_number(number)
    api = open_api(url)
    if not yes:
        click.echo(
            "The number, name, answers, transcripts and links of this person are deleted. The "
            "events and deliveries themselves stay. Nobody calls that number again. This can't be "
            "undone.",
            err=as_json,
        )
        click.confirm("Erase this person?", abort=True, err=as_json)
    show(api.post("/api/erasures", {"phone": phone}), as_json, _show_erased)


def _show_erased(found: Mapping[str, Any]) -> None:
    click.echo(f"Erased in {found['deliveries']} deliveries and {found['events']} events.")
    if not found["done"]:
        click.echo("There are more records. A worker goes on with them.")
