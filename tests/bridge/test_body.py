"""Whatever the bytes, the answer is JSON values, a 400 or a 415: nothing else gets out."""

import random
from typing import Any

import orjson
import pytest
from support import each

from bridge.http.body import MAX_FIELDS, read_body
from schemas.errors import BadPayload, UnsupportedMedia
from schemas.json_body import MAX_DEPTH

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
