"""Any form or CRM that posts JSON or a form, with field names of its own.

The `[[source]]` entry in routes.toml says where type, id and time are. The data is the body as
received. An object is one item, a list of objects one item each. The shared token is taken from
the header or the URL only: a field named `token` in the body is the sender's own.
"""

from typing import Any

from schemas.delivery import WRITE_BACK
from schemas.event import Item
from schemas.expression import Expression
from schemas.source import Incoming, Kind, Source, Token, item_by_paths
from schemas.write_back import MARK


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read one item of an object, or one item of each object in a list."""
    if not isinstance(content, list):
        return [_item(content, request, source)]
    if len(content) == 1:
        return [_item(content[0], request, source)]
    return [_item(body, request, source, index) for index, body in enumerate(content)]


def is_own_change(event_type: str, data: Any) -> bool:
    """Say whether a write-back of this bridge came back as a webhook."""
    return isinstance(data, dict) and data.get(MARK) == WRITE_BACK


def _item(body: Any, request: Incoming, source: Source, index: int | None = None) -> Item:
    if not isinstance(body, dict):
        return Item(type=source.default_type, data=body, problem="The body is not a JSON object.")
    return item_by_paths(body, request, source, index=index)


KIND = Kind(
    name="generic",
    title="Generic JSON or form",
    auth=Token(),
    parse=parse,
    is_own_change=is_own_change,
    # The usual names of these fields; routes may map others.
    names=Expression.of(
        "name || full_name || fullName || [first_name || firstName, last_name || lastName]"
    ),
    emails=Expression.of("email || email_address || emailAddress"),
)
