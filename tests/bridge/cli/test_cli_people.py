"""`suppress` and `erase` against a bridge that serves."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support import API_TOKEN, CALL_BACK, Web, each, lead
from support.commandline import Cli, Fails, Run

from bridge.cli import lists
from bridge.cli import suppress as suppressing
from schemas.settings import Settings
from simulator import Simulator
from store import Store
from store.suppression import Suppressions

ONE, OTHER, THIRD = "+919876543210", "+919812345678", "+919812345679"
DIGITS = re.compile(r"98765\s?43210|98123\s?4567[89]")


@pytest.fixture
def settings(make_settings) -> Settings:
    return make_settings(CALL_BACK)


def suppressed(store: Store, *numbers: str) -> list[bool]:
    return [store.suppression(store.phone_key(one)) is not None for one in numbers]


# --- one ----------------------------------------------------------------------------------------


def test_a_number_is_suppressed_and_let_be_called_again(
    run: Run, web: Web, store: Store, settings: Settings, simulator: Simulator, run_drain: Any
) -> None:
    said = run("suppress", "098765 43210", "--message", "Asked us by e-mail.")
    assert "+91••••••3210 is suppressed since 20" in said.stdout
    assert "(by_person): Asked us by e-mail." in said.stdout
    assert not DIGITS.search(said.output)
    assert suppressed(store, ONE, OTHER) == [True, False]

    [delivery] = web.send("website", lead(ONE))
    run_drain(settings)
    assert web.get(f"/api/deliveries/{delivery}").json["reason"] == "suppressed"

    assert run("suppress", ONE, "--remove").stdout == "The number may be called again.\n"
    assert suppressed(store, ONE) == [False]
    web.send("website", lead(ONE))
    run_drain(settings)
    assert [call.to_number for call in simulator.state.calls] == [ONE]


def test_what_was_planned_is_called_off_and_counted(
    run: Run, web: Web, settings: Settings, simulator: Simulator, run_drain: Any
) -> None:
    simulator.state.behave(503, path="/call/outbound", times=1)
    [waits] = web.send("website", lead(ONE))
    run_drain(settings)
    assert web.get(f"/api/deliveries/{waits}").json["status"] == "retrying"

    said = run("suppress", ONE).stdout

    assert "Cancelled: 1 that waited. The bridge asks CallKaro to delete: 0." in said
    found = web.get(f"/api/deliveries/{waits}").json
    assert (found["status"], found["reason"]) == ("cancelled", "suppressed")


def test_what_the_list_shows_leads_back_to_the_number(run: Run, store: Store) -> None:
    assert run("suppress", "--list").stdout == "No number is suppressed.\n"
    for number in (ONE, OTHER, THIRD):
        run("suppress", number, "--message", "Said no.")

    table = run("suppress", "--list").stdout
    assert [line.split()[2] for line in table.splitlines()[1:]] == [
        *("+91••••••5679", "+91••••••5678", "+91••••••3210")
    ]
    assert table.count("Said no.") == 3
    assert re.search(r"^suppressed +3 *$", run("status").stdout, re.M)
    shown = table.splitlines()[-1].split()[-1]
    assert run("suppress", shown, "--remove").exit_code == 0
    assert suppressed(store, ONE, OTHER, THIRD) == [False, True, True]


def test_a_list_is_followed_as_far_as_its_limit(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "PAGE", 2)
    for place in range(5):
        Suppressions(store=store).suppress(f"+91981234567{place}")

    short = run("suppress", "--list", "--limit", 3).stdout
    assert short.count("by_person") == 3
    assert short.endswith("There are more. --limit N lists more of them.\n")
    whole = json.loads(run("suppress", "--list", "--json").stdout)
    assert [one["phone"][-1] for one in whole["items"]] == list("43210")
    assert whole["next_cursor"] is None


# --- a file -------------------------------------------------------------------------------------


def test_a_file_is_suppressed_and_its_bad_lines_are_named(
    fails: Fails, run: Run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suppressing, "AT_ONCE", 2)  # so that there are several requests
    run("suppress", OTHER)
    file = tmp_path / "do-not-call.csv"
    file.write_text(
        f'Name;PHONE;Since\n"A; B";098765 43210;2020\nC;{OTHER};\n\nD;12;\nE;;\nF;{THIRD};\n',
        "utf-8-sig",
    )

    code, said = fails("suppress", "--import", file, "--message", "The old list.")

    assert code == 1
    assert "2 line(s)" in said
    assert said.endswith(": 5, 6\n")
    assert suppressed(store, ONE, OTHER, THIRD) == [True, True, True]
    kept = store.suppression(store.phone_key(ONE))
    assert kept is not None
    assert kept.message == "The old list."


def test_an_import_counts_what_is_new(cli: Cli, url: str, store: Store, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text(f"{ONE}\n{OTHER}\n{ONE}\nnonsense\n")

    def load(*arguments: str) -> Any:
        command = ("suppress", "--import", file, *arguments, "--url", url)
        return cli(*command, env={"API_TOKEN": API_TOKEN})

    first, second = load(), load("--json")
    assert (first.exit_code, first.stdout) == (1, "2 suppressed, 1 known already.\n")
    assert json.loads(second.stdout) == {"suppressed": 0, "known": 3, "unread": [4]}
    assert not DIGITS.search(first.output + second.output)
    file.write_text(ONE)
    assert load().exit_code == 0


def test_a_list_comes_from_a_pipe(cli: Cli, url: str, store: Store) -> None:
    command = ("suppress", "--import", "-", "--url", url)
    said = cli(*command, env={"API_TOKEN": API_TOKEN}, typed=f"{ONE}\n")
    assert said.stdout == "1 suppressed, 0 known already.\n"
    assert suppressed(store, ONE) == [True]


def test_an_import_that_stops_says_where(
    fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str, store: Store
) -> None:
    file = tmp_path / "list.txt"
    file.write_text(f"{ONE}\n{OTHER}\n{THIRD}\n")
    monkeypatch.setattr(suppressing, "AT_ONCE", 2)
    store.redis.config_set("maxmemory", 1)  # full: nothing is taken in any more
    code, said = fails("suppress", "--import", file)
    assert code == 1
    assert "The import stopped at line 1. Import the file again" in said
    assert not DIGITS.search(said)


# --- erasing ------------------------------------------------------------------------------------


def test_a_person_is_erased_when_that_is_sure(
    cli: Cli, run: Run, url: str, web: Web, store: Store, settings: Settings, run_drain: Any
) -> None:
    [delivery] = web.send("website", lead(ONE, name="Zebedaiah"))
    run_drain(settings)

    unsure = cli("erase", ONE, "--url", url, env={"API_TOKEN": API_TOKEN}, typed="n\n")
    assert unsure.exit_code == 1
    assert "This can't be undone." in unsure.stdout
    assert suppressed(store, ONE) == [False]

    said = run("erase", ONE, "--yes")
    assert said.stdout == "Erased in 1 deliveries and 1 events.\n"
    assert not DIGITS.search(said.output)
    assert re.search(r"^erased +20", run("status", delivery).stdout, re.M)
    assert suppressed(store, ONE) == [True]
    assert "erased" in run("suppress", "--list").stdout
    again = run("suppress", ONE).stdout
    assert again.startswith("An erased person is suppressed since ")


def test_what_is_left_of_an_erasure_is_told(
    run: Run, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.erasure.SLICE_S", -1.0)  # no time to look through any event
    web.send("website", lead(ONE))
    assert "A worker goes on with them" in run("erase", ONE, "--yes").stdout
    left = json.loads(run("erase", ONE, "--yes", "--json").stdout)
    assert left == {"deliveries": 0, "events": 0, "done": False}


# --- wrong use ----------------------------------------------------------------------------------


@each(
    ("arguments", "code", "says"),
    [
        (("suppress",), 2, "Give one of these"),
        (("suppress", ONE, "--list"), 2, "Give one of these"),
        (("suppress", "--remove"), 2, "Give one of these"),
        (("suppress", "--list", "--remove"), 2, "--remove takes only a NUMBER"),
        (("suppress", ONE, "--remove", "--message", "x"), 2, "--remove takes only"),
        (("suppress", "--list", "--message", "x"), 2, "--list takes no --message"),
        (("suppress", ONE, "--limit", "2"), 2, "--limit is for --list"),
        (("suppress", "--import", "no-such-file"), 2, "no-such-file"),
        (("suppress", "--import", "/dev/null"), 1, "There is no number in that file."),
        (("suppress", ""), 2, "That is not a number"),
        (("suppress", ".."), 2, "That is not a number"),
        (("suppress", "12"), 1, "This is not a valid phone number"),
        (("suppress", "12/../13"), 1, "This is not a valid phone number"),
        (("suppress", ONE, "--remove"), 1, "That is not suppressed."),
        (("suppress", ONE, "--message", "x" * 501), 1, "message: Longer than"),
        (("erase", ""), 2, "That is not a number"),
        (("erase", "12", "--yes"), 1, "This is not a valid phone number"),
    ],
)
def test_a_mistake_is_one_sentence(
    fails: Fails, store: Store, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ended, said = fails(*arguments)
    assert (ended, says in said) == (code, True), said
    assert store.suppression_count() == 0


def test_without_the_token_nobody_is_suppressed_or_erased(cli: Cli, url: str, store: Store) -> None:
    for command in (("suppress", ONE), ("erase", ONE, "--yes"), ("suppress", "--list")):
        result = cli(*command, "--url", url, env={"API_TOKEN": "wrong"})
        assert result.exit_code == 1
        assert "does not accept this API_TOKEN" in result.stderr
    assert store.suppression_count() == 0
