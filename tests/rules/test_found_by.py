"""What a delivery is found by, and what a typed text asks for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import each, examples
from support.makers import call_route, event, load

from rules.person import digits_of, email_of, last_digits, name_of
from rules.search import MOST_WORDS, endings, fold, found_by, read_text, words_of
from schemas.crm import kinds
from schemas.errors import BadQuery
from schemas.event import CALL_ME
from schemas.search import TERM, FoundBy, Search, read_search
from store.search import LETTERS

GENERIC, HUBSPOT, ZOHO = kinds()["generic"], kinds()["hubspot"], kinds()["zoho"]


def is_found(typed: str, kept: FoundBy) -> bool:
    """Say whether a search finds a delivery, by the rules that the store applies to terms."""
    known = {*kept.indexed, *kept.compared}
    return any(
        all(index in kept.indexed and wanted in known for index, wanted in needs)
        for needs in read_text(typed)
    )


# --- folding --------------------------------------------------------------------------------------


@each(
    ("one", "other"),
    [
        ("MEERA", "meera"),
        ("José", "jose"),
        ("Jose\u0301", "José"),
        ("Straße", "STRASSE"),
        ("Søren Ærø", "soren aero"),
        ("Łukasz", "lukasz"),
        ("İpek", "ipek"),
        ("Y\u0131ld\u0131z", "yildiz"),
        ("\uff2d\uff25\uff25\uff32\uff21", "meera"),
        ("Nguyễn", "nguyen"),
        ("Ἀθηνᾶ", "αθηνα"),
        ("क\u093c\u0941रैशी", "\u0958\u0941रैशी"),  # a nukta of its own, and in its letter
        ("मी\u200dरा", "मीरा"),  # an invisible joiner
        ("९८७६", "9876"),
    ],
)
def test_case_width_and_accents_do_not_count(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@each(
    ("one", "other"),
    [("मीरा", "मेरा"), ("मीरा", "मर"), ("ராஜா", "ராஜி"), ("কমল", "কমলা"), ("ka", "kā1"), ("は", "ば1")],
)
def test_vowel_signs_count(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@each(
    ("name", "words"),
    [
        ("Meera  Nair", ("meera", "nair")),
        ("O'Brien-Smith, Anne", ("obrien", "smith", "anne")),
        ("Anne O\u2019Brien", ("anne", "obrien")),
        ("मीरा नायर", (fold("मीरा"), fold("नायर"))),
        ("a b c d e f g h", ("a", "b", "c", "d", "e", "f")),
        ("Ravi Ravi RAVI", ("ravi",)),
        ("--- ...", ()),
        ("Dr. R. K. Narayan", ("dr", "r", "k", "narayan")),
    ],
)
def test_a_name_has_at_most_six_words(name: str, words: tuple[str, ...]) -> None:
    assert words_of(fold(name)) == words
    assert len(words) <= MOST_WORDS


# --- the person -----------------------------------------------------------------------------------


@each(
    ("metadata", "data", "kind", "name"),
    [
        ({"name": "Meera Nair"}, {"name": "Other"}, GENERIC, "Meera Nair"),
        ({"first_name": "Meera", "last_name": "Nair"}, {}, GENERIC, "Meera Nair"),
        ({"name": " ", "first_name": "Meera"}, {}, GENERIC, "Meera"),
        ({"name": 5, "last_name": "Nair"}, {}, GENERIC, "Nair"),
        ({}, {"full_name": "Meera Nair"}, GENERIC, "Meera Nair"),
        (None, {"firstName": "Meera", "lastName": "Nair"}, GENERIC, "Meera Nair"),
        (None, {"properties": {"firstname": "M", "lastname": None}}, HUBSPOT, "M"),
        (None, {"First_Name": None, "Last_Name": "Nair"}, ZOHO, "Nair"),
        (None, {"Full_Name": "Meera Nair", "Last_Name": "Nair"}, ZOHO, "Meera Nair"),
        (None, {"name": "M", "firstName": "x"}, kinds()["gohighlevel"], "M"),
        (None, {"name": {"first": "Meera"}}, GENERIC, None),
        (None, ["Meera"], GENERIC, None),
        ("Meera", None, HUBSPOT, None),
        ({"name": "x" * 900}, None, GENERIC, "x" * 200),
    ],
)
def test_the_name_is_the_mapped_one_or_the_crms(
    metadata: Any, data: Any, kind: Any, name: str | None
) -> None:
    assert name_of(metadata, data, kind) == name


@each(
    ("metadata", "data", "email"),
    [
        ({"email": "a@x.in"}, {"email": "b@x.in"}, "a@x.in"),
        ({"email": "none"}, {"email": "b@x.in"}, "b@x.in"),
        (None, {"emailAddress": " b@x.in "}, "b@x.in"),
        (None, {"email": ["b@x.in", "c@x.in"]}, "b@x.in"),
        (None, {"email": 5}, None),
        (None, {"email": "a@" + "x" * 300}, None),
    ],
)
def test_the_email_is_the_mapped_one_or_the_crms(
    metadata: Any, data: Any, email: str | None
) -> None:
    assert email_of(metadata, data, GENERIC) == email


@each(
    ("value", "digits"),
    [
        ("+91 98765 43210", "9876543210"),
        ("098765-43210", "9876543210"),
        (919876543210, "9876543210"),
        ("tel:+91-98765.43210;ext=22", "9876543210"),
        ("98765 43210 x 22", "9876543210"),
        ("९८७६५ ४३२१०", "9876543210"),
        ("4930123", "4930123"),
        ("12345", None),
        (True, None),
        (9876543210.0, None),
        (10**400, None),
        ({"a": 1}, None),
    ],
)
def test_the_last_ten_digits_of_a_number(value: Any, digits: str | None) -> None:
    assert last_digits(value) == digits


def test_a_person_has_at_most_three_numbers() -> None:
    data = {"properties": {"phone": "+919876543210", "mobilephone": "+919876543211"}}
    assert digits_of(data, HUBSPOT, "+919812345678") == ("9812345678", "9876543210", "9876543211")
    many = [f"+9198765432{number}" for number in range(10, 60)]
    assert len(digits_of({"properties": {"phone": many}}, HUBSPOT, None)) == 3


# --- finding --------------------------------------------------------------------------------------

ROUTE = load(call_route(metadata='name = "lead.called"')).routes[0]
LEAD = event(
    {
        "name": "Ignored Because Mapped",
        "lead": {"called": "Meera Nair-Iyer"},
        "email": "Meera@Example.IN",
        "phone": "+91 98765 43210",
    },
    subject="LD-501",
)


@each(
    "typed",
    [
        *("meera", "MEERA nair", "iyer", "Nair-Iyer", "nair, meera", "  Méera  "),
        *("meera@example.in", "MEERA@EXAMPLE.IN", "<meera@example.in>", "meera meera@example.in"),
        *("3210", "43210", "543210", "6543210", "76543210", "876543210", "9876543210"),
        *("+91 98765 43210", "98765-43210", "+919876543210", "९८७६५ ४३२१०", "Meera 3210"),
        *("LD-501", "ld-501", " LD-501 "),
    ],
)
def test_a_lead_is_found(typed: str) -> None:
    assert is_found(typed, found_by(LEAD, GENERIC, ROUTE))


@each(
    "typed",
    [
        *("meer", "ignored", "meera rao", "nairiyer", "example.in", "3211", "210", "13210"),
        *("1234543210", "9876543211", "LD", "501", "meera 3211", "9876", "%", "*", "-", "\0", ""),
    ],
)
def test_a_lead_is_not_found_by_other_texts(typed: str) -> None:
    assert not is_found(typed, found_by(LEAD, GENERIC, ROUTE))


def test_what_is_mapped_replaces_what_the_record_has() -> None:
    request = {"to_number": "+919812345678", "metadata": {"name": "Asha", "email": "a@x.in"}}
    kept = found_by(LEAD, GENERIC, ROUTE, request=request)
    assert kept.indexed == ("asha", "a@x.in", "5678", "ld-501")
    ends = ("45678", "345678", "2345678", "12345678", "812345678", "9812345678")
    assert kept.compared == tuple(f"N{one}" for one in ends)


def test_hubspots_own_event_id_finds_its_notification() -> None:
    thin = event({"eventId": 90000076, "objectId": 501}, subject="501", merged_from=("77", "78"))
    kept = found_by(thin, HUBSPOT, None)
    assert kept == FoundBy(indexed=("501", "77", "78", "90000076"))
    assert all(is_found(typed, kept) for typed in ("90000076", "501", "77", " 78 "))
    assert not any(is_found(typed, kept) for typed in ("0076", "9000", "50", "5011"))
    assert found_by(event({"eventId": {"x": 1}}), HUBSPOT, None) == FoundBy()
    assert found_by(event(["eventId"]), HUBSPOT, None) == FoundBy()


def test_a_test_call_is_found_by_its_number_and_its_record() -> None:
    data = {"to_number": "+919812345678", "record": {"lead": {"called": "Asha"}, "phone": "+911"}}
    kept = found_by(event(data, type=CALL_ME), GENERIC, ROUTE)
    assert is_found("asha 5678", kept)


def test_an_erased_number_leaves_nothing_to_find() -> None:
    kept, erased = found_by(LEAD, GENERIC, ROUTE), endings("+919876543210")
    left = FoundBy(
        indexed=tuple(one for one in kept.indexed if one not in erased.indexed),
        compared=tuple(one for one in kept.compared if one not in erased.compared),
    )
    assert left == FoundBy(indexed=("meera", "nair", "iyer", "meera@example.in", "ld-501"))


@each(
    ("typed", "as_if"),
    [
        ("43210", "3210"),
        ("876543210", "3210"),
        ("4-3210", "3210"),
        ("98 3210", "3210"),
        ("४३२१०", "3210"),
        ("meera 43210", "meera 3210"),
        ("43210 meera", "3210 meera"),
        ("3210 meera 43210", "3210 meera"),
    ],
)
def test_a_part_of_a_number_finds_as_much_as_a_mask_shows(typed: str, as_if: str) -> None:
    """Or those who may not see a number could ask for one digit after another."""
    *ids, needs = read_text(typed, may_reveal=False)
    assert needs == read_text(as_if)[-1]
    assert [need[0][1] for need in ids] in ([], [typed])
    kept = found_by(LEAD, GENERIC, ROUTE)
    assert set(needs) <= {(one, one) for one in kept.indexed}


@each("typed", ["3210", "meera 3210", "9876543210", "+91 98765 43210", "ld-501", "meera nair"])
def test_what_a_mask_shows_and_a_whole_number_find_a_lead_for_everybody(typed: str) -> None:
    assert read_text(typed, may_reveal=False) == read_text(typed)


def test_an_id_of_digits_is_found_by_those_who_may_not_see_numbers() -> None:
    assert (("501234", "501234"),) in read_text("501234", may_reveal=False)


def test_a_long_search_is_refused_without_its_text() -> None:
    with pytest.raises(BadQuery, match="at most 200") as refused:
        read_text("Meera " * 50)
    assert "Meera" not in str(refused.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "email", "phone", "properties", "firstname", "Email", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@examples(200)
@given(data=JSON, request=JSON, subject=st.text(max_size=20) | st.none())
def test_no_record_raises_an_error_and_each_has_few_terms(
    data: Any, request: Any, subject: str | None
) -> None:
    for kind in kinds().values():
        kept = found_by(event(data, subject=subject), kind, ROUTE, request=request)
        assert len(kept.indexed) <= MOST_WORDS + 1 + 3 + 2
        assert len(kept.compared) <= 3 * 6
        assert all(isinstance(one, str) and one for one in (*kept.indexed, *kept.compared))


@examples(200)
@given(name=st.text(min_size=1, max_size=40))
def test_a_name_is_found_by_itself_and_by_each_of_its_words(name: str) -> None:
    kept = found_by(event({"name": name}), GENERIC, None)
    words = [one for one in kept.indexed if not one.isdigit()]
    assert all(is_found(word, kept) for word in words if len(word) < 200)


# --- the key of a search --------------------------------------------------------------------------

TERMS = st.text(alphabet=LETTERS, min_size=TERM, max_size=TERM)
NEEDS = st.lists(st.tuples(TERMS, TERMS), min_size=1, max_size=6).map(tuple)
IDS = st.lists(st.text(alphabet="0123456789abcdef", min_size=26, max_size=26), max_size=20)


@examples(200)
@given(any_of=st.lists(NEEDS, max_size=2).map(tuple), ids=IDS.map(tuple))
def test_a_search_is_read_back_from_its_key(any_of: Any, ids: Any) -> None:
    search = Search(any_of=any_of, ids=ids)
    if any_of or ids:
        assert read_search(search.key()) == search


@each("key", ["", "x", "Meera", "t", "t.", "i.abc", "t.aaaaaaaaa", "t.aaaaaaaaaa~", "t.aaaaaaaaa1"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(BadQuery):
        read_search(key)
