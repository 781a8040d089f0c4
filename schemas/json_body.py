"""JSON text as values: the one reader of webhooks, outcomes and fetched records.

orjson reads most texts: UTF-8 only, no NaN; of a key that an object has twice, the last counts.
Three things differ from orjson, and only a text that has them pays for them:

- Half a character (a lone surrogate, such as "\\ud83d" at the end of a text that was cut) becomes
  U+FFFD. Its grammar is valid (RFC 8259, 8.2), and its sender can't fix it.
- A number whose fraction is all zeros is a whole number: 9876543210.0 is 9876543210. A number with
  an exponent is text as it was written: after 9.87654e9 nobody knows the digits that it had.
- A number that neither 64 bits nor a float can keep is text, so that an id keeps all its digits.
"""

import json
import math
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import orjson

from schemas.depth import MAX_DEPTH
from schemas.errors import BadPayload, TooLarge

# A member of an object (a name and a text) was measured at up to 340 bytes in memory, so a body at
# up to 14 MB. HubSpot's largest request has about 1,500 values; 1,000 leads of 39 fields have
# 40,000.
MAX_VALUES: Final = 40_000

_BOM: Final = b"\xef\xbb\xbf"
# Everything but brackets or commas, and strings as a whole: possessive, so the time is linear.
_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?'
_NEXT_VALUE: Final = re.compile(rb'(?:[^",\[{]++|' + _STRING + rb")*+[,\[{]", re.DOTALL)
_NEXT_BRACKET: Final = re.compile(rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+([\[\]{}])", re.DOTALL)
# What is left of a text without strings, numbers, words, commas and blanks.
_NOT_NESTING: Final = bytes(set(range(256)) - set(b'[]{}"\\'))
# A number token that orjson would change. It may also match inside a string: that costs time only.
_NUMBER: Final = rb"(?:-[0-9]{19}|-?[0-9]{20}|-?[0-9]++(?:\.0++(?![0-9])|(?:\.[0-9]++)?[eE]))"
_AT_START: Final = re.compile(rb"\s*+" + _NUMBER)
_INSIDE: Final = re.compile(rb"[:,\[\s]" + _NUMBER)
# Such a token has one of _TOLD_BY in a text in which all digits are 0 and all E are e. These are
# looked for ten times as fast as the token, whose search stops at each value.
_ALIKE: Final = bytes.maketrans(b"123456789E", b"000000000e")
_TOLD_BY: Final = (b"0.", b"0e", b"0" * 19)
# Escapes in which no half of a character begins; a whole character of two halves; a lone half.
_ESCAPE: Final = re.compile(
    rb"(?:\\[^u])++"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})",
    re.DOTALL,
)
_HALF: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def read_json(body: bytes, *, most_values: int = MAX_VALUES, most_levels: int = MAX_DEPTH) -> Any:
    """Return a JSON text (UTF-8, with or without a byte order mark) as values.

    No error message repeats a part of the text.

    Raises:
        BadPayload: it is not JSON, or nested more than most_levels levels deep.
        TooLarge: it has more than most_values values. They are counted before it is parsed.
    """
    text = body.removeprefix(_BOM)
    if not text.strip():
        raise BadPayload("The body is empty.")
    too_deep = f"The body is nested more than {most_levels} levels deep."
    if _is_deep(text, most_values, most_levels):
        raise BadPayload(too_deep)
    if _has_more_values(text, most_values):
        raise TooLarge(f"The body has more than {most_values} values; send them in parts.")
    try:
        return _read(text)
    except RecursionError:  # most_levels is more than this thread's stack has room for
        raise BadPayload(too_deep) from None
    except ValueError as error:
        raise _not_json(body, error) from None


def _has_more_values(text: bytes, most: int) -> bool:
    """Say whether it has more values than `most`; each ends at a comma, or opens a container."""
    if len(text) < most or 1 + sum(map(text.count, (b",", b"[", b"{"))) <= most:
        return False
    # Commas and brackets of strings were counted, too.
    return any(count > most for count, _ in enumerate(_matches(_NEXT_VALUE, text), start=2))


def _is_deep(text: bytes, most_values: int, most_levels: int) -> bool:
    """Say whether it is too deep, as far as it has no more values than `most_values`."""
    if text.count(b"[") + text.count(b"{") <= most_levels:  # true of nearly every body, and cheap
        return False
    if b"\\" not in text:  # then each quote begins or ends a string
        text = text.translate(None, _NOT_NESTING).replace(b'""', b"")
        inside_out = text.replace(b"{}", b"")  # a batch has many objects, and few in others
        if inside_out.count(b"[") + inside_out.count(b"{") < most_levels:
            return False
    depth = 0
    for bracket in islice(_matches(_NEXT_BRACKET, text), 2 * most_values):
        depth += 1 if bracket[1] in b"[{" else -1
        if depth < 0:
            return False  # not JSON
        if depth > most_levels:
            return True
    return False


def _matches(pattern: re.Pattern[bytes], text: bytes) -> Iterator[re.Match[bytes]]:
    """Yield the matches that follow one another from the start, without a search between them."""
    found = pattern.match(text)
    while found:
        yield found
        found = pattern.match(text, found.end())


def _read(text: bytes) -> Any:
    if _has_changed_number(text):
        return _EXACT.decode(_with_whole_characters(text).decode())
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        whole = _with_whole_characters(text)
        if whole is text:
            raise
        return orjson.loads(whole)


def _has_changed_number(text: bytes) -> bool:
    """Say whether a number may be in the text, or in one of its strings, that orjson changes."""
    alike = text.translate(_ALIKE)
    if not any(sign in alike for sign in _TOLD_BY):
        return False
    return bool(_AT_START.match(text) or _INSIDE.search(text))


def _with_whole_characters(text: bytes) -> bytes:
    """Replace each escaped half of a character by U+FFFD; the length stays, so places stay, too."""
    if not _HALF.search(text):
        return text
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], text)


def _not_json(body: bytes, error: ValueError) -> BadPayload:
    """Return the error with its place, which helps the sender, and with nothing of the body."""
    try:
        body.decode()
    except UnicodeDecodeError as found:
        return not_in_charset("UTF-8", found.start)
    if isinstance(error, json.JSONDecodeError):
        place = f"line {error.lineno}, column {error.colno}"
        return BadPayload(f"The body is not valid JSON ({place}).", place=place)
    return BadPayload("The body is not valid JSON.")


def not_in_charset(charset: str, at: int) -> BadPayload:
    """Return the error of a text that is not in its charset, `at` bytes after its start."""
    place = f"byte {at + 1}"
    return BadPayload(
        f"The body is not {charset} ({place}). Send UTF-8, or name the charset in Content-Type.",
        place=place,
    )


# --- numbers as they were written ------------------------------------------------------------


def _whole(token: str) -> int | str:
    # The length comes first: Python does not read integers of more than 4300 digits.
    if len(token) > 20:
        return token
    value = int(token)
    return value if -(2**63) <= value < 2**64 else token


def _fraction(token: str) -> int | float | str:
    if "e" in token or "E" in token:
        return token
    whole, _, fraction = token.partition(".")
    if not fraction.strip("0"):
        return _whole(whole)
    value = float(token)
    return value if math.isfinite(value) else token


def _constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


_EXACT: Final = json.JSONDecoder(parse_int=_whole, parse_float=_fraction, parse_constant=_constant)
