"""A raw body as values: its encoding, its charset and its media type; schemas/json_body.py reads
JSON.

It may run before its sender is known, for the body may have the token. So its cost is bounded.
"""

import contextlib
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, MultipartDecoder

from config.settings import MAX_BODY_BYTES
from schemas.errors import BadPayload, RequestError, TooLarge, UnsupportedMedia
from schemas.json_body import not_in_charset, read_json

# Some senders call JSON by another name, or send no name, and can't change that.
_JSON: Final = frozenset({"", "application/json", "text/json", "text/plain"})
_URLENCODED: Final = "application/x-www-form-urlencoded"
_FORMS: Final = frozenset({_URLENCODED, "multipart/form-data"})

MAX_FIELDS: Final = 2000
# Of one part of a multipart form. Browsers send two headers, in less than 1 kB.
MAX_PART_HEADERS: Final = 16
MAX_PART_HEADER_BYTES: Final = 4096


def read_body(
    body: bytes, content_type: str, content_encoding: str = "", *, is_signed: bool = False
) -> Any:
    """Return the body as JSON values; content_type is the whole header, with a form's boundary.

    A form becomes an object of texts: a field with several values becomes a list, files are left
    out. JSON that a program posted as a form is read as JSON. No error message repeats a part of
    the body.

    is_signed: a body in UTF-8 is read as UTF-8, whatever its charset is called. No signature covers
    Content-Type, so a stranger could call a captured body's charset otherwise, and its id would be
    another one.

    Raises:
        UnsupportedMedia: the media type, the charset or the encoding is not read here.
        BadPayload: the body is not what its headers say.
        TooLarge: the body is over MAX_BODY_BYTES once it is not compressed any more, or has more
            JSON values than MAX_VALUES.
    """
    name, options = parse_options_header(content_type)
    name = name.strip().lower()
    is_json = name in _JSON or (name.startswith("application/") and name.endswith("+json"))
    if not is_json and name not in _FORMS:
        raise UnsupportedMedia("The body must be JSON or a form.")
    codec = _codec(options.get("charset", ""))
    body = _uncompressed(body, content_encoding.strip().lower())
    if is_signed and _is_utf_8(unquote_to_bytes(body) if name == _URLENCODED else body):
        codec = "utf-8"
    if is_json:
        return read_json(_utf8(body, codec))
    if name == _URLENCODED:
        return _urlencoded(body, codec)
    return _of_fields(_parts(body, options.get("boundary", ""), codec))


# --- Content-Encoding -------------------------------------------------------------------------

_PLAIN: Final = frozenset({"", "identity"})
_GZIP: Final = frozenset({"gzip", "x-gzip"})
_GZIP_BITS: Final = 16 + zlib.MAX_WBITS
# gzip files may follow one another in a body. Each costs a copy of the rest.
_MOST_MEMBERS: Final = 100


def _bits(body: bytes, encoding: str) -> int | None:
    """Return how zlib reads an encoding; None: it does not."""
    if encoding in _GZIP:
        return _GZIP_BITS
    if encoding != "deflate":
        return None
    # RFC 9110 means zlib's format; some senders leave its header out.
    has_header = len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0
    return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS


def _uncompressed(body: bytes, encoding: str) -> bytes:
    """Return the body without its Content-Encoding; it never becomes longer than the limit."""
    if encoding in _PLAIN:
        return body
    bits = _bits(body, encoding)
    if bits is None:
        raise UnsupportedMedia("The Content-Encoding must be gzip or deflate, or be left out.")
    found, rest = b"", body
    for _ in range(_MOST_MEMBERS):
        member = zlib.decompressobj(bits)
        try:
            found += member.decompress(rest, MAX_BODY_BYTES + 1 - len(found))
        except zlib.error:
            raise BadPayload(f"The body is not valid {encoding}.") from None
        if len(found) > MAX_BODY_BYTES:
            raise TooLarge(f"The body is over {MAX_BODY_BYTES // 1024} kB uncompressed.")
        if not member.eof:
            raise BadPayload(f"The body's {encoding} did not arrive whole.")
        rest = member.unused_data
        if not rest:
            return found
    raise BadPayload(f"The body is not valid {encoding}.")


# --- charset ----------------------------------------------------------------------------------

_CODECS: Final = {
    "": "utf-8",
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "iso-8859-1": "iso-8859-1",
    "iso8859-1": "iso-8859-1",
    "latin1": "iso-8859-1",
    "latin-1": "iso-8859-1",
    "windows-1252": "windows-1252",
    "cp1252": "windows-1252",
    "us-ascii": "us-ascii",
    "ascii": "us-ascii",
}
_HALVES: Final = re.compile("[\ud800-\udfff]")


def _codec(charset: str) -> str:
    codec = _CODECS.get(charset.strip().lower())
    if codec is None:
        raise UnsupportedMedia(
            "The charset must be utf-8, utf-16, iso-8859-1, windows-1252 or us-ascii."
        )
    return codec


def _is_utf_8(text: bytes) -> bool:
    """Say whether a text is UTF-8. UTF-16 would be, too, but for its zero bytes."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in text


def _utf8(body: bytes, codec: str) -> bytes:
    """Return a text in UTF-8. JSON in UTF-8 stays as it is: its reader checks it."""
    return body if codec == "utf-8" else _text(body, codec).encode()


def _text(text: bytes, codec: str, *, body: bytes = b"") -> str:
    """Return bytes as text; body is where an error's place is. Half a character becomes U+FFFD."""
    if codec == "utf-16" and text[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        # Without a byte order mark: JSON and forms begin with an ASCII character.
        codec = "utf-16-be" if text[:1] == b"\0" else "utf-16-le"
    try:
        if not codec.startswith("utf-16"):
            return text.decode(codec)
        return _HALVES.sub("\ufffd", text.decode(codec, "surrogatepass").removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        raise not_in_charset(codec.upper(), max(body.find(text), 0) + error.start) from None


# --- forms ------------------------------------------------------------------------------------

_PERCENT: Final = re.compile(rb"%[0-9a-fA-F]{2}|.", re.DOTALL)
_PAYLOAD: Final = "payload"
_LOOKS_LIKE_JSON: Final = re.compile(rb"\s*(?:\{\s*[\"}]|\[\s*[\[{\"\]])")

_ESCAPED_JSON: Final = re.compile(rb"(?:payload=)?(?:%7B|%5B|[{\[])", re.IGNORECASE)
# Some programs escape all of their JSON but the plus of a phone number.
_PLUS: Final = re.compile(rb'(?<=%22)\+(?=[0-9])|(?<=")\+(?=[0-9])')


def _urlencoded(body: bytes, codec: str) -> Any:
    if codec.startswith("utf-16"):  # its escapes are those of the text in UTF-8
        body, codec = _utf8(body, codec), "utf-8"
    if _LOOKS_LIKE_JSON.match(body):
        return _json_called_form(body, codec)
    if body.startswith(b"payload="):
        # A brace that is not escaped: nothing is, so a "+" is a plus.
        found = _json_or_none(body.removeprefix(b"payload="), codec)
        if found is not None:
            return found
    if _ESCAPED_JSON.match(body):
        body = _PLUS.sub(b"%2B", body)
    if body.count(b"&") >= MAX_FIELDS:
        raise BadPayload(f"The form has more than {MAX_FIELDS} fields.")
    fields = list(_pairs(body, codec))
    if len(fields) == 1 and fields[0][1] == "" and _LOOKS_LIKE_JSON.match(fields[0][0].encode()):
        return _json_called_form(fields[0][0].encode(), "utf-8")
    return _of_fields(fields)


def _json_called_form(body: bytes, codec: str) -> Any:
    """Return JSON whose Content-Type says that it is a form: `curl -d` says so of everything."""
    try:
        return read_json(_utf8(body.strip().removesuffix(b"="), codec))
    except BadPayload as error:
        raise BadPayload(
            f"{error} Its Content-Type says that it is a form, but it begins like JSON: send "
            "application/json.",
            place=error.place,
        ) from None


def _json_or_none(text: bytes, codec: str) -> Any:
    """Return an object or a list in JSON; None: the text is something else."""
    if text.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        return read_json(_utf8(text, codec))
    except BadPayload:
        return None


def _of_fields(fields: Sequence[tuple[str, str]]) -> Any:
    """Return a form as an object, or the JSON of a form whose one field is `payload`."""
    if len(fields) == 1 and fields[0][0] == _PAYLOAD:
        found = _json_or_none(fields[0][1].encode(), "utf-8")
        if found is not None:
            return found
    form: dict[str, list[str]] = {}
    for name, value in fields:
        form.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in form.items()}


def _pairs(body: bytes, codec: str) -> Iterator[tuple[str, str]]:
    at = 0
    for field in body.split(b"&"):
        if field:
            name, equals, value = field.partition(b"=")
            yield (
                _unescaped(name, codec, at),
                _unescaped(value, codec, at + len(name) + len(equals)),
            )
        at += len(field) + 1


def _unescaped(text: bytes, codec: str, at: int) -> str:
    raw = unquote_to_bytes(text.replace(b"+", b" "))
    try:
        return raw.decode(codec)
    except UnicodeDecodeError as error:
        before = list(_PERCENT.finditer(text))[error.start]
        raise not_in_charset(codec.upper(), at + before.start()) from None


# --- multipart --------------------------------------------------------------------------------

_BLANK_LINE: Final = re.compile(rb"\r\n\r\n|\r\r|\n\n")


def _parts(body: bytes, boundary: str, codec: str) -> list[tuple[str, str]]:
    """Return the fields of a multipart form; its files and parts without a name are left out."""
    try:
        delimiter = boundary.encode("ascii")
        if not delimiter:
            raise BadPayload("The form's Content-Type has no boundary.")
        _check_headers(body, delimiter)
        return list(_fields(body, MultipartDecoder(delimiter, max_parts=MAX_FIELDS), codec))
    except RequestError:
        raise
    except Exception:
        # werkzeug raises errors of several kinds for a form that is not valid.
        raise BadPayload("The body is not a valid form.") from None


def _check_headers(body: bytes, delimiter: bytes) -> None:
    """Raise BadPayload if a part has many or long headers: werkzeug would read them all."""
    starts = re.compile(rb"(?:^|[\r\n])--" + re.escape(delimiter) + rb"[^\S\r\n]*[\r\n]")
    for count, found in enumerate(starts.finditer(body), start=1):
        if count > MAX_FIELDS:
            raise BadPayload(f"The form has more than {MAX_FIELDS} fields.")
        begin = found.end() - 1
        end = _BLANK_LINE.search(body, begin, begin + MAX_PART_HEADER_BYTES)
        if end is None and len(body) - begin < MAX_PART_HEADER_BYTES:
            continue  # broken off: werkzeug says so
        headers = body[begin : end.start()] if end else b""
        lines = max(headers.count(b"\n"), headers.count(b"\r"))
        if end is None or lines > MAX_PART_HEADERS:
            raise BadPayload("A part of the form has too many or too long headers.")


def _fields(body: bytes, decoder: MultipartDecoder, codec: str) -> Iterator[tuple[str, str]]:
    decoder.receive_data(body)
    decoder.receive_data(None)
    part: Event | None = None
    pieces: list[bytes] = []
    while not isinstance(event := decoder.next_event(), Epilogue):
        if not isinstance(event, Data):
            part, pieces = event, []
            continue
        # A part may have no name; a File is not a Field.
        if not isinstance(part, Field) or part.name is None:
            continue
        pieces.append(event.data)
        if not event.more_data:
            _, options = parse_options_header(part.headers.get("Content-Type", ""))
            own = options.get("charset")
            text = b"".join(pieces)
            yield part.name, _text(text, _codec(own) if own else codec, body=body)


# --- the beginning of a body that can't be parsed ----------------------------------------------

_CHUNK: Final = 4096
_ODD: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\udc80-\udcff]")
_MOST_ODD: Final = 0.1  # of a text: an invoice in ISO 8859-1 has 5 %, a compressed file 60 %


def read_beginning(body: bytes, content_type: str, content_encoding: str, most_bytes: int) -> str:
    """Return the beginning of a body as text for people. A byte that is not text becomes "\\xe9".

    most_bytes: of the body without its encoding. "": nobody can read it as text. Then nobody could
    search it for a person either.
    """
    _, options = parse_options_header(content_type)
    codec = _CODECS.get(options.get("charset", "").strip().lower())
    raw = _beginning_uncompressed(body, content_encoding.strip().lower(), most_bytes)
    if codec is None or not raw:
        return ""
    if codec in ("utf-8", "us-ascii", "utf-16"):
        codec = _guessed(raw, codec)
    odd = _ODD.findall(raw.decode(codec, "surrogateescape" if codec == "utf-8" else "replace"))
    if len(odd) > _MOST_ODD * len(raw):
        return ""
    return raw.decode(codec, "backslashreplace").removeprefix("\ufeff")


def _guessed(raw: bytes, codec: str) -> str:
    """Return the codec of a text that may be UTF-16, also where its sender does not say so."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if raw[:1] == b"\0":
        return "utf-16-be"
    if codec == "utf-16" or raw[:_CHUNK].count(b"\0") > len(raw[:_CHUNK]) // 4:
        return "utf-16-le"
    return "utf-8"


def _beginning_uncompressed(body: bytes, encoding: str, most: int) -> bytes:
    """Return at most so many bytes without their encoding, up to where they are broken."""
    if encoding in _PLAIN:
        return body[:most]
    bits = _bits(body, encoding)
    if bits is None:
        return b""
    found, member = b"", zlib.decompressobj(bits)
    for start in range(0, len(body), _CHUNK):
        with contextlib.suppress(zlib.error):
            found += member.decompress(body[start : start + _CHUNK], most - len(found))
            if not member.eof and len(found) < most:
                continue
        break
    return found
