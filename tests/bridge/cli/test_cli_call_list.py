"""`call-list` against a bridge that serves."""

import json
from pathlib import Path
from typing import Any

import pytest
from support import API_TOKEN, WEBSITE, each, route
from support.commandline import Cli

from schemas.settings import Settings
from store import Store

NAMED = {
    "to_number": '"person.phone"',
    "agent_id": '{ value = "6803fa770b666a64ab1694c1e" }',
    "metadata": '{ name = "person.name" }',
}
ROUTES = WEBSITE + route("call visitors", request=NAMED)
ROWS = "PHONE;Name\n9876543210;Meera\n9876543210;Again\n9.19E+11;Bad\n"
COUNTS = "3 rows; held: 1, duplicates: 1, suppressed: 0, unreadable: 1."


@pytest.fixture
def settings(make_settings) -> Settings:
    return make_settings(ROUTES)


@pytest.fixture
def call_list(cli: Cli, url: str, tmp_path: Path) -> Any:
    """Run the command for a file of these rows, or for - with them as its stdin."""

    def run(*options: str, rows: str = ROWS, file: str = "Diwali leads.csv") -> Any:
        place = tmp_path / file
        place.write_text(rows, "utf-8")
        env = {"API_TOKEN": API_TOKEN, "ROUTES_TOML": ROUTES}
        given = "-" if file == "-" else place
        arguments = ("call-list", given, "--route", "call visitors", *options, "--url", url)
        return cli(*arguments, env=env, typed=rows)

    return run


def events(store: Store) -> list[str]:
    return [
        str(json.loads(store.redis.hget(key, "record"))["source_event_id"])
        for key in store.redis.scan_iter("bridge:event:*")
    ]


def test_the_columns_are_guessed_and_the_name_is_the_files(call_list, store: Store) -> None:
    result = call_list()
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "Guessed by its name: person.phone = PHONE",
        "Guessed by its name: person.name = Name",
        COUNTS,
        "Line 4: The phone number can't be called: a spreadsheet has shortened it, and its last "
        "digits are lost; format the column as text and export it again.",
        "To call five of them: python -m bridge release --route 'call visitors' --limit 5",
    ]
    (event,) = events(store)
    assert event.startswith("list/Diwali leads/")


def test_a_dry_run_stores_nothing_and_json_is_json_alone(call_list, store: Store) -> None:
    result = call_list("--dry-run", "--json")
    found = json.loads(result.output)
    assert (found["rows"], found["accepted"], found["duplicates"]) == (3, 1, 1)
    assert events(store) == []
    assert COUNTS.replace("held", "would be held") in call_list("--dry-run").output


def test_stdin_and_columns_of_ones_own(call_list, store: Store) -> None:
    result = call_list("--name", "Holi", "--map", "person.phone=PHONE", file="-")
    assert result.output.startswith(COUNTS)
    (event,) = events(store)
    assert event.startswith("list/Holi/")
    stored = next(store.redis.scan_iter("bridge:event:*"))
    record = json.loads(store.redis.hget(stored, "record"))
    assert record["data"] == {"person": {"phone": "9876543210"}}


@each(
    ("options", "code", "why"),
    [
        (("--map", "person.phone"), 2, "write it as PATH=COLUMN"),
        (("--map", "p=a", "--map", "p=b"), 2, "p has two columns"),
        (("--map", "person.fone=PHONE"), 1, "Did you mean 'person.phone'?"),
        (("--map", "person.phone=PHONE", "--route", "x"), 1, "Known: 'call visitors'."),
        (("--route", "call visitor"), 2, "Did you mean 'call visitors'?"),
        (("--name", "x" * 81), 1, "Give the list a name of 1 to 80 characters."),
    ],
)
def test_what_does_not_fit_is_said(call_list, options: tuple[str, ...], code: int, why: str):
    result = call_list(*options)
    assert (result.exit_code, why in " ".join(result.output.split())) == (code, True), result.output


def test_a_file_that_is_no_table_is_said(call_list) -> None:
    result = call_list(rows="9876543210;Meera\n")
    assert result.exit_code == 2
    assert "name of a column" in result.output
    assert "987654" not in result.output
    nameless = call_list(file="-")
    assert (nameless.exit_code, "Give --name" in nameless.output) == (2, True)
