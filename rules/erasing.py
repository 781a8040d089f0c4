"""Erasing: finds and removes the mentions of a number in data."""

import re
from collections.abc import Collection, Iterator
from typing import Any, Final

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat

from schemas.depth import MAX_DEPTH
from schemas.raw_text import readings
from schemas.spellings import spellings

# Blanks, dashes and invisible marks of any width, as people and address books write them.
_BETWEEN: Final = (
    r" \t\u00a0\u00b7\u00ad\u2000-\u2015\u202a-\u202f"
    r"\u2060-\u2069\u2212\u3000\ufeff\uff0d()\[\]./~_\-"
)
_RUN: Final = re.compile(rf"[+\uff0b]?\d(?:[{_BETWEEN}]{{0,3}}\d){{5,}}")
_SHORTEST: Final = 8  # digits of a number with its country code
_LONGEST: Final = 20  # digits: a number with its country code, and zeros as dialled
_STAMP: Final = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}")
# By country code, digits before a number as dialled within the country: Mexico's 01, 044 and 045
# (until 2019), and the two digits of a carrier in Brazil.
_DIALLED_BEFORE: Final = {52: "(?:0?1|0?4[45])?", 55: "(?:0[1-9][0-9])?"}
ERASED: Final = "[erased]"


def mentions(data: Any, number: str) -> bool:
    """Say whether a number (E.164) is anywhere in a JSON value, in any way of writing.

    With or without its country code, with blanks and dashes, within a sentence, or as an integer.
    """
    return _mentions(data, _ways(number), 0)


# In a text that nobody could parse: what may be between two digits of one number.
_BROKEN: Final = re.compile(r"(?<=\d)[^\w{}]{1,6}(?=\d)")


def is_in_raw_text(text: str, number: str | None, ids: Collection[str] = ()) -> bool:
    """Say whether a text that nobody could parse mentions a number (E.164) or one of these ids.

    Escapes are read, and up to six characters between two digits may be a line end, a quote or
    whatever else broke the text. So it finds too much rather than too little. None: no number.
    """
    ways = _ways(number) if number else None
    names = _whole_words(ids)
    for reading in readings(text):
        for one in dict.fromkeys((reading, _BROKEN.sub(" ", reading))):
            if (ways and _mentions(one, ways, 0)) or (names and names.search(one)):
                return True
    return False


def _whole_words(ids: Collection[str]) -> re.Pattern[str] | None:
    """Return a pattern for ids that are not a part of a longer word; None: there are none."""
    if not ids:
        return None
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(ids)))})(?!\w)")


def without(data: Any, number: str) -> Any:
    """Return the JSON value, with ERASED for each text and integer that mentions the number."""
    return _without(data, _ways(number), 0)


def _without(value: Any, ways: re.Pattern[str], depth: int) -> Any:
    if not _mentions(value, ways, depth):
        return value
    match value:
        case list():
            return [_without(item, ways, depth + 1) for item in value]
        case dict():
            return {
                _without(key, ways, depth + 1): _without(item, ways, depth + 1)
                for key, item in value.items()
            }
    return ERASED


def _ways(number: str) -> re.Pattern[str]:
    """Return a pattern for the digits of a number (E.164) as people write them.

    That includes its other spellings, and zeros as dialled within its country, also after the
    country code: +44 (0)20 …
    """
    parsed = [phonenumbers.parse(spelling, None) for spelling in spellings(number)]
    code = parsed[0].country_code or 0
    within = {_dialled_within(one) for one in parsed} | {str(one.national_number) for one in parsed}
    return re.compile(rf"0*(?:{code}0*)?{_DIALLED_BEFORE.get(code, '')}(?:{'|'.join(within)})")


def _dialled_within(number: PhoneNumber) -> str:
    """Return the digits as dialled within the country: Argentina's 011 15-2345-6789, without 0."""
    written = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    return phonenumbers.normalize_digits_only(written).lstrip("0")


def _mentions(value: Any, ways: re.Pattern[str], depth: int) -> bool:
    if depth > MAX_DEPTH:
        return False
    match value:
        case bool() | None:
            return False
        case int() if abs(value) < 10**18:  # Python refuses to print longer integers
            return ways.fullmatch(str(abs(value))) is not None
        case float() if value.is_integer() and abs(value) < 10**18:
            return ways.fullmatch(str(int(abs(value)))) is not None
        case str():
            runs = (found.group() for found in _RUN.finditer(_STAMP.sub(",", value)))
            return any(ways.fullmatch(digits) for run in runs for digits in _pieces(run))
        case list():
            return any(_mentions(item, ways, depth + 1) for item in value)
        case dict():
            parts = (*value.keys(), *value.values())
            return any(_mentions(part, ways, depth + 1) for part in parts)
    return False


def _pieces(run: str) -> Iterator[str]:
    """Yield the digits of a run, and of each part that starts and ends between its groups.

    A house number, a PIN code or a second number may be beside the number that we look for.
    """
    groups = [phonenumbers.normalize_digits_only(one) for one in re.findall(r"\d+", run)]
    before = 0
    for start, first in enumerate(groups):
        # After a + comes the country code; the rest alone would be another number.
        is_within = run[0] in "+\uff0b" and 0 < before < _SHORTEST
        before += len(first)
        if is_within:
            continue
        digits = ""
        # Each group has a digit at least: a slice of all of them would make this quadratic.
        for group in groups[start : start + _LONGEST + 1]:
            digits += group
            if len(digits) > _LONGEST:
                break
            yield digits
