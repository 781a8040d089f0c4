"""gunicorn's thread worker, with one change: a thread gets a request only when all of it is here.

gunicorn's own worker reads a request in a thread, without a time limit. So as many connections as
there are threads, each with one byte, stopped the whole process. Here the main loop, which never
waits for one connection, collects the bytes. docs/decisions/0013-whole-requests.md says why.
"""

import contextlib
import errno
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from selectors import EVENT_READ
from socket import SHUT_WR, SO_SNDBUF, SOL_SOCKET, socket
from typing import Any, Final

from gunicorn.http import get_parser
from gunicorn.workers.gthread import PollableMethodQueue, TConn, ThreadWorker

from bridge.http.arriving import Arriving
from bridge.http.client_socket import ClientSocket

# Threads of their own, because these must answer while all others are busy. /readyz may wait for
# Redis, and must not keep /healthz waiting.
OWN_THREADS: Final = {b"/healthz": 1, b"/readyz": 2}
RECEIVE_BYTES = 64 * 1024  # in one step of the main loop
HELD_BYTES = 24 * 1024 * 1024  # of all requests of this process; beyond it large ones are cut off
SMALL_BYTES = 64 * 1024  # a request of at most this is never cut off for room
# Of answers that a client has not taken yet, so that a thread can leave an answer to the system and
# need not wait for the client. The largest that needs no token is /docs, of 120 kB. A client that
# has not taken UNREAD_BYTES of its answers gets no other one.
SEND_BUFFER_BYTES = 256 * 1024
UNREAD_BYTES = 16 * 1024
LINGER_S = 2.0  # how long a client may take to close its side, so that it sees our answer
STOP_S = 5.0  # for the rest of a request that has begun to arrive when the process must stop
NOTIFY_S = 1.0  # between two signs of life; gunicorn's `timeout` ends a process without them
FREED_SHARE = 10  # when no connection is free, every tenth is closed, the oldest first

ANSWER = b"HTTP/1.1 %s\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
TOO_SLOW = b"408 Request Timeout"
BROKEN_OFF = b"400 Bad Request"
NO_ROOM = b"503 Service Unavailable"
LARGE_HEAD = b"431 Request Header Fields Too Large"


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A connection whose parser reads what has arrived, never the socket."""

    def __init__(self, *of_gunicorn: Any) -> None:
        super().__init__(*of_gunicorn)
        self.arriving = Arriving()
        self.initialized = self.data_ready = True  # so that no thread waits for a byte
        self.parser = get_parser(self.cfg, self.arriving, self.client)
        self.held_bytes = 0  # as counted in Worker.held_bytes
        self.is_awaited = False  # the poller tells when more of its request arrives


class _Deferred(PollableMethodQueue):  # type: ignore[misc]  # gunicorn has no types
    """What threads leave to the main loop. One byte in gunicorn's pipe wakes it for all of them."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: deque[Callable[[], None]] = deque()
        self._is_told = False

    def defer(self, callback: Callable[..., None], *args: Any) -> None:
        """Let the main loop make a call soon."""
        self._calls.append(partial(callback, *args))
        if not self._is_told:
            self._is_told = True
            super().defer(self._run)

    def _run(self) -> None:
        self._is_told = False  # before it looks: what comes later tells it again
        for _ in range(len(self._calls)):
            self._calls.popleft()()


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A thread worker that slow clients can't stop.

    `timeout` of gunicorn's settings limits the arrival of a whole request, head and body, in s.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # pending_conns, of gunicorn's own: connections whose request is arriving, oldest first.
        self.pending_conns: dict[Connection, None] = {}
        self.lingering: deque[Connection] = deque()
        self.method_queue = _Deferred()
        self.notified_at = -NOTIFY_S  # monotonic
        self.held_bytes = 0
        self.own_pools: dict[bytes, ThreadPoolExecutor] = {}
        self.last_arrival_at: float | None = None  # monotonic; None: the process need not stop

    def init_process(self) -> None:
        """Make the threads of /healthz and /readyz, then do what gunicorn does."""
        self.own_pools = {path: ThreadPoolExecutor(n) for path, n in OWN_THREADS.items()}
        super().init_process()

    def notify(self) -> None:
        """Tell gunicorn that the process is alive, but not in each turn of the main loop."""
        now = time.monotonic()
        if now - self.notified_at >= NOTIFY_S:
            self.notified_at = now
            super().notify()

    def accept(self, listener: socket) -> None:
        """Take a new connection."""
        if self.cfg.is_ssl:  # a proxy ends TLS; gunicorn's own must shake hands in a thread
            super().accept(listener)
            return
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._free()  # this process may open no more files: gunicorn's own worker would end
            return
        with contextlib.suppress(OSError):  # it is gone already
            client.setsockopt(SOL_SOCKET, SO_SNDBUF, SEND_BUFFER_BYTES)
        self.nr_conns += 1
        self._await(Connection(self.cfg, ClientSocket(client), address, listener.getsockname()))

    def on_client_socket_readable(self, conn: TConn, client: socket) -> None:
        """Begin the next request of a connection that was kept."""
        if not isinstance(conn, Connection):
            super().on_client_socket_readable(conn, client)
            return
        if conn not in self.keepalived_conns:
            return  # closed since the poller told of it, in the same turn
        self.keepalived_conns.remove(conn)
        self.poller.unregister(client)
        self._await(conn)

    def enqueue_req(self, conn: TConn) -> None:
        """Give a whole request to a thread."""
        pool = self.tpool
        if isinstance(conn, Connection):
            pool = self.own_pools.get(conn.arriving.path, pool)
        done = pool.submit(self.handle, conn)
        done.add_done_callback(lambda it: self.method_queue.defer(self.finish_request, conn, it))

    def handle_request(self, req: Any, conn: TConn) -> bool:
        """Answer a request; a client that does not read its answer loses the connection."""
        if not isinstance(conn, Connection):
            return bool(super().handle_request(req, conn))
        conn.sock.begin_answer()
        try:
            try:
                return bool(super().handle_request(req, conn))
            finally:  # the app may fail after the head of an answer without a body
                conn.sock.end_answer()
        except TimeoutError:
            self.log.debug("Closing the connection of a client that does not read.")
            return False

    def finish_request(self, conn: TConn, fs: "Future[bool]") -> None:
        """Keep or close a connection after its answer."""
        if not isinstance(conn, Connection):
            super().finish_request(conn, fs)
            return
        stays = not fs.cancelled() and fs.exception() is None and fs.result()
        stays = stays and conn.arriving.is_whole
        conn.arriving.end()
        self._count(conn)
        if conn.sock.fileno() < 0:  # gunicorn closed it, as the app failed in its answer's middle
            self._close(conn, is_watched=False)
            return
        if not stays:
            self._linger(conn)
        elif len(conn.arriving):  # the next request has begun already
            self._await(conn)
        else:
            conn.set_timeout()
            if not self.alive:
                conn.timeout = min(conn.timeout, time.monotonic() + LINGER_S)
            self.keepalived_conns.append(conn)
            self._watch(conn, partial(self.on_client_socket_readable, conn))

    def murder_pending(self) -> None:
        """Close what took too long. Without a free connection, make some free.

        When the process must stop, a request that does not become whole would keep it for all of
        gunicorn's `graceful_timeout`.
        """
        now = time.monotonic()
        if self.last_arrival_at is None and not self.alive:
            self.last_arrival_at = now + STOP_S
        must_end = self.last_arrival_at is not None and self.last_arrival_at <= now
        for conn in list(self.pending_conns):
            if conn.timeout <= now or not (self.alive or len(conn.arriving)):
                self._refuse(conn, TOO_SLOW)
            elif must_end:
                self._refuse(conn, NO_ROOM)  # the client may send it again, to the next process
        while self.lingering and self.lingering[0].timeout <= now:
            self._close(self.lingering.popleft())
        if self.nr_conns >= self.worker_connections:
            self._free()

    def handle_quit(self, sig: int, frame: Any) -> None:
        """Stop at once."""
        for pool in self.own_pools.values():
            pool.shutdown(wait=False)
        super().handle_quit(sig, frame)

    # --- helpers --------------------------------------------------------------------------------

    def _await(self, conn: Connection) -> None:
        conn.timeout = time.monotonic() + self.cfg.timeout
        self.pending_conns[conn] = None
        self._advance(conn)
        if conn in self.pending_conns:
            self._receive(conn)  # mostly it is here already: then the poller need not know of it
        if conn in self.pending_conns:
            self._watch(conn, partial(self._receive, conn))
            conn.is_awaited = True

    def _receive(self, conn: Connection, _: Any = None) -> None:
        if conn not in self.pending_conns:
            return  # refused since the poller told of it, in the same turn
        try:
            data = conn.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:  # the client went away: there is nobody to answer
            self._leave(conn)
            self._close(conn, is_watched=False)
            return
        if not data:  # it may have closed its sending side alone
            self._refuse(conn, BROKEN_OFF)
            return
        conn.arriving.feed(data)
        self._count(conn)
        self._advance(conn)
        if self.held_bytes > HELD_BYTES:
            self._make_room()

    def _advance(self, conn: Connection) -> None:
        arriving = conn.arriving
        if arriving.has_large_head:
            self._refuse(conn, LARGE_HEAD)
        elif arriving.is_ready and conn.sock.has_unread(UNREAD_BYTES):
            self._refuse(conn, NO_ROOM)
        elif arriving.is_ready:
            self._leave(conn)
            self.enqueue_req(conn)
        elif arriving.wants_continue:
            arriving.wants_continue = False
            with contextlib.suppress(OSError):
                conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _count(self, conn: Connection) -> None:
        self.held_bytes += len(conn.arriving) - conn.held_bytes
        conn.held_bytes = len(conn.arriving)

    def _make_room(self) -> None:
        """Cut off the largest request that is not whole. Those that are whole get their answer."""
        largest = max(self.pending_conns, key=lambda conn: conn.held_bytes, default=None)
        if largest is not None and largest.held_bytes > SMALL_BYTES:
            self._refuse(largest, NO_ROOM)

    def _free(self) -> None:
        """Close connections that wait for a request: first kept ones, then those that arrive."""
        n = max(self.worker_connections // FREED_SHARE, 1)
        idle = [self.keepalived_conns.popleft() for _ in range(min(n, len(self.keepalived_conns)))]
        for conn in idle:
            self._close(conn)
        for conn in list(self.pending_conns)[: n - len(idle)]:
            self._leave(conn)
            self._close(conn, is_watched=False)

    def _refuse(self, conn: Connection, status: bytes) -> None:
        self._leave(conn)
        with contextlib.suppress(OSError):
            if len(conn.arriving):
                conn.sock.send(ANSWER % status)
        conn.arriving.clear()  # the parser has it, too
        self._count(conn)
        self._linger(conn)

    def _linger(self, conn: Connection) -> None:
        """Close our side, and read on for a moment: closing at once could lose our answer.

        gunicorn's own way waits in the main loop, for up to 2 s each.
        """
        try:
            conn.sock.shutdown(SHUT_WR)
        except OSError:
            self._close(conn, is_watched=False)
            return
        conn.timeout = time.monotonic() + LINGER_S
        self.lingering.append(conn)
        self._watch(conn, partial(self._drain, conn))

    def _drain(self, conn: Connection, _: Any = None) -> None:
        if conn not in self.lingering:
            return  # closed since the poller told of it, in the same turn
        try:
            data = conn.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.lingering.remove(conn)
            self._close(conn)

    def _watch(self, conn: Connection, callback: Callable[..., None]) -> None:
        self.poller.register(conn.sock, EVENT_READ, callback)

    def _leave(self, conn: Connection) -> None:
        del self.pending_conns[conn]
        if conn.is_awaited:
            self.poller.unregister(conn.sock)
            conn.is_awaited = False

    def _close(self, conn: TConn, *, is_watched: bool = True) -> None:
        if is_watched:
            self.poller.unregister(conn.sock)
        if isinstance(conn, Connection):
            conn.arriving.clear()
            self._count(conn)
        self.nr_conns -= 1
        conn.close()
