"""An alert: something needs a person, or does not need one any more. Sent as a Standard Webhook."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from schemas.source import STANDARD_WEBHOOKS

AUTH: Final = STANDARD_WEBHOOKS  # the receiver's proof that the bridge sent it
REFUSED_IN_A_ROW: Final = 10
"""This many refused requests of a source in a row, for one cause, raise its alert."""

TRIES: Final = 14
"""Attempts to send one message; with the waits between them about five hours."""

TYPES: Final = {
    "destination.paused": "something is paused, by a person or by the bridge itself",
    "route.failing": "the bridge paused a route, because its calls failed in a row",
    "delivery.unknown": "a delivery is unknown: a phone may have rung",
    "backlog.old": "a delivery could have gone ALERT_BACKLOG_AGE ago",
    "source.signatures_failing": "requests of a source fail their signature in a row",
    "source.bodies_failing": "requests of a source prove it, and can't be parsed, in a row",
    "bulk.held": "deliveries wait for a person to release them",
}
"""All alerts, and what each means. When its cause is over, `.resolved` is added to its type."""
TEST: Final = "alert.test"


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """A message about one change."""

    id: str
    type: str
    at: datetime
    is_over: bool = False
    # What the store knows about it, without personal data; as it was when the alert began.
    facts: Mapping[str, Any] = field(default_factory=dict)
    tries: int = 0  # attempts to send it so far

    def as_body(self) -> dict[str, Any]:
        """Return the body to send."""
        return {
            "type": f"{self.type}.resolved" if self.is_over else self.type,
            "timestamp": _iso(self.at),
            "data": {
                name: _iso(value) if isinstance(value, datetime) else value
                for name, value in sorted(self.facts.items())
            },
        }


def read_alert(message_id: str, kept: Mapping[str, Any], at: Callable[[int], datetime]) -> Alert:
    """Return the message that alert.lua stored; at() turns its milliseconds into a time."""
    facts = {
        name.removesuffix("_ms"): at(value) if name.endswith("_ms") else value
        for name, value in kept["facts"].items()
    }
    return Alert(
        id=message_id,
        type=kept["type"],
        at=at(kept["at_ms"]),
        is_over=kept["is_over"],
        facts=facts,
        tries=kept["tries"],
    )


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
