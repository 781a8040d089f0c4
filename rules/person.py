"""Who a lead is: the name that lists show."""

from collections.abc import Mapping
from typing import Any, Final

from schemas.expression import ExpressionError
from schemas.source import Kind

LONGEST_NAME: Final = 200
"""Characters that are kept of a name."""


def name_of(metadata: Any, data: Any, kind: Kind) -> str | None:
    """Return a person's name; None: nothing names the person.

    It is `name` of the request's metadata, else its `first_name` and `last_name`, else what the
    kind of the source names in the event's data. metadata None: there is no request yet.
    """
    mapped = metadata if isinstance(metadata, Mapping) else {}
    found = _joined([mapped.get("name")]) or _joined(
        [mapped.get("first_name"), mapped.get("last_name")]
    )
    return found or _named_by(kind, data)


def _named_by(kind: Kind, data: Any) -> str | None:
    if kind.names is None:
        return None
    try:
        found = kind.names.search(data)
    except ExpressionError:
        return None
    return _joined(found if isinstance(found, list) else [found])


def _joined(parts: list[Any]) -> str | None:
    """Return texts as one line; anything else in the list is left out; None: no text is left."""
    words = [word for part in parts if isinstance(part, str) for word in part.split()]
    text = " ".join(words)[:LONGEST_NAME].strip()
    return text.encode("utf-8", "replace").decode() or None
