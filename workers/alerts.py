"""Alerts out: signed as Standard Webhooks, again and again until their receiver has taken them.

In a process of its own, for as long as something is to be sent: a receiver that hangs holds up
neither a delivery nor the tick. Each message is sent at least once; its id tells a second one.
Messages about one thing leave in their order: see alert_claim.lua.
"""

import queue
import random
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import orjson

from config import log
from schemas.alert import AUTH, TEST, TRIES, Alert
from schemas.http_result import TOO_LATE, HttpResult
from schemas.settings import Settings
from schemas.signatures import sign
from schemas.source import Incoming
from store import Store, connect
from workers.http import HttpClient, SendDeadline

logger = log.get(__name__)

TIMEOUT_S = 5.0
WATCH_S = 0.1  # how late an exchange that is overdue is cut
LEASE_S = 120.0  # longer than its sender may live: see COURIER_S
FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 3600.0


def send_due(settings: Settings, *, jitter: Callable[[], float] = random.random) -> None:
    """Send what is due, until nothing is. Raises StoreUnavailable.

    One is claimed at a time: its lease is for itself, not for slow ones before it.
    """
    http = HttpClient(timeout_s=TIMEOUT_S)
    with connect(settings.redis_url) as client:
        store = Store(client)
        while alert := store.claim_alert(lease_s=LEASE_S):
            _send(alert, settings, store, http, jitter)


def _send(
    alert: Alert, settings: Settings, store: Store, http: HttpClient, jitter: Callable[[], float]
) -> None:
    """Send one, and keep what came of it."""
    reply = post(alert, settings, http)
    number = alert.tries + 1
    wait_s = None
    if is_taken(reply) or number >= TRIES:
        store.end_alert(alert.id)
    else:
        asked_s = max(next_wait_s(number, jitter), min(reply.retry_after_s or 0, LONGEST_WAIT_S))
        wait_s = asked_s if store.put_off_alert(alert.id, asked_s) else None
    log_it = logger.info if is_taken(reply) else logger.warning
    log_it(
        "alert.attempted",
        alert=alert.id,
        type=alert.as_body()["type"],
        attempt=number,
        status_code=reply.status_code,
        duration_ms=reply.duration_ms,
        error=reply.error,
        retry_in_s=None if wait_s is None else round(wait_s, 1),
        given_up=not is_taken(reply) and wait_s is None,
    )


def send_test(settings: Settings) -> HttpResult:
    """Send a test alert once, now, and return what came of it."""
    alert = Alert(id=f"msg_{secrets.token_hex(12)}", type=TEST, at=datetime.now(UTC))
    return post(alert, settings, HttpClient(timeout_s=TIMEOUT_S))


def post(alert: Alert, settings: Settings, http: HttpClient) -> HttpResult:
    """Make the request of one alert, signed with each secret. Never raises."""
    url = settings.alert_webhook_url or ""
    body = orjson.dumps(alert.as_body())
    headers = signed(url, body, alert.id, settings.alert_webhook_secrets)
    headers["Content-Type"] = "application/json"
    return _in_time(
        http, lambda line: http.request("POST", url, headers=headers, data=body, send_deadline=line)
    )


def _in_time(http: HttpClient, request: Callable[[SendDeadline], HttpResult]) -> HttpResult:
    """Make a request, and have it end by its deadline: in vain if need be.

    A time-out is for each read, so an answer that drips in never meets it; and none is for a name
    that does not resolve. The latter's thread stays where it hangs, and finds itself given up.
    """
    began = time.monotonic()
    line = SendDeadline(began + http.longest_s)
    replies: queue.SimpleQueue[HttpResult] = queue.SimpleQueue()
    try:
        threading.Thread(target=lambda: replies.put(request(line)), daemon=True).start()
    except RuntimeError as error:  # no thread is to be had
        return HttpResult(sent=False, duration_ms=0, error=str(error))
    while True:
        try:
            return replies.get(timeout=WATCH_S)
        except queue.Empty:
            http.cut_overdue()
        if time.monotonic() > line.start_by and line.give_up():
            took_ms = round((time.monotonic() - began) * 1000)
            return HttpResult(sent=False, duration_ms=took_ms, error=TOO_LATE)


def signed(url: str, body: bytes, message_id: str, keys: Sequence[str]) -> dict[str, str]:
    """Return the headers that prove a body; with several secrets, a signature by each."""
    request = Incoming(
        method="POST", url=url, headers={}, query={}, body=body, content_type="application/json"
    )
    now = datetime.now(UTC)
    made = [sign(AUTH, key, request, now=now, message_id=message_id) for key in keys]
    header = AUTH.schemes[0].header
    return {**made[0], header: " ".join(one[header] for one in made)}


def is_taken(reply: HttpResult) -> bool:
    """Say whether the receiver took a message: it answered 2xx."""
    return reply.status_code is not None and 200 <= reply.status_code < 300


def next_wait_s(number: int, jitter: Callable[[], float]) -> float:
    """Return the seconds to wait after failed attempt `number` (the first is 1)."""
    longest = min(FIRST_WAIT_S * 2.0 ** (number - 1), LONGEST_WAIT_S)
    return longest * (0.5 + jitter() / 2)
