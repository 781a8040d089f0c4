"""The benchmark runs: servers and workers start, and what was sent is counted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.checkout import OURS
from bench.delivery import deliveries
from bench.intake import Sizes, servers
from bench.processes import ROOT, Valkey


@pytest.mark.slow
def test_one_small_round_of_each_kind(tmp_path: Path) -> None:
    with Valkey(tmp_path) as valkey:
        valkey.wait_for_port(valkey.port)
        with servers(tmp_path, valkey, [OURS]) as intake:
            taken = intake.round(Sizes(events=2, bridge=10, floor=10))
            assert {name: one.events for name, one in taken.items()} == {
                "bare Flask": 20,
                "floor": 20,
                "bridge": 20,
            }
            assert not any(one.load.errors for one in taken.values())
        with deliveries(tmp_path, valkey, [OURS]) as worker:
            delivered = worker.round(400, delay_s=0.05)
            assert {name: one.deliveries for name, one in delivered.items()} == {
                "loop": 400,
                "bridge": 400,
            }
            assert delivered["bridge"].bytes > 500


@pytest.mark.slow
def test_a_run_beside_another_checkout_prints_writes_and_is_quoted(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    command = ["bench", "--plan", "tiny", "--alone", "--against", str(ROOT)]
    command += ["--only", "intake", "calls", "rest", "lists"]  # the others take a minute each
    command += ["--json", str(file), "--plots", str(tmp_path)]
    assert "webhooks of 100 events" in printed_by(*command)
    run = json.loads(file.read_text("utf-8"))
    names = [row["name"] for row in run["rows"]]
    assert "Redis commands an hour, idle" in names
    assert "slowest list of 400, ms" in names
    assert all(row["before"] for row in run["rows"] if row["of"] == "floor")
    assert {file.name for file in tmp_path.glob("*.svg")} == {
        f"bench-{name}.svg" for name in ("intake", "calls", "cpu")
    }
    quoted = printed_by("bench.quote", str(file), str(file))
    assert all(f"| {name} |" in quoted for name in names)
    assert "of loop: +0%" in quoted


@pytest.mark.slow
def test_a_short_soak_calls_each_event_once_and_draws_the_memory(tmp_path: Path) -> None:
    file = tmp_path / "soak.json"
    options = ["--minutes", "0.1", "--rate", "20", "--json", str(file), "--plots", str(tmp_path)]
    assert "0 of them twice" in printed_by("bench.soak", *options)
    soak = json.loads(file.read_text("utf-8"))
    assert 20 < soak["called"] == soak["sent"]
    assert all(look["mb"]["worker, supervisor"] > 1 for look in soak["looks"])
    assert "<polyline" in (tmp_path / "bench-soak.svg").read_text("utf-8")


def printed_by(*words: str) -> str:
    """Run a module of the benchmark, which must not fail. Returns what it printed."""
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S603
