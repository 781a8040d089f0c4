"""A raw body as values: its encoding, its charset and its media type; schemas/json_body.py reads
JSON.

It may run before its sender is known, for the body may have the token. So its cost is bounded.

A body has one reading, which its bytes give. Its headers say whether the body is taken, and they
never change what it says: no signature covers them, so a stranger can send a captured body with
others. With a second reading, the body could get another id or another number.
"""

import contextlib
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, MultipartDecoder

from config.settings import MAX_BODY_BYTES
from schemas.errors import BadPayload, RequestError, TooLarge, UnsupportedMedia
from schemas.json_body import MAX_VALUES, not_in_charset, read_json

# Some senders call JSON by another name, or send no name, and can't change that.
_JSON: Final = frozenset({"", "application/json", "text/json", "text/plain"})
_URLENCODED: Final = "application/x-www-form-urlencoded"
_MULTIPART: Final = "multipart/form-data"

MAX_FIELDS: Final = 2000
# Of one part of a multipart form. Browsers send two headers, in less than 1 kB.
MAX_PART_HEADERS: Final = 16
MAX_PART_HEADER_BYTES: Final = 4096
# Of all parts together. 2,000 fields with names of 100 characters have 300 kB; werkzeug takes up to
# 1 s for 1 MB.
MAX_HEADER_BYTES: Final = 512 * 1024


@lru_cache(maxsize=64)
def media_type_of(content_type: str) -> tuple[str, Mapping[str, str]]:
    """Return a Content-Type's media type, in small letters, and its options, such as the charset.

    Cached: a sender writes each of its requests' in the same way.
    """
    name, options = parse_options_header(content_type)
    return name.strip().lower(), options


def read_body(body: bytes, content_type: str, content_encoding: str = "") -> Any:
    """Return the body as JSON values; content_type is the whole header, with a form's boundary.

    A form becomes an object of texts: a field with several values becomes a list, files are left
    out. JSON that a program posted as a form is read as JSON. What is UTF-8 is read as UTF-8,
    whatever its charset is called. No error message repeats a part of the body.

    Raises:
        UnsupportedMedia: the media type, the charset or the encoding is not read here.
        BadPayload: the body is not what its headers say.
        TooLarge: the body is over MAX_BODY_BYTES once it is not compressed any more, or has more
            JSON values than MAX_VALUES.
    """
    name, options = media_type_of(content_type)
    is_json = name in _JSON or (name.startswith("application/") and name.endswith("+json"))
    if not is_json and name not in (_URLENCODED, _MULTIPART):
        raise UnsupportedMedia("The body must be JSON or a form.")
    charset = _charset(options.get("charset", ""))
    encoding = content_encoding.strip().lower()
    if name == _URLENCODED and encoding in _PLAIN and _is_compressed(body):
        raise BadPayload("The body is compressed. Its Content-Encoding must say so.")
    body = _uncompressed(body, encoding)
    if is_json:
        return read_json(_utf8(body, charset))
    if name == _URLENCODED:
        return _urlencoded(body, charset)
    return _of_fields(_parts(body, options.get("boundary", ""), charset))


# --- Content-Encoding -------------------------------------------------------------------------

_PLAIN: Final = frozenset({"", "identity"})
_GZIP: Final = frozenset({"gzip", "x-gzip"})
_GZIP_BITS: Final = 16 + zlib.MAX_WBITS
_GZIP_START: Final = b"\x1f\x8b"
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


def _is_compressed(body: bytes) -> bool:
    """Say whether a body is compressed, by its bytes. In some charsets such bytes are text, too."""
    if body.startswith(_GZIP_START):
        return True
    try:
        _uncompressed(body, "deflate")
    except BadPayload:
        return False
    except TooLarge:
        pass
    return True


# --- charset ----------------------------------------------------------------------------------

# Browsers, too, read what is called iso-8859-1 or us-ascii as windows-1252, which has characters in
# the place of control codes: https://encoding.spec.whatwg.org/#names-and-labels
_CHARSETS: Final = {
    "": "utf-8",
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "utf-16": "utf-16",
    "utf-16le": "utf-16",
    "utf-16be": "utf-16",
    "iso-8859-1": "windows-1252",
    "iso8859-1": "windows-1252",
    "latin1": "windows-1252",
    "latin-1": "windows-1252",
    "windows-1252": "windows-1252",
    "cp1252": "windows-1252",
    "us-ascii": "windows-1252",
    "ascii": "windows-1252",
}
_UTF_16_STARTS: Final = (b"\xff\xfe", b"\xfe\xff")
_HALVES: Final = re.compile("[\ud800-\udfff]")


def _charset(name: str) -> str:
    charset = _CHARSETS.get(name.strip().lower())
    if charset is None:
        raise UnsupportedMedia(
            "The charset must be utf-8, utf-16, iso-8859-1, windows-1252 or us-ascii."
        )
    return charset


def _is_utf_8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _codec(text: bytes, charset: str) -> str:
    """Return the codec of a text that is called `charset`. Raises BadPayload if it is another one.

    JSON and forms have ASCII characters, so in UTF-16 they have zero bytes; no other charset has.
    """
    if text.startswith(_UTF_16_STARTS) or b"\0" in text:
        if charset != "utf-16":
            raise not_in_charset(charset.upper(), max(text.find(b"\0"), 0))
        is_big = text[:2] == b"\xfe\xff" or text[:1] == b"\0"
        return "utf-16-be" if is_big else "utf-16-le"
    if _is_utf_8(text):
        return "utf-8"
    if charset == "utf-16":
        raise not_in_charset("UTF-16", 0)
    return charset


def _utf8(body: bytes, charset: str) -> bytes:
    """Return a text in UTF-8. JSON that is called UTF-8 stays as it is: its reader checks it."""
    return body if charset == "utf-8" else _text(body, _codec(body, charset)).encode()


def _text(text: bytes, codec: str, *, body: bytes = b"") -> str:
    """Return bytes as text; body is where an error's place is. Half a character becomes U+FFFD."""
    try:
        if not codec.startswith("utf-16"):
            return text.decode(codec)
        return _HALVES.sub("\ufffd", text.decode(codec, "surrogatepass").removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        raise not_in_charset(codec.upper(), max(body.find(text), 0) + error.start) from None


# --- forms ------------------------------------------------------------------------------------

_PERCENT: Final = re.compile(rb"%[0-9a-fA-F]{2}|.", re.DOTALL)
_ESCAPE_START: Final = re.compile(rb"%(?=[0-9a-fA-F]{2})")
_PIECE_BYTES: Final = 16 * 1024
_PAYLOAD: Final = "payload"
_LOOKS_LIKE_JSON: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\{\s*[\"}]|\[\s*[\[{\"\]])")
# What else may be JSON from its first to its last byte: a list of numbers, or one value alone.
_MAY_BE_JSON: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:[\[\"0-9-]|(?:true|false|null)\s*\Z)")

_ESCAPED_JSON: Final = re.compile(rb"(?:payload=)?(?:%7B|%5B|[{\[])", re.IGNORECASE)
# Some programs escape all of their JSON but the plus of a phone number.
_PLUS: Final = re.compile(rb'(?<=%22)\+(?=[0-9])|(?<=")\+(?=[0-9])')


def _urlencoded(body: bytes, charset: str) -> Any:
    if body.lstrip().startswith(b"--"):
        raise BadPayload("The body begins like a multipart form. Its Content-Type must say so.")
    codec = _codec(body, charset)
    if charset == "utf-16":  # its escapes are those of the text in UTF-8
        body, charset = _text(body, codec).encode(), "utf-8"
    text = _utf8(body, charset)
    if _LOOKS_LIKE_JSON.match(text):
        return _json_called_form(text)
    if _MAY_BE_JSON.match(text):
        with contextlib.suppress(BadPayload):
            return read_json(text)
    if text.startswith(b"payload="):
        # A brace that is not escaped: nothing is, so a "+" is a plus.
        found = _json_or_none(text.removeprefix(b"payload="))
        if found is not None:
            return found
    if _ESCAPED_JSON.match(body):
        body = _PLUS.sub(b"%2B", body, count=MAX_VALUES)  # JSON with more of them is too large
    if body.count(b"&") >= MAX_FIELDS:
        raise BadPayload(f"The form has more than {MAX_FIELDS} fields.")
    if charset != "utf-8" and _is_utf_8(_unquoted(body)):
        charset = "utf-8"
    fields = list(_pairs(body, charset))
    if len(fields) == 1 and fields[0][1] == "" and _LOOKS_LIKE_JSON.match(fields[0][0].encode()):
        return _json_called_form(fields[0][0].encode())
    return _of_fields(fields)


def _json_called_form(text: bytes) -> Any:
    """Return JSON whose Content-Type says that it is a form: `curl -d` says so of everything."""
    try:
        return read_json(text.strip().removesuffix(b"="))
    except BadPayload as error:
        raise BadPayload(
            f"{error} Its Content-Type says that it is a form, but it begins like JSON: send "
            "application/json.",
            place=error.place,
        ) from None


def _json_or_none(text: bytes) -> Any:
    """Return an object or a list in JSON; None: the text is something else."""
    if text.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        return read_json(text)
    except BadPayload:
        return None


def _of_fields(fields: Sequence[tuple[str, str]]) -> Any:
    """Return a form as an object, or the JSON of a form whose one field is `payload`."""
    if len(fields) == 1 and fields[0][0] == _PAYLOAD:
        found = _json_or_none(fields[0][1].encode())
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
    raw = _unquoted(text.replace(b"+", b" "))
    try:
        return raw.decode(codec)
    except UnicodeDecodeError as error:
        before = next(islice(_PERCENT.finditer(text), error.start, None))
        raise not_in_charset(codec.upper(), at + before.start()) from None


def _unquoted(text: bytes) -> bytes:
    """Return a text without its escapes.

    urllib's own takes 40 bytes and almost a microsecond for each percent sign. Python's decoder of
    its own escapes (\\x41) is in C; in pieces, it takes little memory.
    """
    return b"".join(
        _ESCAPE_START.sub(rb"\\x", piece.replace(b"\\", rb"\\"))
        .decode("unicode_escape")
        .encode("latin-1")
        for piece in _pieces(text)
    )


def _pieces(text: bytes) -> Iterator[bytes]:
    """Yield a text in pieces, none of which ends in the middle of an escape."""
    at = 0
    while at < len(text):
        end = at + _PIECE_BYTES
        if end < len(text):
            escape = text.rfind(b"%", end - 2, end)
            end = escape if escape >= 0 else end
        yield text[at:end]
        at = end


# --- multipart --------------------------------------------------------------------------------

_BLANK_LINE: Final = re.compile(rb"\r\n\r\n|\r\r|\n\n")
_FIRST_LINE: Final = re.compile(rb"\s*+--([^\r\n]*+)")


def _parts(body: bytes, boundary: str, charset: str) -> list[tuple[str, str]]:
    """Return the fields of a multipart form; its files and parts without a name are left out."""
    try:
        delimiter = boundary.strip().encode("ascii")
        if not delimiter:
            raise BadPayload("The form's Content-Type has no boundary.")
        _check_boundary(body, delimiter)
        _check_headers(body, delimiter)
        return list(_fields(body, MultipartDecoder(delimiter, max_parts=MAX_FIELDS), charset))
    except RequestError:
        raise
    except Exception:
        # werkzeug raises errors of several kinds for a form that is not valid.
        raise BadPayload("The body is not a valid form.") from None


def _check_boundary(body: bytes, delimiter: bytes) -> None:
    """Raise BadPayload if the form does not begin with its boundary.

    Text before it would be allowed. But with another boundary, which stands in the middle of what a
    person typed, that middle would be a form of its own.
    """
    found = _FIRST_LINE.match(body)
    first = found[1].strip() if found else b""
    # A form without parts is the last boundary alone, which has two more dashes at its end.
    if delimiter.endswith(b"--") or first not in (delimiter, delimiter + b"--"):
        raise BadPayload("The form does not begin with the boundary of its Content-Type.")


def _check_headers(body: bytes, delimiter: bytes) -> None:
    """Raise BadPayload if parts have many or long headers: werkzeug would read them all."""
    total = 0
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
        total += len(headers)
        if total > MAX_HEADER_BYTES:
            raise BadPayload("The parts of the form have too long headers.")


def _fields(body: bytes, decoder: MultipartDecoder, charset: str) -> Iterator[tuple[str, str]]:
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
            codec = _codec(text, _charset(own) if own else charset)
            yield part.name, _text(text, codec, body=body)


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
    codec = _CHARSETS.get(options.get("charset", "").strip().lower())
    raw = _beginning_uncompressed(body, content_encoding.strip().lower(), most_bytes)
    if codec is None or not raw:
        return ""
    if codec != "windows-1252" or _is_utf_8(raw):
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
