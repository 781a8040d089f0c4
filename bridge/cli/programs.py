"""`simulate` and `demo`: programs of their own, started in the place of this process."""

import os
import sys
from typing import NoReturn

import click


@click.command(short_help="Serve the stand-in APIs.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8001,
    show_default=True,
    help="The port to listen on. 0: any free port.",
)
def simulate(port: int) -> None:
    """Serve stand-ins for CallKaro, HubSpot and Zoho. No phone rings.

    A bridge uses them when CALLKARO_BASE_URL, HUBSPOT_API_URL and ZOHO_ACCOUNTS_URL are set to
    their address.
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
    """Run a program of this project in the place of this process: a signal then reaches it."""
    sys.stdout.flush()
    command = [sys.executable, "-m", program, *arguments]
    os.execv(sys.executable, command)  # noqa: S606  # nosec B606  # our own program
