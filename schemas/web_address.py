"""Web addresses that CallKaro sends: which of them pages may show, and to whom.

The host of a recording becomes part of a page's Content-Security-Policy. So a link has no user
before its host, and its host is a plain name. Browsers read a backslash as a slash: the host ends
there, too.
"""

import re
from typing import Final

from schemas.fields import mask_marked, mask_text

LONGEST_URL: Final = 2000
"""Characters of a link; a longer link is dropped, because half a link leads nowhere."""

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_LINK: Final = re.compile(
    rf"(?P<origin>https?://{_LABEL}(?:\.{_LABEL}){{0,10}}(?::(?P<port>[0-9]{{1,5}}))?)"
    r"(?:[/?#][!-~]*)?",
    re.IGNORECASE,
)
_HIGHEST_PORT: Final = 65535
_ESCAPED: Final = re.compile("%([0-9a-f]{2})", re.IGNORECASE)
_ESCAPED_TIMES: Final = 3  # a link in a link is escaped twice
_BETWEEN_DIGITS: Final = re.compile(r"(?<=\d)[^0-9a-z]+(?=\d)", re.IGNORECASE)
_ENOUGH_DIGITS: Final = 8  # the end of a number that tells the number; masks begin here, too


def origin_of(url: str | None) -> str | None:
    """Return scheme, host and port of a link; None: it is not http or https to a plain host."""
    found = _LINK.fullmatch(url) if url and len(url) <= LONGEST_URL else None
    if found is None or int(found["port"] or 0) > _HIGHEST_PORT:
        return None
    return found["origin"].lower()


def web_address(text: str | None) -> str | None:
    """Return a link that is http or https to a plain host; None: it is another text."""
    return text if origin_of(text) else None


def has_number(url: str, number: str | None) -> bool:
    """Say whether a link has the whole number of a person, escaped and separated or not.

    number: E.164. None: it is not known, so that any run of 8 and more digits may be one. A number
    that a + marks is a number in both cases.
    """
    text = _unescaped(url)
    digits = re.sub(r"\D", "", number or "")[-_ENOUGH_DIGITS:]
    if len(digits) < _ENOUGH_DIGITS:
        return mask_text(text) != text
    return digits in _BETWEEN_DIGITS.sub("", text) or mask_marked(text) != text


def _unescaped(text: str) -> str:
    for _ in range(_ESCAPED_TIMES):
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    return text
