"""Serve the simulator: HTTP/1.1 with connections that stay open, in one process.

Werkzeug's own server closes the connection after every answer, which would hide all that can
go wrong with an open one. So the standard library's handler runs the app here; it can also cut a
connection and let an answer drip, which no WSGI server does.
"""

from __future__ import annotations

import io
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Iterable
from functools import cached_property
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

from simulator import outcomes
from simulator.app import MANNER, Manner, create_app, is_control
from simulator.state import State

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 10_000_000
# How long close() waits for answers that are being sent.
CLOSE_S = 5.0
USUAL_MANNER = Manner()


class PortTaken(OSError):
    """Another program uses the port: choose another one."""


class Simulator:
    """A simulator that serves in the background until it is closed.

    With port 0 a free port is taken. A state may be handed on from one that was closed, to play
    an API that was away and comes back.

    Raises:
        PortTaken: another program listens there.
    """

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, state: State | None = None
    ) -> None:
        self.state = state or State()
        self._server = _Server(host, port, self.state)
        self.host = host
        self.port: int = self._server.server_address[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), name="simulator", daemon=True
        )
        self._thread.start()

    def end_call(
        self,
        url: str,
        *,
        call_sid: str | None = None,
        delivery_id: str | None = None,
        **overrides: Any,
    ) -> int:
        """Send `call_ended` for an accepted call, and return the status of the answer.

        Raises:
            LookupError: no such call was accepted.
            ValueError: an unknown override, or a URL that does not lead to this machine.
        """
        call = self.state.find_call(call_sid=call_sid, delivery_id=delivery_id)
        if call is None:
            raise LookupError("no such call was accepted")
        body = outcomes.call_ended(call, overrides)
        return outcomes.post(url, body, allowed_hosts=self.state.callback_hosts)

    def close(self) -> None:
        """Stop serving and close every connection; a second call does nothing."""
        if self._server.closing.is_set():
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024

    server_address: tuple[str, int]

    def __init__(self, host: str, port: int, state: State) -> None:
        self.state = state
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._none_open = threading.Condition()
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Connection)
        except OSError as error:
            why = f"port {port} on {host} can't be used: {error.strerror}"
            raise PortTaken(error.errno, why) from error
        except OverflowError as error:
            raise PortTaken(None, f"port {port} is not from 0 to 65535") from error

    @cached_property
    def app(self) -> WSGIApplication:
        """The APIs. Most tests start a simulator that gets no request, so it is made late."""
        return create_app(self.state)

    def process_request(self, request: Any, client_address: Any) -> None:
        _ = self.app  # made here, because one thread alone accepts connections
        with self._none_open:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        # Leave the set first: a closed socket must never be shut down by server_close.
        with self._none_open:
            self._open.discard(request)
            self._none_open.notify_all()
        super().shutdown_request(request)

    def server_close(self) -> None:
        self.closing.set()
        # A forked child that has the socket, too, would go on accepting connections.
        _shut(self.socket, socket.SHUT_RDWR)
        super().server_close()
        with self._none_open:
            for connection in self._open:
                # Only the reading side: an answer that is being written is still sent.
                _shut(connection, socket.SHUT_RD)
            self._none_open.wait_for(lambda: not self._open, CLOSE_S)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients often close a connection early.
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):
            log.error("connection.failed", exc_info=error)


def _shut(connection: socket.socket, how: int) -> None:
    try:
        connection.shutdown(how)
    except OSError:
        return


class _Connection(BaseHTTPRequestHandler):
    """One connection: request after request until one side closes it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the state remembers every request."""

    def serve(self) -> None:
        """Answer one request."""
        body = self._read_body()
        if body is None:
            return
        path, _, query = self.path.partition("?")
        path = unquote(path, "latin-1")
        counted = not is_control(path)
        if counted:
            self.server.state.entered()
        try:
            self._answer(path, query, body)
        except ConnectionError:
            self.close_connection = True
        finally:
            if counted:
                self.server.state.left()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = serve

    def _read_body(self) -> bytes | None:
        """Return the body; None if no answer is possible any more."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            self.close_connection = True
            self.send_error(411)
            return None
        if int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self.send_error(413)
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            # The client stopped: an incomplete request counts as never received.
            self.close_connection = True
            return None
        return body

    def _answer(self, path: str, query: str, body: bytes) -> None:
        environ = self._environ(path, query, body)
        status, headers, content = _run(self.server.app, environ)
        manner: Manner = environ.get(MANNER, USUAL_MANNER)
        if manner.wait_s > 0:
            self.server.closing.wait(manner.wait_s)
        if manner.cut:
            self.close_connection = True
            return
        head = [f"{self.protocol_version} {status}"]
        head += [f"{name}: {value}" for name, value in headers]
        head.append(f"Date: {self.date_time_string()}")
        if self.close_connection:
            head.append("Connection: close")
        elif self.request_version == "HTTP/1.0":
            head.append("Connection: keep-alive")
        answer = ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")
        if self.command != "HEAD":
            answer += content
        if manner.drip_s > 0:
            self._drip(answer, manner.drip_s)
        else:
            # In one piece, so that no client waits for a delayed acknowledgement.
            self.wfile.write(answer)

    def _drip(self, answer: bytes, drip_s: float) -> None:
        started_s = time.monotonic()
        for sent in range(len(answer)):
            self.wfile.write(answer[sent : sent + 1])
            due_s = started_s + drip_s * (sent + 1) / len(answer)
            if self.server.closing.wait(max(due_s - time.monotonic(), 0)):
                self.close_connection = True
                return

    def _environ(self, path: str, query: str, body: bytes) -> dict[str, Any]:
        host, port = self.server.server_address[:2]
        environ: dict[str, Any] = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REMOTE_ADDR": self.client_address[0],
            "SERVER_NAME": host,
            "SERVER_PORT": str(port),
            "SERVER_PROTOCOL": self.request_version,
            "CONTENT_LENGTH": str(len(body)),
        }
        for name, value in self.headers.items():
            key = name.upper().replace("-", "_")
            if key == "CONTENT_TYPE":
                environ[key] = value
            elif key != "CONTENT_LENGTH" and "_" not in name:
                key = f"HTTP_{key}"
                environ[key] = f"{environ[key]},{value}" if key in environ else value
        return environ


def _run(app: WSGIApplication, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
    """Call a WSGI app and return status line, headers with a length, and body."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
        started.append((status, headers))
        return None

    chunks: Iterable[bytes] = app(environ, start_response)
    try:
        content = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    status, headers = started[-1]
    if status.startswith("204"):
        # A 204 has neither a body nor a length.
        return status, [pair for pair in headers if pair[0] != "Content-Length"], b""
    if not any(name.lower() == "content-length" for name, _ in headers):
        headers = [*headers, ("Content-Length", str(len(content)))]
    return status, headers, content
