"""The preview of the command line and of the dashboard: what a body would become."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from requests.structures import CaseInsensitiveDict

import rules.preview
from bridge.http.media import read_content
from rules.preview.text import Preview
from schemas.outcome import Outcome
from schemas.settings import Settings
from schemas.source import Incoming, Source


def look(
    settings: Settings,
    source: Source,
    request: Incoming,
    *,
    now: datetime,
    record: Any = None,
    ended: Outcome | None = None,
) -> Preview:
    """Return what a request becomes at `now`. Nothing is sent or fetched.

    record: the full record of the request's thin events, or several records by id; None: no record
    is given.
    ended: how its calls end, for what is written back; None: a sample.

    Raises BadPayload, UnsupportedMedia or TooLarge.
    """
    content = read_content(source.kind, request)
    return rules.preview.look(
        settings, source, request, content, now=now, record=record, ended=ended
    )


def incoming(
    source: Source,
    body: bytes,
    content_type: str,
    *,
    base_url: str,
    headers: Mapping[str, str] | None = None,
) -> Incoming:
    """Return the webhook request that a source would make with this body."""
    return Incoming(
        method="POST",
        url=f"{base_url}/webhooks/{source.name}",
        headers=CaseInsensitiveDict({**(headers or {}), "Content-Type": content_type}),
        query={},
        body=body,
        content_type=content_type.partition(";")[0].strip().lower(),
    )


def read_header(text: str) -> tuple[str, str]:
    """Return the name and the value of a header as a person writes it. Raises ValueError."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ValueError("write it as 'Name: value'")
    return name.strip(), value.strip()


def guess_content_type(name: str, body: bytes) -> str:
    """Return the media type of a body: by its file's name, or else by how the body begins."""
    if name.endswith(".xml") or body.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        return "text/xml"
    if name.endswith(".form") or (
        not name.endswith(".json") and not body.lstrip().startswith((b"{", b"["))
    ):
        return "application/x-www-form-urlencoded"
    return "application/json"
