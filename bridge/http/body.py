"""A raw body as JSON values. It is read before its sender is known: the body may have the token.

orjson reads JSON: UTF-8 only, no NaN, no lone surrogates. Of a key that a body has twice, the last
counts. An integer beyond 64 bits becomes a float (RFC 8259 lets a reader choose), and
schemas.source.id_text then refuses it as an id.
"""

from io import BytesIO
from typing import Any, Final

import orjson
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from schemas.depth import MAX_DEPTH, is_shallow
from schemas.errors import BadPayload, UnsupportedMedia

# Some senders call JSON by another name, or send no name, and can't change that.
_JSON: Final = frozenset({"", "application/json", "text/json", "text/plain"})
_FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
_BOM: Final = b"\xef\xbb\xbf"

MAX_FIELDS: Final = 2000


def read_body(body: bytes, content_type: str) -> Any:
    """Return the body as JSON values; content_type is the whole header, with a form's boundary.

    A form becomes an object of texts: a field with several values becomes a list, files are left
    out. No error message repeats a part of the body.

    Raises:
        UnsupportedMedia: content_type is neither JSON nor a form.
        BadPayload: content_type is JSON or a form, and the body is not.
    """
    media, options = parse_options_header(content_type)
    media = media.strip().lower()
    if media in _FORMS:
        return _form(body, media, options)
    if media in _JSON or (media.startswith("application/") and media.endswith("+json")):
        return _json(body)
    raise UnsupportedMedia("The body must be JSON or a form.")


def _json(body: bytes) -> Any:
    body = body.removeprefix(_BOM)
    if not body.strip():
        raise BadPayload("The body is empty.")
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # The place helps the sender. orjson's own message could one day quote the body.
        where = f"line {error.lineno}, column {error.colno}"
        raise BadPayload(f"The body is not valid JSON ({where}).") from None
    if not _is_shallow(body, content):
        raise BadPayload(f"The body is nested more than {MAX_DEPTH} levels deep.")
    return content


def _is_shallow(body: bytes, content: Any) -> bool:
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:  # true of nearly every body, and cheap
        return True
    return is_shallow(content)


def _form(body: bytes, media: str, options: dict[str, str]) -> dict[str, Any]:
    if media == "application/x-www-form-urlencoded" and body.count(b"&") >= MAX_FIELDS:
        raise BadPayload(f"The form has more than {MAX_FIELDS} fields.")
    parser = FormDataParser(
        # Files are dropped, and never written to disk.
        stream_factory=lambda *_, **__: BytesIO(),
        max_form_parts=MAX_FIELDS,
        silent=False,
    )
    try:
        _, form, _ = parser.parse(BytesIO(body), media, len(body), options)
    except (ValueError, HTTPException):
        raise BadPayload("The body is not a valid form.") from None
    return {
        name: values[0] if len(values) == 1 else values
        for name, values in form.to_dict(flat=False).items()
        if name is not None  # a part of a multipart form may have no name
    }
