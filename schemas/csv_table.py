"""A table that people keep as CSV: a line of column names, then rows. Pure."""

import contextlib
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from schemas.errors import BadQuery

DELIMITERS: Final = ",;\t|"
SEP: Final = re.compile(r"sep=(.)", re.IGNORECASE)  # tells Excel the delimiter of a file
MOST_ROWS: Final = 10_000
_DIGITS: Final = 7  # a cell with so many is a value, such as a phone number, and not a name
_LOOKED_AT: Final = 20  # rows, to find the delimiter
_EXCEL: Final = (
    "PK\x03\x04",
    "\xd0\xcf\x11\xe0",
)  # what .xlsx and .xls begin with, as decoded() says it

Row = tuple[int, list[str]]  # the number of the line that it begins in; the first is 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """The names of the columns, and the rows that are not empty. A column may have no name: ""."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def decoded(raw: bytes) -> str:
    """Return the text of a file: UTF-8 or UTF-16, else Latin-1."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")  # names may become unreadable, but digits stay digits


def read_table(text: str) -> Table:
    """Return a CSV text as a table; commas, semicolons, tabs or bars separate its cells.

    Raises BadQuery: it is an Excel file, the first line does not name the columns, a name is there
    twice, there is no row or there are more than MOST_ROWS, or a quote is not closed.
    """
    if text.startswith(_EXCEL):
        raise BadQuery("This is an Excel file. Save it as CSV in Excel, and choose that file.")
    lines = list(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    skipped = next((place for place, line in enumerate(lines) if line.strip()), len(lines))
    delimiters = DELIMITERS
    if skipped < len(lines) and (separator := SEP.fullmatch(lines[skipped].strip(" \r\n"))):
        skipped, delimiters = skipped + 1, separator[1]
    rows = _rows(lines[skipped:], delimiters, skipped)
    _, header = next(rows, (0, []))
    columns = _columns(header)
    found: list[Row] = []
    for line, cells in rows:
        if len(found) == MOST_ROWS:
            raise BadQuery(f"The list has more than {MOST_ROWS:,} rows. Split it.")
        found.append((line, _without_blank_end(cells, len(columns))))
    if not found:
        raise BadQuery("The list has no row below the names of its columns.")
    return Table(columns=columns, rows=tuple(found))


def _rows(lines: list[str], delimiters: str, skipped: int) -> Iterator[Row]:
    """Yield the rows that are not empty, read with the delimiter that fits best."""
    delimiter = max(delimiters, key=lambda one: _fitness(lines, one))
    reader: Any = csv.reader(lines, delimiter=delimiter, strict=True)
    begins = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield skipped + begins, row
            begins = reader.line_num + 1
    except csv.Error:
        raise BadQuery(
            f"The row that begins in line {skipped + begins} can't be read: a quote in it is not "
            "closed, or is not doubled. Correct the line, or export the file again."
        ) from None


def _fitness(lines: list[str], delimiter: str) -> tuple[int, int]:
    """Say how well a delimiter fits: by the rows that are as long as the first, then by its length.

    A delimiter that separates nothing fits least.
    """
    widths: list[int] = []
    with contextlib.suppress(csv.Error):  # a cell that is too long; the strict reader says where
        rows = filter(None, csv.reader(lines, delimiter=delimiter))
        widths.extend(map(len, islice(rows, _LOOKED_AT)))
    width = widths[0] if widths else 0
    return (widths.count(width) if width > 1 else 0), width


def _columns(header: list[str]) -> tuple[str, ...]:
    names = [cell.strip() for cell in _without_blank_end(header, 0)]
    if not names:
        raise BadQuery("The list is empty. Its first line must name the columns.")
    if any("@" in name or sum(map(str.isdecimal, name)) >= _DIGITS for name in names):
        raise BadQuery(
            "The first line has a number or an e-mail address where the name of a column must be. "
            "Write a line such as phone,name above the rows."
        )
    counts = Counter(name.casefold() for name in names if name)
    twice = [name for name in names if counts[name.casefold()] > 1]
    if twice:
        raise BadQuery(f"Two columns have the name {twice[0]!r}. Rename one of them.")
    return tuple(names)


def _without_blank_end(cells: list[str], width: int) -> list[str]:
    """Return a row without the blank cells that a spreadsheet adds behind its `width` cells."""
    end = len(cells)
    while end > width and not cells[end - 1].strip():
        end -= 1
    return cells[:end]
