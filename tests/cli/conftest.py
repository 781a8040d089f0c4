"""The command line in this process, a Valkey, a simulator."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import Result
from commandline import PLAIN, ROOT, Cli

from bridge import make_app
from bridge.children import environment, valkey_binary
from simulator import Simulator


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run a command in this process, with only the variables that are given."""
    monkeypatch.chdir(ROOT)

    def run(*arguments: object, env: Mapping[str, str] | None = None) -> Result:
        with environment({**PLAIN, **(env or {})}):
            return make_app().test_cli_runner().invoke(args=[str(one) for one in arguments])

    return run


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A Valkey that keeps no append-only file, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path / "valkey"
    folder.mkdir()
    command = [valkey_binary(), "--port", str(port), "--dir", str(folder), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            assert any("Ready to accept connections" in line for line in process.stdout)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator
