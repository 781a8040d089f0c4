"""A client's socket sends an answer in one step, and waits only for a slow client."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.http import client_socket
from bridge.http.client_socket import ClientSocket

HEAD, BODY = b"HTTP/1.1 202 Accepted\r\n\r\n", b"{}"


@pytest.fixture
def ends() -> Iterator[tuple[ClientSocket, socket.socket]]:
    """Return our end of a connection, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), timeout=10)
        ours = ClientSocket(listener.accept()[0])
        with client, ours:
            yield ours, client


def sent(ours: ClientSocket, client: socket.socket) -> bytes:
    ours.shutdown(socket.SHUT_WR)
    return b"".join(iter(lambda: client.recv(1 << 20), b""))


def test_head_and_body_are_sent_in_one_step(
    ends: tuple[ClientSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, client = ends
    steps: list[bytes] = []
    send = ClientSocket.send
    monkeypatch.setattr(
        ClientSocket, "send", lambda self, data, *rest: steps.append(data) or send(self, data)
    )

    ours.begin_answer()
    ours.sendall(HEAD)
    ours.sendall(BODY)
    ours.end_answer()

    assert steps == [HEAD + BODY]
    assert sent(ours, client) == HEAD + BODY


def test_each_later_piece_of_a_body_is_sent_at_once(
    ends: tuple[ClientSocket, socket.socket],
) -> None:
    ours, client = ends
    ours.begin_answer()
    ours.sendall(HEAD)
    ours.sendall(b"1")
    assert client.recv(1000) == HEAD + b"1"
    ours.sendall(b"2")
    assert client.recv(1000) == b"2"


def test_a_head_without_a_body_is_sent_at_the_end_of_the_answer(
    ends: tuple[ClientSocket, socket.socket],
) -> None:
    ours, client = ends
    ours.begin_answer()
    ours.sendall(HEAD)
    ours.end_answer()
    assert sent(ours, client) == HEAD


def test_another_answer_in_the_place_of_one_that_failed_is_sent_at_once(
    ends: tuple[ClientSocket, socket.socket],
) -> None:
    ours, client = ends
    ours.begin_answer()
    ours.end_answer()
    ours.sendall(HEAD)  # as gunicorn's own answer to an error
    assert client.recv(1000) == HEAD


def test_a_head_is_sent_before_our_side_is_closed(
    ends: tuple[ClientSocket, socket.socket],
) -> None:
    ours, client = ends
    ours.begin_answer()
    ours.sendall(HEAD)
    assert sent(ours, client) == HEAD  # as gunicorn ends an answer in which the app failed


def test_a_slow_client_gets_all_of_a_large_answer(
    ends: tuple[ClientSocket, socket.socket],
) -> None:
    ours, client = ends
    large = bytes(16 << 20)  # more than both systems keep
    received = bytearray()

    def read() -> None:
        while len(received) < len(large):
            received.extend(client.recv(1 << 20))

    reader = threading.Thread(target=read)
    reader.start()
    ours.sendall(large)
    reader.join(10)

    assert bytes(received) == large
    assert ours.gettimeout() == 0


def test_a_client_that_does_not_read_is_given_up(
    ends: tuple[ClientSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_socket, "SEND_S", 0.01)
    ours, _ = ends
    with pytest.raises(TimeoutError):
        ours.sendall(bytes(16 << 20))
    assert ours.gettimeout() == 0


def test_what_a_client_has_not_read_is_noticed_and_forgotten_once_it_reads(
    ends: tuple[ClientSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    unread = 20_000
    monkeypatch.setattr(ClientSocket, "_unread_bytes", lambda self: unread)
    ours, _ = ends
    for _ in range(4):
        ours.sendall(bytes(5_000))
    assert ours.has_unread(16_384)
    unread = 0
    assert not ours.has_unread(16_384)


def test_the_system_is_not_asked_before_enough_was_sent(
    ends: tuple[ClientSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(ClientSocket, "_unread_bytes", lambda self: asked.append(True) or 0)
    ours, _ = ends
    ours.sendall(bytes(16_384))
    assert not ours.has_unread(16_384)
    assert not asked
    ours.sendall(b"1")
    assert not ours.has_unread(16_384)
    assert asked


def test_a_file_follows_its_head(ends: tuple[ClientSocket, socket.socket], tmp_path: Path) -> None:
    ours, client = ends
    (tmp_path / "file").write_bytes(BODY)
    ours.begin_answer()
    ours.sendall(HEAD)
    with (tmp_path / "file").open("rb") as file:
        assert ours.sendfile(file) == len(BODY)
    assert ours.gettimeout() == 0
    assert sent(ours, client) == HEAD + BODY
