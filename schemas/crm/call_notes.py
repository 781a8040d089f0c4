"""What a CRM's record of a call says in words, and how the values of fields are written as text."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from schemas.crm_api import Told

OUR_KEY: Final = re.compile(r"\(bridge-[0-9a-f]{20}\)")
"""The key of a call, as keyed_title() writes it."""
_KEYED: Final = re.compile(rf"{OUR_KEY.pattern}\s*\Z")


def title(told: Told) -> str:
    """Return a line that says how the call ended: "Call by CallKaro: not reached"."""
    result = (told.outcome or {}).get("result") or "queued"
    return f"Call by CallKaro: {str(result).replace('_', ' ')}"


def keyed_title(told: Told) -> str:
    """Return that line with our key at its end, for a CRM in which the call is found by it."""
    return f"{title(told)} ({told.key})"


def is_keyed(text: str) -> bool:
    """Say whether a line ends with a key of ours, as keyed_title() writes it."""
    return _KEYED.search(text) is not None


def started_at(told: Told) -> datetime:
    """Return when the call began, in whole seconds: its end less the time that was talked."""
    talked_s = (told.outcome or {}).get("talked_s") or 0
    at = datetime.fromisoformat(told.at).replace(microsecond=0)
    try:
        return at - timedelta(seconds=int(talked_s))
    except OverflowError:  # some write "no time" as the first day of the year 1
        return at


def notes(told: Told) -> list[str]:
    """Return the lines that describe a call's outcome, the most useful one first."""
    outcome = told.outcome
    return [] if outcome is None else [line for line in _lines(outcome) if line]


def _lines(outcome: Mapping[str, Any]) -> Iterator[str]:
    yield str(outcome.get("disposition") or "")
    variables = outcome.get("variables")
    if isinstance(variables, Mapping):
        for name, value in variables.items():
            if value not in (None, "") and not isinstance(value, Mapping | list):
                yield f"{name}: {value}"
    for label, name in (("Recording", "recording_url"), ("In CallKaro", "call_link")):
        if outcome.get(name):
            yield f"{label}: {outcome[name]}"
    yield from str(outcome.get("transcript") or "").splitlines()


def field_text(value: Any) -> str:
    """Return a field's value as text; several choices with ";" between them."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case list():
            return ";".join(field_text(one) for one in value if one is not None)
        case _:
            return orjson.dumps(value).decode()
