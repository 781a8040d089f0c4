"""The alert sender: signs alerts as Standard Webhooks and sends each until the receiver has it.

With ALERT_FORMAT=slack it sends what Slack's incoming webhooks take.

It runs in a process of its own while there are alerts, so a receiver that hangs delays neither a
delivery nor the ticker. Each message is sent at least once; a repeated message has the same id.
Messages about one subject are sent in their order: see store/scripts/alert_claim.lua.
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
from schemas.slack import slack_body
from schemas.source import Incoming
from store import Store, connect
from workers.http import HttpClient, SendDeadline

logger = log.get(__name__)

TIMEOUT_S = 5.0
WATCH_S = 0.1  # how late a request past its deadline is cut off
LEASE_S = 120.0  # longer than the sender may live: see ALERT_SENDER_S in supervisor.py
FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 3600.0


def send_due(settings: Settings, *, jitter: Callable[[], float] = random.random) -> None:
    """Send alerts until none is due. Raises StoreUnavailable.

    Alerts are claimed one by one, so slow alerts do not use up the lease of the next.
    """
    http = HttpClient(timeout_s=TIMEOUT_S)
    with connect(settings.redis_url) as client:
        store = Store(client)
        while alert := store.claim_alert(lease_s=LEASE_S):
            _send(alert, settings, store, http, jitter)


def _send(
    alert: Alert, settings: Settings, store: Store, http: HttpClient, jitter: Callable[[], float]
) -> None:
    """Send one alert, and record the result."""
    result = post(alert, settings, http)
    number = alert.tries + 1
    wait_s = None
    if is_taken(result) or number >= TRIES:
        store.end_alert(alert.id)
    else:
        asked_s = max(next_wait_s(number, jitter), min(result.retry_after_s or 0, LONGEST_WAIT_S))
        wait_s = asked_s if store.put_off_alert(alert.id, asked_s) else None
    log_it = logger.info if is_taken(result) else logger.warning
    log_it(
        "alert.attempted",
        alert=alert.id,
        type=alert.full_type,
        attempt=number,
        status_code=result.status_code,
        duration_ms=result.duration_ms,
        error=result.error,
        retry_in_s=None if wait_s is None else round(wait_s, 1),
        given_up=not is_taken(result) and wait_s is None,
    )


def send_test(settings: Settings) -> HttpResult:
    """Send a test alert once, now, and return the result."""
    alert = Alert(id=f"msg_{secrets.token_hex(12)}", type=TEST, at=datetime.now(UTC))
    return post(alert, settings, HttpClient(timeout_s=TIMEOUT_S))


def post(alert: Alert, settings: Settings, http: HttpClient) -> HttpResult:
    """Make the request of one alert, signed with each secret there is. Never raises."""
    url = settings.alert_webhook_url or ""
    body = orjson.dumps(
        slack_body(alert, settings.public_url)
        if settings.alert_format == "slack"
        else alert.as_body(settings.public_url)
    )
    headers = signed(url, body, alert.id, settings.alert_webhook_secrets)
    headers["Content-Type"] = "application/json"
    return _in_time(
        http,
        lambda deadline: http.request(
            "POST", url, headers=headers, data=body, send_deadline=deadline
        ),
    )


def _in_time(http: HttpClient, request: Callable[[SendDeadline], HttpResult]) -> HttpResult:
    """Make a request, and end it at its deadline, with or without an answer.

    requests' own time-out is not enough. It is for each read, so a slow trickle of bytes never
    exceeds it; and it does not cover a name that does not resolve. The thread that waits for a name
    hangs on; when it returns, its result is ignored.
    """
    began = time.monotonic()
    deadline = SendDeadline(began + http.longest_s)
    results: queue.Queue[HttpResult] = queue.Queue()  # see Pool: a SimpleQueue can wait for ever
    try:
        threading.Thread(target=lambda: results.put(request(deadline)), daemon=True).start()
    except RuntimeError as error:  # the system has no thread left
        return HttpResult(sent=False, duration_ms=0, error=str(error))
    while True:
        try:
            return results.get(timeout=WATCH_S)
        except queue.Empty:
            http.cut_overdue()
        if time.monotonic() > deadline.start_by and deadline.give_up():
            took_ms = round((time.monotonic() - began) * 1000)
            return HttpResult(sent=False, duration_ms=took_ms, error=TOO_LATE)


def signed(url: str, body: bytes, message_id: str, keys: Sequence[str]) -> dict[str, str]:
    """Return the headers that sign a body, with one signature for each secret; none without."""
    if not keys:
        return {}
    request = Incoming(
        method="POST", url=url, headers={}, query={}, body=body, content_type="application/json"
    )
    now = datetime.now(UTC)
    signatures = [sign(AUTH, key, request, now=now, message_id=message_id) for key in keys]
    header = AUTH.schemes[0].header
    return {**signatures[0], header: " ".join(one[header] for one in signatures)}


def is_taken(result: HttpResult) -> bool:
    """Say whether the receiver accepted a message: it answered 2xx."""
    return result.status_code is not None and 200 <= result.status_code < 300


def next_wait_s(number: int, jitter: Callable[[], float]) -> float:
    """Return the seconds to wait after failed attempt `number` (the first is 1)."""
    longest = min(FIRST_WAIT_S * 2.0 ** (number - 1), LONGEST_WAIT_S)
    return longest * (0.5 + jitter() / 2)
