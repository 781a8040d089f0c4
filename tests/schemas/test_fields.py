"""Numbers, masks and times, one rule a row. Every number here is made up."""

import re
import time
from datetime import UTC, date, datetime
from typing import Any

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError
from phonenumbers import PhoneNumberFormat
from support import each, examples

from schemas.fields import (
    E164,
    EpochMillis,
    Phone,
    PhoneError,
    e164,
    mask,
    mask_number,
    mask_text,
    to_schedule_at,
)

IN = "+919876543210"


@each(
    ("raw", "region", "number"),
    [
        ("9876543210", "IN", IN),
        ("+91-9999999999", "IN", "+919999999999"),
        ("0091 98765 43210", "IN", IN),
        ("098765 43210", "IN", IN),
        ("98765 43210", "IN", IN),
        ("919876543210", "IN", IN),
        (" 919876543210", "IN", IN),  # "+91…", its plus eaten by a form post
        ("91-98765-43210", "IN", IN),
        ("(+91) 98765-43210", None, IN),
        ("+91 (0) 98765 43210", None, IN),
        ("+91.98765.43210", "US", IN),
        ("\uff0b91 98765 43210", None, IN),
        ("९८७६५४३२१०", "IN", IN),
        ("\u202a+91 98765 43210\u202c", None, IN),
        ("+91\u00a098765\u201143210", None, IN),
        (9876543210, "IN", IN),
        (9876543210.0, "IN", IN),  # a JSON number without an exponent is certain
        (919876543210.0, "IN", IN),
        (919876543210, "in ", IN),
        # A spreadsheet's fraction of zeros is no part of the number; true separators stay.
        ("9876543210.0", "IN", IN),
        ("9876543210.00", "IN", IN),
        ("+91 98765 43210.0", None, IN),
        ("9876543210.0/-", "IN", IN),
        ("9876543210.00.", "IN", IN),
        ("\u0669\u0668\u0667\u0666\u0665\u0664\u0663\u0662\u0661\u0660.\u0660", "IN", IN),
        ("tel:9876543210.0", "IN", IN),
        ('="9876543210.0"', "IN", IN),
        ("98765.43210", "IN", IN),
        ("044.2345.6789", "IN", "+914423456789"),
        ("044.2345.0000", "IN", "+914423450000"),
        ("06.12.34.56.00", "FR", "+33612345600"),
        # What tools write before and around a number.
        ("p:+919876543210", None, IN),
        ("P: 98765 43210", "IN", IN),
        ("whatsapp:+919876543210", None, IN),
        ("sms:+919876543210", None, IN),
        ("callto://+919876543210", None, IN),
        ("mobile: 98765 43210", "IN", IN),
        ("'+919876543210", None, IN),
        ('="+919876543210"', None, IN),
        ("=+919876543210", None, IN),
        ("\u201c+919876543210\u201d", None, IN),
        ("'p:+919876543210", None, IN),
        # Spaces, dashes and signs of any width.
        ("+91\u202f98765\u202f43210", None, IN),
        ("+91\u200998765\u200a43210", None, IN),
        ("+91\t98765\t43210", None, IN),
        ("\u300098765\u300043210", "IN", IN),
        ("98765\u201543210", "IN", IN),
        ("98765\ufe5843210", "IN", IN),
        ("\uff19\uff18\uff17\uff16\uff15 \uff14\uff13\uff12\uff11\uff10", "IN", IN),
        (
            "\uff08\uff0b\uff19\uff11\uff09\uff19\uff18\uff17\uff16\uff15\uff0d\uff14\uff13\uff12\uff11\uff10",
            None,
            IN,
        ),
        ("tel:+91-98765-43210", None, IN),
        ("TEL:98765 43210", "IN", IN),
        ("tel:9876543210;phone-context=+91", None, IN),
        ("+12025550123", "IN", "+12025550123"),
        ("+1 202 555 0123", None, "+12025550123"),
        ("(202) 555-0123", "US", "+12025550123"),
        ("+12025550123", "nowhere", "+12025550123"),
    ],
)
def test_a_number_as_people_write_it_becomes_e164(raw, region, number):
    assert e164(raw, region) == number


@pytest.mark.parametrize("raw", [None, "", "   ", "\t\n", "\u200b", "\u00a0"])
def test_nothing_is_no_number(raw):
    with pytest.raises(PhoneError) as caught:
        e164(raw, "IN")
    assert caught.value.reason == "no_number"


@each(
    ("raw", "region", "why"),
    [
        ("9876543210", None, "it has no country code and no default region is set"),
        ("9876543210", " ", "it has no country code and no default region is set"),
        ("0091 98765 43210", None, "it has no country code and no default region is set"),
        (9876543210, None, "it has no country code and no default region is set"),
        ("9876543210", "India", "it has no country code and its region is not a known country"),
        ("+999 98765 43210", "IN", "its country code does not exist"),
        ("+91 98765 43210 ext 5", "IN", "it has an extension, which can't be dialled"),
        ("98765 43210 x5", "IN", "it has an extension, which can't be dialled"),
        ("98765 43210 #5", "IN", "it has an extension, which can't be dialled"),
        ("tel:+919876543210;ext=5", None, "it has an extension, which can't be dialled"),
        ("tel:9876543210;phone-context=example.com", "IN", "its tel: URI has a part"),
        ("tel:+919876543210;isub=1", "IN", "its tel: URI has a part"),
        ("1-800-FLOWERS", "US", "it has letters in it"),
        ("1-800-FLOWERS", "IN", "it has letters in it"),
        ("call me on 98765 43210", "IN", "it has letters in it"),
        ("98765 43210 (mobile)", "IN", "it has letters in it"),
        ("N/A", "IN", "it has letters in it"),
        ("9.87654321E+09", "IN", "a spreadsheet has shortened it"),
        ("98765 43210 / 98765 43211", "IN", "it is not a phone number"),
        ("98765 43210, 98765 43211", "IN", "it is not a phone number"),
        ("98765 43210; 98765 43211", "IN", "it is not a phone number"),
        ("+919876543210+", "IN", "it has something besides one phone number"),
        ("%2B919876543210", "IN", "it has letters in it"),
        ("919876543210", "US", "there is no such number in its country"),
        ("12025550123", "IN", "there is no such number in its country"),
        ("12345", "IN", "there is no such number in its country"),
        ("0000000000", "IN", "there is no such number in its country"),
        ("100", "IN", "there is no such number in its country"),
        ("-", "IN", "it is not a phone number"),
        ("+", None, "it is not a phone number"),
        ("9" * 65, "IN", "it is too long"),
        (True, "IN", "it is neither text nor a whole number"),
        (False, "IN", "it is neither text nor a whole number"),
        (9876543210.5, "IN", "it is neither text nor a whole number"),
        (float("nan"), "IN", "it is neither text nor a whole number"),
        (float("inf"), "IN", "it is neither text nor a whole number"),
        (2.0**53, "IN", "it is neither text nor a whole number"),  # it may have lost digits
        (987654321.0, "IN", "there is no such number in its country"),
        ("987654321.0", "IN", "there is no such number in its country"),
        ("987654321.00", "IN", "there is no such number in its country"),
        ("+91.987654321.0", None, "there is no such number in its country"),
        ("987654321.0.0", "IN", "there is no such number in its country"),
        ("(987654321 . 0)", "IN", "there is no such number in its country"),
        (
            "\uff19\uff18\uff17\uff16\uff15\uff14\uff13\uff12\uff11\uff0e\uff10",
            "IN",
            "there is no such number in its country",
        ),
        ("'987654321.0", "IN", "there is no such number in its country"),
        ("p:987654321.0", "IN", "there is no such number in its country"),
        ("98765.00000", "IN", "there is no such number in its country"),
        ("987654321.5", "IN", "it has a fraction"),
        ("98765432.10", "IN", "it has a fraction"),
        ("98765432.10.", "IN", "it has a fraction"),
        ("987654321.0.", "IN", "there is no such number in its country"),
        ("987654321.0/-", "IN", "there is no such number in its country"),
        ("[987654321].0]", "IN", "there is no such number in its country"),
        ("987654321.(0)", "IN", "there is no such number in its country"),
        ("9.87654e9", "IN", "a spreadsheet has shortened it"),
        ("9.87654321e+09", "IN", "a spreadsheet has shortened it"),
        ("fax:+919876543210", None, "it has letters in it"),
        ("whatsapp:p:+919876543210", None, "it has letters in it"),
        ("p:", "IN", "it has letters in it"),
        ("p:+919876543210,+919876543211", None, "it is not a phone number"),
        ("'+919876543210', '+919876543211'", None, "it is not a phone number"),
        ("='98765 43210 x5'", "IN", "it has an extension, which can't be dialled"),
        ("=98765+43210", "IN", "it is not a phone number"),
        ("98765\n43210", "IN", "it is not a phone number"),
        ("98765\u202843210", "IN", "it is not a phone number"),
        ("98765 4321\u00b2", "IN", "it has letters in it"),
        (["9876543210"], "IN", "it is neither text nor a whole number"),
        ([], "IN", "it is neither text nor a whole number"),
        ({"number": "9876543210"}, "IN", "it is neither text nor a whole number"),
        (b"9876543210", "IN", "it is neither text nor a whole number"),
        (0, "IN", "it is not a phone number"),
        (-9876543210, "IN", "it is not a phone number"),
        pytest.param(10**5000, "IN", "it is not a phone number", id="huge"),
    ],
)
def test_what_is_no_single_dialable_number_is_refused_with_the_cause(raw, region, why):
    with pytest.raises(PhoneError) as caught:
        e164(raw, region)
    assert caught.value.reason == "invalid_number"
    assert why in caught.value.message
    assert str(caught.value) == caught.value.message


@pytest.mark.parametrize("raw", ["98765 4321", "+91 98765 43210 ext 77", "9876543210, 9876543211"])
def test_a_refusal_never_names_the_number(raw):
    with pytest.raises(PhoneError) as caught:
        e164(raw, "IN")
    assert not re.search(r"\d", caught.value.message)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


REGIONS = st.sampled_from([None, "", "IN", "US", "DE", "GB", "IT", "RU", "JP", "SG", "001", "xx"])
WRITTEN = st.text(alphabet="0123456789+-() ./;,x#*~tel:\uff0b९\u200b", max_size=24)


@examples(600)
@given(raw=WRITTEN | st.text(max_size=40) | st.integers() | st.floats() | st.none(), region=REGIONS)
def test_whatever_is_accepted_is_valid_and_reads_the_same_again(raw, region):
    try:
        number = e164(raw, region)
    except PhoneError:
        return
    assert E164.fullmatch(number)
    assert phonenumbers.is_valid_number(phonenumbers.parse(number, None))
    assert e164(number, None) == number


@examples(300)
@given(local=st.from_regex(r"[6-9][0-9]{9}", fullmatch=True), region=REGIONS)
def test_a_number_with_a_plus_keeps_its_country_whatever_the_region(local, region):
    raw = f"+91{local}"
    if not phonenumbers.is_valid_number(phonenumbers.parse(raw, None)):
        return
    assert e164(raw, region) == raw


@examples(100)
@given(
    region=st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)),
    form=st.sampled_from(
        [PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.NATIONAL, PhoneNumberFormat.RFC3966]
    ),
)
def test_every_countrys_sample_number_is_read_in_every_usual_spelling(region, form):
    sample = phonenumbers.example_number(region)
    assert sample is not None
    wanted = phonenumbers.format_number(sample, PhoneNumberFormat.E164)
    assert e164(phonenumbers.format_number(sample, form), region) == wanted


BLANKS = st.text(alphabet=" \t\u00a0\u2007\u2009\u202f\u3000\u200b\u202a", max_size=3)
BEFORE = st.sampled_from(["", "p:", "whatsapp:", "sms:", "'", "=", "callto://"])


@st.composite
def written(draw: st.DrawFn, digits: str) -> str:
    """Digits as tools and people write them."""
    gap = draw(st.sampled_from(["", "-", ".", "\u2011"]) | BLANKS)
    script = draw(st.sampled_from([0x30, 0xFF10, 0x966, 0x660]))
    groups = [digits[:3], digits[3:6], digits[6:]]
    text = gap.join("".join(chr(script + int(one)) for one in group) for group in groups)
    blank = draw(BLANKS)
    return f"{draw(BEFORE)}{blank}{text}{draw(BLANKS)}"


@examples(400)
@given(data=st.data(), local=st.from_regex(r"[6-9][0-9]{9}", fullmatch=True))
def test_a_number_is_the_same_one_however_it_is_written(data, local):
    if not phonenumbers.is_valid_number(phonenumbers.parse(f"+91{local}", None)):
        return
    assert e164(data.draw(written(local)), "IN") == f"+91{local}"


@examples(400)
@given(
    data=st.data(),
    local=st.from_regex(r"[6-9][0-9]{6,11}", fullmatch=True),
    zeros=st.integers(1, 4),
    around=st.tuples(*[st.text("  ()[]./~-\u2013", max_size=3)] * 3),
)
def test_a_fraction_of_zeros_never_becomes_digits(data, local, zeros, around):
    before, between, after = around
    text = data.draw(st.sampled_from([local, f"'{local}", f"p:{local}"]))
    text += before + "." + between + "0" * zeros + after
    try:
        number = e164(text, "IN")
    except PhoneError:
        with pytest.raises(PhoneError):
            e164(local, "IN")
        return
    assert number == e164(local, "IN")


class Record(Schema):
    phone = Phone()
    at = EpochMillis()


@pytest.mark.parametrize("number", [IN, "+12", "+123456789012345"])
def test_the_phone_field_takes_e164_as_it_stands(number):
    assert Record().load({"phone": number}) == {"phone": number}
    assert Record().dump({"phone": number}) == {"phone": number}


@each(
    "number",
    [
        "919876543210",
        "+0919876543210",
        "+91 9876543210",
        "+919876543210\n",
        "+1",
        "+1234567890123456",
        "+९१९८७६५४३२१०",
        "",
        919876543210,
        None,
        ["+919876543210"],
    ],
)
def test_the_phone_field_refuses_all_else(number):
    with pytest.raises(ValidationError):
        Record().load({"phone": number})


# --- masks -----------------------------------------------------------------------------------


@each(
    ("number", "masked"),
    [
        ("+919876543210", "+91••••••3210"),
        ("+12025550123", "+1••••••0123"),
        ("+3581234567890", "+358••••••7890"),
        ("+91 98765-43210", "+91••••••3210"),
        ("tel:+91-98765-43210", "+91••••••3210"),
        ("98765 43210", "••••••3210"),
        ("919876543210", "••••••••3210"),
        ("+91123456", "+91••••56"),
        ("+911234", "+91••••"),
        ("1234", "••••"),
        ("", ""),
        ("+", ""),
    ],
)
def test_a_masked_number_keeps_its_country_and_its_end(number, masked):
    assert mask_number(number) == masked


@each(
    ("value", "masked"),
    [
        ("+919876543210", "+91••••••3210"),
        ("098765 43210", "•••••••3210"),
        ("(+91) 98765-43210", "+91••••••3210"),
        ("tel:+91-98765-43210", "+91••••••3210"),
        (" 9876543210 ", "••••••3210"),
        ("\u202a+919876543210\u202c", "+91••••••3210"),
        ("98765 43210, 98765 43211", "••••••3210,••••••3211"),
        ("९८७६५४३२१०", "••••••३२१०"),
        (9876543210, "••••••3210"),
        (919876543210, "••••••••3210"),
        (9876543210.0, "••••••3210"),
        (-9876543210, "••••••3210"),
        (
            {"to": "+919876543210", "list": ["9876543210", {"n": 9876543210}]},
            {"to": "+91••••••3210", "list": ["••••••3210", {"n": "••••••3210"}]},
        ),
        ({"+919876543210": 1, "+919876003210": 2}, {"+91••••••3210": 1, "+91••••••3210 (2)": 2}),
        (
            {"+91••••••3210": 0, "+91••••••3210 (2)": 1, "+919876543210": 2, "+919876003210": 3},
            {
                "+91••••••3210": 0,
                "+91••••••3210 (2)": 1,
                "+91••••••3210 (3)": 2,
                "+91••••••3210 (4)": 3,
            },
        ),
        ((1, "9876543210"), [1, "••••••3210"]),
    ],
)
def test_what_looks_like_a_number_is_masked_wherever_it_stands(value, masked):
    assert mask(value) == masked


def test_the_end_of_a_number_with_an_extension_is_masked_too():
    assert "98765" not in mask("+91 98765 43210 ext 5")
    assert "98765" not in mask("+91 98765 43210x5")


@each(
    "value",
    [
        "2025-12-31T09:30:00",
        "2025-12-31T09:30:00.123+05:30",
        "2025-12-31 09:30:00",
        "2025-12-31",
        "31/12/2025",
        "12/31/2025",
        "31.12.2025",
        "1735689600000",
        1735689600000,
        "6803fa770b666a64ab1694c1e",
        "550e8400-e29b-41d4-a716-446655440000",
        "5725767000001234567",
        5725767000001234567,
        pytest.param(10**5000, id="huge"),
        1234567,
        "1234567",
        "12,34,567.00",
        "09:00",
        "",
        "+",
        "-",
        True,
        False,
        None,
        1.5,
        float("inf"),
        "a lead from Pune",
        "9876543210@example.com",
        {},
        [],
    ],
)
def test_what_is_no_number_by_its_looks_is_left_alone(value):
    assert mask(value) == value
    assert type(mask(value)) is type(value)


def test_masking_never_changes_what_it_was_given():
    value: dict[str, Any] = {"a": ["+919876543210"]}
    mask(value)
    assert value == {"a": ["+919876543210"]}


def test_a_value_nested_without_end_is_cut_and_not_a_crash():
    value: Any = "+919876543210"
    for _ in range(5000):
        value = [value]
    shown = mask(value)
    for _ in range(65):
        [shown] = shown
    assert shown == "…"


@examples(200)
@given(
    number=st.from_regex(r"\+?[1-9][0-9]{9,11}", fullmatch=True),
    every=st.integers(2, 6),
    separator=st.sampled_from(["", " ", "-", ".", "\u2011", "\u00a0"]),
)
def test_no_masked_number_shows_more_than_its_code_and_last_four(number, every, separator):
    pieces = [number[at : at + every] for at in range(0, len(number), every)]
    shown = mask(separator.join(pieces))
    assert sum(map(str.isdecimal, shown)) <= 7
    assert "•••" in shown


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Invalid number +919876543210.", "Invalid number +91••••••3210."),
        ("call to 98765 43210 failed", "call to ••••••3210 failed"),
        ("(+91) 98765-43210", "(+91••••••3210"),
        ("it is 98765, 43210, thanks", "it is ••••••3210, thanks"),
        ("9 8 7 6 5, 4 3 2 1 0", "••••••3210"),
        ("my number is 98765\n43210", "my number is ••••••3210"),
        *((f"call 98765{one}43210", "call ••••••3210") for one in "\u00a0\u200b\u2011\u2013\u2060"),
        ("room 12, floor 3, 45 people, 10,000 rupees", None),
        ("Agent 6803fa770b666a64ab1694c1e does not exist", None),
        ("Missing required field: to_number", None),
        ("at most 10 redials, got 1234567", None),
    ],
)
def test_a_sentence_loses_the_numbers_in_it(text, masked):
    shown = mask_text(text)
    if masked is None:
        assert shown == text
    else:
        assert "98765" not in shown
        assert "3210" in shown


# --- instants --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "at"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (1735689600123, datetime(2025, 1, 1, 0, 0, 0, 123000, tzinfo=UTC)),
        ("1735689600123", datetime(2025, 1, 1, 0, 0, 0, 123000, tzinfo=UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
        (253402300799999, datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
    ],
)
def test_epoch_milliseconds_become_an_aware_instant_to_the_millisecond(value, at):
    assert Record().load({"at": value}) == {"at": at}
    assert Record().dump({"at": at}) == {"at": int(value)}


@each(
    "value",
    [
        253402300800000,
        -62135596800001,
        10**30,
        -(10**30),
        pytest.param(10**5000, id="huge"),
        "9" * 16,
        "9" * 17,
        True,
        1.5,
        1735689600000.0,
        "",
        "1.5",
        "1e12",
        "٣",
        "2025-01-01",
        "1735689600123\n",
        None,
        [1],
    ],
)
def test_what_is_no_instant_is_a_validation_error_and_never_a_crash(value):
    with pytest.raises(ValidationError):
        Record().load({"at": value})


@each(
    ("value", "zone", "local"),
    [
        ("2025-12-31T04:00:00Z", "Asia/Kolkata", "2025-12-31T09:30:00"),
        ("2025-12-31t04:00:00z", "Asia/Kolkata", "2025-12-31T09:30:00"),
        ("2025-12-31T04:00Z", "Asia/Kolkata", "2025-12-31T09:30:00"),
        ("2025-12-31T09:30:00+05:30", "Asia/Kolkata", "2025-12-31T09:30:00"),
        ("2025-12-31T09:30:00+0530", "Asia/Kolkata", "2025-12-31T09:30:00"),
        ("2025-12-31T20:00:00-05:00", "Asia/Kolkata", "2026-01-01T06:30:00"),
        ("2025-12-31T09:30:00", "Asia/Kolkata", "2025-12-31T09:30:00"),
        ("2025-12-31 09:30", "Asia/Kolkata", "2025-12-31T09:30:00"),
        (" 2025-12-31T09:30:00.999 ", "Asia/Kolkata", "2025-12-31T09:30:00"),
        ("2025-12-31T04:00:00.123456789Z", "Asia/Kolkata", "2025-12-31T09:30:00"),
        (1767153600000, "Asia/Kolkata", "2025-12-31T09:30:00"),
        ("1767153600000", "Asia/Kolkata", "2025-12-31T09:30:00"),
        (datetime(2025, 12, 31, 4, 0, tzinfo=UTC), "Asia/Kolkata", "2025-12-31T09:30:00"),
        (datetime(2025, 12, 31, 9, 30), "Asia/Kolkata", "2025-12-31T09:30:00"),  # noqa: DTZ001
        ("2025-07-01T12:00:00Z", "Europe/Berlin", "2025-07-01T14:00:00"),
        ("2025-10-26T00:30:00Z", "Europe/Berlin", "2025-10-26T02:30:00"),
        ("2025-10-26T01:30:00Z", "Europe/Berlin", "2025-10-26T02:30:00"),
        ("2025-10-26T02:30:00", "Europe/Berlin", "2025-10-26T02:30:00"),
        ("2024-02-29T09:00:00", "Asia/Kolkata", "2024-02-29T09:00:00"),
    ],
)
def test_a_time_becomes_wall_clock_time_in_the_zone(value, zone, local):
    assert to_schedule_at(value, zone) == local


@each(
    ("value", "zone", "why"),
    [
        ("2025-12-31", "Asia/Kolkata", "time of day"),
        ("20251231", "Asia/Kolkata", "time of day"),
        (date(2025, 12, 31), "Asia/Kolkata", "time of day"),
        ("2025-02-29T09:00:00", "Asia/Kolkata", "not a real date"),
        ("2025-12-31T24:00:00", "Asia/Kolkata", "not a real date"),
        ("2025-12-31T09:30:00+99:00", "Asia/Kolkata", "not a real date"),
        ("2025-03-30T02:30:00", "Europe/Berlin", "clocks skip"),
        ("0001-01-01T00:00:00Z", "America/New_York", "out of range"),
        ("9999-12-31T23:59:59Z", "Asia/Kolkata", "out of range"),
        (1767153600, "Asia/Kolkata", "milliseconds"),
        (20251231, "Asia/Kolkata", "milliseconds"),
        pytest.param(10**5000, "Asia/Kolkata", "milliseconds", id="huge"),
        (True, "Asia/Kolkata", "ISO 8601"),
        (1767153600000.0, "Asia/Kolkata", "ISO 8601"),
        ("tomorrow", "Asia/Kolkata", "ISO 8601"),
        ("", "Asia/Kolkata", "ISO 8601"),
        ("2025-W01-1T09:00:00", "Asia/Kolkata", "ISO 8601"),
        ("31/12/2025 09:30", "Asia/Kolkata", "ISO 8601"),
        ("1767153600", "Asia/Kolkata", "ISO 8601"),
        (None, "Asia/Kolkata", "ISO 8601"),
        ([], "Asia/Kolkata", "ISO 8601"),
        ("2025-12-31T09:30:00", "Asia/Bengaluru", "zone is unknown"),
        ("2025-12-31T09:30:00", "", "zone is unknown"),
        ("2025-12-31T09:30:00", "America", "zone is unknown"),
        ("2025-12-31T09:30:00", "../../etc/passwd", "zone is unknown"),
    ],
)
def test_what_is_no_time_is_refused_in_clear_words(value, zone, why):
    with pytest.raises(ValidationError, match=why):
        to_schedule_at(value, zone)


@each(
    "text",
    [
        '{"phone": "+919876543210", "city": "Pune"}',
        ' [{"phone":"+91 98765 43210"},{"a":"x9876543210y"}]',
        r'{"phone":"\u002b919876543210"}',
        '{"phone": 9876543210.0',
        '{" name": "Asha", "tel": "tel:+91-98765-43210',
        "[Asha] 098765/43210",
    ],
)
def test_a_number_is_masked_wherever_it_stands_in_json_inside_a_text(text: str) -> None:
    for shown in (mask(text), mask({"a": [text]})["a"][0], *mask({text: 1})):
        assert "98765" not in shown.replace(" ", "").replace("-", "")
        assert "•" in shown
        assert shown[:3] == text[:3]


@each(
    "text", ['{"at": "2026-11-28", "n": 1234567}', "[x]", "{", '{"a": "1 2 3"}', "[1-2-3-4-5-6-7]"]
)
def test_json_inside_a_text_without_a_number_stays_as_it_is(text: str) -> None:
    assert mask(text) == text


def test_masking_json_inside_a_text_takes_time_in_proportion_to_it() -> None:
    def seconds(text: str) -> float:
        began = time.process_time()
        mask({text: text})
        return time.process_time() - began

    for text in ("1 " * 5000 + "x", "(1" * 5000, "+" * 5000, "1...." * 5000, "9" * 5000):
        small, large = (min(seconds("{" + text * n) for _ in range(5)) for n in (1, 4))
        assert large < 8 * max(small, 0.001)


@each("piece", ["a;", "1|", "é,", "\n", "1 2;", "many words,"])
def test_masking_a_text_of_many_short_pieces_costs_little(piece: str) -> None:
    began = time.process_time()
    mask({"note": piece * 400_000})
    assert time.process_time() - began < 1
