"""What lists show of a person and a record, for deliveries that an older release stored."""

from collections.abc import Mapping
from typing import Any

from rules.matching import record_page_of
from rules.person import name_of
from schemas.event import Event
from schemas.source import Source


def person_of(
    sources: Mapping[str, Source], source: str, request: Mapping[str, Any], event: Event | None
) -> dict[str, str]:
    """Return `name`, `number` and `record_page` of a delivery, without those that nothing names.

    source: its name in `sources`, or one that is not there any more. request: the body for
    CallKaro, {} if there is none. event None: it is gone, or too large to read.
    """
    known = sources.get(source)
    number = request.get("to_number")
    found: dict[str, Any] = {"number": number if isinstance(number, str) else None}
    if known:
        found["name"] = name_of(request.get("metadata"), event and event.data, known.kind)
        found["record_page"] = record_page_of(event, known.kind) if event else None
    return {name: value for name, value in found.items() if value}
