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

API_KEY = "SIMULATOR_API_KEY"  # no option: what stands on a command line is everyone's to read


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; return the exit status."""
    options = _parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    state = State(
        api_key=os.environ.get(API_KEY) or None,
        latency_ms=options.latency_ms,
        callback_hosts=options.callback_host,
    )
    try:
        simulator = Simulator(host=options.host, port=options.port, state=state)
    except PortTaken as error:
        sys.stderr.write(f"The simulator can't start: {error.strerror}. Try another --port.\n")
        return 1
    with simulator:
        sys.stdout.write(f"CallKaro, HubSpot and Zoho are played at {simulator.url}\n")
        sys.stdout.write(f"What they receive is shown at {simulator.url}/simulator\n")
        sys.stdout.flush()
        stop.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator",
        description="A stand-in for CallKaro's API and the CRMs' APIs. Rings no phone. "
        f"{API_KEY} in the environment is the only key CallKaro takes; without it, any.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8001, help="0: any free one (%(default)s)")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="wait before every answer")
    parser.add_argument(
        "--callback-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a host besides this machine that outcomes may be sent to",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
