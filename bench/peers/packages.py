"""Where n8n and Node-RED are: .bench/peers, from npm."""

from pathlib import Path

from bench.processes import BenchError
from bench.queues.catalogue import PACKAGES

HOME = PACKAGES / "peers"


def program(name: str) -> str:
    """Return the path of a program. Raises BenchError if it is not installed."""
    found: Path = HOME / "node_modules" / ".bin" / name
    if not found.exists():
        raise BenchError(f"{name} is not in {HOME}. `make bench-peers` installs it, with npm.")
    return str(found)
