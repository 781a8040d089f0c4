"""Which numbers a file holds, however it was written; a line that is passed over rings somebody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import each

from rules.number_list import read_numbers
from schemas.fields import PhoneError, e164

A, B = "+919876543210", "+919812345678"


@each(
    ("text", "numbers", "without"),
    [
        ("", [], []),
        ("\n\n", [], []),
        (f"{A}\n{B}\n", [(1, A), (2, B)], []),
        (f"{A}\r\n\r\n{B}", [(1, A), (3, B)], []),
        (f"{A}\r{B}\r", [(1, A), (2, B)], []),
        (f"phone\n{A}\n", [(2, A)], []),
        (f"name,PHONE\nx,{A}\n", [(2, A)], []),
        (f"Name;Mobile;City\nx;{A};y\n", [(2, A)], []),
        (f"name\tNumber\nx\t{A}\n", [(2, A)], []),
        (f"name|phone_number\nx|{A}\n", [(2, A)], []),
        (f"sep=;\nname;phone\nx;{A}\n", [(3, A)], []),
        (f'"name","phone"\n"Rao, X","{A}"\n', [(2, A)], []),
        (f"Number,Phone\n1,{A}\n2,{B}\n", [(2, A), (3, B)], []),
        (f"Phone,Mobile\n{A},{B}\n,{B}\n{A},\n", [(2, A), (2, B), (3, B), (4, A)], []),
        ("name,phone\nx,\ny,12\n", [(3, "12")], [2]),
        (f"name,phone\nx\ny,{A}\n", [(3, A)], [2]),
        (f"7,x,{A}\n8,y,{B}\n", [(1, A), (2, B)], []),
        (f"day,who\n2026-01-31,{A}\n31.01.2026,{B}\n", [(2, A), (3, B)], []),
        (f"id,contact no\n12,{A}\n13,nonsense\n", [(2, A), (3, "nonsense")], []),
        (f"{A},call; never\n", [(1, A)], []),
        (f"{A};call, never\n", [(1, A)], []),
        ('phone\n\'+919876543210\n="+919812345678"\n', [(2, A), (3, B)], []),
        (f'phone,note\n{A},"two\nlines"\n{B},x\n', [(2, A), (4, B)], []),
        (f'phone,note\n{A},"a quote that\n{B},is not closed\n', [(2, A), (3, B)], []),
        # A stray quote that another one closes: what it took in may be numbers.
        (f'phone,note\n{A},"x\n{B},y"\n{A},z\n', [(2, A), (4, A)], [3]),
        # Columns without a name are known by their looks, with what tools write around a number.
        ("x,9876543210.0\ny,p:+919812345678\n", [(1, "9876543210.0"), (2, f"p:{B}")], []),
        ("x,whatsapp:+919812345678\n", [(1, f"whatsapp:{B}")], []),
        ("x,+91\u202f98123\u202f45678\n", [(1, "+91\u202f98123\u202f45678")], []),
        ("phone\n9.19877E+11\n", [(2, "9.19877E+11")], []),
    ],
)
def test_a_file_is_read(text: str, numbers: list[tuple[int, str]], without: list[int]) -> None:
    assert read_numbers(text.encode()) == (numbers, without)


@each(
    ("cell", "number"),
    [
        ("9876543210.0", A),
        ("98765.43210", A),
        ("p:+919876543210", A),
        ("'9876543210.00", A),
        ("987654321.0", None),
        ("9.87654321E+09", None),
        ("987654321.5", None),
    ],
)
def test_a_cell_suppresses_its_person_or_nobody(cell: str, number: str | None) -> None:
    [(_, found)], _ = read_numbers(f"phone\n{cell}\n".encode())
    try:
        assert e164(found, "IN") == number
    except PhoneError:
        assert number is None


@pytest.mark.parametrize(
    ("header", "numbers"),
    [
        ("Lead ID,Mobile No", ["9812345678"]),
        ("Lead ID,Contact Number", ["9812345678"]),
        ("Account Number,WhatsApp", ["9812345678"]),
        ("Phone,Phone (alternate)", ["7000000001", "9812345678"]),
        ("Phone type,Cell", ["9812345678"]),
    ],
)
def test_the_columns_of_phones_are_known_by_their_names(header: str, numbers: list[str]) -> None:
    first = "home" if "type" in header else "7000000001"
    found, without = read_numbers(f"{header}\n{first},9812345678\n".encode())
    assert [number for _, number in found] == numbers
    assert without == []


def test_two_columns_of_numbers_without_a_name_are_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="Columns 1, 2 all look like numbers"):
        read_numbers(b"Lead,Person\n7000000001,9812345678\n7000000002,9812345679\n")


def test_a_field_longer_than_any_of_a_list_is_no_list() -> None:
    with pytest.raises(ValueError, match="longer than 131,072 characters"):
        read_numbers(b"phone\n" + b"7" * 131_073 + b"\n")
    # A long line of short fields is one field to the wrong delimiters only.
    row = ",".join([A] + ["x" * 9] * 20_000)
    assert read_numbers(f"phone,{row}\n{row}\n".encode())[0] == [(2, A)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_a_file_is_read_in_the_encodings_of_spreadsheets(encoding: str) -> None:
    text = f"name;phone\nRené;{A}\n"
    raw = text.encode(encoding)
    raw = b"\xff\xfe" + raw if encoding == "utf-16-le" else raw
    assert read_numbers(raw) == ([(2, A)], [])


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n")), max_size=8),
    st.sampled_from(",;\t|"),
)
def test_no_line_is_passed_over(cells: list[str], delimiter: str) -> None:
    """Each line that has something in it gives numbers, or is named; but for one header."""
    lines = [f"x{delimiter}phone", *(f"x{delimiter}{cell}" for cell in cells)]
    numbers, without = read_numbers("\n".join(lines).encode())
    told = {line for line, _ in numbers} | set(without)
    assert told <= set(range(1, len(lines) + 1))
    if not any('"' in cell for cell in cells):
        assert told == set(range(2, len(lines) + 1))


@given(st.binary(max_size=300))
def test_no_file_is_too_odd(raw: bytes) -> None:
    read_numbers(raw)
