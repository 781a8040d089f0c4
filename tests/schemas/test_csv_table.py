"""Tables as people's programs write them: dialects, headers, and what is refused."""

import pytest

from schemas.csv_table import MOST_ROWS, decoded, read_table
from schemas.errors import BadQuery

WANTED = (("phone", "name"), [["98765 43210", "Meera"], ["98765 43211", "Asha"]])
PLAIN = "phone,name\n98765 43210,Meera\n98765 43211,Asha\n"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.rstrip("\n"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        "\ufeff" + PLAIN,
        "\n\n" + PLAIN.replace("Meera\n", "Meera\n\n ,\n"),
        "sep=;\n" + PLAIN.replace(",", ";"),
        PLAIN.replace("Meera", '"Meera"').replace("phone", '"phone"'),
        "sep=\t\n" + PLAIN.replace(",", "\t"),
        " phone , name ,,\n98765 43210,Meera,,\n98765 43211,Asha\n",
    ],
)
def test_a_table_is_read_as_programs_write_it(text: str) -> None:
    table = read_table(text)
    assert (table.columns, [cells[:2] for _, cells in table.rows]) == WANTED


@pytest.mark.parametrize(
    "raw",
    [
        "name\nआशा\n".encode(),
        "name\nआशा\n".encode("utf-8-sig"),
        "name\nआशा\n".encode("utf-16"),
    ],
)
def test_a_file_is_decoded_by_its_bytes(raw: bytes) -> None:
    assert read_table(decoded(raw)).rows == ((2, ["आशा"]),)


def test_a_quoted_cell_may_have_delimiters_quotes_and_line_ends() -> None:
    table = read_table('phone,note\n1,"a, ""b""\nc"\n2,d\n')
    assert table.rows == ((2, ["1", 'a, "b"\nc']), (4, ["2", "d"]))


@pytest.mark.parametrize("name", ["Name (first, last)", '"Name\nof the person"'])
def test_a_delimiter_is_the_one_that_also_separates_the_rows(name: str) -> None:
    table = read_table(f"{name};Phone\nMeera;1\nAsha;2\n")
    assert (table.columns[1], [cells for _, cells in table.rows]) == (
        "Phone",
        [["Meera", "1"], ["Asha", "2"]],
    )


def test_a_row_keeps_its_number_of_cells_and_its_line() -> None:
    table = read_table("a,b\n\n1\n1,2,3\n1,2,\n")
    assert table.rows == ((3, ["1"]), (4, ["1", "2", "3"]), (5, ["1", "2"]))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "The list is empty"),
        ("\n \n", "The list is empty"),
        ("phone,name\n", "no row below"),
        ("9876543210,Meera\n9876543211,Asha\n", "a number or an e-mail address where the name"),
        ("Meera,m@example.in\nAsha,a@example.in\n", "a number or an e-mail address where the"),
        ("Phone,phone\n1,2\n", "Two columns have the name 'Phone'"),
        ('phone,name\n1,"Meera\n2,Asha\n', "begins in line 2"),
        ('phone\n1\n"2" x\n', "begins in line 3"),
        (f"phone,{'x' * 200_000}\n1,2\n", "begins in line 1"),
        (decoded(b"PK\x03\x04\x14\x00\x06\x00\x08\xff,\n1,2\n"), "an Excel file"),
        (decoded(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\n1\n"), "an Excel file"),
        ("phone\n" + "1\n" * (MOST_ROWS + 1), "more than 10,000 rows"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence_without_a_value(text: str, why: str) -> None:
    with pytest.raises(BadQuery, match=why) as caught:
        read_table(text)
    assert "987654" not in str(caught.value)


def test_ten_thousand_rows_are_a_table() -> None:
    text = "phone,name\n" + "".join(f"98765{row:05},Person {row}\n" for row in range(MOST_ROWS))
    assert len(read_table(text).rows) == MOST_ROWS
