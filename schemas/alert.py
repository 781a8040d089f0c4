"""An alert: something needs a person, or does not need one any more. Sent as a Standard Webhook."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

from schemas.source import STANDARD_WEBHOOKS
from schemas.write_back import CRM

AUTH: Final = STANDARD_WEBHOOKS  # the receiver's proof that the bridge sent it
FORMATS: Final = ("standard", "slack")
REFUSED_IN_A_ROW: Final = 10
"""This many refused requests of a source in a row, for one cause, raise its alert."""

TRIES: Final = 14
"""Attempts to send one message; with the waits between them about five hours."""

TYPES: Final = {
    "destination.paused": "something is paused, by a person or by the bridge itself",
    "route.failing": "the bridge paused a route, because its calls failed in a row",
    "delivery.unknown": "a delivery is unknown: a phone may have rung",
    "backlog.old": "a delivery could have gone ALERT_BACKLOG_AGE ago",
    "source.signatures_failing": "requests of a source have a wrong signature or token, in a row",
    "source.bodies_failing": "requests of a source prove it, and can't be parsed, in a row",
    "bulk.held": "deliveries wait for a person to release them",
    "channel.lapsed": "a CRM does not notify the bridge any more: its channel expired",
}
"""All alerts, and what each means. When its cause is over, `.resolved` is added to its type."""
TEST: Final = "alert.test"
SUMMARY: Final = "summary.daily"  # comes every day; it is never over

# What a person reads, with the alert's facts. A type without a line here has the words of TYPES.
_BEGAN: Final = {
    "destination.paused": "{what} paused: {why}",
    "route.failing": "{message}",
    "delivery.unknown": "Unknown deliveries: {count}. A phone may have rung for each. Find out, "
    "and resolve it.",
    "backlog.old": "The oldest waiting delivery is {oldest_s} seconds late. Waiting deliveries: "
    "{waiting}. See whether the workers run.",
    "source.signatures_failing": "The last {in_a_row} requests of the source '{source}' had a "
    "wrong signature or token, or were too old. Check its secret, and the clocks.",
    "source.bodies_failing": "The last {in_a_row} requests of the source '{source}' had a right "
    "signature or token, but could not be parsed. Look at them on the page Events, and fix the "
    "template in the CRM.",
    "bulk.held": "Deliveries held as bulk: {count}. Nobody is called until a person releases them.",
    "channel.lapsed": "The notification channel of the source '{source}' expired: its CRM tells "
    "the bridge of nothing. The bridge tries to make a new one, and then asks for what it missed. "
    "The page Routes says why that fails.",
    SUMMARY: "On {date}: {became}. Now: {waits}.",
    TEST: "This is a test alert. Alerts of CallKaro Bridge arrive here.",
}
_OVER: Final = {
    "destination.paused": "{what} not paused any more.",
    "route.failing": "The route '{route}' is not paused any more.",
    "delivery.unknown": "No delivery is unknown any more.",
    "backlog.old": "No waiting delivery is late any more.",
    "source.signatures_failing": "A request of the source '{source}' had a right signature or "
    "token again.",
    "source.bodies_failing": "A request of the source '{source}' could be parsed again.",
    "bulk.held": "No delivery is held as bulk any more.",
    "channel.lapsed": "The source '{source}' has a notification channel again.",
}
_PAUSED: Final = {"all": "Everything is", "callkaro": "CallKaro is", "workers": "The workers are"}
_WHY_PAUSED: Final = {
    "person": "a person did this. Nobody is called until a person resumes.",
    "account": "CallKaro refused the API key or the account. Fix that, then resume.",
    "breaker": "CallKaro failed many times in a row. The bridge tests whether it is back.",
    "suspended": "`rq suspend` stopped them. Nothing is sent until `rq resume`.",
    "credentials": "it does not accept what the bridge proves itself with. Fix that, then resume. "
    "Calls go on.",
}
_BY_PERSON_AT_CRM: Final = (
    "a person did this. It is told nothing until a person resumes. Calls go on."
)
# The figures of a summary in their order; those that are not known are left out.
_BECAME: Final = {
    "events": "deliveries made",
    "accepted": "accepted by CallKaro",
    "dialled": "dialled",
    "connected": "connected",
    "converted": "converted",
    "skipped": "skipped",
    "failed": "failed",
    "unknown": "unknown",
}
_WAITS: Final = {
    "queued": "waiting",
    "held": "held",
    "bulk": "of these as bulk",
    "unknown": "unknown",
}
_PAGES: Final = {  # of the dashboard
    "delivery.unknown": "/deliveries?status=unknown",
    "backlog.old": "/deliveries?status=queued",
    "source.signatures_failing": "/events",
    "source.bodies_failing": "/events/refused",
    "bulk.held": "/deliveries?status=held&reason=bulk",
    "channel.lapsed": "/routes",
}


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

    @property
    def message(self) -> str:
        """Return what happened, for people, without personal data."""
        known = _OVER if self.is_over else _BEGAN
        scope, why = str(self.facts.get("scope", "")), str(self.facts.get("reason", ""))
        words = {
            **self.facts,
            "date": _date(self.facts.get("day", "")),
            "what": _PAUSED.get(scope, f"'{scope}' is"),
            "why": _why_paused(scope, why),
            "became": _counts(self.facts.get("funnel"), _BECAME),
            "waits": _counts(self.facts.get("waiting"), _WAITS),
        }
        with contextlib.suppress(KeyError):  # an older release stored it, without this fact
            return known[self.type].format(**words)
        what = TYPES.get(self.type, self.type)
        return f"This is over: {what}." if self.is_over else f"{what[:1].upper()}{what[1:]}."

    def as_body(self, public_url: str | None) -> dict[str, Any]:
        """Return the body to send.

        public_url: the bridge's address, for the URL of the page that shows more; None: no URL.
        """
        data = {
            name: _iso(value) if isinstance(value, datetime) else value
            for name, value in self.facts.items()
        }
        data["message"] = self.message
        page = _PAGES.get(self.type, "/")
        data["url"] = f"{public_url.rstrip('/')}{page}" if public_url else None
        return {
            "type": self.full_type,
            "timestamp": _iso(self.at),
            "data": dict(sorted(data.items())),
        }

    @property
    def full_type(self) -> str:
        """Return the type as it is sent: with `.resolved` when its cause is over."""
        return f"{self.type}.resolved" if self.is_over else self.type


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


def _why_paused(scope: str, reason: str) -> str:
    if reason == "person" and scope.startswith(CRM):
        return _BY_PERSON_AT_CRM
    return _WHY_PAUSED.get(reason, f"{reason}.")


def _counts(counts: Any, words: Mapping[str, str]) -> str:
    """Return counts as a person reads them: `310 deliveries made, 298 accepted by CallKaro`."""
    known = counts if isinstance(counts, Mapping) else {}
    return ", ".join(f"{known[name]:,} {word}" for name, word in words.items() if name in known)


def _date(day: str) -> str:
    """Return a day as the pages write it: `31 Jan 2026`."""
    try:
        return f"{date.fromisoformat(day):%d %b %Y}"
    except ValueError:
        return day


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
