"""A list of phone numbers as people keep them: any kind of CSV, or one number a line. Pure."""

import contextlib
import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from schemas.csv_table import DELIMITERS, SEP, Row, decoded
from schemas.fields import plain_number

LOOKED_AT: Final = 200  # lines, to find the delimiter and the columns
# For a header reduced to its letters; the best first. A person with several columns of the first
# kind must not be called on any of them.
NAMED: Final = (
    re.compile(r".*(phone|mobile|cell|whatsapp|contactn).*|tel|ph|phno|msisdn"),
    re.compile(r".*number"),
)
_NUMBER: Final = re.compile(r"[+\uff0b]?[\d\s().\[\]/\-]{7,30}")
_RUN: Final = re.compile(r"\d[\d\s()./\-]{5,}\d")
_DATE: Final = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(\s.*)?")


def read_numbers(raw: bytes) -> tuple[list[tuple[int, str]], list[int]]:
    """Return the numbers of a file, each with its line's number, and the lines without a number.

    The numbers are in the columns that a header names phone, mobile, … (any case), else number.
    Without such a header they are in the only column whose values look like numbers. Empty lines
    don't count.

    Raises:
        ValueError: with a sentence: several columns look like numbers and no header tells them
            apart, or a field is too long for a list of numbers.
    """
    lines = list(io.StringIO(decoded(raw), newline=""))
    skipped = 0
    delimiters = DELIMITERS
    if lines and (separator := SEP.fullmatch(lines[0].strip())):
        skipped, delimiters = 1, separator[1]
    candidates = [_rows(lines[skipped:], one, skipped) for one in delimiters]
    readable = [rows for rows in candidates if rows is not None]
    if not readable:
        raise ValueError(
            f"A field is longer than {csv.field_size_limit():,} characters, so this is not a list "
            "of numbers. Export it as CSV, one record a line."
        )
    # If no delimiter is in the file, all readings are the same, and the first is used.
    rows = max(readable, key=_fitness)
    columns = _named(rows)
    if columns:
        rows = rows[1:]
    else:
        columns = _by_looks(rows)
        if len(columns) > 1:
            places = ", ".join(str(column + 1) for column in columns)
            raise ValueError(
                f'Columns {places} all look like numbers. Write "phone" above the column of the '
                "phone numbers."
            )
        title = _cell(rows[0][1], columns[0]) if rows else ""
        if title and not any(map(str.isdecimal, title)):
            rows = rows[1:]  # a header with a name of its own
    found, without = [], []
    for line, row in rows:
        numbers = [cell for column in columns if (cell := _cell(row, column))]
        found += [(line, number) for number in numbers]
        if not numbers:
            without.append(line)
    return found, without


def _rows(lines: list[str], delimiter: str, skipped: int) -> list[Row] | None:
    """Return the rows that are not empty; None: with this delimiter a field is too long."""
    with contextlib.suppress(csv.Error):
        return list(_parsed(csv.reader(lines, delimiter=delimiter, strict=True), skipped))
    with contextlib.suppress(csv.Error):
        # A quote that is not closed would hide all numbers after it.
        plain = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
        return list(_parsed(plain, skipped))
    return None


def _parsed(reader: Any, skipped: int) -> Iterator[Row]:
    begins = 1
    for row in reader:
        if any(cell.strip() for cell in row):
            yield skipped + begins, row
        if any("\n" in cell and _RUN.search(cell) for cell in row):
            # A stray quote may have swallowed these lines, and they may have numbers.
            yield from ((skipped + line, []) for line in range(begins + 1, reader.line_num + 1))
        begins = reader.line_num + 1


def _fitness(rows: list[Row]) -> tuple[int, int]:
    """Say how well a delimiter fits: by the rows with numbers, then by the number of columns."""
    columns = _named(rows) or _by_looks(rows)
    looked_at = rows[:LOOKED_AT]
    fit = sum(any(_is_number(_cell(row, one)) for one in columns) for _, row in looked_at)
    return fit, len(looked_at[0][1]) if looked_at else 0


def _named(rows: list[Row]) -> list[int]:
    """Return the columns that the first row names; none: the first row is not a header."""
    header = [_name(cell) for cell in rows[0][1]] if rows else []
    for names in NAMED:
        found = [column for column, name in enumerate(header) if names.fullmatch(name)]
        # Of "Phone" and "Phone type", the column with numbers.
        held = [column for column in found if _holds_numbers(rows[1:], column)]
        if found:
            return held or found[:1]
    return []


def _name(cell: str) -> str:
    """Return the letters of a header's cell; "" for a number, such as whatsapp:+919876543210."""
    return "" if _is_number(cell.strip()) else re.sub(r"[^a-z]", "", cell.casefold())


def _by_looks(rows: list[Row]) -> list[int]:
    """Return the columns half of whose values look like numbers; else the first one."""
    width = max((len(row) for _, row in rows[:LOOKED_AT]), default=0)
    values = rows[1:] or rows
    return [one for one in range(width) if _holds_numbers(values, one)] or [0]


def _holds_numbers(rows: list[Row], column: int) -> bool:
    cells = [cell for _, row in rows[:LOOKED_AT] if (cell := _cell(row, column))]
    return bool(cells) and 2 * sum(map(_is_number, cells)) >= len(cells)


def _cell(row: Sequence[str], column: int) -> str:
    """Return a cell without the marks by which spreadsheets keep a number as text; "": empty."""
    return row[column].strip().lstrip("'=").strip('" ') if column < len(row) else ""


def _is_number(cell: str) -> bool:
    cell = plain_number(cell)
    digits = sum(map(str.isdecimal, cell))
    return 7 <= digits <= 15 and bool(_NUMBER.fullmatch(cell)) and not _DATE.fullmatch(cell)
