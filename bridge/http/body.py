"""A raw body as JSON values. It is read before its sender is known: the body may have the token.

schemas/json_body.py reads JSON. This module reads the media type, and forms.
"""

from io import BytesIO
from typing import Any, Final

from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from schemas.errors import BadPayload, UnsupportedMedia
from schemas.json_body import read_json

# Some senders call JSON by another name, or send no name, and can't change that.
_JSON: Final = frozenset({"", "application/json", "text/json", "text/plain"})
_FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})

MAX_FIELDS: Final = 2000


def read_body(body: bytes, content_type: str) -> Any:
    """Return the body as JSON values; content_type is the whole header, with a form's boundary.

    A form becomes an object of texts: a field with several values becomes a list, files are left
    out. No error message repeats a part of the body.

    Raises:
        UnsupportedMedia: content_type is neither JSON nor a form.
        BadPayload: content_type is JSON or a form, and the body is not.
        TooLarge: the body has more JSON values than MAX_VALUES.
    """
    media, options = parse_options_header(content_type)
    media = media.strip().lower()
    if media in _FORMS:
        return _form(body, media, options)
    if media in _JSON or (media.startswith("application/") and media.endswith("+json")):
        return read_json(body)
    raise UnsupportedMedia("The body must be JSON or a form.")


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
