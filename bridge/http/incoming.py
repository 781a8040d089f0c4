"""A webhook request as its sender made it: its method, its URL, its headers, its whole body."""

import io
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, cast
from urllib.parse import urlsplit

from flask import Request
from gunicorn.http.errors import NoMoreData, ParseException

from bridge.http.body import media_type_of
from bridge.http.links import own_address
from config.settings import MAX_BODY_BYTES
from schemas.errors import BadPayload, TooLarge
from schemas.source import Headers, Incoming

# gunicorn's errors for a body that ends early and for chunks that are not valid.
BrokenBody = (NoMoreData, ParseException)
BROKEN_OFF = "The body did not arrive whole."
TOO_LARGE = f"The body is over {MAX_BODY_BYTES // 1024} kB."


_NO_ARGUMENTS: Final[Mapping[str, str]] = MappingProxyType({})


def incoming(request: Request) -> Incoming:
    """Return the request as its sender made it, the URL with its percent-encoding unchanged."""
    environ = request.environ
    # gunicorn and werkzeug keep the line as it arrived; WSGI's own PATH_INFO is decoded.
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI") or request.full_path
    if raw.startswith("/"):
        path = raw  # with a bare "?" at its end, which is signed, too
    else:
        parts = urlsplit(raw)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
    return Incoming(
        method=request.method,
        url=own_address() + path,
        headers=cast(Headers, request.headers),
        query=_query(request) if environ.get("QUERY_STRING") else _NO_ARGUMENTS,
        body=read_all(request),
        content_type=media_type_of(environ.get("CONTENT_TYPE", ""))[0],
    )


def _query(request: Request) -> Mapping[str, str]:
    try:
        return request.args
    except UnicodeDecodeError as error:  # bytes that no URL may have; gunicorn refuses them itself
        raise BadPayload("The query string is not valid.") from error


def read_all(request: Request) -> bytes:
    """Return the body. Raises TooLarge, or BadPayload for a body that its sender broke off."""
    try:
        body = _of_its_length(request) or request.get_data(cache=False)
    except (OSError, *BrokenBody) as error:
        raise BadPayload(BROKEN_OFF) from error
    # werkzeug cuts a body without a Content-Length at its limit, without an error.
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge(TOO_LARGE)
    return body


def _of_its_length(request: Request) -> bytes:
    """Return a body that has the length that its header says; empty: werkzeug must read it.

    werkzeug's limited stream asks a second time whether there is more.
    """
    environ = request.environ
    text = environ.get("CONTENT_LENGTH") or ""
    is_plain = len(text) < 10 and text.isascii() and text.isdigit()
    if not is_plain or int(text) > MAX_BODY_BYTES or "HTTP_TRANSFER_ENCODING" in environ:
        return b""
    body: bytes = environ["wsgi.input"].read(int(text))
    if len(body) == int(text):
        return body
    environ["wsgi.input"] = io.BytesIO(body)
    return b""
