"""What CallKaro sends when a call has ended: `call_ended`."""

from __future__ import annotations

import http.client
import io
import ipaddress
import json
import math
import wave
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from simulator.state import Call

# CallKaro waits 5 seconds for an answer.
TIMEOUT_S = 5.0
# Invented: nobody has this number.
CALLER = "918000000000"
CONNECTED = frozenset({"CLIENT_INITIATED", "PARTICIPANT_REMOVED", "SESSION_TIMEOUT"})
# Of the recording.
RATE_HZ = 8000
TONE_HZ = 440
# The time has no zone; the only sample in the documentation is Indian.
INDIA = timezone(timedelta(hours=5, minutes=30))


class NotAllowed(ValueError):
    """Outcomes may not be sent to this address: choose another one."""


def call_ended(call: Call, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the body about how this call ended: it was connected, unless overrides say otherwise.

    Raises:
        ValueError: an override names a field that CallKaro does not document.
    """
    overrides = overrides or {}
    reason = overrides.get("hangup_reason", "CLIENT_INITIATED")
    connected = reason in CONNECTED
    data: dict[str, Any] = {
        "callSid": call.call_sid,
        "name": "outbound-scheduled" if call.schedule_at else "outbound-api",
        "agent": call.agent_id,
        "versionId": "v1",
        "from": CALLER,
        "to": call.to_number.removeprefix("+"),
        "recordingUrl": f"https://recordings.example/{call.call_sid}.mp3" if connected else "",
        "call_duration": 42 if connected else 0,
        "time": datetime.now(INDIA).strftime("%Y-%m-%d %H:%M:%S"),
        "transcription": "Agent: Hello!\nUser: Hello, please tell me more." if connected else "",
        "batchId": call.batch_id,
        "hangup_reason": reason,
        "call_metadata": call.metadata,
        "try_count": 0,
        "post_call": {"interested": "yes"} if connected else {},
        "post_call_detail": (
            {"interested": {"value": "yes", "comment": "Asked for more."}} if connected else {}
        ),
        "functions_called": [],
        "disposition_reason": "",
        "conversion_status": connected,
        "next_call_scheduled": False,
        "call_link": f"https://dashboard.example/calls/{call.call_sid}",
    }
    unknown = overrides.keys() - data.keys()
    if unknown:
        raise ValueError(f"not a field of call_ended: {', '.join(sorted(unknown))}")
    return {"event": "call_ended", "data": {**data, **overrides}}


def post(
    url: str,
    body: Any,
    *,
    allowed_hosts: Collection[str] = (),
    sign: Callable[[bytes], Mapping[str, str]] = lambda _: {},
) -> int:
    """Send a body to a URL on this machine, or on an allowed host, and return the status.

    sign: (the body's bytes) -> headers to add.

    Redirects are not followed: one could lead away from this machine.

    Raises:
        NotAllowed: the URL is not http, or leads elsewhere.
        OSError, http.client.HTTPException: nobody answered there.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "http" or not (_is_loopback(host) or host in allowed_hosts):
        raise NotAllowed("outcomes are sent only to http://localhost and allowed hosts")
    connection = http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT_S)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        raw = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **sign(raw)}
        connection.request("POST", target, raw, headers)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


@cache
def recording() -> bytes:
    """Return a sound as a WAV file: half a minute of a soft tone, a second on and a second off."""
    tone = bytes(
        128 + round(24 * math.sin(math.tau * TONE_HZ * at / RATE_HZ)) for at in range(RATE_HZ)
    )
    sound = io.BytesIO()
    with wave.open(sound, "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(1)
        made.setframerate(RATE_HZ)
        made.writeframes((tone + b"\x80" * RATE_HZ) * 15)
    return sound.getvalue()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
