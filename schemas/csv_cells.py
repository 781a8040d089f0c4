"""Cells of a CSV file that is safe to open in a spreadsheet: no cell becomes a formula.

A lead writes parts of what we export. `=HYPERLINK(…)` in a name would be a link that sends the
sheet's other cells to somebody. See https://owasp.org/www-community/attacks/CSV_Injection.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
from marshmallow import Schema, fields

from schemas.visible import visible

# What begins a formula; full-width and small forms too, which Excel in East Asia reads as these.
_FORMULA: Final = "=+\\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212"
# What spreadsheets may drop before they look at the first character.
_DROPPED: Final = r"[\s\"\u200b-\u200d\u2060\ufeff]*"
_FIRST: Final = re.compile(rf"[\t\r\n]|{_DROPPED}[{_FORMULA}]")
# Excel splits at the separator of its country: in Germany `a;=1` is two cells.
_LATER: Final = re.compile(rf"([;|\t\r\n]{_DROPPED})(?=[{_FORMULA}])")


def safe_cell(value: Any) -> str:
    """Return a value as the text of a cell; None is empty.

    Texts that a spreadsheet could read as a formula get a ' in front. So a number in full is
    `'+919876543210`, which our own import of suppressions reads.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    text = visible(text.replace("\r\n", "\n"), keeps="\n\t")
    mark = "'" if _FIRST.match(text) else ""
    return mark + _LATER.sub(r"\1'", text)


def csv_lines(rows: Iterable[Iterable[Any]]) -> str:
    """Return rows as lines of CSV (RFC 4180), each cell made safe."""
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\r\n").writerows(map(safe_cell, row) for row in rows)
    return file.getvalue()


def columns_of(schema: Schema, *, first: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the columns of a list's answer: `outcome.result` for a field of a nested one.

    first: the columns to begin with, where they exist.
    """
    found = dict.fromkeys(_columns(schema, ""))
    return tuple(dict.fromkeys([*(name for name in first if name in found), *found]))


def _columns(schema: Schema, prefix: str) -> Iterable[str]:
    for name, field in schema.fields.items():
        key = prefix + (field.data_key or name)
        if isinstance(field, fields.Nested) and not field.many:
            yield from _columns(field.schema, f"{key}.")
        else:
            yield key


def cells(row: Mapping[str, Any], columns: Iterable[str]) -> list[Any]:
    """Return the values of an answer's item for columns_of()."""
    return [_value(row, column) for column in columns]


def _value(row: Any, column: str) -> Any:
    for name in column.split("."):
        row = row.get(name) if isinstance(row, Mapping) else None
    return row
