"""A webhook request as its sender made it: its method, its URL, its headers, its whole body."""

from collections.abc import Mapping
from typing import cast
from urllib.parse import urlsplit

from flask import Request
from gunicorn.http.errors import NoMoreData, ParseException

from bridge.http.links import own_address
from config.settings import MAX_BODY_BYTES
from schemas.errors import BadPayload, TooLarge
from schemas.source import Headers, Incoming

# gunicorn's errors for a body that ends early and for chunks that are not valid.
BrokenBody = (NoMoreData, ParseException)
BROKEN_OFF = "The body did not arrive whole."
TOO_LARGE = f"The body is over {MAX_BODY_BYTES // 1024} kB."


def incoming(request: Request) -> Incoming:
    """Return the request as its sender made it, the URL with its percent-encoding unchanged."""
    # gunicorn and werkzeug keep the line as it arrived; WSGI's own PATH_INFO is decoded.
    raw = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or request.full_path
    if raw.startswith("/"):
        path = raw  # with a bare "?" at its end, which is signed, too
    else:
        parts = urlsplit(raw)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
    return Incoming(
        method=request.method,
        url=own_address() + path,
        headers=cast(Headers, request.headers),
        query=_query(request),
        body=read_all(request),
        content_type=request.mimetype,
    )


def _query(request: Request) -> Mapping[str, str]:
    try:
        return request.args
    except UnicodeDecodeError as error:  # bytes that no URL may have; gunicorn refuses them itself
        raise BadPayload("The query string is not valid.") from error


def read_all(request: Request) -> bytes:
    """Return the body. Raises TooLarge, or BadPayload for a body that its sender broke off."""
    try:
        body = request.get_data(cache=False)
    except (OSError, *BrokenBody) as error:
        raise BadPayload(BROKEN_OFF) from error
    # werkzeug cuts a body without a Content-Length at its limit, without an error.
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge(TOO_LARGE)
    return body
