"""What Meta's webhooks share, whatever they tell of: signature, challenge, and nested changes.

A body is about one kind of object (a Page, a WhatsApp Business account). It has one or more
entries, each of one object, and each entry has one or more changes: a field and its value.

https://developers.facebook.com/docs/graph-api/webhooks/getting-started
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.crm_api import Variable
from schemas.event import Item
from schemas.event_time import read_time
from schemas.source import Challenge, Signature, id_text

# The digest is over the body as it is sent, where all that is not ASCII is escaped.
SIGNATURE: Final = Signature(header="X-Hub-Signature-256", prefix="sha256=")
SECRET_HELP: Final = "the app secret of the Meta app, which signs its webhooks"
CHALLENGE: Final = Challenge(
    method="GET",
    echo="hub.challenge",
    only_with={"hub.mode": "subscribe"},
    token=("hub.verify_token", "VERIFY_TOKEN"),
)
VERIFY_TOKEN: Final = Variable(
    suffix="VERIFY_TOKEN",
    sample="a-made-up-verify-token",
    help="a token that you choose, and enter beside the callback URL in the Meta app",
)
LONGEST_OBJECT_ID: Final = 64
_FIELD: Final = re.compile(r"[A-Za-z0-9_]{1,60}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Subscription:
    """An object whose changes a source reads, and the field of it that becomes items."""

    object: str  # Meta's word for it in the body: "page"
    title: str  # the object for people: "a Page"
    id_name: str  # the key in an item's data for the id of its object: "page_id"
    # A change of another field has the type "<prefix>.<field>"; what is unreadable has `unknown`.
    prefix: str
    unknown: str
    field: str
    # (entry, change of the field) -> its items.
    read: Callable[[Mapping[str, Any], Mapping[str, Any]], Iterable[Item]]


def parse_changes(content: Any, of: Subscription) -> list[Item]:
    """Return the items of each change of a body, or of each body in a list: Meta sends none."""
    bodies = content if isinstance(content, list) else [content]
    return [item for body in bodies for item in _of_body(body, of)]


def count_changes(content: Any, count: Callable[[Any], int] = lambda change: 1) -> int:
    """Return how many items a body has at most. count: the same of one change, at least 1."""
    bodies = content if isinstance(content, list) else [content]
    return sum(max(1, sum(_count_entry(entry, count) for entry in _entries(b))) for b in bodies)


def object_id(value: Any) -> str | None:
    """Return the id of an entry's object. Each item keeps it, so a long text is none."""
    found = id_text(value)
    return found if found and len(found) <= LONGEST_OBJECT_ID else None


def list_of(value: Any) -> list[Any]:
    """Return a list; what is none is an empty one."""
    return value if isinstance(value, list) else []


def _of_body(body: Any, of: Subscription) -> Iterator[Item]:
    if not isinstance(body, dict):
        yield Item(type=of.unknown, data=body, problem="The body is not a JSON object.")
        return
    entries = _entries(body)
    problem = None if entries else "The notification has no entry."
    if body.get("object") != of.object:
        problem = f"The notification is not about {of.title}."
    if problem:
        yield Item(type=of.unknown, data=body, problem=problem)
        return
    for entry in entries:
        changes = _changes(entry)
        if not changes:
            yield Item(type=of.unknown, data=entry, problem="The entry has no change.")
        for change in changes:
            yield from _of_change(entry, change, of)


def _of_change(entry: Mapping[str, Any], change: Any, of: Subscription) -> Iterable[Item]:
    """Return the items of one change, with nothing of the others: they are other people's."""
    if not isinstance(change, dict):
        return [Item(type=of.unknown, data=change, problem="The change is not a JSON object.")]
    field: Any = change.get("field")
    if not isinstance(field, str) or not _FIELD.fullmatch(field):
        problem = "The change does not name its field."
        return [Item(type=of.unknown, data=change, problem=problem)]
    if field == of.field:
        return of.read(entry, change)
    data = {of.id_name: object_id(entry.get("id")), **change}
    return [Item(type=f"{of.prefix}.{field}", data=data, time=read_time(entry.get("time")))]


def _count_entry(entry: Any, count: Callable[[Any], int]) -> int:
    return max(1, sum(count(change) for change in _changes(entry)))


def _entries(body: Any) -> list[Any]:
    return list_of(body.get("entry")) if isinstance(body, dict) else []


def _changes(entry: Any) -> list[Any]:
    return list_of(entry.get("changes")) if isinstance(entry, dict) else []
