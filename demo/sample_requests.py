"""The sample webhooks of demo/samples: what is sent, and what should become of it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from schemas.delivery import Status
from schemas.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A webhook request as a CRM might make it."""

    source: str
    content_type: str
    body: bytes
    # How many of its events should match a route, and how many should match none.
    routed: int
    unrouted: int = 0


def samples(now: datetime) -> list[Sample]:
    """Return the samples of demo/samples, with ids and times as if they happened now."""
    folder = files("demo") / "samples"
    now_ms = int(now.timestamp() * 1000)
    notifications = json.loads((folder / "hubspot.json").read_text("utf-8"))
    for number, notification in enumerate(notifications):
        notification |= {"eventId": now_ms + number, "occurredAt": now_ms}
    lead = json.loads((folder / "website.json").read_text("utf-8"))
    lead["submission_id"] = f"contact-form-{now_ms}"
    form = (folder / "zoho.form").read_text("utf-8").strip()
    return [
        Sample(
            source="hubspot",
            content_type="application/json",
            body=json.dumps(notifications).encode(),
            routed=2,
            unrouted=1,
        ),
        Sample(
            source="zoho",
            content_type="application/x-www-form-urlencoded",
            # Zoho sends no id. Without a time of its own, the form of the last run would be the
            # same event.
            body=f"{form}&{urlencode({'Created_Time': now.isoformat()})}".encode(),
            routed=1,
        ),
        Sample(
            source="website",
            content_type="application/json",
            body=json.dumps(lead).encode(),
            routed=1,
        ),
    ]


def why_not_sent(sample: Sample, settings: Settings) -> str | None:
    """Return why a sample can't be sent; None: it can."""
    source = settings.routes.sources.get(sample.source)
    if source is None:
        return "routes.toml has no such [[source]]"
    if not any(route.source == sample.source for route in settings.routes.routes):
        return "routes.toml has no route for it"
    if not settings.secrets.get(sample.source):
        return f"{source.variable_prefix}WEBHOOK_SECRET is not set"
    return None


def problems_of(sample: Sample, answer: Mapping[str, Any], found: Sequence[Any]) -> Iterator[str]:
    """Yield what is not as expected of a sample, one sentence each.

    answer is that of the webhook; found has each of its events with its deliveries.
    """
    for word, count in (("accepted", sample.routed), ("unrouted", sample.unrouted)):
        if answer[word] != count:
            yield f"{sample.source}: {answer[word]} events {word}, not {count}"
    for _, deliveries in found:
        for delivery in deliveries:
            if delivery["status"] != Status.DELIVERED:
                why = delivery["message"] or delivery["reason"] or "it is not settled yet"
                yield f"{sample.source}: {delivery['route']!r} is {delivery['status']}: {why}"
