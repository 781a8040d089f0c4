"""The links that CallKaro sends, and where a page may play a recording."""

import re
from typing import Final

# Only what a Content-Security-Policy can name as one host: no user, no IPv6 address, no wildcard.
# Browsers read a backslash as a slash, so the host ends there, too.
_LINK: Final = re.compile(
    r"(?P<origin>(?P<scheme>https?)://[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){0,10}"
    r"(?::(?P<port>[0-9]{1,5}))?)(?:[/?#][!-~]*)?",
    re.IGNORECASE,
)
_HIGHEST_PORT: Final = 65535


def origin_of(url: str | None) -> str | None:
    """Return scheme, host and port of a link; None: it is not http or https to a plain host."""
    found = _LINK.fullmatch(url or "")
    if found is None or int(found["port"] or 0) > _HIGHEST_PORT:
        return None
    return found["origin"].lower()


def link(url: str | None) -> str | None:
    """Return a link that a page may show; None: it leads nowhere, or to no plain host."""
    return url if origin_of(url) else None


def playable_origin(url: str | None, page_url: str) -> str | None:
    """Return the host that a page's policy must permit so that it can play a recording.

    None: browsers don't play it there. page_url: the page's own address. A page that was loaded by
    https plays nothing that comes by http.
    """
    origin = origin_of(url)
    is_safe = origin is not None and origin.startswith("https:")
    return origin if is_safe or not page_url.lower().startswith("https:") else None
