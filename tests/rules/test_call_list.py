"""Call lists: which paths a column can fill, what is guessed, and how rows become records."""

from typing import Any

import pytest
from support.makers import call_route, load, settings

from rules.call_list import (
    guess_mapping,
    number_paths,
    paths_of,
    read_mapping,
    read_name,
    read_rows,
)
from schemas.csv_table import read_table
from schemas.errors import BadQuery
from schemas.route import Route
from schemas.source import Source

KEYS = """
when = "stage == 'lead'"
match = "kind == 'new'"
consent = "person.agreed == 'yes'"
"""
METADATA = """
name = "join(' ', [person.first, person.last])"
city = "address.city"
seats = { value = 2 }
"""


def route_of(to_number: str = "person.phone || person.mobile") -> tuple[Route, Source]:
    text = call_route(KEYS, metadata=METADATA).replace('"phone"', f'"{to_number}"')
    routes = load(text)
    return routes.routes[0], routes.sources["generic"]


def read(text: str, mapping: dict[str, str], to_number: str = "phone", **more: Any) -> Any:
    """Return the numbers by line, the records, and what is unreadable by line."""
    routes = call_route(metadata='name = "name"').replace('"phone"', f'"{to_number}"')
    known = settings(routes, **more)
    route, source = known.routes.routes[0], known.routes.sources["generic"]
    table = read_table(text)
    columns = read_mapping(mapping, route, source, table.columns)
    rows, unreadable = read_rows(table, columns, route, source, known)
    return (
        {one.line: one.number for one in rows},
        [one.data for one in rows],
        {one.line: one.message for one in unreadable},
    )


def test_columns_can_fill_what_the_route_reads_of_a_record_the_number_first() -> None:
    route, source = route_of()
    assert list(paths_of(route, source))[:2] == ["person.phone", "person.mobile"]
    assert set(paths_of(route, source)) == {
        *("person.phone", "person.mobile", "person.first", "person.last", "person.agreed"),
        *("address.city", "stage"),
    }
    assert number_paths(route, source) == ("person.phone", "person.mobile")


@pytest.mark.parametrize(
    ("to_number", "fillable"),
    [
        ("phones[0].number", ()),
        ("phones[*].number", ()),
        ("phones[?kind == 'm'].number | [0]", ()),
        ("phones[].number", ()),
        ("phones[0].number || phone", ("phone",)),
        ("[phone, mobile] | [0]", ("phone", "mobile")),
        ("[phone, mobile][0]", ("phone", "mobile")),
        ("not_null(phone, mobile)", ("phone", "mobile")),
        ("[phone, mobile][]", ("phone", "mobile")),
        ("sort_by(phones, &rank)[0].number", ()),
    ],
)
def test_no_column_fills_a_list(to_number: str, fillable: tuple[str, ...]) -> None:
    route, source = route_of(to_number)
    assert number_paths(route, source) == fillable


def test_columns_are_guessed_by_equal_names() -> None:
    route, source = route_of()
    columns = ["Agreed", "CITY", "person.last", "To Number", "Colour", "", "stage"]
    assert guess_mapping(route, source, columns) == {
        "person.phone": "To Number",
        "person.agreed": "Agreed",
        "address.city": "CITY",
        "person.last": "person.last",
        "stage": "stage",
    }


@pytest.mark.parametrize(
    ("mapping", "why"),
    [
        ({}, "No column leads to the number. Map one of these: person.phone, person.mobile."),
        ({"address.city": "City"}, "No column leads to the number."),
        ({"person.fone": "Phone"}, "no such path. Did you mean 'person.phone'? It reads: person"),
        ({"kind": "City"}, "The route reads no such path."),
        ({"person.phone": "Fone"}, "no such column for person.phone. Did you mean 'Phone'? Its co"),
        ({"person.phone": ""}, "no such column"),
        ({"person.phone": "Phone", " person.phone": "City"}, "person.phone has two columns"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused_with_what_would(
    mapping: dict[str, str], why: str
) -> None:
    with pytest.raises(BadQuery, match=why.replace("?", "\\?")):
        read_mapping(mapping, *route_of(), ("Phone", "City"))


def test_a_number_in_a_list_is_refused() -> None:
    with pytest.raises(BadQuery, match="reads phones as a list, which no column can fill"):
        read_mapping({"phones.number": "Phone"}, *route_of("phones[0].number"), ("Phone",))
    with pytest.raises(BadQuery, match="reads the number out of a list"):
        read_mapping({"stage": "Phone"}, *route_of("phones[0].number"), ("Phone",))


def test_a_path_and_a_part_of_it_are_not_both_filled() -> None:
    with pytest.raises(BadQuery, match=r"p is a part of p\.phone"):
        read_mapping({"p": "A", "p.phone": "B"}, *route_of("p.phone || p"), ("A", "B"))


def test_a_row_becomes_the_record_that_the_route_reads() -> None:
    text = "Phone,Name,Other\n098765 43210, आशा ,x\n'+919876543211,,y\n"
    numbers, records, unreadable = read(
        text, {"p.phone": "Phone", "name": "Name"}, to_number="p.phone"
    )
    assert numbers == {2: "+919876543210", 3: "+919876543211"}
    assert records == [
        {"p": {"phone": "098765 43210"}, "name": "आशा"},
        {"p": {"phone": "'+919876543211"}},
    ]
    assert unreadable == {}


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("9.198765E+11", "a spreadsheet has shortened it"),
        ("9,19877E+11", "a spreadsheet has shortened it"),
        ("98765", "short number"),
        ("12345678901234567", "can't be called"),
        ("call me", "letters"),
        (" ", "There is no phone number."),
        ("+14155552671", "The number is in US"),
        ("=HYPERLINK(1)", "letters"),
    ],
)
def test_a_number_is_read_as_everywhere(cell: str, why: str) -> None:
    numbers, _, unreadable = read(
        f"phone\tname\n{cell}\tMeera\n9876543210\tAsha\n", {"phone": "phone"}
    )
    assert numbers == {3: "+919876543210"}
    assert why in unreadable[2]
    assert not cell.strip() or cell not in unreadable[2]


def test_a_number_without_a_plus_is_international() -> None:
    numbers, _, _ = read("phone\n919876543210\n", {"phone": "phone"})
    assert numbers == {2: "+919876543210"}


def test_a_row_with_other_cells_than_the_header_is_unreadable_and_the_rest_goes_on() -> None:
    text = "phone,name\n9876543210\n9876543211,a,b\n9876543212,c\n"
    numbers, _, unreadable = read(text, {"phone": "phone"})
    assert numbers == {4: "+919876543212"}
    assert unreadable == {
        2: "The row has 1 cells, and the first line has 2.",
        3: "The row has 3 cells, and the first line has 2.",
    }


def test_the_name_of_a_list_is_a_short_text() -> None:
    assert read_name("  Diwali \t leads ", "IN") == "Diwali leads"
    for good in ("दिवाली 🎆", "export-20261128-1030", "Fair 2026-11-28", "20261128103055"):
        assert read_name(good, "IN") == good
    for bad in ("", "  ", "x" * 81, "a\x00b", "\ud800"):
        with pytest.raises(BadQuery, match="name"):
            read_name(bad, "IN")


@pytest.mark.parametrize(
    "name", ["9876543210", "Calls of 98765 43210", "Chat with +1 202-555-0143"]
)
def test_the_name_of_a_list_has_no_phone_number(name: str) -> None:
    with pytest.raises(BadQuery, match="has a phone number") as caught:
        read_name(name, "IN")
    assert name not in str(caught.value)
