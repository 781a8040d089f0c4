"""Text that nobody could parse: how its escapes are read, and what must not be shown of it.

A webhook's body that is not valid JSON or a form is kept as text. Numbers and secrets in it may be
written with the escapes of JSON, of URLs and forms, or of HTML, or with several of them.
"""

import html
import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from schemas.fields import is_date, mask_number

# --- escapes -----------------------------------------------------------------------------------

_LEVELS: Final = 3  # JSON within a form within JSON
_HALF: Final = "[dD][c-fC-F][0-9A-Fa-f]{2}"
_ESCAPE: Final = re.compile(
    r"(?P<percent>(?:%[0-9A-Fa-f]{2})+)"
    rf"|\\+u(?P<first>[dD][89abAB][0-9A-Fa-f]{{2}})\\+u(?P<second>{_HALF})"
    r"|\\+u(?P<unicode>[0-9A-Fa-f]{4})|\\+x(?P<byte>[0-9A-Fa-f]{2})|%u(?P<old>[0-9A-Fa-f]{4})"
    r"|\\+(?P<one>[nrtbf/\"'\\])"
    r"|&(?:amp;)*(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,10});"
)
_BLANKS: Final = frozenset("nrtbf")


def readings(text: str) -> Iterator[str]:
    """Yield a text as it is, and with its escapes read once, twice and three times."""
    yield text
    for _ in range(_LEVELS):
        read = _ESCAPE.sub(_meaning, text)
        if read == text:
            return
        yield read
        text = read


def _meaning(found: re.Match[str]) -> str:
    """Return what an escape means; a line end, which may be in the middle of a number, is a blank.

    A byte that is not UTF-8 becomes one character, so that the others keep their places.
    """
    match found.lastgroup:
        case "percent":
            return bytes.fromhex(found.group().replace("%", "")).decode("utf-8", "surrogateescape")
        case "second":
            first, second = int(found["first"], 16), int(found["second"], 16)
            return chr(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
        case "one":
            return " " if found["one"] in _BLANKS else found["one"]
        case "unicode" | "byte" | "old" as name:
            return chr(int(found[name], 16))
        case _:
            return html.unescape(html.unescape(found.group()))


def _read_with_places(text: str, places: list[int]) -> tuple[str, list[int]]:
    """Return a text with its escapes read, and where each character begins.

    places: where each character of `text` begins in the first text, and where it ends.
    """
    pieces, starts, at = [], list[int](), 0
    for found in _ESCAPE.finditer(text):
        begin, meaning = found.start(), _meaning(found)
        pieces += [text[at:begin], meaning]
        starts += places[at:begin]
        if found.lastgroup == "percent":
            for char in meaning:
                starts.append(places[begin])
                begin += 3 * len(char.encode("utf-8", "surrogateescape"))
        else:
            starts += [places[begin]] * len(meaning)
        at = found.end()
    pieces.append(text[at:])
    return "".join(pieces), starts + places[at:]


# --- numbers -----------------------------------------------------------------------------------

# What may be between the digits of a number: anything but what is between two values.
_BETWEEN: Final = r"[^\w,;:|\"'<>{}\[\]=&?@%\\•]|_"
_NUMBER: Final = re.compile(rf"[+\uff0b]?\(?\d(?:(?:{_BETWEEN}){{0,3}}\d)*+")
_HOUR: Final = re.compile(r"[ T]\d{1,2}")


def mask_raw(text: str) -> str:
    """Mask every run of 8 and more digits, with separators and escapes in it, but dates."""
    masks: dict[tuple[int, int], str] = {}
    read, places = text, [*range(len(text) + 1)]
    for _ in range(_LEVELS + 1):
        for found in _NUMBER.finditer(read):
            if _is_number(found.group()):
                span = places[found.start()], places[found.end()]
                masks[span] = mask_number(found.group())
        before = read
        read, places = _read_with_places(read, places)
        if read == before:
            break
    shown, at = [], 0
    for (begin, end), mask in _joined(masks):
        shown += [text[at:begin], mask]
        at = end
    return "".join((*shown, text[at:]))


def _is_number(run: str) -> bool:
    if sum(map(str.isdecimal, run)) < 8:
        return False
    day = run[: found.start()] if (found := _HOUR.search(run, len(run) - 3)) else run
    return not is_date(day)


def _joined(masks: dict[tuple[int, int], str]) -> Iterator[tuple[tuple[int, int], str]]:
    """Yield spans in order, overlapping ones as one, with the mask of the longest of them."""
    begin = end = longest = 0
    mask = ""
    for (first, last), one in sorted(masks.items()):
        if first >= end:
            if mask:
                yield (begin, end), mask
            begin, end, longest, mask = first, last, 0, ""
        end = max(end, last)
        if last - first >= longest:
            longest, mask = last - first, one
    if mask:
        yield (begin, end), mask


# --- secrets -----------------------------------------------------------------------------------

HIDDEN: Final = "[secret]"
_SHORTEST_SECRET: Final = 4  # a shorter one would be found in many words
# A key that is called like a secret, its value, and what is between, also within a text of JSON.
_QUOTE: Final = r"(?:\\{0,4}[\"']|%22|%27|&quot;|&#34;|&#39;)"
_NAME: Final = (
    r"(?:token|secret|passw(?:or)?d|api[_-]?key|authorization|signature|session[_-]?id)\w{0,20}+"
)
_NAMED: Final = re.compile(
    rf"({_NAME}"
    rf"(?:{_QUOTE})?(?:\s|%20|\+){{0,3}}(?:[:=]|%3[aAdD])(?:\s|%20|\+){{0,3}}(?:{_QUOTE})?"
    r"(?:(?:Bearer|Basic|Token)(?:\s|%20|\+))?)"
    r"(?:(?!%2[2267cC]|%7[dD]|%20|&quot;)[^\s\"'&,;{}\\<>\[\]])+",
    re.IGNORECASE,
)
# The same of an element of XML, whose text is the value; also within a text of JSON or of XML.
_OPENS: Final = r"(?:<|%3c|&lt;|\\u003c)"
_ELEMENT: Final = re.compile(
    rf"({_OPENS}[\w.:-]{{0,60}}?{_NAME}(?:\s[^<>]{{0,500}})?(?<!/)(?:>|%3e|&gt;|\\u003e)"
    rf"(?:<!\[CDATA\[)?)(?:(?!{_OPENS}).)+",
    re.IGNORECASE | re.DOTALL,
)


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return a text with HIDDEN for each of these secrets, and for values that are called so."""
    spelled = {
        spelling
        for secret in secrets
        if len(secret) >= _SHORTEST_SECRET
        for spelling in _spellings(secret)
    }
    for spelling in sorted(spelled, key=len, reverse=True):
        text = text.replace(spelling, HIDDEN)
    return _ELEMENT.sub(rf"\1{HIDDEN}", _NAMED.sub(rf"\1{HIDDEN}", text))


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield json.dumps(secret)[1:-1]
    yield html.escape(secret)
    for safe in ("", "/"):
        for digits in ("02X", "02x"):
            quoted = _quoted(secret, safe, digits)
            yield quoted
            yield quoted.replace("%20", "+")


def _quoted(text: str, safe: str, digits: str) -> str:
    """Return a text as URLs have it (RFC 3986); urllib is not pure."""
    return "".join(
        char if char in safe or re.fullmatch(r"[A-Za-z0-9_.~-]", char) else _percent(char, digits)
        for char in text
    )


def _percent(char: str, digits: str) -> str:
    return "".join(f"%{byte:{digits}}" for byte in char.encode("utf-8", "replace"))


# --- the beginning -----------------------------------------------------------------------------

_ENDS: Final = re.compile(r"[\"',:;&={}<>\[\]\n]")
_LOOKED_AT: Final = 200  # characters before the cut


def beginning(text: str, most_bytes: int) -> str:
    """Return at most so many bytes of a text (UTF-8), without half a number at the end.

    Half a number would be shown in full, and nobody who looks for the number would find it.
    """
    raw = text[: most_bytes + 1].encode("utf-8", "replace")
    if len(raw) <= most_bytes:
        return text
    cut = raw[:most_bytes].decode("utf-8", "ignore")
    tail = cut[-_LOOKED_AT:]
    ends = [found.end() for found in islice(_ENDS.finditer(tail), _LOOKED_AT)]
    return cut[: len(cut) - len(tail) + (ends[-1] if ends else 0)]
