"""Whether a piece of data mentions a number: what erasing a person has to find."""

import re
from typing import Any, Final

import phonenumbers

# Blanks, dashes and invisible marks of any width, as people and address books write them.
_BETWEEN: Final = (
    r" \t\u00a0\u00ad\u2000-\u2015\u202a-\u202f\u2060-\u2069\u2212\u3000\ufeff\uff0d()\[\]./~\-"
)
_RUN: Final = re.compile(rf"\d(?:[{_BETWEEN}]{{0,3}}\d){{5,}}")
_TWO: Final = re.compile(r"/|\s[-\u2010-\u2015]\s|\s\s+")  # what may also stand between two numbers
_STAMP: Final = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}")
_DEEPEST: Final = 64


def mentions(data: Any, number: str) -> bool:
    """Say whether a number (E.164) stands anywhere in a JSON value, however it is written there.

    With or without its country code, with blanks and dashes, within a sentence, or as an integer.
    """
    parsed = phonenumbers.parse(number, None)
    # Zeros as dialled from within its country, also behind the country code: +44 (0)20 …
    ways = re.compile(rf"0*(?:{parsed.country_code}0*)?{parsed.national_number}")
    return _mentions(data, ways, 0)


def _mentions(value: Any, ways: re.Pattern[str], depth: int) -> bool:
    if depth > _DEEPEST:
        return False
    match value:
        case bool() | None:
            return False
        case int() if abs(value) < 10**18:  # Python refuses to print endless ones
            return ways.fullmatch(str(abs(value))) is not None
        case float() if value.is_integer() and abs(value) < 10**18:
            return ways.fullmatch(str(int(abs(value)))) is not None
        case str():
            runs = (found.group() for found in _RUN.finditer(_STAMP.sub(",", value)))
            pieces = (piece for run in runs for piece in (run, *_TWO.split(run)))
            return any(ways.fullmatch(phonenumbers.normalize_digits_only(one)) for one in pieces)
        case list():
            return any(_mentions(item, ways, depth + 1) for item in value)
        case dict():
            parts = (*value.keys(), *value.values())
            return any(_mentions(part, ways, depth + 1) for part in parts)
    return False
