"""Closed lists of words in /openapi.json: each list that several shapes use has one name.

Makers of clients name a list after the place where it stands. So without this, one reason would be
nine types, such as DeliveryBriefReasonType2Type1.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from schemas.access import ACTS
from schemas.delivery import CALLS, KINDS, Reason, Status
from schemas.event import EventStatus
from schemas.outcome import Result
from schemas.records import NO_OUTCOME
from schemas.write_back import Moment

WORDS: Final[Mapping[str, tuple[str, Iterable[str]]]] = {
    "AuditAction": ("What a person did.", ACTS),
    "DeliveryKind": ("What a delivery makes.", KINDS),
    "DeliveryReason": ("Why a delivery has its status.", Reason),
    "DeliveryStatus": ("The status of a delivery.", Status),
    "EventStatus": ("The status of an event.", EventStatus),
    "OutcomeFilter": ("The result of a call; none: not reported yet.", (*Result, NO_OUTCOME)),
    "OutcomeResult": ("The result of a call.", Result),
    "RouteKind": ("What a route makes.", CALLS),
    "WriteBackMoment": ("The moment of a call that a CRM is told of.", Moment),
}


def name_words(spec: dict[str, Any]) -> None:
    """Replace each list of words that has a name by a reference to it, everywhere in `spec`."""
    names = {frozenset(map(str, words)): name for name, (_, words) in WORDS.items()}
    used: set[str] = set()

    def replaced(value: Any) -> Any:
        if isinstance(value, list):
            return [replaced(one) for one in value]
        if not isinstance(value, dict):
            return value
        words: list[str | None] = value.get("enum", [])
        name = names.get(frozenset(word for word in words if word is not None))
        if name is None:
            return {key: replaced(one) for key, one in value.items()}
        used.add(name)
        others = {key: one for key, one in value.items() if key not in ("enum", "type")}
        reference = {"$ref": f"#/components/schemas/{name}"}
        if None in words:
            return {"anyOf": [reference, {"type": "null"}], **others}
        return {**reference, **others}

    for part in ("paths", "components"):
        spec[part] = replaced(spec[part])
    for name in sorted(used):
        about, words = WORDS[name]
        listed = [str(word) for word in words]
        spec["components"]["schemas"][name] = {
            "type": "string",
            "enum": listed,
            "description": f"{about} One of: {', '.join(listed)}.",
        }
