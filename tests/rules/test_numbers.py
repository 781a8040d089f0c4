"""The number guard: which of a record's numbers may be called. Every number here is made up."""

import re
from typing import Any

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType, shortnumberinfo
from support import each, examples

from rules.numbers import candidates_of, choose_number, country_of
from schemas.fields import PhoneError

IN = "+919876543210"
US = "+12025550123"
FREEPHONE = "+80012345678"  # of no country
INDIA = frozenset({"IN"})


def refusal(raw: Any, region: str | None = "IN", countries=None) -> PhoneError:
    with pytest.raises(PhoneError) as caught:
        choose_number(raw, region=region, countries=countries)
    return caught.value


@each(
    ("raw", "chosen"),
    [
        ("98765 43210", IN),
        (9876543210, IN),
        (["98765 43210"], IN),
        ([None, "", " ", "98765 43210"], IN),
        (["n/a", "98765 43210"], IN),
        (["112", "98765 43210"], IN),
        (["+1 900 555 0123", "98765 43210"], IN),
        ([US, "98765 43210"], IN),
        (["98765 43210", "98765 43211"], IN),
        ([[None, [US]], [["98765 43210"]]], IN),
        (({"number": "98765 43210"}, "98765 43210"), IN),
        ([True, 1.5, b"98765 43210", "98765 43210"], IN),
    ],
)
def test_the_first_number_that_may_be_called_is_chosen(raw, chosen):
    assert choose_number(raw, region="IN", countries=INDIA) == chosen


@pytest.mark.parametrize("raw", [None, "", " \u200b", [], [[], [[]]], [None, ["", "\t"]], ()])
def test_nothing_but_blanks_is_no_number(raw):
    assert refusal(raw).reason == "no_number"


@pytest.mark.parametrize(
    ("raw", "reason", "why"),
    [
        ([None, "n/a", US], "invalid_number", "letters"),
        (["", US, "n/a"], "country", "in US,"),
        (["112", US], "invalid_number", "emergency"),
    ],
)
def test_the_reason_is_that_of_the_first_candidate_that_is_not_blank(raw, reason, why):
    error = refusal(raw, countries=INDIA)
    assert error.reason == reason
    assert why in error.message


@pytest.mark.parametrize(
    ("raw", "countries", "message"),
    [
        (US, INDIA, "The number is in US, and this route does not call that country."),
        (
            IN,
            frozenset({"US", "CA"}),
            "The number is in IN, and this route does not call that country.",
        ),
        (IN, frozenset(), "The number is in IN, and this route does not call that country."),
        ("+14165550123", frozenset({"US"}), "in CA,"),
        ("+77012345678", frozenset({"RU"}), "in KZ,"),
        (FREEPHONE, INDIA, "belongs to no country"),
        (FREEPHONE, frozenset({"001"}), "belongs to no country"),
    ],
)
def test_another_country_than_the_routes_is_refused(raw, countries, message):
    error = refusal(raw, countries=countries)
    assert error.reason == "country"
    assert message in error.message


@pytest.mark.parametrize("number", [IN, US, FREEPHONE])
def test_any_country_may_be_called_where_the_route_says_any(number):
    assert choose_number(number, region=None, countries=None) == number


@each(
    ("number", "country"),
    [
        (IN, "IN"),
        (US, "US"),
        ("+14165550123", "CA"),
        ("+447781123456", "GG"),
        ("+80012345678", None),
        ("+8835100012345", None),
        ("+99912345678", None),
        ("9876543210", None),
        ("", None),
    ],
)
def test_the_country_of_a_number_follows_from_its_digits(number, country):
    assert country_of(number) == country


@each(
    ("raw", "region", "why"),
    [
        ("112", "IN", "emergency"),
        (112, "IN", "emergency"),
        ("100", "IN", "emergency"),
        ("1 0 0", "IN", "emergency"),
        ("911", "US", "emergency"),
        ("911", "IN", "emergency"),
        ("112", "US", "emergency"),
        ("112", None, "emergency"),
        ("000", "AU", "emergency"),
        ("999", "GB", "emergency"),
        ("+112", "IN", "emergency"),
        ("+911", "US", "emergency"),
        ("+1911", None, "emergency"),
        ("+1 911", "IN", "emergency"),
        ("+91 112", None, "emergency"),
        ("+91-100", "US", "emergency"),
        ("91112", "IN", "emergency"),
        ("0091 112", "IN", "emergency"),
        ("+44 999", "IN", "emergency"),
        ("1800", "IN", "short"),
        ("+91 1800", None, "short"),
        ("911800", "IN", "short"),
        ("1909", "IN", "short"),
        ("12345", "US", "short"),
        ("227700", "DE", "short"),  # phonenumbers calls it a valid number besides
        ("+49227700", None, "short"),
        ("+1 900 555 0123", None, "premium-rate"),
        ("+44 9012 345678", None, "premium-rate"),
        ("1861 123 456 789", "IN", "premium-rate"),
        ("1860 345 1234", "IN", "shared-cost"),
        ("+49 1801 2345", None, "shared-cost"),
        ("+44 7640 123456", None, "pager"),
        ("+49 177 99 1234567", None, "voicemail"),
    ],
)
def test_a_number_that_is_nobodys_phone_is_refused_by_its_kind(raw, region, why):
    error = refusal(raw, region)
    assert error.reason == "invalid_number"
    assert why in error.message


@pytest.mark.parametrize("number", ["+911800180123", "+9118001801234", "+442079460123"])
def test_a_number_that_begins_as_a_short_one_is_still_a_number(number):
    assert choose_number(number, region=None, countries=None) == number


@each("region", sorted(shortnumberinfo.SUPPORTED_SHORT_REGIONS))
def test_no_short_number_of_any_country_is_called(region):
    metadata = phonenumbers.PhoneMetadata.short_metadata_for_region(region)
    code = phonenumbers.country_code_for_region(region)
    for kind in (metadata.short_code, metadata.emergency, metadata.premium_rate):
        if kind is None or kind.example_number is None:
            continue
        short = kind.example_number
        assert refusal(short, region).reason == "invalid_number"
        assert refusal(f"+{short}", region).reason == "invalid_number"
        assert refusal(f"+{code}{short}", None).reason == "invalid_number"


def test_no_more_than_fifty_candidates_are_looked_at():
    assert choose_number([None] * 49 + [IN], region=None, countries=None) == IN
    assert refusal([None] * 50 + [IN]).reason == "no_number"
    assert len(list(candidates_of([[IN] * 30, [IN] * 30]))) == 50


def test_lists_without_end_are_cut_and_not_a_crash():
    deep: list[Any] = [IN]
    for _ in range(100_000):
        deep = [deep]
    own: list[Any] = []
    own.append(own)
    for raw in (deep, own, [[]] * 100_000):
        assert refusal(raw).reason == "no_number"


REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
KINDS = [getattr(PhoneNumberType, name) for name in ("MOBILE", "FIXED_LINE", "PREMIUM_RATE")]
KINDS += [PhoneNumberType.SHARED_COST, PhoneNumberType.PAGER, PhoneNumberType.TOLL_FREE]
EXAMPLES = sorted(
    {
        phonenumbers.format_number(found, style)
        for region in REGIONS
        for kind in KINDS
        if (found := phonenumbers.example_number_for_type(region, kind))
        for style in (PhoneNumberFormat.E164, PhoneNumberFormat.NATIONAL)
    }
)


@st.composite
def near_numbers(draw: st.DrawFn) -> str:
    """A real form of number with a few characters dropped, doubled or replaced."""
    chars = list(draw(st.sampled_from(EXAMPLES)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(chars) - 1))
        new = draw(st.sampled_from(["", "0", "1", "9", "+", " ", "-", "x", "#", "٣", "\u200b"]))
        chars[at] = new or chars[at] * draw(st.integers(0, 2))
        chars = chars or ["1"]
    return "".join(chars)


SCALARS = (
    near_numbers()
    | near_numbers()
    | st.text(max_size=40)
    | st.text(alphabet="+0123456789 ()-.;,x#*", max_size=20)
    | st.text(alphabet=st.characters(categories=["Nd", "Cf", "Cs", "Pd", "Zs"]), max_size=20)
    | st.integers()
    | st.integers(1, 10**15)
    | st.builds(pow, st.just(10), st.just(5000))
    | st.sampled_from([None, "", True, 1.5, b"112", "tel:112", "tel:+91112"])
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)
VALUES = SCALARS | st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4), max_leaves=8)
PLACES = st.none() | st.sampled_from([*REGIONS, "IN", "US", "", "in", "XX", "001", "India"])
COUNTRIES = st.none() | st.frozensets(st.sampled_from(REGIONS), max_size=3) | st.just(INDIA)
NEVER = {
    PhoneNumberType.PREMIUM_RATE,
    PhoneNumberType.SHARED_COST,
    PhoneNumberType.PAGER,
    PhoneNumberType.VOICEMAIL,
    PhoneNumberType.UNKNOWN,
}


@examples(1500)
@given(raw=VALUES, region=PLACES, countries=COUNTRIES)
def test_no_input_yields_a_number_that_may_not_be_called(raw, region, countries):
    refused = None
    try:
        number = choose_number(raw, region=region, countries=countries)
    except PhoneError as error:
        refused = error
    if refused:
        assert refused.reason in ("no_number", "invalid_number", "country")
        assert not re.search(r"\d{2}", refused.message)
        return
    assert re.fullmatch(r"\+[1-9][0-9]{1,14}", number)
    parsed = phonenumbers.parse(number, None)
    assert phonenumbers.is_valid_number(parsed)
    assert phonenumbers.number_type(parsed) not in NEVER
    national = phonenumbers.national_significant_number(parsed)
    where = phonenumbers.region_code_for_number(parsed)
    assert not shortnumberinfo.is_emergency_number(national, where or "")
    assert countries is None or where in countries


@examples(600)
@given(raw=near_numbers(), region=st.sampled_from(REGIONS))
def test_a_number_that_was_chosen_is_chosen_again_as_it_stands(raw, region):
    try:
        number = choose_number(raw, region=region, countries=None)
    except PhoneError:
        return
    where = country_of(number)
    allowed = frozenset({where}) if where else None
    assert choose_number(number, region=None, countries=allowed) == number
