"""XML as values: what becomes of elements, and what is refused before anything is resolved."""

from pathlib import Path
from typing import Any

import pytest
from support import each

from bridge.http.xml_body import LONGEST_NAMESPACE, read_xml
from schemas.depth import MAX_DEPTH
from schemas.errors import BadPayload, TooLarge
from schemas.json_body import MAX_VALUES

XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


def nested(levels: int) -> str:
    return "<a>" * levels + "</a>" * levels


@each(
    ("text", "expected"),
    [
        ("<a/>", ""),
        ("<a> \n </a>", ""),
        ("<a> x </a>", " x "),
        ("<a>1 &lt; 2 &#38; <![CDATA[<3>]]></a>", "1 < 2 & <3>"),
        ("<a><b>1</b></a>", {"b": "1"}),
        ("<a>left out <b>1</b></a>", {"b": "1"}),
        ("<a><b>1</b><b/><c>2</c></a>", {"b": ["1", ""], "c": "2"}),
        ('<a x="1"><b y="2">1</b></a>', {"@x": "1", "b": "1"}),
        ('<n:a xmlns:n="urn:n" n:x="1"><n:b>1</n:b></n:a>', {"@x": "1", "b": "1"}),
        (f'<a {XSI}><b xsi:nil="true"/><c xsi:nil="false">1</c></a>', {"b": None, "c": "1"}),
        ("<!-- note --><a><!-- note --><?do it?><b>1</b></a>", {"b": "1"}),
    ],
)
def test_an_element_becomes_an_object_or_a_text(text: str, expected: Any) -> None:
    assert read_xml(text.encode()) == {"a": expected}


@each("start", ["", "\ufeff", " \n", '\ufeff<?xml version="1.0" encoding="ISO-8859-1"?>\n'])
def test_it_is_utf_8_whatever_its_first_line_says(start: str) -> None:
    assert read_xml(f"{start}<a>é 😀 अ</a>".encode()) == {"a": "é 😀 अ"}


@each(
    ("text", "expected"),
    [
        ("&#55357;&#56832;", "😀"),
        ("&#xD83D;&#xde00;!", "😀!"),
        ("&#128512;", "😀"),
        ("&#55357;", "\ufffd"),
        ("&#56832;&#55357;x", "\ufffd\ufffdx"),
        ("&#0;\x0b&#x1F;", "\ufffd\ufffd\ufffd"),
        ("&#1114112;", "\ufffd"),
        ("&#9;&#60;b&#62;", "\t<b>"),
    ],
)
def test_half_an_emoji_and_what_xml_forbids_cost_no_lead(text: str, expected: str) -> None:
    assert read_xml(f"<a>{text}</a>".encode()) == {"a": expected}


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@each(
    "document",
    [
        f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><a>&l9;</a>',
        f'<!DOCTYPE a [<!ENTITY l "{"ha" * 1000}">]><a>{"&l;" * 1000}</a>',
        '<!DOCTYPE a [<!ENTITY f SYSTEM "file://{file}">]><a>&f;</a>',
        '<!DOCTYPE a [<!ENTITY % f SYSTEM "file://{file}"> %f;]><a/>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd"><a/>',
        '<!DOCTYPE a PUBLIC "-//A//B" "file://{file}"><a/>',
        "<!DOCTYPE a><a/>",
    ],
    ids=["laughs", "blow-up", "file", "parameter", "http", "public", "plain"],
)
def test_a_document_type_is_refused_and_nothing_is_resolved(document: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("of this machine", "utf-8")
    with pytest.raises(BadPayload, match="document type"):
        read_xml(document.replace("{file}", str(file)).encode())


def test_a_document_that_xi_include_points_out_of_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("of this machine", "utf-8")
    include = f'<x:include xmlns:x="http://www.w3.org/2001/XInclude" href="file://{file}"/>'
    assert read_xml(f"<a>{include}</a>".encode()) == {"a": {"include": ""}}


@each(
    "body",
    [
        *(b"", b" \n", b"\xef\xbb\xbf", b'{"a": 1}', b"<a", b"<a/><b/>", b"<a>&b;</a>"),
        *(b"<a>\xff</a>", "<a/>".encode("utf-16"), b"<secret><b></secret>"),
        nested(MAX_DEPTH + 2).encode(),
    ],
)
def test_what_is_no_such_xml_is_refused_and_not_repeated(body: bytes) -> None:
    with pytest.raises(BadPayload) as refused:
        read_xml(body)
    assert "secret" not in str(refused.value)


def test_as_many_levels_as_json_may_have_are_read() -> None:
    assert read_xml(nested(MAX_DEPTH).encode())


@each("body", ["<a>" + "<b/>" * 2 * MAX_VALUES + "</a>", nested(2 * MAX_VALUES)])
def test_too_many_values_are_refused_before_they_are_parsed(body: str) -> None:
    with pytest.raises(TooLarge):
        read_xml(body.encode())


@each("declared", ["xmlns", "xmlns:n"])
def test_a_long_namespace_is_refused_before_elements_have_it(declared: str) -> None:
    uri = "n" * LONGEST_NAMESPACE
    assert read_xml(f"<a {declared}='{uri}'><b/></a>".encode())
    with pytest.raises(BadPayload, match="namespace"):
        read_xml(f"<a {declared}='{uri}n'><b/></a>".encode())
