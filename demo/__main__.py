"""`python -m demo`: start everything, send samples, and show the result of each."""

import os
import re
import sys
from pathlib import Path

import click

from bridge.cli import Failure
from config.dotenv import read_dotenv
from demo.run import run
from schemas.errors import SettingsError


@click.command()
@click.option("--serve", is_flag=True, help="Serve until Ctrl-C, after the samples.")
@click.option(
    "--day",
    "with_day",
    is_flag=True,
    envvar="DEMO_DAY",
    help="After the samples, send a day of invented leads, and have their calls end. DEMO_DAY=1 "
    "does the same.",
)
@click.option("--port", type=click.IntRange(1, 65_535), help="Default: PORT, else 8000.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".data"),
    help="The folder for the embedded Valkey and the logs. Default: .data",
)
def demo(serve: bool, with_day: bool, port: int | None, data: Path) -> None:
    """Start everything, send a signed sample of each source, and show the result of each.

    Stand-ins take the place of CallKaro and of the CRMs, and each run begins with an empty store.
    With --serve and a CALLKARO_API_KEY, calls go to the real CallKaro. Then no sample is sent,
    because a phone may ring.
    """
    try:
        read_dotenv()
    except SettingsError as error:
        raise Failure(str(error)) from None
    sys.exit(run(serve=serve, with_day=with_day, port=port or _port_from_env(), data=data))


def _port_from_env() -> int:
    """Return PORT or its default. Raises Failure."""
    raw = os.environ.get("PORT", "").strip() or "8000"
    if not re.fullmatch(r"[0-9]{1,5}", raw) or not 1 <= int(raw) <= 65_535:
        raise Failure("PORT must be a number from 1 to 65535.")
    return int(raw)


if __name__ == "__main__":
    demo(prog_name="python -m demo")
