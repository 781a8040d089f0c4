"""What the command line and the dashboard share to show what a body would become."""

import importlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from requests.structures import CaseInsensitiveDict

from schemas.settings import Settings
from schemas.source import Incoming, Source

PREVIEW = "workers.preview"  # by name, as RQ gets the drain: bridge never imports workers


def look(
    settings: Settings, source: Source, request: Incoming, *, now: datetime, record: Any = None
) -> Any:
    """Return what a request becomes at `now`: see workers/preview.py. Nothing is sent or fetched.

    Raises BadPayload or UnsupportedMedia.
    """
    found = importlib.import_module(PREVIEW).look
    return found(settings, source, request, now=now, record=record)


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
