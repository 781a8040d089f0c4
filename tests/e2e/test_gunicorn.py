"""gunicorn.conf.py, with the environment that Heroku's buildpack makes."""

import contextlib
import json
import os
import runpy
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import (
    ALL_ROUTES,
    API_TOKEN,
    LONGEST_S,
    ROOT,
    Bridge,
    Valkey,
    as_bytes,
    notification,
    signed,
    until,
    variables_of,
)

# https://github.com/heroku/heroku-buildpack-python/blob/main/vendor/python.gunicorn.sh
HEROKU = {"FORWARDED_ALLOW_IPS": "*", "GUNICORN_CMD_ARGS": "--access-logfile -"}


@contextlib.contextmanager
def started(folder: Path, redis_url: str, **environment: str) -> Iterator[Bridge]:
    (folder / "routes.toml").write_text(ALL_ROUTES, "utf-8")
    usual = {
        **variables_of("http://127.0.0.1:9"),
        "REDIS_URL": redis_url,
        "ROUTES_FILE": str(folder / "routes.toml"),
    }
    bridge = Bridge(folder, {**usual, **HEROKU, **environment}, web_processes=1)
    try:
        yield bridge.start_web()
    finally:
        bridge.stop()


@pytest.fixture(scope="module")
def served(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with started(tmp_path_factory.mktemp("gunicorn"), valkey.url) as bridge:
        yield bridge


@pytest.fixture
def bridge(served: Bridge, redis_url: str) -> Bridge:
    """A web process behind no proxy, which the tests of this file share."""
    return served


def test_without_proxy_hops_a_routers_headers_do_not_count(bridge: Bridge) -> None:
    assert status_behind_a_router(bridge) == 401


def test_with_a_proxy_hop_a_routers_headers_count(redis_url: str, tmp_path: Path) -> None:
    with started(tmp_path, redis_url, PROXY_HOPS="1") as bridge:
        assert status_behind_a_router(bridge) == 202


def status_behind_a_router(bridge: Bridge) -> int:
    """Send a webhook as a router hands it on, and return the status of the answer."""
    raw = as_bytes([notification()])
    headers = {
        **signed("hubspot", raw, "https://bridge.example/webhooks/hubspot"),
        "Host": "bridge.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-For": "203.0.113.9",
        # No router sends this one: it is a client that would like to move our URLs.
        "SCRIPT_NAME": "/webhooks",
    }

    answer = bridge.session.post(
        f"{bridge.url}/webhooks/hubspot", data=raw, headers=headers, timeout=LONGEST_S
    )
    return answer.status_code


def test_broken_chunks_are_400_and_slashes_more_reach_the_source(bridge: Bridge) -> None:
    def status_of(request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", bridge.port), timeout=LONGEST_S) as line:
            line.sendall(request)
            line.shutdown(socket.SHUT_WR)
            return line.makefile("rb").readline()

    head = b"POST %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n"
    for path in ("/webhooks/website", "/callbacks/callkaro", "/api/deliveries/retry"):
        begin = head % (path.encode(), API_TOKEN.encode()) + b"Content-Type: application/json\r\n"
        for chunks in (
            b"zz\r\n{}\r\n0\r\n\r\n",
            b"2\r\n{}xx",
            b"2;\x00\r\n{}\r\n",
            b"-1\r\n",
            b"5\r\n{}",
        ):
            status = status_of(begin + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
            assert status.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), (path, chunks, status)
    raw = as_bytes([notification()])
    for path in ("//webhooks/hubspot", "/webhooks//hubspot/", "/webhooks/hubspot/"):
        headers = signed("hubspot", raw, f"{bridge.url}{path}")
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        host = bridge.url.removeprefix("http://")
        request = (
            f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{lines}Content-Length: {len(raw)}\r\n\r\n"
        )
        assert b" 202 " in status_of(request.encode() + raw), path


def test_a_request_that_is_logged_has_its_rule_and_no_url(bridge: Bridge) -> None:
    headers = {"X-Request-Id": "0f6b0f0a-aaaa-4000-8000-000000000000"}
    for path in ("callbacks/callkaro/sekrit-1", "nowhere/sekrit-2", "webhooks/none?token=sekrit-3"):
        bridge.session.post(f"{bridge.url}/{path}", headers=headers, json={}, timeout=LONGEST_S)
    bridge.session.get(
        f"{bridge.url}/api/events",
        headers={**headers, "Authorization": f"Bearer {API_TOKEN}"},
        timeout=LONGEST_S,
    )

    def logged() -> list[dict[str, Any]]:
        """Return the line of each of these requests, once all are there."""
        whole, _, _ = bridge.log("web").rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines() if "request.answered" in line]
        found = [line for line in lines if line["request_id"] == headers["X-Request-Id"]]
        return found if len(found) >= 4 else []

    lines = until(logged, what="the lines of four requests")
    log = bridge.log("web")
    found = [(line["method"], line["rule"], line["status_code"]) for line in lines]
    # Each thread writes its lines when it comes to it.
    assert sorted(found, key=str) == [
        ("GET", "/api/events", 200),
        ("POST", "/callbacks/callkaro/<path:token>", 404),
        ("POST", "/webhooks/<source>", 404),
        ("POST", None, 404),
    ]
    assert all(line["process"] == "web" and line["bytes"] > 0 for line in lines)
    assert all(isinstance(line["duration_ms"], int) for line in lines)
    assert "sekrit" not in log


def test_there_are_as_many_processes_as_said_or_else_from_two_to_four(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def workers() -> int:
        found: int = runpy.run_path(str(ROOT / "gunicorn.conf.py"))["workers"]
        return found

    monkeypatch.setenv("WEB_CONCURRENCY", "7")
    assert workers() == 7
    monkeypatch.delenv("WEB_CONCURRENCY")
    found = []
    for cores in (1, 3, 64):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cores: set(range(n)))
        found.append(workers())
    assert found == [2, 3, 4]


def test_a_router_that_waits_30_s_is_never_kept_waiting_longer() -> None:
    settings = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
    assert settings["graceful_timeout"] < 30
    assert settings["keepalive"] > 90  # Heroku's router keeps an idle connection for so long
