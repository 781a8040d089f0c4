"""HTTP to CallKaro and the CRMs: what surely never left, what may have arrived, and until when.

requests does the work. This module adds what requests can't tell: whether the first byte of a
request left (endheaders, below), and a deadline for a whole attempt (requests' own time-out is for
each read).
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from schemas.http_result import HttpResult, TooLateError

CONNECT_S = 5.0
# A connection idle for longer is not used again: if the other side had just closed it, an ordinary
# call would become `unknown`.
IDLE_S = 3.0
BODY_BYTES = 8 * 1024 * 1024  # of an answer; the rest is not read
USER_AGENT = "callkaro-bridge"


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
    """Notes when the first byte of a request (not of a proxy's CONNECT) leaves."""

    def endheaders(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        send_deadline: SendDeadline = _this_thread.send_deadline
        send_deadline.sock = self.sock
        send_deadline.begin()
        super().endheaders(*args, **kwargs)


class _Https(_Marking, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Marking


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class _Adapter(HTTPAdapter):
    """One connection per host, whose first byte is noted. Nothing is retried."""

    def __init__(self) -> None:
        super().__init__(pool_connections=4, pool_maxsize=1, max_retries=0)

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


class HttpClient:
    """Makes requests from many threads, each with a connection of its own."""

    def __init__(self, *, timeout_s: float) -> None:
        self.timeout_s = timeout_s
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
            with self._session().request(
                method,
                url,
                headers={"User-Agent": USER_AGENT, **headers},
                params=params,
                **self._environment_of(url),
                json=json,
                data=data,
                timeout=(CONNECT_S, self.timeout_s),
                allow_redirects=False,
                stream=True,
            ) as response:
                body = b"".join(_read(response, until=deadline))
                return HttpResult(
                    sent=True,
                    duration_ms=_since_ms(began),
                    status_code=response.status_code,
                    headers=response.headers,
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

    def _environment_of(self, url: str) -> dict[str, Any]:
        """Return the environment's proxies and certificates for this host.

        Kept per host: requests would look them up for each request, a tenth of its time.
        """
        origin = url.split("/", 3)[2]
        found = self._environment.get(origin)
        if found is None:
            merged = requests.Session().merge_environment_settings(url, {}, None, None, None)
            found = {name: merged[name] for name in ("proxies", "verify")}
            self._environment[origin] = found
        return found

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is not None and time.monotonic() - self._local.used < IDLE_S:
            return session
        self._forget()
        session = requests.Session()
        # Each request gets the environment's proxies (_environment_of). ~/.netrc must not be read:
        # requests would replace our login with one from there.
        session.trust_env = False
        session.mount("http://", _Adapter())
        session.mount("https://", _Adapter())
        self._local.session = session
        return session

    def _forget(self) -> None:
        """Close this thread's connection: after an error, the next request needs a new one."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is not None:
            session.close()
            self._local.session = None


def _read(response: requests.Response, *, until: float) -> Iterator[bytes]:
    """Yield the body up to BODY_BYTES. Raises TimeoutError if it does not end in time."""
    left = BODY_BYTES
    while left > 0:
        part = response.raw.read1(min(left, 65_536), decode_content=True)
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
