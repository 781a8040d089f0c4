"""What erasing a person has to find: their number, however a record writes it, and no other's."""

from typing import Any

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat
from support import each, examples

from rules.erasing import is_in_raw_text, mentions, without
from schemas.fields import PhoneError, e164
from schemas.raw_text import mask_raw

IN = "+919876543210"
GB = "+442079460958"
US = "+12025550123"
IT = "+390612345678"  # its zero is part of it


@each(
    ("number", "written"),
    [
        (IN, "+919876543210"),
        (IN, "919876543210"),
        (IN, "9876543210"),
        (IN, "09876543210"),
        (IN, "00919876543210"),
        (IN, "+91 98765 43210"),
        (IN, "+91-98765-43210"),
        (IN, "(+91) 98765-43210"),
        (IN, "+91 (0) 98765 43210"),
        (IN, "98765 43210"),
        (IN, "98765.43210"),
        (IN, "98765 - 43210"),
        (IN, "9 8 7 6 5 4 3 2 1 0"),
        (IN, "98765\t43210"),
        (IN, "98765\u00a043210"),  # a blank that does not break
        (IN, "98765\u201343210"),  # an en dash
        (IN, "\u202a+91 98765 43210\u202c"),  # marks of an address book
        (IN, "98765\u200b43210"),
        (IN, "\uff19\uff18\uff17\uff16\uff15\uff14\uff13\uff12\uff11\uff10"),  # full width
        (IN, "\u096f\u096e\u096d\u096c\u096b\u096a\u0969\u0968\u0967\u0966"),  # Devanagari
        (IN, "tel:+91-98765-43210"),
        (IN, "https://wa.me/919876543210?text=Hello"),
        (IN, "Call Asha on 98765 43210, after six."),
        (IN, "98765 43210 ext. 5"),
        (IN, "9876543210@example.com"),
        (IN, "9876543211, 9876543210"),
        (IN, "9876543211/9876543210"),
        (IN, "9876543211 9876543210"),
        (IN, "9876543210-9876543211"),
        (IN, "Flat 12 9876543210"),
        (IN, "9876543210 560001"),
        (IN, "9876543210 (2)"),
        (IN, "since 2019 98765 43210"),
        (IN, "98765_43210"),
        (IN, "98765\u00b743210"),
        (IN, "98765 43211 / 98765 43210"),
        (IN, "98765 43211 - 98765 43210"),
        (IN, "9876543211  9876543210"),
        (IN, "98765 43211\n98765 43210"),
        (IN, "On 2026-11-20, 09:30: 98765 43210 asked to be called."),
        (GB, "020 7946 0958"),
        (GB, "+44 (0)20 7946 0958"),
        (GB, "0044 20 7946 0958"),
        (GB, "(020) 7946-0958"),
        (US, "(202) 555-0123"),
        (US, "1-202-555-0123"),
        (US, "202.555.0123"),
        (IT, "06 1234 5678"),
        (IT, "+39 06 1234 5678"),
        (IT, "0039061234-5678"),
    ],
)
def test_a_number_is_found_however_it_is_written(number, written):
    assert mentions(written, number)
    assert mentions({"phone": written}, number)


@pytest.mark.parametrize("value", [9876543210, 919876543210, 9876543210.0, 919876543210.0])
def test_a_number_is_found_as_a_number(value):
    assert mentions(value, IN)
    assert mentions({"phones": [None, value]}, IN)


@pytest.mark.parametrize(
    "data",
    [
        [IN],
        [[[IN]]],
        {"a": {"b": [{"c": IN}]}},
        {IN: "Asha"},
        {"a": {"9876543210": True}},
        {"properties": {"mobilephone": {"value": "98765 43210"}}},
        [{"x": 1}, "nothing", 9876543210],
    ],
)
def test_a_number_is_found_wherever_it_stands(data):
    assert mentions(data, IN)


@each(
    "data",
    [
        # Others that share digits with it.
        "9876543211",
        "+919876543211",
        "98765432100",
        "198765432109",
        "19876543210",  # of another country
        "+1 987 654 3210",
        "+92 98765 43210",
        "987654321",
        "8765 43210",
        "9876543210987654321",
        # Other things of digits.
        "98765",
        "2026-11-20T09:30:00Z",
        "98.76, 54.32, 10",
        "98765, 43210",
        "98765:43210",
        "98765 and 43210",
        "98765\n43210",
        "a9b8c7d6e5f4g3h2i1j0",
        "",
        "Asha",
        # Numbers, and what is none.
        9876543211,
        98765432100,
        9876543210.5,
        0.9876543210,
        0,
        -1,
        10**30,
        1e300,
        float("inf"),
        float("nan"),
        True,
        False,
        None,
        [],
        {},
        {"a": [None, {"b": "98765 43211"}]},
        ["98765", "43210"],
    ],
)
def test_another_number_is_not_found(data):
    assert not mentions(data, IN)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("+912026112010", "2026-11-20 10:30:00"),
        ("+912026112010", "From 2026-11-20 10:30 to 2026-11-20 10:45"),
        ("+912026112010", "2026-11-20T10:30:00Z"),
        ("+911795154400", "1795154400000"),  # an epoch in ms
    ],
)
def test_a_date_that_shares_digits_is_not_found(number, text):
    assert not mentions(text, number)


def test_a_number_beside_a_date_is_found():
    assert mentions("2026-11-20 10:30 020 2611 2010", "+912026112010")


def test_what_mentions_a_number_can_be_taken_out_and_the_rest_stays():
    data = {"rep": "Nia, 98765 43210", "phones": [9876543210, 9812345678], "9876543210": {"a": 1}}
    kept = without(data, IN)
    assert kept == {"rep": "[erased]", "phones": ["[erased]", 9812345678], "[erased]": {"a": 1}}
    assert not mentions(kept, IN)
    assert without({"a": [None, True, 1.5, "x"]}, IN) == {"a": [None, True, 1.5, "x"]}


def test_what_is_nested_without_end_is_no_crash():
    data: Any = IN
    for _ in range(100_000):
        data = [data]
    assert mentions(data, IN) in (True, False)


SAMPLES = [IN, GB, US, IT, "+971501234567", "+9779841234567", "+4915112345678", "+37060123456"]


@examples(100)
@given(
    number=st.sampled_from(SAMPLES),
    shape=st.sampled_from(
        [
            PhoneNumberFormat.E164,
            PhoneNumberFormat.INTERNATIONAL,
            PhoneNumberFormat.NATIONAL,
            PhoneNumberFormat.RFC3966,
        ]
    ),
    before=st.sampled_from(["", "Asha: ", "call (", "\n", "a,"]),
    after=st.sampled_from(["", ".", " please", ")", "\n", "; tomorrow"]),
)
def test_every_way_that_phonenumbers_writes_a_number_is_found(number, shape, before, after):
    text = phonenumbers.format_number(phonenumbers.parse(number, None), shape)
    assert mentions(f"{before}{text}{after}", number)


@examples(400)
@given(
    number=st.sampled_from([IN, GB, US]),
    gaps=st.lists(st.sampled_from(["", "", "", " ", "-", ".", "\u00a0", " (", ") "]), min_size=12),
    code=st.sampled_from(["+", "00", "", None]),
)
def test_whatever_could_be_called_can_be_erased(number, gaps, code):
    parsed = phonenumbers.parse(number, None)
    national = str(parsed.national_number)
    digits = national if code is None else f"{parsed.country_code}{national}"
    spaced = "".join(digit + gap for digit, gap in zip(digits, gaps, strict=False))
    text = (code or "") + spaced + digits[len(gaps) :]
    region = phonenumbers.region_code_for_number(parsed)
    try:
        called = e164(text, region)
    except PhoneError:
        return
    assert mentions({"phone": text}, called)


# --- texts that nobody could parse --------------------------------------------------------------


@each(
    "text",
    [
        '{"phone": "+91 98765-43210", ',
        "phone=098765 43210&x",
        "p=%2B91+98765+43210",
        "p=%252B91%2B98765%2B43210",
        '{"phone": "\\u002b91\\u0020 98765\\u201143210"',
        '{"phone": "98765\n43210"}',
        '{"phone": "98765\r\n 43210"}',
        '{"phone": "98765\\n43210"}',
        '{"phone": "98765"43210"}',
        "<tel>&#43;91&nbsp;98765&#45;43210</tel>",
        "<tel>&amp;#43;91 98765 43210",
        "%39%38%37%36%35%34%33%32%31%30",
        "%EF%BC%99876543210",  # a full-width nine
        "a9876543210b",
        "98765\\xa043210",
        "9\x008\x007\x006\x005\x004\x003\x002\x001\x000",
        '"{\\"payload\\": \\"{\\\\\\"p\\\\\\": \\\\\\"98765 43210',
    ],
)
def test_a_number_is_found_in_a_text_that_nobody_could_parse(text: str) -> None:
    assert is_in_raw_text(text, IN)
    assert not is_in_raw_text(text, "+919876543211")
    assert not is_in_raw_text(text, None)


@each(
    "text",
    [
        '{"phone": "+91 98765-43211", ',
        '{"id": 19876543210987, ',
        "+44 98765 43210",
        '{"phone": "98765", "pin": "43210"}',
        "",
    ],
)
def test_another_number_in_such_a_text_is_another_persons(text: str) -> None:
    assert not is_in_raw_text(text, IN)


@each(
    ("text", "is_found"),
    [
        ('{"objectId": 501, ', True),
        ("id=501&name", True),
        ('{"id": "5010"', False),
        ('{"id": "1501"', False),
        ("id%3D501%26", True),
        ('{"id": "zcrm_77"', True),
        ("", False),
    ],
)
def test_a_record_is_found_by_its_whole_id(text: str, is_found: bool) -> None:
    assert is_in_raw_text(text, None, {"501", "zcrm_77"}) == is_found


BETWEEN = ["", " ", "-", ".", "  ", " - ", "\n", "\r\n ", "\t", "(", ")", "/", "\u00a0", "\u2011"]
ESCAPES = [
    str,
    lambda char: f"%{ord(char):02x}" if ord(char) < 128 else char,
    lambda char: f"\\u{ord(char):04X}",
    lambda char: f"&#{ord(char)};",
    lambda char: f"&#x{ord(char):x};",
    lambda char: f"%25{ord(char):02X}" if ord(char) < 128 else char,
]


@given(
    number=st.sampled_from([IN, GB, US, IT, "+5491123456789", "+5511987654321"]),
    start=st.sampled_from(["{", '{"phone": "', "phone=", "<t>", "x ", '[{"a": 1, "b": "tel:']),
    end=st.sampled_from(["", '", "n": }', "&a=b", "</t>", " x", "\n"]),
    between=st.lists(st.sampled_from(BETWEEN), min_size=16, max_size=16),
    escapes=st.lists(st.sampled_from(ESCAPES), min_size=40, max_size=40),
)
@examples(400)
def test_separators_and_escapes_hide_no_number(
    number: str, start: str, end: str, between: list[str], escapes: list[Any]
) -> None:
    digits = number.removeprefix("+")
    written = "".join(map("".join, zip(digits, between, strict=False))).rstrip(" -.(/\n\r\t")
    text = "".join(escape(char) for char, escape in zip("+" + written, escapes * 2, strict=False))

    assert is_in_raw_text(start + text + end, number)
    last = "1" if number[-1] != "1" else "2"
    assert not is_in_raw_text(start + text + end, number[:-1] + last)
    shown = mask_raw(start + text + end)
    assert not is_in_raw_text(shown, number)
