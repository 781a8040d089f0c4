"""What a request looks like on the wire, and what one request leaves for the next: nothing."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from workers.http import ORIGINS, PREPARED, HttpClient

LONGEST_S = 10.0
ANSWER = (
    b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nok"
)
REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Server:
    """Answers each request, and keeps what came: a connection's receptions, one by one."""

    listener: socket.socket
    answer: bytes = ANSWER
    received: list[list[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        host, port = self.listener.getsockname()
        return f"http://{host}:{port}"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        own: list[bytes] = []
        self.received.append(own)
        with connection:
            while data := connection.recv(1 << 20):
                own.append(data)
                connection.sendall(self.answer)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener)
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(LONGEST_S)


@pytest.fixture
def client() -> HttpClient:
    return HttpClient(timeout_s=LONGEST_S)


def head_and_body(request: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    _, *lines = head.decode().split("\r\n")
    return {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}, body


def test_a_head_and_its_body_leave_in_one_packet(server: Server, client: HttpClient) -> None:
    result = client.request("POST", server.url + "/a", headers={"X-API-KEY": "k"}, json={"n": 1})

    assert (result.sent, result.status_code, result.body) == (True, 200, b"ok")
    assert result.retry_after_s == 7
    [[request]] = server.received
    assert request.startswith(b"POST /a HTTP/1.1\r\n")
    headers, body = head_and_body(request)
    assert body == b'{"n": 1}'
    assert headers["content-length"] == "8"
    assert headers["content-type"] == "application/json"
    assert (headers["x-api-key"], headers["user-agent"]) == ("k", "callkaro-bridge")


def test_the_next_request_has_its_own_body_and_nothing_of_the_last_one(
    server: Server, client: HttpClient
) -> None:
    headers = {"Authorization": "Bearer a"}
    client.request("POST", server.url + "/a", headers=headers, json={"first": "one"})
    client.request("POST", server.url + "/a", headers=headers, json={"n": 2})
    client.request("POST", server.url + "/a", headers=headers, data=b"signed")
    client.request("POST", server.url + "/a", headers=headers, data={"grant_type": "refresh"})
    client.request("POST", server.url + "/a", headers={}, json={"n": 3})
    client.request("GET", server.url + "/a", headers=headers, params={"q": "x y"})

    [received] = server.received  # over one connection
    seen = [head_and_body(one) for one in received]
    assert [body for _, body in seen] == [
        b'{"first": "one"}',
        b'{"n": 2}',
        b"signed",
        b"grant_type=refresh",
        b'{"n": 3}',
        b"",
    ]
    assert [headers.get("content-length") for headers, _ in seen] == [
        *("16", "8", "6", "18", "8"),
        None,
    ]
    assert [headers.get("content-type") for headers, _ in seen] == [
        *("application/json", "application/json", None),
        *("application/x-www-form-urlencoded", "application/json", None),
    ]
    assert [headers.get("authorization") for headers, _ in seen][4:] == [None, "Bearer a"]
    assert not any("cookie" in headers for headers, _ in seen)
    assert received[-1].startswith(b"GET /a?q=x+y HTTP/1.1\r\n")


def test_a_redirect_is_an_answer(server: Server, client: HttpClient) -> None:
    server.answer = REDIRECT

    result = client.request("POST", server.url, headers={}, json={})

    assert (result.sent, result.status_code) == (True, 302)
    assert sum(map(len, server.received)) == 1


def test_a_proxy_of_the_environment_gets_the_whole_url(
    server: Server, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    for _ in range(2):
        client.request("POST", "http://callkaro.example/call", headers={}, json={"n": 1})

    [received] = server.received
    assert [one.split(b"\r\n")[0] for one in received] == [
        b"POST http://callkaro.example/call HTTP/1.1"
    ] * 2


def test_a_body_that_is_no_json_was_surely_not_sent(server: Server, client: HttpClient) -> None:
    result = client.request("POST", server.url, headers={}, json={"n": float("nan")})

    assert (result.sent, result.status_code, result.error) == (False, None, "ValueError")
    assert server.received == []


def test_what_a_thread_keeps_is_bounded(server: Server, client: HttpClient) -> None:
    for n in range(3 * PREPARED):
        client.request("POST", f"{server.url}/{n}", headers={}, json={"n": n})

    adapter = client._adapter()
    assert 0 < len(adapter._prepared) <= PREPARED
    assert 0 < len(adapter._pools) <= ORIGINS
    assert len(server.received) == 1


@pytest.mark.parametrize("status", [b"102 Processing", b"103 Early Hints"])
def test_a_request_never_gets_the_answer_to_the_one_before_it(
    server: Server, client: HttpClient, status: bytes
) -> None:
    server.answer = b"HTTP/1.1 %s\r\n\r\n" % status
    assert client.request("POST", server.url, headers={}, json={}).status_code == int(status[:3])

    server.answer = ANSWER
    client.request("POST", server.url, headers={}, json={})

    assert len(server.received) == 2, "each has a connection of its own"
