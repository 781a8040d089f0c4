"""The command line in this process, and a bridge that serves."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest
from click.testing import Result
from commandline import PLAIN, ROOT, Cli, Fails, Run, Serve
from support import API_TOKEN
from werkzeug.serving import make_server

from bridge import make_app
from bridge.app import create_app
from demo.processes import environment
from schemas.settings import Settings


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run a command in this process, with only the variables that are given; typed is its stdin."""
    monkeypatch.chdir(ROOT)

    def run(
        *arguments: object, env: Mapping[str, str] | None = None, typed: str | None = None
    ) -> Result:
        with environment({**PLAIN, **(env or {})}):
            args = [str(one) for one in arguments]
            return make_app().test_cli_runner().invoke(args=args, input=typed)

    return run


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve the web process of these settings, and return its address."""
    with ExitStack() as stack:

        def serve(settings: Settings) -> str:
            server = make_server("127.0.0.1", 0, create_app(settings), threaded=True)
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(server.server_close)
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}"

        yield serve


@pytest.fixture
def url(serve: Serve, settings: Settings) -> str:
    return serve(settings)


@pytest.fixture
def run(cli: Cli, url: str) -> Run:
    """Run a command against the bridge that serves; it must end well."""

    def run(*arguments: object) -> Result:
        result = cli(*arguments, "--url", url, env={"API_TOKEN": API_TOKEN})
        assert result.exit_code == 0, result.output
        return result

    return run


@pytest.fixture
def fails(cli: Cli, url: str) -> Fails:
    """Run a command that must fail; return its exit code and what it says."""

    def run(*arguments: object) -> tuple[int, str]:
        result = cli(*arguments, "--url", url, env={"API_TOKEN": API_TOKEN})
        assert result.exit_code != 0, result.output
        assert "Traceback" not in result.output
        return result.exit_code, result.stderr

    return run
