"""An alert: that something began, or ended, to need a person. Sent as a Standard Webhook."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from schemas.source import STANDARD_WEBHOOKS

AUTH: Final = STANDARD_WEBHOOKS  # how the receiver knows that it is ours
REFUSED_IN_A_ROW: Final = 10
"""So many requests of a source that prove nothing, without one in between that does."""

TRIES: Final = 14
"""How often it is tried to send one message; with the waits between them, about five hours."""

TYPES: Final = {
    "destination.paused": "something is paused, by a person or by the bridge itself",
    "delivery.unknown": "a delivery is unknown: a phone may have rung",
    "backlog.old": "a delivery could have gone ALERT_BACKLOG_AGE ago",
    "source.signatures_failing": "requests of a source fail their signature in a row",
    "bulk.held": "deliveries wait for a person to release them",
}
"""What alerts there are, and what each says. One that is over has `.resolved` behind its type."""
TEST: Final = "alert.test"


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """A message about one change. tries: how often it was tried to send it before.

    facts are what the store knows of it, without people's data; of one that is over, as it began.
    """

    id: str
    type: str
    at: datetime
    is_over: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    tries: int = 0

    def as_body(self) -> dict[str, Any]:
        """Return what is sent."""
        return {
            "type": f"{self.type}.resolved" if self.is_over else self.type,
            "timestamp": _iso(self.at),
            "data": {
                name: _iso(value) if isinstance(value, datetime) else value
                for name, value in sorted(self.facts.items())
            },
        }


def read_alert(message_id: str, kept: Mapping[str, Any], at: Callable[[int], datetime]) -> Alert:
    """Return the message that alert.lua kept; at turns its milliseconds into a time."""
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
