"""Keeps the body of a request that proved its source and could not be parsed, for people to see.

Its sender gets its 4xx whatever happens here; one that gets no 4xx (Reply.is_always) is told if
Redis is away. Not kept: what a signature proves that a stranger can
extend, and what nobody could read or search (an unknown encoding or charset, bytes of a file).
"""

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from bridge.http.body import read_beginning
from config import log
from schemas.errors import BadPayload, RequestError, StoreUnavailable
from schemas.raw_text import beginning, without_secrets
from schemas.refused import RefusedRequest
from schemas.settings import Settings
from schemas.source import Basic, Incoming, Source, random_part
from store import Store
from store.refused import KEPT_BYTES

logger = log.get(__name__)

HEAD_BYTES: Final = 1000  # of a body, in lists
LONGEST_TYPE: Final = 200  # characters of a Content-Type; a multipart form's has about 80
_ROOM_FOR_SECRETS: Final = 4096  # a secret at the cut is looked for as a whole


def keep_refused(
    settings: Settings, store: Store, source: Source, request: Incoming, error: RequestError
) -> None:
    """Count a refused request for the alert, and keep its body.

    Raises StoreUnavailable if it can't be kept and its sender would be told that all is well
    (Reply.is_always); never anything else.
    """
    signature = request.proof.signed_by if request.proof else None
    if request.proof is None or (signature is not None and signature.is_extendable):
        return
    try:
        with contextlib.suppress(StoreUnavailable):
            store.note_unparsed(source.name)
        if settings.refused_keep:
            store.keep_refused(
                refused_of(settings, source, request, error),
                keep=settings.refused_keep,
                retention=timedelta(days=settings.retention_days),
            )
    except StoreUnavailable as away:
        logger.warning("refused.unkept", source=source.name, error=str(away))
        if source.kind.reply.is_always:
            raise
    except Exception as mistake:  # of ours; its text may have a part of the body
        logger.error("refused.unkept", source=source.name, error=type(mistake).__name__)


def refused_of(
    settings: Settings, source: Source, request: Incoming, error: RequestError
) -> RefusedRequest:
    """Return a refused request as it is kept: as text, without secrets, cut."""
    content_type = request.headers.get("Content-Type") or ""
    encoding = request.headers.get("Content-Encoding") or ""
    text = read_beginning(request.body, content_type, encoding, KEPT_BYTES + _ROOM_FOR_SECRETS)
    secrets = set(_secrets_of(settings))
    body = beginning(without_secrets(text, secrets), KEPT_BYTES)
    return RefusedRequest(
        source=source.name,
        content_type=without_secrets(content_type, secrets)[:LONGEST_TYPE],
        bytes=len(request.body),
        problem=str(error),
        place=error.place if isinstance(error, BadPayload) else "",
        head=beginning(body, HEAD_BYTES),
        body=body,
    )


def _secrets_of(settings: Settings) -> Iterator[str]:
    """Yield all secrets of this bridge: a wrong template may have any of them in its body."""
    yield settings.callkaro_api_key
    yield from (one.token for one in settings.tokens())
    yield from settings.callkaro_webhook_tokens
    yield from settings.alert_webhook_secrets
    for name, secrets in settings.secrets.items():
        source = settings.routes.sources.get(name)
        yield from secrets
        if source and isinstance(source.auth, Basic):
            yield from (random_part(source.auth, secret) for secret in secrets)
    for name, variables in settings.variables.items():
        source = settings.routes.sources.get(name)
        for variable in source.kind.variables if source else ():
            if variable.holds in ("token", "secret") and variable.suffix in variables:
                yield variables[variable.suffix]
