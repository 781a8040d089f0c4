"""`simulate` and `demo`: everything at once, without anybody being rung."""

import os
import re
import sys
from pathlib import Path

import click

from bridge.cli.client import Failure


@click.command(short_help="Serve the stand-in APIs.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8001, show_default=True)
def simulate(port: int) -> None:
    """Serve stand-ins for CallKaro, HubSpot and Zoho. They ring no phone.

    A bridge uses them with CALLKARO_BASE_URL, HUBSPOT_API_URL and ZOHO_ACCOUNTS_URL set to their
    address.
    """
    sys.stdout.flush()
    # In place of this process, so that whoever stops it stops them.
    arguments = [sys.executable, "-m", "simulator", "--port", str(port)]
    os.execv(sys.executable, arguments)  # noqa: S606  # nosec B606  # our own program


@click.command(short_help="Start everything and send samples.")
@click.option("--serve", is_flag=True, help="Go on serving until Ctrl-C.")
@click.option("--port", type=click.IntRange(1, 65_535), help="Default: PORT, else 8000.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".data"),
    help="Where the embedded Valkey and the logs are kept. Default: .data",
)
def demo(serve: bool, port: int | None, data: Path) -> None:
    """Start everything, send a signed sample of each source, and show what became of them.

    CallKaro and the CRMs are played by stand-ins, and what is stored is made anew each time. With
    --serve and a CALLKARO_API_KEY it is the real CallKaro: nothing is sent by itself, for a phone
    may ring.
    """
    from demo.run import run

    sys.exit(run(serve=serve, port=port or _port_from_env(), data=data))


def _port_from_env() -> int:
    """Return PORT or its default. Raises Failure: PORT is no wrong use of the command."""
    raw = os.environ.get("PORT", "").strip() or "8000"
    if not re.fullmatch(r"[0-9]{1,5}", raw) or not 1 <= int(raw) <= 65_535:
        raise Failure("PORT must be a number from 1 to 65535.")
    return int(raw)
