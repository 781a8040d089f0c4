"""Clients that never send a whole request, or never read an answer, against the real gunicorn."""

import contextlib
import json
import re
import socket
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from support import ALL_ROUTES, LONGEST_S, Bridge, Valkey, children, variables_of

from bridge import dashboard
from bridge.web_worker import Connection, Worker

BODY = json.dumps({"phone": "9876543210", "id": "1", "note": "x" * 5000}).encode()
HEAD = b"POST /webhooks/website HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
HALVES = {
    "no byte": b"",
    "one byte": b"P",
    "half a request line": b"POST /webh",
    "half a head": HEAD,
    "no body": HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY),
    "half a body": HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY[:2000],
    "half a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n400\r\n" + BODY[:200],
    "no last chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\n123\r\n",
    "who waits for a continue": HEAD + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
}
CONNECTIONS = 40  # of two processes with 8 threads each


class Holding:
    """Connections that hold on."""

    def __init__(self, bridge: Bridge) -> None:
        self.port = bridge.port
        self.open: list[socket.socket] = []

    def hold(self, raw: bytes, times: int = CONNECTIONS) -> None:
        for _ in range(times):
            client = socket.create_connection(("127.0.0.1", self.port), timeout=LONGEST_S)
            self.open.append(client)
            with contextlib.suppress(ConnectionError):  # it may be refused while it still sends
                client.sendall(raw)

    def drip(self, raw: bytes) -> None:
        for client in self.open:
            with contextlib.suppress(ConnectionError):
                client.send(raw)

    def close(self) -> None:
        for client in self.open:
            client.close()


def web_of(folder: Path, redis_url: str, *, web_processes: int = 1, **environment: str) -> Bridge:
    (folder / "routes.toml").write_text(ALL_ROUTES, "utf-8")
    usual = {
        **variables_of("http://127.0.0.1:9"),
        "REDIS_URL": redis_url,
        "ROUTES_FILE": str(folder / "routes.toml"),
    }
    return Bridge(folder, {**usual, **environment}, web_processes=web_processes)


@pytest.fixture(scope="module")
def served(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    bridge = web_of(tmp_path_factory.mktemp("slow"), valkey.url, web_processes=2)
    yield bridge.start_web()
    bridge.stop()


@pytest.fixture
def bridge(served: Bridge, redis_url: str) -> Bridge:
    return served


@pytest.fixture
def holding(bridge: Bridge) -> Iterator[Holding]:
    holding = Holding(bridge)
    yield holding
    holding.close()


def answers(bridge: Bridge, path: str = "/healthz", method: str = "GET") -> int:
    with requests.Session() as session:  # a connection of its own
        session.trust_env = False
        return session.request(method, bridge.url + path, timeout=LONGEST_S).status_code


@pytest.mark.parametrize("what", HALVES)
def test_the_web_process_answers_while_clients_hold_on(
    bridge: Bridge, holding: Holding, what: str
) -> None:
    holding.hold(HALVES[what])
    for path in ("/healthz", "/readyz"):
        assert answers(bridge, path) == 200
    assert bridge.post("website", {"phone": "9876543210"}).status_code == 202


@pytest.mark.bounds
@pytest.mark.parametrize("what", HALVES)
def test_the_web_process_answers_soon_while_clients_hold_on(
    bridge: Bridge, holding: Holding, what: str
) -> None:
    holding.hold(HALVES[what])
    for _ in range(3):
        began = time.monotonic()
        assert answers(bridge) == 200
        assert time.monotonic() - began < 1
        began = time.monotonic()
        assert bridge.post("website", {"phone": "9876543210"}).status_code == 202
        assert time.monotonic() - began < 2
        holding.drip(b"x")
        time.sleep(1)


def read_all(client: socket.socket) -> bytes:
    client.settimeout(LONGEST_S)
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(65536):
            found += data
    return found


def test_slow_requests_are_cut_off(redis_url: str, tmp_path: Path) -> None:
    bridge = web_of(tmp_path, redis_url, GUNICORN_CMD_ARGS="--timeout 2").start_web()
    holding = Holding(bridge)
    try:
        for raw in HALVES.values():
            holding.hold(raw, 2)
        with ThreadPoolExecutor(1) as pool:  # a byte now and then keeps none of them alive
            dripping = pool.submit(
                lambda: [(holding.drip(b"x"), time.sleep(0.2)) for _ in range(5)]
            )
            found = [read_all(client) for client in holding.open]
            dripping.result()
    finally:
        holding.close()
        bridge.stop()
    for raw, answer in zip((raw for raw in HALVES.values() for _ in "12"), found, strict=True):
        if b"100-continue" in raw:
            assert b"HTTP/1.1 100 Continue" in answer
        elif raw:
            assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_slow_client_that_sends_all_in_time_is_answered(bridge: Bridge, holding: Holding) -> None:
    raw = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    holding.hold(raw[:1], 1)
    [client] = holding.open
    for byte in raw[1:]:
        client.send(bytes([byte]))
    assert client.recv(12) == b"HTTP/1.1 200"


def test_requests_on_one_connection_are_answered_one_after_the_other(
    bridge: Bridge, holding: Holding
) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    holding.hold(one + one + one[:-1] + b"", 1)
    [client] = holding.open
    client.sendall(one[-1:] + one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert read_all(client).count(b"HTTP/1.1 200") == 4


def test_clients_that_ask_on_and_do_not_read_stop_nobody(bridge: Bridge) -> None:
    """Else each keeps a thread until it loses the connection, and may come again."""
    script = next(Path(dashboard.__file__).parent.joinpath("static").glob("htmx*.js")).name
    one = f"GET /dashboard/static/{script} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(socket.socket()) for _ in range(CONNECTIONS)]
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", bridge.port))
            client.sendall(one * 200)
        assert bridge.post("website", {"phone": "9876543210"}).status_code == 202
        for client in clients:
            found = read_all(client)
            assert found.startswith(b"HTTP/1.1 200 ")
            assert found.count(b"HTTP/1.1 200 ") < 200
            assert b"HTTP/1.1 503 " in found


@pytest.mark.parametrize("n", [4 * 1024**2 + 1, 30 * 1024**2])
def test_a_body_that_is_too_large_gets_its_answer(bridge: Bridge, holding: Holding, n: int) -> None:
    answer = bridge.session.post(
        f"{bridge.url}/webhooks/website", data=b"x" * 4 * 1024**2, timeout=LONGEST_S
    )
    assert answer.status_code == 401  # whole: it is judged
    head = HEAD.replace(b"/webhooks/website", b"/sign-in")
    holding.hold(head + b"Content-Length: %d\r\n\r\n" % n + b"x" * 100_000, 1)
    assert read_all(holding.open[0]).startswith(b"HTTP/1.1 413 ")


def test_clients_that_do_not_close_their_side_stop_nobody(bridge: Bridge, holding: Holding) -> None:
    """gunicorn's own worker waits in its main loop for each of them, up to 2 s."""
    holding.hold(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answers(bridge) == 200
    for client in holding.open:
        assert client.recv(12) == b"HTTP/1.1 200"


@pytest.mark.slow
def test_more_clients_than_connections_stop_nobody(redis_url: str, tmp_path: Path) -> None:
    bridge = web_of(tmp_path, redis_url, GUNICORN_CMD_ARGS="--worker-connections 20").start_web()
    holding = Holding(bridge)
    try:
        holding.hold(b"P", 100)
        assert answers(bridge) == 200
        assert bridge.post("website", {"phone": "9876543210"}).status_code == 202
    finally:
        holding.close()
        bridge.stop()


def test_a_hanging_redis_leaves_threads_for_healthz(tmp_path: Path) -> None:
    """Webhooks and /readyz wait for it in all their threads."""
    server = Valkey(tmp_path)
    server.start()
    bridge = web_of(tmp_path, server.url).start_web()
    try:
        with server.hanging(), ThreadPoolExecutor(60) as pool:
            for path in ("/readyz", "/webhooks/website", "/callbacks/callkaro/x"):
                for _ in range(20):
                    pool.submit(answers, bridge, path, "GET" if path == "/readyz" else "POST")
            assert answers(bridge) == 200
    finally:
        bridge.stop()
        server.stop()


def resident_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) / 1024


@pytest.mark.bounds
@pytest.mark.parametrize("is_whole", [False, True])
def test_large_bodies_without_a_secret_cost_bounded_memory(
    bridge: Bridge, holding: Holding, is_whole: bool
) -> None:
    body = b"[" + b"{}," * (1_398_000) + b"{}]"
    head = HEAD + b"X-Webhook-Token: no\r\nContent-Length: %d\r\n\r\n" % (
        len(body) if is_whole else len(body) + 1
    )
    for _ in range(6):
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda _: holding.hold(head + body, 1), range(16)))
        assert answers(bridge) == 200
        assert bridge.web is not None
        mb = sum(resident_mb(pid) for pid in children(bridge.web.pid))
        assert mb < 300


def test_bodies_that_are_cut_off_for_want_of_room_end_no_process(bridge: Bridge) -> None:
    # Several connections are readable in one turn, and the first one's bytes cut another one off.
    before = children(bridge.web.pid)
    piece = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2000

    def send(_: int) -> None:
        address = ("127.0.0.1", bridge.port)
        with contextlib.suppress(OSError), socket.create_connection(address, LONGEST_S) as client:
            client.sendall(HEAD + b"Content-Length: 4000000\r\n\r\n")
            for _ in range(3_900_000 // len(piece)):
                client.sendall(piece)

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(send, range(3 * CONNECTIONS)))
    assert answers(bridge) == 200
    assert children(bridge.web.pid) == before
    assert "Exception in worker process" not in bridge.log("web")


def test_what_the_poller_told_of_a_connection_before_it_was_closed_is_ignored() -> None:
    worker, closed = Worker.__new__(Worker), Connection.__new__(Connection)  # closed has no socket
    worker.pending_conns, worker.keepalived_conns, worker.lingering = {}, deque(), deque()

    worker._receive(closed)
    worker._drain(closed)
    worker.on_client_socket_readable(closed, None)

    assert not worker.pending_conns
