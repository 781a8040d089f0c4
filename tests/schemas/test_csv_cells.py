"""Cells of CSV files: none of them becomes a formula, and no text is lost."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema, fields
from support import each, examples

from rules.number_list import read_numbers
from schemas.csv_cells import cells, columns_of, csv_lines, safe_cell

FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212"
# What a spreadsheet may drop or split at before it looks at a cell's first character.
BLANK = ' \t\r\n\xa0\u2009\u3000\u200b\u200c\u200d\ufeff"'
PIECES = st.text(alphabet=FORMULA + BLANK + ";|,'a1é", max_size=12)


def is_formula(text: str) -> bool:
    """Say whether a spreadsheet might read a formula here, written another way than the code is."""
    return text.lstrip(BLANK)[:1] in (*FORMULA,)


@each(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+919876543210", "'+919876543210"),
        ("-2", "'-2"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("\t1", "'\t1"),
        ("\r=1", "<U+000D>=1"),
        ("\r\n=1", "'\n'=1"),
        ("\uff1dHYPERLINK(1)", "'\uff1dHYPERLINK(1)"),
        ("\uff0b1", "'\uff0b1"),
        (" =1", "' =1"),
        ("\u3000=1", "'\u3000=1"),
        ("x;=1", "x;'=1"),
        ('x;"=1', "x;\"'=1"),
        ("x\n-1", "x\n'-1"),
        ("a = b", "a = b"),
        ("1-2", "1-2"),
        ("Sorry, -5 degrees", "Sorry, -5 degrees"),
        ("\u202e=1", "<U+202E>=1"),
        ("a\x1b[2J", "a<U+001B>[2J"),
        (None, ""),
        (True, "true"),
        (False, "false"),
        (-5, "-5"),
        (299.5, "299.5"),
        (["=1"], '["=1"]'),
        ({"a": "é"}, '{"a":"é"}'),
        ("", ""),
    ],
)
def test_a_cell_is_written_so_that_it_is_a_text(value: Any, cell: str) -> None:
    assert safe_cell(value) == cell


@given(st.lists(st.lists(PIECES, min_size=1, max_size=4), min_size=1, max_size=4))
@examples(400)
def test_no_program_reads_a_formula_whatever_it_splits_at(rows: list[list[str]]) -> None:
    text = csv_lines(rows)
    for row in csv.reader(io.StringIO(text, newline="")):
        for cell in row:
            assert not is_formula(cell)
            assert cell[:1] not in ("\t", "\r", "\n")
    for delimiter in ";\t|":
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            assert not any(map(is_formula, row[1:]))


@given(PIECES)
@examples(400)
def test_nothing_but_marks_is_added(text: str) -> None:
    written = (
        safe_cell(text).replace("'", "").replace("<U+000D>", "\r").replace("<U+200B>", "\u200b")
    )
    written = written.replace("<U+FEFF>", "\ufeff")
    assert written == text.replace("\r\n", "\n").replace("'", "")


def test_our_own_import_reads_the_numbers_of_a_file() -> None:
    numbers = ["+919876543210", "+14155550100"]
    text = csv_lines([["id", "phone", "message"], *([one[1:5], one, "=x"] for one in numbers)])
    found, without = read_numbers(text.encode())
    assert ([number.lstrip("'") for _, number in found], without) == (numbers, [])


class Inner(Schema):
    result = fields.String()
    talked_s = fields.Integer()


class Outer(Schema):
    id = fields.String()
    outcome = fields.Nested(Inner)
    lines = fields.List(fields.Nested(Inner))
    status = fields.String(data_key="state")


def test_the_columns_are_those_of_the_answer_nested_ones_with_a_dot() -> None:
    columns = columns_of(Outer(), first=("state", "name", "id"))
    assert columns == ("state", "id", "outcome.result", "outcome.talked_s", "lines")
    row = {"id": "1", "outcome": {"result": "connected", "talked_s": 3}, "state": "ok"}
    assert cells(row, columns) == ["ok", "1", "connected", 3, None]
    assert cells({"id": "1", "outcome": None}, columns)[2:4] == [None, None]


@pytest.mark.parametrize("text", ["a,b", 'say "hi"', "two\nlines"])
def test_what_csv_needs_is_quoted(text: str) -> None:
    assert next(csv.reader(io.StringIO(csv_lines([[text, "x"]]), newline=""))) == [text, "x"]
