"""`check`: everything that is wrong, at once, and no secret."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commandline import Cli

from demo.processes import valkey_binary

GOOD = {"API_TOKEN": "tok-123", "CALLKARO_API_KEY": "key-123", "HUBSPOT_WEBHOOK_SECRET": "hub-123"}


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


def test_all_that_is_missing_is_named_at_once(cli: Cli) -> None:
    result = cli("check", env={"CALLING_HOURS": "nonsense"})
    assert result.exit_code == 1
    for name in ("REDIS_URL", "API_TOKEN", "CALLKARO_API_KEY", "CALLING_HOURS"):
        assert f"- {name}: " in result.stderr


def test_a_redis_that_is_away_is_named_beside_the_rest(cli: Cli, free_port: int) -> None:
    url = f"redis://user:pass-123@127.0.0.1:{free_port}/0"
    result = cli("check", env={"REDIS_URL": url, "PORT": "nonsense"})
    assert result.exit_code == 1
    assert "- PORT: " in result.stderr
    assert "- REDIS_URL: Redis does not answer" in result.stderr
    assert f"Its address is 127.0.0.1:{free_port}." in result.stderr
    assert "pass-123" not in result.output


def test_a_redis_url_that_is_none_is_one_sentence(cli: Cli) -> None:
    result = cli("check", env={**GOOD, "REDIS_URL": "redis://user:pass-123@host:port/0"})
    assert result.exit_code == 1
    assert "REDIS_URL" in result.stderr
    assert "pass-123" not in result.output


def test_what_is_in_order_is_summed_up_without_secrets(cli: Cli, redis_url: str) -> None:
    result = cli("check", env={**GOOD, "REDIS_URL": redis_url, "PUBLIC_URL": "https://b.example"})
    assert result.exit_code == 0, result.output
    assert "Settings, routes and Redis are in order." in result.stdout
    assert "https://b.example/webhooks/hubspot" in result.stdout
    assert "ZOHO_WEBHOOK_SECRET is not set" in result.stdout
    assert "append-only" in result.stdout  # this Redis keeps none
    assert "-123" not in result.output


def test_too_few_replicas_are_a_problem(cli: Cli, redis_url: str) -> None:
    result = cli("check", env={**GOOD, "REDIS_URL": redis_url, "REDIS_ACKS": "1"})
    assert result.exit_code == 1
    assert "- REDIS_URL: 0 of 1 replicas of Redis confirmed within 1 s." in result.stderr


def test_an_engine_with_a_log_of_its_own_is_not_asked_for_a_file(cli: Cli, redis_url: str) -> None:
    result = cli("check", env={**GOOD, "REDIS_URL": redis_url, "REDIS_DURABLE": "engine"})
    assert result.exit_code == 0, result.output
    assert "append-only" not in result.stdout
    assert "maxmemory-policy" not in result.stdout
