"""The benchmark runs: servers and worker start, and what was sent is counted."""

from pathlib import Path

import pytest

from bench.delivery import deliveries
from bench.intake import Sizes, servers
from bench.processes import Valkey


@pytest.mark.slow
def test_one_small_round_of_each_kind(tmp_path: Path) -> None:
    with Valkey(tmp_path) as valkey:
        valkey.wait_for_port(valkey.port)
        with servers(tmp_path, valkey) as intake:
            floor, bridge = intake.round(Sizes(events=2, bridge=10, floor=10))
            assert (floor.events, bridge.events) == (20, 20)
            assert bridge.load.errors == floor.load.errors == 0
        valkey.fresh()
        with deliveries(tmp_path, valkey) as worker:
            looped, delivered = worker.round(400, delay_s=0.05)
            assert (looped.deliveries, delivered.deliveries) == (400, 400)
