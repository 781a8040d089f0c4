"""Drains in processes of their own, which die where a test says."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.crash_at import CrashAt, StartDrain
from support import PYTHON_WARNINGS, ROOT, end, simulated_crms

from simulator import Simulator


@pytest.fixture
def start_drain(redis_url: str, simulator: Simulator, tmp_path: Path) -> Iterator[StartDrain]:
    """Start a drain in a process of its own that dies at a step."""
    started: list[subprocess.Popen[bytes]] = []

    def start(step: str, routes_toml: str) -> "subprocess.Popen[bytes]":
        (tmp_path / "routes.toml").write_text(routes_toml, "utf-8")
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": PYTHON_WARNINGS,
            "REDIS_URL": redis_url,
            "ROUTES_FILE": str(tmp_path / "routes.toml"),
            "API_TOKEN": "an-api-token-of-the-tests",
            "CALLING_HOURS": "always",
            "WORKER_THREADS": "2",
            "CALLKARO_API_KEY": "a-key",
            "CALLKARO_BASE_URL": simulator.url,
            **simulated_crms(simulator.url),
        }
        command = [sys.executable, str(Path(__file__).parent / "crash_at.py"), step]
        with (tmp_path / "drain.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                command, cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(5)


@pytest.fixture
def crash_at(start_drain: StartDrain, tmp_path: Path) -> CrashAt:
    """Let a drain die at a step; one that never comes to it is a failure."""

    def crash(step: str, routes_toml: str) -> None:
        code = end(start_drain(step, routes_toml))
        assert code == -signal.SIGKILL, (tmp_path / "drain.log").read_text("utf-8")

    return crash
