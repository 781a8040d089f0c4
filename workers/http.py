"""HTTP to CallKaro and the CRMs: what surely never left, what may have arrived, and until when.

requests does the work. What it can't tell is added here, at the one place that knows: whether
the first byte of a request left (endheaders, below), and a deadline for the whole of an attempt
(requests' own time-out is for each read).
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
IDLE_S = 3.0  # a keep-alive that the other side just closed would make an ordinary call `unknown`
BODY_BYTES = 8 * 1024 * 1024  # of an answer; what is beyond is not read
USER_AGENT = "callkaro-bridge"


class SendDeadline:
    """What one request has come to. Past start_by (monotonic) it is not begun any more.

    Two threads may ask at once: the one that sends, and the one that coordinates and gives up a
    request that hangs before its first byte, such as in a name that does not resolve.
    """

    def __init__(self, start_by: float) -> None:
        self.start_by = start_by
        self.deadline = start_by
        self.sent = False
        self.sock: socket.socket | None = None
        self._is_given_up = False
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Mark that the first byte leaves now. Raises TooLateError if it must not."""
        with self._lock:
            if self._is_given_up or time.monotonic() > self.start_by:
                raise TooLateError
            self.sent = True

    def give_up(self) -> bool:
        """Keep the request from being begun; False: its first byte has left already."""
        with self._lock:
            self._is_given_up = not self.sent
            return self._is_given_up


_this_thread = threading.local()  # .line: that of the request that this thread is making


class _Marking(HTTPConnection):
    """Marks the wire when the first byte of a request (not of a proxy's CONNECT) leaves."""

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
    """One connection a host, marked, and nothing retried by itself."""

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
        self._surroundings: dict[str, dict[str, Any]] = {}  # by origin
        self._running: dict[int, SendDeadline] = {}  # by thread

    @property
    def longest_s(self) -> float:
        """How long one request can take from its start: connecting, sending, being answered."""
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
        """Make one request, follow no redirect, and tell what came of it. Never raises.

        line: until when it may be begun; None: as long as one request may take.
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
                **self._around(url),
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
        except Exception as error:  # whatever it is, what counts is whether a byte left
            self._forget()
            return HttpResult(
                sent=send_deadline.sent, duration_ms=_since_ms(began), error=_cause(error)
            )
        finally:
            del self._running[threading.get_ident()]
            self._local.used = time.monotonic()

    def cut_overdue(self) -> None:
        """Close the line of each request past its deadline, whatever drips in; its thread goes on.

        For whoever coordinates the threads to call now and then.
        """
        now = time.monotonic()
        for send_deadline in list(self._running.values()):
            if now > send_deadline.deadline and send_deadline.sock is not None:
                with contextlib.suppress(OSError, ValueError):
                    send_deadline.sock.shutdown(socket.SHUT_RDWR)

    def _around(self, url: str) -> dict[str, Any]:
        """Return what the environment says of proxies and certificates for this host.

        Worked out once: requests does it anew for each request, which was a tenth of its time.
        """
        origin = url.split("/", 3)[2]
        found = self._surroundings.get(origin)
        if found is None:
            merged = requests.Session().merge_environment_settings(url, {}, None, None, None)
            found = {name: merged[name] for name in ("proxies", "verify")}
            self._surroundings[origin] = found
        return found

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is not None and time.monotonic() - self._local.used < IDLE_S:
            return session
        self._forget()
        session = requests.Session()
        # The environment's proxies come with each request (_around). Its ~/.netrc must not come
        # at all: requests would put a login from there over ours.
        session.trust_env = False
        session.mount("http://", _Adapter())
        session.mount("https://", _Adapter())
        self._local.session = session
        return session

    def _forget(self) -> None:
        """Close this thread's connection; what went wrong on it must not meet the next request."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is not None:
            session.close()
            self._local.session = None


def _read(response: requests.Response, *, until: float) -> Iterator[bytes]:
    """Yield the body up to BODY_BYTES. Raises TimeoutError when it is not there in time."""
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

    Only its class: its text names addresses, and at times the URL with a token in it.
    """
    seen = error
    for _ in range(10):
        inner = next((arg for arg in seen.args if isinstance(arg, BaseException)), None)
        inner = inner or getattr(seen, "reason", None) or seen.__cause__ or seen.__context__
        if not isinstance(inner, BaseException):
            break
        seen = inner
    return type(seen).__name__
