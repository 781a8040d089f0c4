"""Where a page may play a recording."""

from schemas.web_address import origin_of


def playable_origin(url: str | None, page_url: str) -> str | None:
    """Return the host that a page's policy must permit so that it can play a recording.

    None: browsers don't play it there. page_url: the page's own address. A page that was loaded by
    https plays nothing that comes by http.
    """
    origin = origin_of(url)
    is_safe = origin is not None and origin.startswith("https:")
    return origin if is_safe or not page_url.lower().startswith("https:") else None
