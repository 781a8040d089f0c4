"""A call list: the rows of a table as records of a route, and its columns as the route's paths.

Pure. A path is written with dots, as in `properties.phone`. No message contains a value of a row.
"""

import contextlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rules.candidate import Denied, chosen_number, search
from rules.numbers import choose_number
from schemas.csv_table import Table
from schemas.errors import BadQuery
from schemas.event import LIST_ROW, Item
from schemas.expression import Path
from schemas.fields import PhoneError, runs_of_digits
from schemas.nearest import did_you_mean
from schemas.route import Route, Value
from schemas.settings import Settings
from schemas.source import Source

LONGEST_NAME: Final = 80  # characters of a list's name


@dataclass(frozen=True, kw_only=True, slots=True)
class ListRow:
    """A row that has a number."""

    line: int  # in the file; the first line is 1
    number: str  # E.164
    data: dict[str, Any]  # what the route's expressions read


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreadable:
    """A row that can't become a call, and why: a sentence without the row's values."""

    line: int
    message: str


def read_name(text: str, region: str | None) -> str:
    """Return the name of a list, trimmed, each run of spaces as one.

    region: the country of a number without a country code. Everybody sees the name, so it must not
    have a phone number. Raises BadQuery.
    """
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name or len(name) > LONGEST_NAME:
        raise BadQuery(f"Give the list a name of 1 to {LONGEST_NAME} characters.")
    if any(unicodedata.category(one) in ("Cc", "Cs") for one in name):
        raise BadQuery("The name of the list has a control character. Type the name again.")
    if any(_is_phone(run, region) for run in runs_of_digits(name)):
        raise BadQuery("The name of the list has a phone number, and everybody sees it. Change it.")
    return name


def _is_phone(run: str, region: str | None) -> bool:
    with contextlib.suppress(PhoneError):
        return bool(choose_number(run, region=region, countries=None))
    return False


def row_item(name: str, key: str, data: Mapping[str, Any]) -> Item:
    """Return the item of a row. key: the keyed hash of the list and the number."""
    return Item(type=LIST_ROW, data=data, source_event_id=f"list/{name}/{key}")


def why_held(name: str) -> str:
    """Return why the delivery of a row waits for a person."""
    return f'Row of the list "{name}". Release or cancel it.'


# --- columns and paths ----------------------------------------------------------------------------


def paths_of(route: Route, source: Source) -> dict[str, Path]:
    """Return the paths that a column can be mapped to, those of the number first."""
    values = (route.request["to_number"], *route.reads_of_row(source))
    lists = _lists(route, source)
    found: dict[str, Path] = {}
    for value in values:
        for path in sorted(value.paths, key=lambda one: _place(value, one)):
            if not any(path[:length] in lists for length in range(1, len(path) + 1)):
                found[".".join(path)] = path
    return found


def number_paths(route: Route, source: Source) -> tuple[str, ...]:
    """Return the paths that lead to the number; a list needs a column for one of them."""
    known = paths_of(route, source)
    return tuple(name for name, path in known.items() if path in route.request["to_number"].paths)


def guess_mapping(route: Route, source: Source, columns: Iterable[str]) -> dict[str, str]:
    """Return the paths whose column has the same name: {path: column}.

    The case and what stands between words don't count. A path's names are its own, its last part
    and the CallKaro field that it feeds alone.
    """
    by_name = {_plain(column): column for column in columns if _plain(column)}
    found: dict[str, str] = {}
    for name, path in paths_of(route, source).items():
        for known in (name, path[-1], *_fields_fed(route, path)):
            if column := by_name.get(_plain(known)):
                found[name] = column
                break
    return found


def read_mapping(
    mapping: Mapping[str, str], route: Route, source: Source, columns: tuple[str, ...]
) -> dict[Path, int]:
    """Return the place of the column of each path. mapping: {path: column}.

    Raises BadQuery: the route does not read the path, the file does not have the column, a path is
    a part of another, or no column leads to the number.
    """
    known, lists = paths_of(route, source), _lists(route, source)
    places = {column: place for place, column in enumerate(columns) if column}
    found: dict[Path, int] = {}
    for given, column in mapping.items():
        name = given.strip()
        if name not in known:
            raise BadQuery(_unknown_path(name, known, lists))
        if known[name] in found:
            raise BadQuery(f"{name} has two columns. Give it one.")
        if column.strip() not in places:
            raise BadQuery(
                f"The list has no such column for {name}. {did_you_mean(column, places)}"
                f"Its columns: {_listed(places)}."
            )
        found[known[name]] = places[column.strip()]
    _refuse_parts(found)
    numbers = route.request["to_number"].paths
    if numbers and numbers.isdisjoint(found):
        wanted = number_paths(route, source)
        if not wanted:
            raise BadQuery("The route reads the number out of a list, which no column can fill.")
        raise BadQuery(f"No column leads to the number. Map one of these: {', '.join(wanted)}.")
    return found


def _unknown_path(name: str, known: Mapping[str, Path], lists: Iterable[Path]) -> str:
    inside = [one for one in (".".join(path) for path in lists) if f"{name}.".startswith(f"{one}.")]
    if inside:
        return f"The route reads {inside[0]} as a list, which no column can fill."
    return f"The route reads no such path. {did_you_mean(name, known)}It reads: {_listed(known)}."


def _refuse_parts(found: Iterable[Path]) -> None:
    paths = set(found)
    for path in paths:
        for length in range(1, len(path)):
            if path[:length] in paths:
                whole, part = ".".join(path), ".".join(path[:length])
                raise BadQuery(f"{part} is a part of {whole}. Give a column to one of them only.")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _lists(route: Route, source: Source) -> frozenset[Path]:
    return frozenset().union(*(value.lists for value in route.reads_of_row(source)))


def _place(value: Value, path: Path) -> tuple[int, Path]:
    """Return where a path stands in an expression, so that the first to be tried comes first."""
    text = getattr(value, "text", "")
    return text.find(".".join(path)), path


def _fields_fed(route: Route, path: Path) -> list[str]:
    """Return the fields of the request and the metadata that a path feeds.

    A field that several paths feed counts for the number alone, for its first path.
    """
    feeds = {**route.metadata, **route.request}
    fed = [name for name, value in feeds.items() if value.paths == {path}]
    numbers = route.request["to_number"]
    is_first = path in numbers.paths and path == min(
        numbers.paths, key=lambda one: _place(numbers, one)
    )
    return [*fed, *(["to_number"] if is_first else [])]


def _plain(name: str) -> str:
    """Return a name without its case and without what stands between its words."""
    return re.sub(r"[\W_]+", "", name.casefold())


# --- rows -----------------------------------------------------------------------------------------


def read_rows(
    table: Table,
    columns: Mapping[Path, int],
    route: Route,
    source: Source,
    settings: Settings,
) -> tuple[list[ListRow], list[Unreadable]]:
    """Return the rows of a table that have a number that the route calls, and the others.

    columns: the place of the column of each path. Numbers are read as the worker reads them.
    """
    rows, unreadable = [], []
    for line, cells in table.rows:
        if len(cells) != len(table.columns):
            message = (
                f"The row has {len(cells)} cells, and the first line has {len(table.columns)}."
            )
            unreadable.append(Unreadable(line=line, message=message))
            continue
        data = _record(cells, columns)
        try:
            raw = search("to_number", route.request["to_number"], data)
            number = chosen_number(raw, route, source=source, data=data, settings=settings)
        except Denied as denied:
            unreadable.append(Unreadable(line=line, message=denied.denial.message))
            continue
        rows.append(ListRow(line=line, number=number, data=data))
    return rows, unreadable


def _record(cells: list[str], columns: Mapping[Path, int]) -> dict[str, Any]:
    """Return the cells as the object whose paths the route reads. A blank cell has no value."""
    record: dict[str, Any] = {}
    for path, place in columns.items():
        value = cells[place].strip()
        if not value:
            continue
        at = record
        for name in path[:-1]:
            at = at.setdefault(name, {})
        at[path[-1]] = value
    return record
