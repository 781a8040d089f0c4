"""The reader of JSON: it equals json.loads but for the three rules, and its time is bounded."""

import contextlib
import json
import math
import re
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import each, examples

from schemas.depth import MAX_DEPTH
from schemas.errors import BadPayload, TooLarge
from schemas.json_body import MAX_VALUES, read_json

# --- half a character ---------------------------------------------------------------------------


@each(
    ("text", "value"),
    [
        (rb'"Asha \ud83d"', "Asha \ufffd"),
        (rb'"\uDE00 Asha"', "\ufffd Asha"),
        (rb'"\uD83D\u0041"', "\ufffdA"),
        (rb'"\ud83d\n"', "\ufffd\n"),
        (rb'"\ude00\ud83d"', "\ufffd\ufffd"),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'"\ud83d\uDE00\ud83d"', "\U0001f600\ufffd"),
        (rb'"\\ud83d\ud83d\\\ud83d"', "\\ud83d\ufffd\\\ufffd"),
        (rb'{"na\udfffme": {"a": ["\udbff"]}}', {"na\ufffdme": {"a": ["\ufffd"]}}),
        (rb'{"a": "\ud83d", "phone": 9876543210.0}', {"a": "\ufffd", "phone": 9876543210}),
    ],
)
def test_half_a_character_becomes_a_replacement_character(text: bytes, value: Any) -> None:
    assert read_json(text) == value
    orjson.dumps(read_json(text))


# --- numbers as they were written -----------------------------------------------------------------


@each(
    ("text", "value"),
    [
        (b"9876543210.0", 9876543210),
        (b" 9876543210.000\n", 9876543210),
        (b'{"a":[{"phone" :\t919876543210.00}]}', {"a": [{"phone": 919876543210}]}),
        (b"[-5.0,-0.0,0.0]", [-5, 0, 0]),
        (b"[1.5,-0.25,10.01,1.00000000001]", [1.5, -0.25, 10.01, 1.00000000001]),
        (b"9.87654e9", "9.87654e9"),
        (b'{"a":-1E+5,"b":[1.0e3,0e0]}', {"a": "-1E+5", "b": ["1.0e3", "0e0"]}),
        (b"1e999", "1e999"),
        (b"18446744073709551615", 2**64 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"18446744073709551616", "18446744073709551616"),
        (b"[-9223372036854775809]", ["-9223372036854775809"]),
        (b'{"id":123456789012345678901234567890}', {"id": "123456789012345678901234567890"}),
        (b"98765432109876543210.0", "98765432109876543210"),
        (b"9" * 5000, "9" * 5000),
        (b"9" * 400 + b".5", "9" * 400 + ".5"),
    ],
)
def test_a_number_is_read_as_it_was_written(text: bytes, value: Any) -> None:
    read = read_json(text)

    assert (read, repr(read)) == (value, repr(value))
    orjson.dumps(read)


@each(
    "inside",
    ["1.0", "a: 9876543210.0, b", "[1.0]", "[ 9.87654e9]", ":1e5,", " 18446744073709551616 "],
)
def test_a_number_inside_a_text_or_a_key_stays_text(inside: str) -> None:
    value = {inside: inside, "others": [1.5, inside, {"deep": '"' + inside + "\\"}]}
    assert read_json(json.dumps(value).encode()) == value


# --- what is not JSON -----------------------------------------------------------------------------


@each(
    ("text", "place"),
    [
        (b'{"a": 1,}', "line 1, column 8"),
        (b'{"a": 1.0,}', "line 1, column"),
        (b'{"a": "b\n"}', "line 1, column"),
        (b'{"a":\n "\\ud83d" "b"}', "line 2, column 11"),
        (rb'"\ud83d\x"', "line 1, column"),
        (b'["\xff"]', "byte 3"),
        (b'[1.0, "\xff"]', "byte 8"),
        (b"\xef\xbb\xbf[\xe9]", "byte 5"),
        ("{}".encode("utf-16"), "byte 1"),
        (b'"\xed\xa0\xbd"', "byte 2"),
        (b"[1.0, NaN]", ""),
        (b"[1.0, -Infinity]", ""),
        (b"01.0", "line 1, column 2"),
        (b"1.0 2.0", "line 1, column 5"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(text: bytes, place: str) -> None:
    with pytest.raises(BadPayload) as caught:
        read_json(text)
    assert caught.value.place.startswith(place)
    assert caught.value.place in str(caught.value)


# --- any text -------------------------------------------------------------------------------------

HALF = re.compile("[\ud800-\udfff]")
WHITE = st.sampled_from(["", "", "", " ", "\n", "\t", "\r\n"])
DIGITS = st.from_regex(r"[1-9][0-9]{0,24}|0", fullmatch=True)
NUMBERS = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "-"]),
        DIGITS,
        st.sampled_from(["", "", ".0", ".000", ".5", ".050", ".00001"]),
        st.sampled_from(["", "", "", "e5", "E-3", "e+0", "E400"]),
    ),
)
CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs"], min_codepoint=32, exclude_characters='"\\'),
    st.sampled_from([r"\"", r"\\", r"\n", r"\/", r"\u0041", r"\u00e9", "1.0", ": 9.0,", " 1e5 "]),
    st.sampled_from([r"\ud83d", r"\uDE00", r"\ud83d\ude00", r"\uD800", r"\udFFf"]),
)
STRINGS = st.lists(CHARACTERS, max_size=6).map(lambda some: f'"{"".join(some)}"')


def within(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return texts of lists and objects of these texts."""
    members = st.builds("{}{}{}:{}{}".format, WHITE, STRINGS, WHITE, WHITE, values)
    return st.one_of(
        st.lists(values, max_size=4).map(lambda some: f"[{','.join(some)}]"),
        st.lists(members, max_size=4).map(lambda some: f"{{{','.join(some)}}}"),
    )


VALUES = st.recursive(
    st.one_of(NUMBERS, NUMBERS, STRINGS, st.sampled_from(["null", "true", "false"])), within
)
TEXTS = st.builds("{}{}{}".format, WHITE, VALUES, WHITE)


def expected(text: str) -> Any:
    """Return what json.loads makes of a text, by the three rules, written down a second time."""

    def whole(token: str) -> int | str:
        return int(token) if -(2**63) <= int(token) <= 2**64 - 1 else token

    def number(token: str) -> Any:
        if re.search("[eE]", token):
            return token
        if re.fullmatch(r"-?[0-9]+\.0+", token):
            return whole(token.split(".")[0])
        return float(token)

    def sound(value: Any) -> Any:
        match value:
            case str():
                return HALF.sub("\ufffd", value)
            case list():
                return [sound(item) for item in value]
            case dict():
                return {sound(key): sound(item) for key, item in value.items()}
        return value

    return sound(json.loads(text, parse_int=whole, parse_float=number))


@examples(400)
@given(TEXTS)
def test_any_json_text_is_read_as_json_loads_reads_it_but_for_the_rules(text: str) -> None:
    read, wanted = read_json(text.encode()), expected(text)

    assert json.dumps(read, sort_keys=True) == json.dumps(wanted, sort_keys=True)
    assert orjson.loads(orjson.dumps(read)) == read


@examples(400)
@given(TEXTS, st.integers(0, 400), st.sampled_from(['"', "\\", "}", "]", ",", "1.", "e", "\n", ""]))
def test_a_broken_text_is_refused_or_read_as_json_loads_reads_it(
    text: str, at: int, more: str
) -> None:
    broken = text[:at] + more + text[at + 1 :]
    try:
        wanted = expected(broken)
    except ValueError:
        with pytest.raises(BadPayload):
            read_json(broken.encode())
        return
    if "NaN" not in broken and "Infinity" not in broken and broken.strip(" \t\r\n"):
        assert json.dumps(read_json(broken.encode())) == json.dumps(wanted)


# --- bounds ---------------------------------------------------------------------------------------


@each(
    "text",
    [
        b"[" + b"{}," * MAX_VALUES + b"1]",
        b"[" + b"1," * MAX_VALUES + b"1]",
        b"[" + b'"",' * MAX_VALUES + b"1.0]",
        b'{"a":[' + b'{"a":1},' * (MAX_VALUES // 2 + 1) + b"1]}",
        b"{" + b",".join(b'"%d":[]' % at for at in range(MAX_VALUES)) + b"}",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_more_values_than_the_limit_are_refused(text: bytes) -> None:
    with pytest.raises(TooLarge, match=f"more than {MAX_VALUES} values"):
        read_json(text)


def test_commas_and_brackets_inside_texts_are_no_values() -> None:
    value = {",[{" * MAX_VALUES: [",[{\\" * MAX_VALUES, "}]" * MAX_VALUES]}
    assert read_json(orjson.dumps(value)) == value
    assert len(read_json(b"[" + b"1," * (MAX_VALUES - 2) + b"1]")) == MAX_VALUES - 1
    more = b"[" + b"1," * MAX_VALUES + b"1]"
    assert len(read_json(more, most_values=2 * MAX_VALUES)) == MAX_VALUES + 1


@each(
    ("opening", "closing"),
    [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"]}":', b"}]"), (b'["\\"]",', b"]")],
)
@each("inner", [b"1", b"1.0", rb'"\ud83d"'])
def test_depth_is_bounded_for_every_reader(opening: bytes, closing: bytes, inner: bytes) -> None:
    deepest = MAX_DEPTH // 2 if opening.startswith(b"[{") else MAX_DEPTH
    assert read_json(opening * deepest + inner + closing * deepest)
    with pytest.raises(BadPayload, match=f"{MAX_DEPTH} levels"):
        read_json(opening * (deepest + 1) + inner + closing * (deepest + 1))


WORDS = st.lists(st.sampled_from(["", "[", "{}", "]", "}{", '"', "\\", "a"]), max_size=3).map(
    "".join
)
NESTED = st.recursive(
    WORDS | st.just(1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=12,
)


@examples(400)
@given(NESTED, st.integers(0, 5))
def test_the_levels_are_those_of_the_values(value: Any, most: int) -> None:
    text = orjson.dumps(value)
    if levels(value) <= most:
        assert read_json(text, most_levels=most) == value
    else:
        with pytest.raises(BadPayload, match=f"more than {most} levels"):
            read_json(text, most_levels=most)


def levels(value: Any) -> int:
    """Return how deep a value is nested; a text and a number have no level."""
    if not isinstance(value, list | dict):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(levels, inner), default=0)


@each("inner", [b"1", b"1.0", rb'"\ud83d"'])
def test_a_reader_may_allow_more_levels_and_none_crashes(inner: bytes) -> None:
    """A batch of fetched records is read whole, and each record is judged alone."""
    assert read_json(b"[" * 300 + inner + b"]" * 300, most_levels=500)
    for levels in (501, 1100, 20_000):
        with pytest.raises(BadPayload, match="500 levels"):
            read_json(b"[" * levels + inner + b"]" * levels, most_levels=500)
    with pytest.raises(BadPayload):
        read_json(b"[" * 20_000 + inner + b"]" * 20_000, most_levels=30_000)


@pytest.mark.bounds
@each("value", [b"{},", b'{"a":1},', b"[[1]],", b'[{"":""}],', b"1.0,", b'"\\ud83d",'])
@each("count", [12_000, 16_000, MAX_VALUES - 1, 500_000])
def test_the_memory_of_reading_is_bounded(value: bytes, count: int) -> None:
    """The body's own bytes are not counted."""
    assert peak_of(b"[" + value * count + b"1]") < 15_000_000


@pytest.mark.bounds
@each("value", [b'"v%d"', b'["%d"]', b'{"%d":1.0}'])
def test_the_memory_of_an_object_is_bounded(value: bytes) -> None:
    for count in (12_000, 18_000, MAX_VALUES - 1, 100_000):
        members = (b'"k%d":' % at + value % at for at in range(count))
        assert peak_of(b"{" + b",".join(members) + b"}") < 15_000_000


def peak_of(text: bytes) -> int:
    """Return the bytes that reading a text takes at most."""
    tracemalloc.start()
    with contextlib.suppress(TooLarge):
        read_json(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


GROWING: dict[str, Callable[[int], bytes]] = {
    "values": lambda n: b"[" + b"{}," * n + b"{}]",
    "a text of commas": lambda n: b'["' + b"," * (4 * n) + b'"]',
    "a text of numbers": lambda n: b'["' + b": 1.0" * n + b'"]',
    "escapes": lambda n: b'["' + b'\\"' * n + b'"]',
    "empty texts": lambda n: b'""' * n,
    "open texts": lambda n: b'[,"' * n,
    "halves": lambda n: rb'["\ud83d' + rb"\ud83d\n" * n + b'"]',
    "digits": lambda n: b"[" + b"1" * (4 * n) + b".5]",
    "zeros": lambda n: b"[1." + b"0" * (4 * n) + b"1]",
    "spaces": lambda n: b"[" + b" " * (4 * n) + b"1.0]",
    "opened": lambda n: b"[" * (4 * n),
    "closed": lambda n: b"[" * 70 + b"]" * (4 * n),
}


@pytest.mark.parametrize("n", [4000, pytest.param(60_000, marks=pytest.mark.bounds)])
@each("name", GROWING)
def test_the_time_grows_no_faster_than_the_text(name: str, n: int) -> None:
    small, large = (best_of_five(GROWING[name](size)) for size in (n, 4 * n))
    assert large < 8 * max(small, 0.001)


def best_of_five(text: bytes) -> float:
    """Return the CPU seconds of reading a text."""
    best = math.inf
    for _ in range(5):
        began = time.process_time()
        with contextlib.suppress(BadPayload, TooLarge):
            read_json(text)
        best = min(best, time.process_time() - began)
    return best
