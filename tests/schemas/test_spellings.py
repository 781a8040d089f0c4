"""One phone is one person, however its country writes the number. Every number here is made up."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import each, examples

from schemas.fields import PhoneError, e164
from schemas.spellings import person_number, spellings

SAME = [
    ("+5491123456789", "+541123456789"),
    ("+5492214567890", "+542214567890"),
    ("+525512345678", "+5215512345678"),
    ("+523312345678", "+5213312345678"),
    ("+5511987654321", "+551187654321"),
    ("+5521965432109", "+552165432109"),
    ("+5548991234567", "+554891234567"),
    ("+2290197123456", "+22997123456"),
    ("+2250141123456", "+22541123456"),
    ("+2250504123456", "+22504123456"),
    ("+2250707123456", "+22507123456"),
    ("+24166123456", "+24106123456", "+2416123456"),
    ("+24177123456", "+24107123456", "+2417123456"),
    ("+24111712345", "+24101712345", "+2411712345"),
    ("+576012345678", "+5712345678"),
]


@each("phones", SAME)
def test_all_spellings_of_a_phone_are_one_person(phones: tuple[str, ...]) -> None:
    assert {spellings(one) for one in phones} == {phones}
    assert phonenumbers.is_valid_number(phonenumbers.parse(phones[0], None)), "the one of today"


@each(
    ("one", "other"),
    [
        # A Brazilian landline is not a mobile with the same eight digits, nor a new mobile one.
        ("+551132345678", "+5511932345678"),
        ("+551142345678", "+5511942345678"),
        # Another operator's number with the same last digits.
        ("+2250707123456", "+2250507123456"),
        ("+24166123456", "+24176123456"),
        ("+576012345678", "+576022345678"),
        # A country code that begins alike.
        ("+5925512345", "+525512345"),
        ("+919876543210", "+91876543210"),
        ("+12025550123", "+112025550123"),
    ],
)
def test_two_phones_stay_two(one: str, other: str) -> None:
    assert not {*spellings(one)} & {*spellings(other)}


ANY_NUMBER = st.sampled_from(["54", "549", "52", "521", "55", "229", "225", "241", "57", "91", "1"])


@examples(1000)
@given(code=ANY_NUMBER, local=st.from_regex(r"[0-9]{5,11}", fullmatch=True))
def test_whoever_is_asked_names_the_same_spellings(code: str, local: str) -> None:
    number = f"+{code}{local}"
    found = spellings(number)
    assert number in found
    assert len({*found}) == len(found)
    assert {spellings(one) for one in found} == {found}


@each(
    ("raw", "region", "number"),
    [
        ("+52 1 55 1234 5678", None, "+525512345678"),
        ("5215512345678", "MX", "+525512345678"),
        ("(11) 8765-4321", "BR", "+5511987654321"),
        ("+55 11 8765-4321", None, "+5511987654321"),
        ("97 12 34 56", "BJ", "+2290197123456"),
        ("whatsapp:+5215512345678", None, "+525512345678"),
        # What can be called stays as it is written.
        ("+54 11 2345-6789", None, "+541123456789"),
        ("011 15-2345-6789", "AR", "+5491123456789"),
        ("98765 43210", "IN", "+919876543210"),
    ],
)
def test_a_person_is_found_by_an_old_spelling(raw: str, region: str | None, number: str) -> None:
    assert person_number(raw, region) == number


@each(
    ("raw", "region"),
    [
        ("+52 1 55 1234 567", None),
        ("+55 11 1765-4321", None),
        ("987654321.0", "IN"),
        ("+91 98765 4321", None),
        ("two: +5215512345678, +5215512345679", None),
        ("", None),
    ],
)
def test_what_is_nobodys_number_is_refused_as_it_is_for_a_call(raw: str, region: str | None):
    with pytest.raises(PhoneError) as called:
        e164(raw, region)
    with pytest.raises(PhoneError) as looked_up:
        person_number(raw, region)
    assert str(looked_up.value) == str(called.value)
