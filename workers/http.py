"""HTTP to CallKaro and the CRMs: what surely never left, what may have arrived, and until when.

requests does the work. This module adds what requests can't tell: whether the first byte of a
request left (endheaders, below), and a deadline for a whole attempt (requests' own time-out is for
each read). And it keeps what requests would work out anew for each request: see
docs/decisions/0027-lean-worker.md.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from json import dumps
from typing import Any, cast

import requests
from requests.adapters import HTTPAdapter
from requests.utils import default_headers
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection

from schemas.http_result import HttpResult, TooLateError

CONNECT_S = 5.0
# A connection idle for longer is not used again: if the other side had just closed it, an ordinary
# call would become `unknown`.
IDLE_S = 3.0
BODY_BYTES = 8 * 1024 * 1024  # of an answer; the rest is not read
USER_AGENT = "callkaro-bridge"
ORIGINS = 16  # to which one thread has a connection; at one more, it closes them all
PREPARED = 16  # requests without their bodies that one thread keeps


class SendDeadline:
    """Until when a request may be begun, and whether it was begun.

    Two threads use it at the same time: the thread that sends, and the coordinating thread, which
    gives up a request that hangs before its first byte (for instance while its name is resolved).
    """

    def __init__(self, start_by: float) -> None:
        self.start_by = start_by  # monotonic; the request is not begun after this
        self.deadline = start_by  # monotonic; the whole request ends by this
        self.sent = False  # the first byte left
        self.sock: socket.socket | None = None  # where it is sent; None: not connected yet
        self._is_given_up = False
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Mark that the first byte leaves now. Raises TooLateError if it must not."""
        with self._lock:
            if self._is_given_up or time.monotonic() > self.start_by:
                raise TooLateError
            self.sent = True

    def give_up(self) -> bool:
        """Forbid the request to begin. Returns False if its first byte has left already."""
        with self._lock:
            self._is_given_up = not self.sent
            return self._is_given_up


_this_thread = threading.local()  # .send_deadline: of the request that this thread is making


class _Marking(HTTPConnection):
    """Notes when the first byte of a request (not of a proxy's CONNECT) leaves.

    The head of a request leaves with the first bytes of its body: one packet, one system call.
    """

    _head: bytes | None = None  # what is sent next goes behind it; None: the head has left

    def endheaders(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        send_deadline: SendDeadline = _this_thread.send_deadline
        send_deadline.sock = self.sock
        send_deadline.begin()
        self._head = b""
        super().endheaders(*args, **kwargs)

    def send(self, data: Any) -> None:
        if self._head is None:
            super().send(data)
        elif not self._head:
            self._head = data
        else:
            head, self._head = self._head, None
            super().send(head + data)

    def request(self, *args: Any, **kwargs: Any) -> None:
        super().request(*args, **kwargs)
        if self._head:
            self.send(b"")  # it has no body


class _Https(_Marking, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Marking


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class _Prepared(requests.PreparedRequest):
    """A request that its thread makes again and again, each time with another body."""

    origin: str  # "https://api.callkaro.ai"
    target: str | None = None  # as its first line has it; None: not known yet


class _Adapter(HTTPAdapter):
    """The connections of one thread, one per host, whose first byte is noted. Nothing is retried.

    It has no cookies: what one request's answer sets must not reach another one.
    """

    def __init__(self) -> None:
        super().__init__(pool_connections=ORIGINS, pool_maxsize=1, max_retries=0)
        self._pools: dict[str, HTTPConnectionPool] = {}  # by origin
        self._prepared: dict[Any, _Prepared] = {}

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._mark(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        self._mark(manager)
        return manager

    @staticmethod
    def _mark(manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def prepared(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None,
        json: Any,
        data: Mapping[str, str] | bytes | None,
    ) -> _Prepared:
        """Return a request to send. The next one of this adapter may be the same object."""
        if json is not None:
            data = dumps(json, allow_nan=False).encode()
            headers = {"Content-Type": "application/json", **headers}
        if not isinstance(data, bytes):
            return _prepare(method, url, headers, params, data)
        key = (method, url, tuple(headers.items()), tuple(params.items()) if params else None)
        request = self._prepared.get(key)
        if request is None:
            if len(self._prepared) >= PREPARED:
                self._prepared.clear()
            request = self._prepared[key] = _prepare(method, url, headers, params, None)
        request.body = data
        request.headers["Content-Length"] = str(len(data))
        return request

    # --- what requests asks its adapters for, in send() -------------------------------------------

    def get_connection_with_tls_context(
        self, request: Any, verify: Any, proxies: Any = None, cert: Any = None
    ) -> HTTPConnectionPool:
        """Return the connection of this origin, with the environment's proxy and certificates."""
        if found := self._pools.get(request.origin):
            return found
        if len(self._pools) >= ORIGINS:
            self.close()
            self._pools.clear()
        pool: Any = super().get_connection_with_tls_context(request, verify, proxies, cert)
        super().cert_verify(pool, request.url, verify, cert)  # type: ignore[no-untyped-call]
        self._pools[request.origin] = pool
        return cast(HTTPConnectionPool, pool)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Do nothing: get_connection_with_tls_context() has done it."""

    def request_url(self, request: Any, proxies: Any) -> str:
        """Return what the request's first line asks for: a path, or for some proxies a URL."""
        if request.target is None:
            request.target = super().request_url(request, proxies)
        return str(request.target)

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        """Return an answer without what nobody reads: cookies, the encoding, the history."""
        response = requests.Response()
        response.status_code = resp.status
        response.raw = resp
        return response


def _prepare(
    method: str,
    url: str,
    headers: Mapping[str, str],
    params: Mapping[str, str] | None,
    data: Mapping[str, str] | None,
) -> _Prepared:
    request = _Prepared()
    request.prepare(
        method=method,
        url=url,
        headers={**default_headers(), "User-Agent": USER_AGENT, **headers},
        params=params,
        data=data,
    )
    # A plain dict: requests and urllib3 copy the headers and look through them several times.
    request.headers = dict(request.headers)  # type: ignore[assignment]
    request.origin = _origin_of(str(request.url))
    return request


class HttpClient:
    """Makes requests from many threads, each with a connection of its own."""

    def __init__(self, *, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._timeout: Any = Timeout(connect=CONNECT_S, read=timeout_s)
        self._local = threading.local()
        self._environment: dict[str, dict[str, Any]] = {}  # by origin
        self._running: dict[int, SendDeadline] = {}  # by thread

    @property
    def longest_s(self) -> float:
        """The longest time of one request, in s: connecting, sending and receiving the answer."""
        return CONNECT_S + self.timeout_s

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None = None,
        json: Any = None,
        data: Mapping[str, str] | bytes | None = None,
        send_deadline: SendDeadline | None = None,
    ) -> HttpResult:
        """Make one request, follow no redirect, and return the result. Never raises.

        send_deadline: until when the request may be begun; None: for longest_s from now.
        """
        began = time.monotonic()
        deadline = began + self.longest_s
        send_deadline = send_deadline or SendDeadline(deadline)
        send_deadline.deadline = deadline
        _this_thread.send_deadline = self._running[threading.get_ident()] = send_deadline
        try:
            adapter = self._adapter()
            request = adapter.prepared(method, url, headers, params, json, data)
            with adapter.send(
                request, stream=True, timeout=self._timeout, **self._environment_of(request)
            ) as response:
                raw = response.raw
                body = b"".join(_read(raw, until=deadline))
                if raw.status < 200:
                    # http.client skips 100 alone. After another one, the final answer would be
                    # taken for that to the next request.
                    self._forget()
                return HttpResult(
                    sent=True,
                    duration_ms=_since_ms(began),
                    status_code=raw.status,
                    headers=raw.headers,
                    body=body,
                    received_at=datetime.now(UTC),
                )
        except Exception as error:  # for any error, what counts is whether a byte left
            self._forget()
            return HttpResult(
                sent=send_deadline.sent, duration_ms=_since_ms(began), error=_cause(error)
            )
        finally:
            del self._running[threading.get_ident()]
            self._local.used = time.monotonic()

    def cut_overdue(self) -> None:
        """Close the connection of each request past its deadline, even while bytes still come in.

        Its thread then gets an error. The coordinating thread calls this now and then.
        """
        now = time.monotonic()
        for send_deadline in list(self._running.values()):
            if now > send_deadline.deadline and send_deadline.sock is not None:
                with contextlib.suppress(OSError, ValueError):
                    send_deadline.sock.shutdown(socket.SHUT_RDWR)

    def _environment_of(self, request: _Prepared) -> dict[str, Any]:
        """Return the environment's proxies and certificates for the origin of a request.

        Kept per origin: requests would look them up for each request, a tenth of its time.
        """
        found = self._environment.get(request.origin)
        if found is None:
            session = requests.Session()
            merged = session.merge_environment_settings(request.url, {}, None, None, None)
            found = {name: merged[name] for name in ("proxies", "verify")}
            self._environment[request.origin] = found
        return found

    def _adapter(self) -> _Adapter:
        """Return this thread's adapter.

        There is no Session around it: ~/.netrc must not be read (requests would replace our login
        with one from there), no redirect is followed, and no cookie is kept.
        """
        adapter: _Adapter | None = getattr(self._local, "adapter", None)
        if adapter is not None and time.monotonic() - self._local.used < IDLE_S:
            return adapter
        self._forget()
        adapter = self._local.adapter = _Adapter()
        return adapter

    def _forget(self) -> None:
        """Close this thread's connections: after an error, the next request needs a new one."""
        adapter: _Adapter | None = getattr(self._local, "adapter", None)
        if adapter is not None:
            adapter.close()
            self._local.adapter = None


def _origin_of(url: str) -> str:
    return "/".join(url.split("/", 3)[:3])


def _read(raw: HTTPResponse, *, until: float) -> Iterator[bytes]:
    """Yield the body up to BODY_BYTES. Raises TimeoutError if it does not end in time."""
    left = BODY_BYTES
    while left > 0:
        part = raw.read1(min(left, 65_536), decode_content=True)
        if not part:
            return
        if time.monotonic() > until:
            raise TimeoutError
        left -= len(part)
        yield part


def _since_ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def _cause(error: BaseException) -> str:
    """Return the kind of the innermost error: ConnectionRefusedError, not ConnectionError.

    Only its class: its text may contain addresses, or the URL with a token in it.
    """
    seen = error
    for _ in range(10):
        inner = next((arg for arg in seen.args if isinstance(arg, BaseException)), None)
        inner = inner or getattr(seen, "reason", None) or seen.__cause__ or seen.__context__
        if not isinstance(inner, BaseException):
            break
        seen = inner
    return type(seen).__name__
