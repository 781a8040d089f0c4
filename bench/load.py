"""The load: requests that are made before the clock starts, over connections that stay open.

One thread with epoll only sends and receives. At the rate of the floor it was measured to need
a third of a core. Every result says how busy it was.
"""

import gc
import select
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Self

from bench.processes import HOST, BenchError

CONNECTIONS = 32
SILENCE_S = 15.0
ACCEPTED = (b"202", b"200")  # ours is 202; n8n and Node-RED answer 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """The result of one round of load.

    errors: answers other than 202 and 200. busy: how busy the client was, of one core.
    """

    requests: int
    wall_s: float
    p50_ms: float
    p99_ms: float
    errors: int
    busy: float

    @property
    def per_s(self) -> float:
        """Return requests a second."""
        return self.requests / self.wall_s


class _Connection:
    """One connection, with at most one request on it."""

    __slots__ = ("began", "is_second", "received", "request", "sock", "wanted")

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection((HOST, port), SILENCE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.began = 0.0
        self.request = b""  # that waits for its answer; empty: none does
        self.is_second = False  # the request was already sent on another connection
        self.received = b""
        self.wanted = 0  # bytes of the whole answer; 0: its head is not complete

    def post(self, request: bytes) -> None:
        self.request = request
        self.received = b""
        self.wanted = 0
        self.began = time.perf_counter()
        self.sock.sendall(request)

    def read(self) -> bool | None:
        """Read what has come. Returns whether the answer is complete.

        None: the server closed the connection between two answers.
        """
        try:
            part = self.sock.recv(262_144)
        except ConnectionResetError:
            part = b""
        if not part and (not self.request or not (self.received or self.is_second)):
            return None
        if not part:
            raise BenchError("The server closed a connection in the middle of an answer.")
        self.received = self.received + part if self.received else part
        if not self.wanted:
            head, end, _ = self.received.partition(b"\r\n\r\n")
            if not end:
                return False
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self.wanted = len(head) + 4 + int(length)
        if len(self.received) < self.wanted:
            return False
        self.request = b""
        self.is_second = False
        return True


def run(port: int, requests: Sequence[bytes]) -> Load:
    """Post all requests, one at a time on each of 32 connections, as fast as answers come."""
    with Client(port) as client:
        return client.run(requests)


class Client:
    """32 connections that stay open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connections: dict[int, _Connection] = {}
        self._epoll = select.epoll()
        for _ in range(CONNECTIONS):
            self._open()

    def run(self, requests: Sequence[bytes]) -> Load:
        """Post all requests, as fast as answers come. Raises BenchError if none comes for 15 s."""
        try:
            gc.disable()
            return self._run(requests)
        finally:
            gc.enable()

    def _run(self, requests: Sequence[bytes]) -> Load:
        took: list[float] = []
        statuses: Counter[bytes] = Counter()
        left = iter(requests)
        began, cpu_began = time.perf_counter(), time.process_time()
        # A request that is taken from `left` must be posted: so its connection is taken first.
        for connection, first in zip([*self._connections.values()], left, strict=False):
            connection.post(first)
        while len(took) < len(requests):
            events = self._epoll.poll(SILENCE_S)
            if not events:
                raise BenchError(f"No answer for {SILENCE_S:.0f} s.")
            for fd, _ in events:
                connection = self._connections[fd]
                is_complete = connection.read()
                if is_complete is None:
                    self._reopen(connection)
                elif is_complete:
                    took.append(time.perf_counter() - connection.began)
                    statuses[connection.received[9:12]] += 1
                    if request := next(left, None):
                        connection.post(request)
        wall_s = time.perf_counter() - began
        cpu_s = time.process_time() - cpu_began
        cuts = quantiles(took, n=100) if len(took) > 1 else took * 99
        return Load(
            requests=len(took),
            wall_s=wall_s,
            p50_ms=cuts[49] * 1000,
            p99_ms=cuts[98] * 1000,
            errors=len(took) - sum(statuses[ok] for ok in ACCEPTED),
            busy=cpu_s / wall_s,
        )

    def _open(self) -> _Connection:
        connection = _Connection(self._port)
        self._connections[connection.sock.fileno()] = connection
        self._epoll.register(connection.sock.fileno(), select.EPOLLIN)
        return connection

    def _reopen(self, closed: _Connection) -> None:
        """Send a request again whose connection the server closed meanwhile, as clients do."""
        fd, request = closed.sock.fileno(), closed.request
        self._epoll.unregister(fd)
        del self._connections[fd]
        closed.sock.close()
        opened = self._open()
        if request:
            opened.is_second = True
            opened.post(request)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._epoll.close()
        for each in self._connections.values():
            each.sock.close()
