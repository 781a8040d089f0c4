"""Leads: as the body that CallKaro gets, and as the web form that the bridge makes it of."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from bench.processes import HOST
from bench.setting import AGENT, TOKEN

FORM_PATH = "/webhooks/form"


def body_of(number: int) -> dict[str, Any]:
    """Return the body that the others post as it is; the bridge makes an equal one of a form."""
    return {
        "to_number": f"+9198{number:08d}",
        "agent_id": AGENT,
        "batch_id": "batch-1",
        "number_of_retries": 2,
        "gap_between_retries": [30, 60],
        "metadata": {
            "name": f"Lead {number}",
            "city": "Bengaluru",
            "bridge_delivery_id": f"lead-{number}",
        },
    }


def form_of(number: int) -> dict[str, str]:
    """Return the lead as a form sends it. It is complete: nothing has to be fetched."""
    body = body_of(number)
    data = {"phone": str(body["to_number"]), "submitted_at": datetime.now(UTC).isoformat()}
    return data | {name: body["metadata"][name] for name in ("name", "city")}


def form_requests(port: int, numbers: Sequence[int], at_once: int) -> list[bytes]:
    """Return the bytes of the requests that bring these leads, so many in each."""
    parts = [numbers[start : start + at_once] for start in range(0, len(numbers), at_once)]
    return [_form_request(port, part) for part in parts]


def _form_request(port: int, numbers: Sequence[int]) -> bytes:
    body = orjson.dumps([form_of(number) for number in numbers])
    head = (
        f"POST {FORM_PATH} HTTP/1.1\r\nHost: {HOST}:{port}\r\nX-Webhook-Token: {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body
