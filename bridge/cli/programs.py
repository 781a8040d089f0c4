"""`simulate` and `demo`: programs of their own, which replace this process."""

import os
import sys
from typing import NoReturn

import click


@click.command(short_help="Serve stand-ins for CallKaro and the CRMs.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8001,
    show_default=True,
    metavar="PORT",
    help="Listen on this port; 0: on any free port.",
)
def simulate(port: int) -> None:
    """Serve stand-ins for CallKaro and the CRMs. No phone rings.

    To make a bridge use them, set CALLKARO_BASE_URL and the address of each CRM's API to their
    address, such as HUBSPOT_API_URL and ZOHO_ACCOUNTS_URL.
    """
    become("simulator", "--port", str(port))


@click.command(
    short_help="Start everything and send samples.",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def demo(arguments: tuple[str, ...]) -> None:
    """Start everything, send a signed sample of each source, and show the result of each."""
    become("demo", *arguments)


def become(program: str, *arguments: str) -> NoReturn:
    """Replace this process by a program of this project, which then gets the signals itself."""
    sys.stdout.flush()
    command = [sys.executable, "-m", program, *arguments]
    os.execv(sys.executable, command)  # noqa: S606  # nosec B606  # our own program
