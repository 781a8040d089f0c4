"""How a stand-in's requests and records say what it was told of calls. A CRM's module describes it.

The simulator remembers its requests anyway, so no endpoint has to note it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from simulator.state import Received


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a record: its object and id, and the fields as they were written."""

    object: str
    record_id: Any
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """Reads what one CRM was told of calls."""

    # The CRM's object of calls.
    calls: str
    # A new call -> the object and the id of the record that it belongs to; None: not known.
    record_of: Callable[[Mapping[str, Any]], tuple[str | None, str | None]]
    # What a new call says of that record, or of its creation; the rest is its fields.
    links: frozenset[str]
    # A request that was accepted -> what it changes; nothing for one that only reads or adds.
    changes: Callable[[Received], Iterable[Change]]


def objects(body: Any, name: str) -> list[dict[str, Any]]:
    """Return the objects in a list of a body; what is none is left out."""
    found = body.get(name) if isinstance(body, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
