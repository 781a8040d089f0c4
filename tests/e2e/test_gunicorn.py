"""gunicorn.conf.py, with the environment that Heroku's buildpack makes."""

import json
import os
import runpy
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import (
    ALL_ROUTES,
    API_TOKEN,
    LONGEST_S,
    ROOT,
    Bridge,
    as_bytes,
    notification,
    signed,
    variables_of,
)

StartWeb = Callable[..., Bridge]
# https://github.com/heroku/heroku-buildpack-python/blob/main/vendor/python.gunicorn.sh
HEROKU = {"FORWARDED_ALLOW_IPS": "*", "GUNICORN_CMD_ARGS": "--access-logfile -"}


@pytest.fixture
def start_web(redis_url: str, tmp_path: Path) -> Iterator[StartWeb]:
    started: list[Bridge] = []

    def start(**environment: str) -> Bridge:
        (tmp_path / "routes.toml").write_text(ALL_ROUTES, "utf-8")
        usual = {
            **variables_of("http://127.0.0.1:9"),
            "REDIS_URL": redis_url,
            "ROUTES_FILE": str(tmp_path / "routes.toml"),
        }
        started.append(Bridge(tmp_path, {**usual, **HEROKU, **environment}, web_processes=1))
        return started[-1].start_web()

    yield start
    for bridge in started:
        bridge.stop()


@pytest.mark.parametrize(("hops", "status"), [("0", 401), ("1", 202)])
def test_proxy_hops_alone_says_whether_a_routers_headers_count(
    start_web: StartWeb, hops: str, status: int
) -> None:
    bridge = start_web(PROXY_HOPS=hops)
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

    assert answer.status_code == status, answer.text


def test_broken_chunks_are_400_and_slashes_more_reach_the_source(start_web: StartWeb) -> None:
    bridge = start_web()

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


def test_a_request_that_is_logged_has_its_rule_and_no_url(start_web: StartWeb) -> None:
    bridge = start_web()
    request_id = "0f6b0f0a-aaaa-4000-8000-000000000000"
    for path in ("callbacks/callkaro/sekrit-1", "nowhere/sekrit-2", "webhooks/none?token=sekrit-3"):
        bridge.session.post(
            f"{bridge.url}/{path}", headers={"X-Request-Id": request_id}, json={}, timeout=LONGEST_S
        )
    bridge.session.get(
        f"{bridge.url}/api/events",
        headers={"Authorization": f"Bearer {API_TOKEN}"},
        timeout=LONGEST_S,
    )
    bridge.stop()

    log = bridge.log("web")
    lines = [json.loads(line) for line in log.splitlines() if "request.answered" in line]
    found = [
        (line["method"], line["rule"], line["status_code"])
        for line in lines
        if line["rule"] != "/readyz"
    ]
    # Each thread writes its lines when it comes to it.
    assert sorted(found, key=str) == [
        ("GET", "/api/events", 200),
        ("POST", "/callbacks/callkaro/<path:token>", 404),
        ("POST", "/webhooks/<source>", 404),
        ("POST", None, 404),
    ]
    assert [line["request_id"] for line in lines].count(request_id) == 3
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
