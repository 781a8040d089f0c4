"""What the command line and the dashboard share to show what a body would become."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from requests.structures import CaseInsensitiveDict

import rules.preview
from bridge.http.body import read_body
from rules.preview.text import Preview
from schemas.settings import Settings
from schemas.source import Incoming, Source


def look(
    settings: Settings, source: Source, request: Incoming, *, now: datetime, record: Any = None
) -> Preview:
    """Return what a request becomes at `now`. Nothing is sent or fetched.

    record is the full record of its thin events, or several by id; None: none is at hand.

    Raises BadPayload or UnsupportedMedia.
    """
    content = read_body(request.body, request.headers.get("Content-Type") or "")
    return rules.preview.look(settings, source, request, content, now=now, record=record)


def incoming(
    source: Source,
    body: bytes,
    content_type: str,
    *,
    base_url: str,
    headers: Mapping[str, str] | None = None,
) -> Incoming:
    """Return the webhook request that SOURCE would make of this body."""
    return Incoming(
        method="POST",
        url=f"{base_url}/webhooks/{source.name}",
        headers=CaseInsensitiveDict({**(headers or {}), "Content-Type": content_type}),
        query={},
        body=body,
        content_type=content_type.partition(";")[0].strip().lower(),
    )


def guess_content_type(name: str, body: bytes) -> str:
    """Return what a body is: by its file's name, else by how it begins."""
    if name.endswith(".form") or (
        not name.endswith(".json") and not body.lstrip().startswith((b"{", b"["))
    ):
        return "application/x-www-form-urlencoded"
    return "application/json"
