"""A list of phone numbers as people keep them: a CSV of whatever make, or a number a line. Pure."""

import contextlib
import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

DELIMITERS: Final = ",;\t|"
LOOKED_AT: Final = 200  # lines, to find out how a file is written
# Of a header without all but its letters; best first. Whoever has several of the first is not to be
# called on any of them.
NAMED: Final = (
    re.compile(r".*(phone|mobile|cell|whatsapp|contactn).*|tel|ph|phno|msisdn"),
    re.compile(r".*number"),
)
_NUMBER: Final = re.compile(r"[+\uff0b]?[\d\s().\[\]/\-]{7,30}")
_RUN: Final = re.compile(r"\d[\d\s()./\-]{5,}\d")
_DATE: Final = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(\s.*)?")
_SEP: Final = re.compile(r"sep=(.)", re.IGNORECASE)  # how Excel is told a file's delimiter

Row = tuple[int, list[str]]  # the number of the line that it begins in; the first is 1


def read_numbers(raw: bytes) -> tuple[list[tuple[int, str]], list[int]]:
    """Return the numbers of a file, each with its line's number, and the lines that hold none.

    They stand in the columns that a header names as phone, mobile, … (any case), else number;
    without such a name: in the only column whose values look like numbers. Empty lines don't count.

    Raises:
        ValueError: several columns look so, and no name says which, or a field is longer than
            any of a list could be; with a sentence.
    """
    lines = list(io.StringIO(_decoded(raw), newline=""))
    skipped = 0
    delimiters = DELIMITERS
    if lines and (told := _SEP.fullmatch(lines[0].strip())):
        skipped, delimiters = 1, told[1]
    candidates = [_rows(lines[skipped:], one, skipped) for one in delimiters]
    readable = [rows for rows in candidates if rows is not None]
    if not readable:
        raise ValueError(
            f"A field of it is longer than {csv.field_size_limit():,} characters, so this is no "
            "list of numbers. Export it as CSV, a record a line."
        )
    # Where none of them parts anything, all see the same, and the first will do.
    rows = max(readable, key=_fitness)
    columns = _named(rows)
    if columns:
        rows = rows[1:]
    else:
        columns = _by_looks(rows)
        if len(columns) > 1:
            places = ", ".join(str(column + 1) for column in columns)
            raise ValueError(
                f"Columns {places} all look like numbers. Name the one of phone numbers: write "
                '"phone" above it.'
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


def _decoded(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")  # whatever the names in it become, digits are digits


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
            # It may be a stray quote that took these lines in, and they may have a number.
            yield from ((skipped + line, []) for line in range(begins + 1, reader.line_num + 1))
        begins = reader.line_num + 1


def _fitness(rows: list[Row]) -> tuple[int, int]:
    """Say how well a delimiter fits: rows with numbers, and as many columns as may be."""
    columns = _named(rows) or _by_looks(rows)
    looked_at = rows[:LOOKED_AT]
    fit = sum(any(_is_number(_cell(row, one)) for one in columns) for _, row in looked_at)
    return fit, len(looked_at[0][1]) if looked_at else 0


def _named(rows: list[Row]) -> list[int]:
    """Return the columns that the first row names; none: it is no header."""
    header = [re.sub(r"[^a-z]", "", cell.casefold()) for cell in rows[0][1]] if rows else []
    for names in NAMED:
        found = [column for column, name in enumerate(header) if names.fullmatch(name)]
        # Of "Phone" and "Phone type", the one that holds numbers.
        held = [column for column in found if _holds_numbers(rows[1:], column)]
        if found:
            return held or found[:1]
    return []


def _by_looks(rows: list[Row]) -> list[int]:
    """Return the columns half of whose values look like numbers; else the first one."""
    width = max((len(row) for _, row in rows[:LOOKED_AT]), default=0)
    values = rows[1:] or rows
    return [one for one in range(width) if _holds_numbers(values, one)] or [0]


def _holds_numbers(rows: list[Row], column: int) -> bool:
    cells = [cell for _, row in rows[:LOOKED_AT] if (cell := _cell(row, column))]
    return bool(cells) and 2 * sum(map(_is_number, cells)) >= len(cells)


def _cell(row: Sequence[str], column: int) -> str:
    """Return a cell without what spreadsheets put around a number to keep it a text; "": none."""
    return row[column].strip().lstrip("'=").strip('" ') if column < len(row) else ""


def _is_number(cell: str) -> bool:
    digits = sum(map(str.isdecimal, cell))
    return 7 <= digits <= 15 and bool(_NUMBER.fullmatch(cell)) and not _DATE.fullmatch(cell)
