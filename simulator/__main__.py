"""`python -m simulator`: serve the stand-in APIs until stopped."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence

from simulator.server import PortTaken, Simulator
from simulator.state import State

API_KEY = "SIMULATOR_API_KEY"  # not an option: everyone can read a command line


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; return the exit status."""
    options = _parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    state = State(
        api_key=os.environ.get(API_KEY) or None,
        has_legacy_hubspot=not options.no_legacy_hubspot,
        latency_ms=options.latency_ms,
        callback_hosts=options.callback_host,
    )
    try:
        simulator = Simulator(host=options.host, port=options.port, state=state)
    except PortTaken as error:
        sys.stderr.write(f"The simulator can't start: {error.strerror}. Try another --port.\n")
        return 1
    with simulator:
        sys.stdout.write(f"Stand-ins for CallKaro and the CRMs are at {simulator.url}\n")
        sys.stdout.write(f"{simulator.url}/simulator shows what they receive.\n")
        sys.stdout.flush()
        stop.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator",
        description="A stand-in for CallKaro's API and the CRMs' APIs. It makes no call. "
        f"It accepts only the key in the variable {API_KEY}; without it, any key.",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="The address to listen on. Default: %(default)s"
    )
    parser.add_argument(
        "--port", type=int, default=8001, help="The port. 0: any free one. Default: %(default)s"
    )
    parser.add_argument(
        "--latency-ms", type=float, default=0.0, help="Wait this long before every answer."
    )
    parser.add_argument(
        "--no-legacy-hubspot",
        action="store_true",
        help="Answer 404 to HubSpot's paths without a date (/crm/v3/). An assumption: HubSpot only "
        "calls them unsupported from September 2027.",
    )
    parser.add_argument(
        "--callback-host",
        action="append",
        default=[],
        metavar="NAME",
        help="A host, besides this machine, to which outcomes may be sent.",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
