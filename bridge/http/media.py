"""Which bodies a source takes, by their headers, and their content."""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlencode

from werkzeug.datastructures import MultiDict

from bridge.http.body import media_type_of, read_body
from bridge.http.xml_body import read_xml
from schemas.errors import UnsupportedMedia
from schemas.source import Incoming, Kind

FORM: Final = "application/x-www-form-urlencoded"
_UTF_8: Final = frozenset({"", "utf-8", "utf8"})
_NOT_ENCODED: Final = frozenset({"", "identity"})
_JSON: Final = frozenset({"", "application/json"})
_XML: Final = frozenset({"text/xml", "application/xml", "application/soap+xml"})


def is_encoded(request: Incoming) -> bool:
    """Say whether a request's body has a Content-Encoding."""
    return (request.headers.get("Content-Encoding") or "").strip().lower() not in _NOT_ENCODED


def _arguments(request: Incoming) -> Iterator[tuple[str, str]]:
    """Yield the arguments of a query, one that is there several times each time."""
    query = request.query
    if isinstance(query, MultiDict):
        yield from query.items(multi=True)
    else:
        yield from query.items()


def read_content(kind: Kind, request: Incoming) -> Any:
    """Return the content of a request's body, as its CRM sends bodies; of a GET, its query.

    Raises:
        UnsupportedMedia: the CRM does not send such bodies, or nobody can read them.
        BadPayload: the body is not what its Content-Type says.
    """
    if request.method == "GET":
        return read_body(urlencode(list(_arguments(request))).encode(), FORM)
    content_type = request.headers.get("Content-Type") or ""
    if kind.is_json_only:
        # No signature covers these headers. With another media type, charset or encoding, what a
        # stranger appended to a signed body could be read as a body of its own.
        _check_headers(kind, request, _JSON, "application/json")
        return read_body(request.body, "application/json")
    if kind.is_xml_only:
        _check_headers(kind, request, _XML, "text/xml")
        return read_xml(request.body)
    encoding = request.headers.get("Content-Encoding") or ""
    return read_body(request.body, content_type, encoding)


def _check_headers(kind: Kind, request: Incoming, media_types: frozenset[str], usual: str) -> None:
    """Raise UnsupportedMedia if a body is not of these media types, in plain UTF-8."""
    media, options = media_type_of(request.headers.get("Content-Type") or "")
    if (
        media not in media_types
        or options.get("charset", "").strip().lower() not in _UTF_8
        or is_encoded(request)
    ):
        raise UnsupportedMedia(
            f"{kind.title} sends {usual} in UTF-8, without a Content-Encoding. This source takes "
            "nothing else."
        )
