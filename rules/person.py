"""The person of a lead: the name, the e-mail and the digits of the numbers. Pure.

What the route maps to the request's metadata counts first. Else the CRM's own fields count, which
its module names (Kind.names, Kind.emails, Kind.phones). So a lead that is never called has them,
too. Values of an unexpected type are left out: the data is a stranger's.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from rules.numbers import candidates_of
from schemas.expression import Expression, ExpressionError
from schemas.route import Value
from schemas.source import Kind

LONGEST_NAME: Final = 200
LONGEST_EMAIL: Final = 254  # RFC 3696, erratum 1690
MOST_NUMBERS: Final = 3
SIGNIFICANT: Final = 10  # the last digits of a number, which it has in every way of writing it

_PARTS: Final = 4  # of a name, such as a first and a last name
_LOOKED_AT: Final = 100  # characters of a text that may be a number
# Digits with what people write between them. An extension behind "ext" or "x" is not part of it.
_NUMBER: Final = re.compile(r"\d(?:[\s()+./\-\u00ad\u2000-\u2015\u2060\u2212]{0,3}\d){6,19}")


def name_of(metadata: Any, data: Any, kind: Kind) -> str | None:
    """Return the name of a person, at most LONGEST_NAME characters; None: it is not known.

    metadata: of the mapped request; None: nothing was mapped. data: the event's, hydrated.
    """
    mapped = _mapped_name(metadata) if metadata and isinstance(metadata, Mapping) else ""
    return (mapped or _text(_of_kind(kind.names, data)))[:LONGEST_NAME].strip() or None


def _mapped_name(metadata: Mapping[str, Any]) -> str:
    name = metadata.get("name")
    whole = _text(name) if isinstance(name, str) else ""
    return whole or _text([metadata.get("first_name"), metadata.get("last_name")])


def email_of(metadata: Any, data: Any, kind: Kind) -> str | None:
    """Return the e-mail address of a person; None: it is not known, or it is too long for one."""
    mapped = metadata.get("email") if metadata and isinstance(metadata, Mapping) else None
    for value in filter(None, (mapped, _of_kind(kind.emails, data))):
        for text in _texts(value):
            if "@" in text and len(text) <= LONGEST_EMAIL:
                return text
    return None


def digits_of(data: Any, kind: Kind, to_number: Value | str | None) -> tuple[str, ...]:
    """Return the last ten digits of a person's numbers, at most three numbers.

    to_number: the number that is called, or where the route finds it in data; None: it is in
    neither.
    """
    mapped = to_number if isinstance(to_number, str) else _searched(to_number, data)
    found: dict[str, None] = {}
    for raw in filter(None, (mapped, _of_kind(kind.phones, data))):
        for candidate in candidates_of(raw):
            digits = last_digits(candidate)
            if digits:
                found[digits] = None
    return tuple(islice(found, MOST_NUMBERS))


def last_digits(value: Any) -> str | None:
    """Return the last ten digits of a number, as 0 to 9; None: it has fewer than seven."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = value if isinstance(value, str) else str(value) if abs(value) < 10**20 else ""
    found = _NUMBER.search(as_digits(text[:_LOOKED_AT]))
    return re.sub(r"\D", "", found.group())[-SIGNIFICANT:] if found else None


def as_digits(text: str) -> str:
    """Return a text with the digits of every script as 0 to 9."""
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(one, one)) for one in text)


def tells_of_person(data: Any, kind: Kind) -> bool:
    """Say whether data may have what a CRM keeps of a person; that of a thin event has not."""
    return any(_may_find(value, data) for value in (kind.names, kind.emails, kind.phones))


def _of_kind(value: Expression | None, data: Any) -> Any:
    """Return the value of a CRM module's expression; of a thin event, without evaluating it."""
    return _searched(value, data) if _may_find(value, data) else None


def _may_find(value: Expression | None, data: Any) -> bool:
    """Say whether data has a key that an expression reads."""
    return value is not None and isinstance(data, dict) and not value.first_keys.isdisjoint(data)


def _searched(value: Expression | Value | None, data: Any) -> Any:
    if value is None:
        return None
    try:
        return value.search(data)
    except ExpressionError:
        return None


def _text(value: Any) -> str:
    return "" if value is None else " ".join(_texts(value))


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of a value that is a text or a list of texts, without blank ones."""
    for one in islice(value, _PARTS) if isinstance(value, list) else (value,):
        if isinstance(one, str) and (text := one[: 2 * LONGEST_EMAIL].strip()):
            yield text
