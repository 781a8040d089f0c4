"""Whatever the bytes, the answer is JSON values, a 400 or a 415: nothing else gets out."""

import contextlib
import gzip
import math
import random
import time
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus, unquote_to_bytes

import orjson
import pytest
from support import each

from bridge.http.body import MAX_FIELDS, read_body
from config.settings import MAX_BODY_BYTES
from schemas.depth import MAX_DEPTH
from schemas.errors import BadPayload, TooLarge, UnsupportedMedia

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=XX"


def part(name: str, value: str, more: str = "") -> bytes:
    disposition = f'--XX\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return f"{disposition}{value}\r\n".encode()


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/vnd.api+json",
        "application/cloudevents+json;x=y",
        "text/json",
        "text/plain",
        "",
    ],
)
def test_json_goes_by_several_names(content_type: str) -> None:
    assert read_body(b'{"a": 1}', content_type) == {"a": 1}


@pytest.mark.parametrize(
    "content_type",
    ["text/xml", "application/octet-stream", "image/png", "json", "text/html", ";", "a+json"],
)
def test_other_media_are_refused(content_type: str) -> None:
    if content_type == ";":  # a header that names nothing is as good as none
        assert read_body(b"{}", content_type) == {}
        return
    with pytest.raises(UnsupportedMedia):
        read_body(b"{}", content_type)


@each(
    "body",
    [
        b"",
        b" \n",
        b"\xef\xbb\xbf",
        b"{",
        b"NaN",
        b'{"a": Infinity}',
        b'"\xff"',
        b'"\x00"',
        b"\x00",
        b"{}{}",
        "{}".encode("utf-16"),
        b"[" * 100_000,
        b"[" * 500 + b"]" * 500,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_not_json_is_a_bad_payload(body: bytes) -> None:
    with pytest.raises(BadPayload):
        read_body(body, "application/json")


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (b"\xef\xbb\xbf[1]", [1]),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'"\\u0000"', "\0"),
        (b"18446744073709551615", 2**64 - 1),
        (b"18446744073709551616", "18446744073709551616"),
        (b'"\\ud800"', "\ufffd"),
        (b'{"phone": 9876543210.0}', {"phone": 9876543210}),
        (b"null", None),
        ('"आशा"'.encode(), "आशा"),
    ],
)
def test_json_at_its_edges(body: bytes, content: Any) -> None:
    assert read_body(body, "application/json") == content


def test_depth_is_bounded_whatever_stands_beside_it() -> None:
    wide = b"[" + b"{}," * 1000 + b"%s]"
    deepest, too_deep = MAX_DEPTH - 1, MAX_DEPTH
    assert read_body(wide % (b"[" * deepest + b"]" * deepest), "")
    with pytest.raises(BadPayload, match="64 levels"):
        read_body(wide % (b"[" * too_deep + b"]" * too_deep), "")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"phone": "+911234500001"', "application/json"),
        (b"+911234500001", "application/json"),
        (b"phone=\xff+911234500001", FORM),
        (b"+911234500001", MULTIPART),
    ],
)
def test_no_message_quotes_the_body(body: bytes, content_type: str) -> None:
    with pytest.raises(BadPayload) as caught:
        read_body(body, content_type)
    assert "1234500001" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_form_is_an_object_of_texts() -> None:
    form = b"name=Asha+R&phone=%2B911234500001&tag=a&tag=b&empty="
    assert read_body(form, f"{FORM}; charset=utf-8") == {
        "name": "Asha R",
        "phone": "+911234500001",
        "tag": ["a", "b"],
        "empty": "",
    }
    assert read_body(b"", FORM) == {}


def test_a_multipart_form_keeps_its_fields_and_drops_its_files() -> None:
    file = part("file", "x" * 600_000, '; filename="a.txt"')
    body = part("name", "आशा") + file + part("tag", "a") + part("tag", "b") + b"--XX--\r\n"
    assert read_body(body, MULTIPART) == {"name": "आशा", "tag": ["a", "b"]}


def test_a_part_without_a_name_is_left_out() -> None:
    nameless = b"--XX\r\nContent-Disposition: form-data\r\n\r\n1\r\n"
    assert read_body(nameless + part("a", "1") + b"--XX--", MULTIPART) == {"a": "1"}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (part("a", "1") + b"--XX--", "multipart/form-data"),
        (part("a", "1"), MULTIPART),
        (b"no parts", MULTIPART),
        (b"a=\xff", FORM),
        (b"a&" * (MAX_FIELDS + 1), FORM),
        (part("a", "1") * (MAX_FIELDS + 1) + b"--XX--", MULTIPART),
    ],
    ids=["no boundary", "no end", "no parts", "not UTF-8", "many fields", "many parts"],
)
def test_a_broken_form_is_a_bad_payload(body: bytes, content_type: str) -> None:
    with pytest.raises(BadPayload):
        read_body(body, content_type)


@pytest.mark.parametrize("content_type", ["application/json", FORM, MULTIPART, "", "\xff;=\x00"])
def test_random_bytes_end_in_an_answer_that_can_be_stored(content_type: str) -> None:
    chance = random.Random(7)  # noqa: S311
    seeds = [
        b'[{"a": "\\u00e9", "b": [1, 2.5, null]}]',
        b"a=%F0%9F&b=+",
        part("a", "1") + b"--XX--",
    ]
    for _ in range(1500):
        body = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(1, 6)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        try:
            content = read_body(bytes(body), content_type)
        except (BadPayload, UnsupportedMedia):
            continue
        orjson.dumps(content)


# --- JSON that is called a form -----------------------------------------------------------------

LEAD = {"name": "Asha R", "phone": "+911234500001", "note": "a=b&c=d; 100%"}
RAW = orjson.dumps(LEAD)
ESCAPED = quote_plus(RAW).encode()


@each(
    ("body", "content"),
    [
        (RAW, LEAD),
        (b" \n" + RAW + b"\n", LEAD),
        (RAW + b"=", LEAD),
        (b"[" + RAW + b"," + RAW + b"]", [LEAD, LEAD]),
        (b"{}", {}),
        (rb'{"a": "\ud83d", "phone": 911234500001.0}', {"a": "\ufffd", "phone": 911234500001}),
        (ESCAPED, LEAD),
        (ESCAPED + b"=", LEAD),
        (quote(RAW, safe="+").encode(), LEAD),
        (b"payload=" + RAW, LEAD),
        (b"payload=" + ESCAPED, LEAD),
        (b"payload=" + quote(RAW, safe="+:,").encode(), LEAD),
        (b"payload=%5B%7B%22a%22%3A1%7D%5D", [{"a": 1}]),
    ],
    ids=lambda body: repr(body[:30]),
)
def test_json_that_is_called_a_form_is_read_as_what_it_is(body: bytes, content: Any) -> None:
    assert read_body(body, FORM) == content


@each(
    ("body", "content"),
    [
        (b"data=" + ESCAPED, {"data": RAW.decode()}),
        (b"note={draft}&phone=%2B911234500001", {"note": "{draft}", "phone": "+911234500001"}),
        (b'note={"a"&b=[1', {"note": '{"a"', "b": "[1"}),
        (b"{{contact.name}}=Asha&phone=1", {"{{contact.name}}": "Asha", "phone": "1"}),
        (b"payload=" + ESCAPED + b"&a=1", {"payload": RAW.decode(), "a": "1"}),
        (b"payload=%7Bdraft%7D", {"payload": "{draft}"}),
        (b"payload=text", {"payload": "text"}),
        (b"[0]=a&[1]=b", {"[0]": "a", "[1]": "b"}),
    ],
)
def test_a_form_whose_value_begins_like_json_stays_a_form(body: bytes, content: Any) -> None:
    assert read_body(body, FORM) == content


def test_a_multipart_payload_is_read_as_json_too() -> None:
    assert read_body(part("payload", RAW.decode()) + b"--XX--", MULTIPART) == LEAD
    two = part("payload", RAW.decode()) + part("a", "1") + b"--XX--"
    assert read_body(two, MULTIPART) == {"payload": RAW.decode(), "a": "1"}


@each("body", [RAW[:-1], RAW.replace(b"Asha", b"Asha\n"), b'{"a": "b" "c"}', ESCAPED[:-3]])
def test_broken_json_that_is_called_a_form_is_told_about_its_content_type(body: bytes) -> None:
    with pytest.raises(BadPayload, match="Content-Type says that it is a form") as caught:
        read_body(body, FORM)
    assert caught.value.place.startswith("line")
    assert "1234500001" not in str(caught.value)


# --- charsets -------------------------------------------------------------------------------------

JOSE = {"name": "José", "city": "Pune"}
AS_JSON = '{"name": "José", "city": "Pune"}'


@each(
    ("charset", "codec"),
    [
        ("utf-8", "utf-8"),
        ('"UTF-8"', "utf-8"),
        ("utf-16", "utf-16"),
        ("utf-16", "utf-16-le"),
        ("utf-16", "utf-16-be"),
        ("UTF-16LE", "utf-16-le"),
        ("iso-8859-1", "latin-1"),
        ("ISO-8859-1", "latin-1"),
        ("Latin-1", "latin-1"),
        ("windows-1252", "cp1252"),
    ],
)
def test_declared_charsets_are_read(charset: str, codec: str) -> None:
    raw = AS_JSON.encode(codec)
    assert read_body(raw, f"application/json; charset={charset}") == JOSE
    assert read_body(raw, f"{FORM}; charset={charset}") == JOSE
    form = "name=José&city=Pune".encode(codec)
    assert read_body(form, f"{FORM}; charset={charset}") == JOSE


def test_the_bytes_of_a_form_are_in_its_charset_escaped_or_not() -> None:
    assert read_body(b"name=Jos%E9&city=Pune", f"{FORM}; charset=iso-8859-1") == JOSE
    for charset in ("windows-1252", "iso-8859-1", "latin1", "us-ascii"):
        assert read_body(b"a=%80&b=\x93", f"{FORM}; charset={charset}") == {"a": "€", "b": "“"}
    assert read_body(b"name=Jos%C3%A9&city=Pune", FORM) == JOSE
    named = part("name", "x").replace(b"x\r\n", b"Jos\xe9\r\n")
    typed = named.replace(b'name"', b'name"\r\nContent-Type: text/plain; charset=iso-8859-1')
    for body, kind in ((named, f"{MULTIPART}; charset=iso-8859-1"), (typed, MULTIPART)):
        assert read_body(body + b"--XX--", kind) == {"name": "José"}
    assert read_body(
        '"a\ud83d"'.encode("utf-16", "surrogatepass"), "text/plain; charset=utf-16"
    ) == ("a\ufffd")


@each("charset", ["utf-7", "utf-32", "koi8-r", "shift_jis", "rot13", "idna", "x", "base64"])
@each("media", ["application/json", FORM, MULTIPART])
def test_any_other_charset_is_an_unsupported_medium(charset: str, media: str) -> None:
    with pytest.raises(UnsupportedMedia, match="windows-1252"):
        read_body(b"{}", f"{media}; charset={charset}")


@each(
    ("body", "content_type", "place"),
    [
        (b'{"name": "Jos\xe9"}', "application/json", "byte 14"),
        (b'{"name": "Jos\xe9", "n": 1.0}', "application/json", "byte 14"),
        (b"city=Pune&name=Jos\xe9", FORM, "byte 19"),
        (b"city=Pune&name=%4Aos%E9", FORM, "byte 21"),
        (b"%E9=1", FORM, "byte 1"),
        (b"a=\xc3\xa9\x80\x81", f"{FORM}; charset=us-ascii", "byte 6"),
        (b"a=\x81", f"{FORM}; charset=iso-8859-1", "byte 3"),
        (b"a=%81", f"{FORM}; charset=windows-1252", "byte 3"),
        ("[1]".encode("utf-16-be"), FORM, "byte 1"),
        ("a=1".encode("utf-16-le"), f"{FORM}; charset=windows-1252", "byte 2"),
        ("a=\ud7ff".encode("utf-16"), f"{FORM}; charset=us-ascii", "byte 4"),
        (b"a=\xe9", f"{FORM}; charset=utf-16", "byte 1"),
        (b"\xff\xfe{", "application/json; charset=utf-16", "byte 3"),
        (
            part("a", "1") + part("b", "x").replace(b"x", b"Jos\xe9") + b"--XX--",
            MULTIPART,
            "byte 107",
        ),
    ],
)
def test_bytes_that_are_not_in_the_charset_are_refused_with_their_place(
    body: bytes, content_type: str, place: str
) -> None:
    with pytest.raises(BadPayload) as caught:
        read_body(body, content_type)
    assert caught.value.place == place
    assert place in str(caught.value)


# --- compressed bodies ----------------------------------------------------------------------------


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@each(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("X-GZIP", gzip.compress),
        (" Gzip ", lambda body: gzip.compress(body[:5]) + gzip.compress(body[5:])),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("identity", bytes),
        ("", bytes),
    ],
)
def test_a_compressed_body_is_read(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    assert read_body(pack(RAW), "application/json", encoding) == LEAD
    assert read_body(pack(RAW), FORM, encoding) == LEAD
    assert read_body(pack(part("a", "1") + b"--XX--"), MULTIPART, encoding) == {"a": "1"}
    latin = pack(AS_JSON.encode("latin-1"))
    assert read_body(latin, "application/json; charset=iso-8859-1", encoding) == JOSE


@each("encoding", ["br", "zstd", "compress", "gzip, gzip", "deflate, gzip", "aes128gcm", "x"])
def test_any_other_encoding_is_an_unsupported_medium(encoding: str) -> None:
    with pytest.raises(UnsupportedMedia, match="Content-Encoding"):
        read_body(b"{}", "application/json", encoding)


@each(
    ("body", "encoding"),
    [
        (RAW, "gzip"),
        (RAW, "deflate"),
        (b"", "gzip"),
        (gzip.compress(RAW)[:-9], "gzip"),
        (zlib.compress(RAW)[:-5], "deflate"),
        (gzip.compress(RAW) + b"more", "gzip"),
        (gzip.compress(RAW)[:-8] + b"\0" * 8, "gzip"),
        (gzip.compress(b"") * 200_000, "gzip"),
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_not_compressed_as_it_says_is_a_bad_payload(body: bytes, encoding: str) -> None:
    with pytest.raises(BadPayload):
        read_body(body, "application/json", encoding)


@each("pack", [gzip.compress, zlib.compress, raw_deflate])
def test_a_bomb_is_too_large_and_costs_no_more_than_the_limit(
    pack: Callable[[bytes], bytes],
) -> None:
    encoding = "gzip" if pack is gzip.compress else "deflate"
    most = b'"' + b"a" * (MAX_BODY_BYTES - 2) + b'"'
    assert read_body(pack(most), "application/json", encoding) == "a" * (MAX_BODY_BYTES - 2)
    bomb = pack(b" " * (8 * MAX_BODY_BYTES))
    tracemalloc.start()
    with pytest.raises(TooLarge):
        read_body(bomb, "application/json", encoding)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * MAX_BODY_BYTES
    with pytest.raises(TooLarge):
        read_body(gzip.compress(most) * 3, "application/json", "gzip")


# --- bounds of forms ------------------------------------------------------------------------------


@each(
    "body",
    [
        part("a", "1") * 100_000 + b"--XX--",
        b"--XX\r\nContent-Disposition: form-data; name=a\r\n" + b"X: y\r\n" * 200_000,
        b"--XX\r\nContent-Disposition: form-data; name=a\r\n"
        + b"X: y\r\n" * 17
        + b"\r\n1\r\n--XX--",
        b"--XX\r\nContent-Disposition: form-data" + b"; a=b" * 200_000 + b"\r\n\r\n1\r\n--XX--",
        b"--XX\nContent-Disposition: form-data; name=a\nX: " + b"y" * 10**6 + b"\n\n1\n--XX--",
        (b"--XX\r" + b"\r--XX\r" * 500_000),
        part("a", "1", "; a=b" * 700) * 1000 + b"--XX--",
        part("a", "1", '; b="' + '\\"' * 1500 + '"') * 1000 + b"--XX--",
        part("a", "1", "\r\nContent-Type: text/plain" + ";" * 3900) * 1000 + b"--XX--",
    ],
    ids=lambda body: repr(body[-20:]),
)
def test_a_multipart_form_of_many_parts_or_headers_costs_little(body: bytes) -> None:
    began = time.process_time()
    with pytest.raises(BadPayload):
        read_body(body, MULTIPART)
    assert time.process_time() - began < 1


@each(
    "body",
    [
        b"a=" + b"%41" * 20_000,
        b"a=" + b"%41" * 20_000 + b"%E9",
        b"a=" + b"%" * 60_000,
        b"payload=%7B" + b"%22+1" * 100_000,
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_form_of_escapes_takes_few_times_its_size_in_memory(body: bytes) -> None:
    tracemalloc.start()
    try:
        with contextlib.suppress(BadPayload):
            read_body(body, FORM)
        assert tracemalloc.get_traced_memory()[1] < 24 * len(body)
    finally:
        tracemalloc.stop()


@each(
    "body, kind",
    [
        (b"%" * 2_000_000, f"{FORM}; charset=windows-1252"),
        (b"a=%4" + b"%%" * 1_000_000, f"{FORM}; charset=latin1"),
        (b"%41" * 700_000, FORM),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_a_form_of_percent_signs_costs_little(body: bytes, kind: str) -> None:
    began = time.process_time()
    read_body(body, kind)
    assert time.process_time() - began < 1


@each("at", range(5))
def test_a_piece_never_ends_in_an_escape(at: int) -> None:
    text = b"x" * at + b"\\x41%41%2541" * 4000
    assert read_body(b"a=" + text, FORM) == {"a": unquote_to_bytes(text).decode()}


@each(
    "text", [b"a%41%e9", b"%", b"%4", b"%%41%", b"%4%41g%zz", b"%41" * 9001 + b"%4", b"%" * 99_999]
)
def test_escapes_are_decoded_in_pieces_as_at_once(text: bytes) -> None:
    found = read_body(b"a=" + text, f"{FORM}; charset=windows-1252")
    raw = unquote_to_bytes(text)
    assert found == {"a": raw.decode("windows-1252")}


GROWING: dict[str, tuple[Callable[[int], bytes], str]] = {
    "fields": (lambda n: b"&a=%41+" * n, FORM),
    "escapes": (lambda n: b"a=" + b"%41" * n, FORM),
    "a broken escape at the end": (lambda n: b"a=" + b"%41" * n + b"%E9", FORM),
    "equals": (lambda n: b"=" * (4 * n), FORM),
    "a payload that is not JSON": (lambda n: b"payload=" + b"{" * (4 * n), FORM),
    "an escaped payload": (lambda n: b"payload=%7B" + b"%22+1" * n, FORM),
    "parts": (lambda n: part("a", "1") * n + b"--XX--", MULTIPART),
    "boundaries": (lambda n: b"--XX\r\n" * n, MULTIPART),
    "line ends": (lambda n: part("a", "\r\n" * n) + b"--XX--", MULTIPART),
    "half boundaries": (lambda n: part("a", "\r\n--X" * n) + b"--XX--", MULTIPART),
    "spaces": (lambda n: b"--XX" + b" " * (4 * n) + b"x", MULTIPART),
    "spaces behind boundaries": (lambda n: b"a\r\n--XX \t " * n, MULTIPART),
}


@each("name", GROWING)
def test_the_time_grows_no_faster_than_the_form(name: str) -> None:
    made, kind = GROWING[name]
    small, large = (best_of_five(made(n), kind) for n in (2000, 8000))
    assert large < 8 * max(small, 0.001)


def best_of_five(body: bytes, kind: str) -> float:
    """Return the CPU seconds of reading a body."""
    best = math.inf
    for _ in range(5):
        began = time.process_time()
        with contextlib.suppress(BadPayload, TooLarge):
            read_body(body, kind)
        best = min(best, time.process_time() - began)
    return best
