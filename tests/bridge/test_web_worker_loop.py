"""What wakes the main loop of the web worker, its signs of life, and an answer that breaks off."""

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.workers.gthread import ThreadWorker

from bridge import web_worker
from bridge.http.client_socket import ClientSocket
from bridge.web_worker import NOTIFY_S, Connection, Worker, _Deferred


@pytest.fixture
def deferred() -> Iterator[_Deferred]:
    found = _Deferred()
    found.init()
    yield found
    found.close()


def woken(deferred: _Deferred) -> int:
    """Return how many bytes are in the pipe; what was deferred is done."""
    count = len(os.read(deferred.fileno(), 100))
    for _ in range(count):  # as the main loop finds them
        os.write(deferred._write_fd, b"\0")
    deferred.run_callbacks(None)
    return count


def test_one_byte_tells_of_all_that_threads_deferred(deferred: _Deferred) -> None:
    done: list[int] = []
    for n in range(3):
        deferred.defer(done.append, n)
    assert woken(deferred) == 1
    assert done == [0, 1, 2]


def test_what_is_deferred_later_wakes_the_loop_again(deferred: _Deferred) -> None:
    done: list[int] = []
    deferred.defer(done.append, 1)
    assert woken(deferred) == 1
    deferred.defer(done.append, 2)
    assert woken(deferred) == 1
    assert done == [1, 2]


def test_what_a_deferred_call_defers_is_done_too(deferred: _Deferred) -> None:
    done: list[int] = []
    deferred.defer(deferred.defer, done.append, 1)
    woken(deferred)
    assert done == [1]


def test_gunicorn_is_told_once_a_second_that_the_process_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Heartbeat:
        count = 0

        def notify(self) -> None:
            self.count += 1

    now = 1000.0
    monkeypatch.setattr(web_worker.time, "monotonic", lambda: now)
    worker: Any = Worker.__new__(Worker)
    worker.tmp, worker.notified_at = Heartbeat(), now - NOTIFY_S
    for _ in range(3):
        worker.notify()
    assert worker.tmp.count == 1
    now += NOTIFY_S
    worker.notify()
    assert worker.tmp.count == 2


def test_a_head_is_sent_even_if_the_app_fails_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, a client takes the connection for a dead one, and asks again."""

    def fail(self: Any, req: Any, conn: Connection) -> bool:
        conn.sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        raise BrokenPipeError

    monkeypatch.setattr(ThreadWorker, "handle_request", fail)
    worker: Any = Worker.__new__(Worker)
    ours, client = socket.socketpair()
    with client, ClientSocket(ours) as sock:
        conn = Connection(Config(), sock, ("127.0.0.1", 1), ("127.0.0.1", 2))
        with pytest.raises(BrokenPipeError):
            worker.handle_request(None, conn)
        client.settimeout(1)
        assert client.recv(1000) == b"HTTP/1.1 204 No Content\r\n\r\n"
