"""Control characters in the texts of a lead, a CRM or a person never reach the terminal."""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import API_TOKEN, WEBSITE, Web, each, examples, lead, route
from support.commandline import Cli, Run

from schemas.settings import Settings
from schemas.visible import as_json, visible, visible_value

MakeSettings = Callable[..., Settings]
RunDrain = Callable[..., Any]
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Clears the screen (by ESC and by C1), sets the title, rings, goes back, turns the direction.
HOSTILE = (
    "\x1b[2J\x9b2J\x1b]0;owned\x07\r\x08\x7f\x85\u202e\u2066\u2028\u200f\U000e0041\ufeff\nline"
)


def is_clean(text: str) -> bool:
    return all(
        unicodedata.category(char) not in HIDDEN or char in "\n\u200c\u200d" for char in text
    )


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    metadata = '[route.request.metadata]\nname = "name"\n'
    return make_settings(WEBSITE + route(event="*") + metadata)


@pytest.fixture
def hostile(web: Web, run_drain: RunDrain, settings: Settings) -> str:
    """Store an event whose every text has control characters; return its id."""
    body = {**lead(event_type=f"form{HOSTILE}"), "name": HOSTILE, f"key{HOSTILE}": HOSTILE}
    answer = web.post("website", body)
    assert answer.status_code == 202
    run_drain(settings)
    return str(answer.json["events"][0]["id"])


@each("as_json", [False, True])
def test_no_command_shows_a_control_character(run: Run, hostile: str, as_json: bool) -> None:
    flag = ["--json"] if as_json else []
    commands: list[list[str]] = [
        ["status", hostile],
        ["status"],
        ["events"],
        ["deliveries"],
        ["pause", "route:call back", "--message", HOSTILE],
        ["resume", "route:call back"],
        ["suppress", "+919876543210", "--message", HOSTILE],
        ["suppress", "--list"],
        ["replay", hostile],
    ]
    for command in commands:
        output = run(*command, *flag).output
        assert is_clean(output), command
        if as_json:
            json.loads(output)


def test_what_was_sent_is_shown_with_the_codes(run: Run, hostile: str) -> None:
    output = "".join(run("status", hostile).output.split())
    assert "form<U+001B>[2J" in output
    assert '"name":' in output


def test_json_for_programs_has_the_very_texts(run: Run, hostile: str) -> None:
    assert json.loads(run("status", hostile, "--json").output)["type"] == f"form{HOSTILE}"


def test_a_preview_and_a_failure_show_none_either(
    cli: Cli, run: Run, url: str, settings: Settings, tmp_path: Path
) -> None:
    body = tmp_path / "body.json"
    body.write_text(json.dumps({**lead(event_type=f"form{HOSTILE}"), "name": HOSTILE}))
    env = {"API_TOKEN": API_TOKEN}
    for command in (["preview", "website", str(body)], ["preview", "website", str(body), "--json"]):
        assert is_clean(cli(*command, env=env).output)
    result = cli("pause", f"route:{HOSTILE}", "--url", url, env=env)
    assert result.exit_code == 1
    assert is_clean(result.output)


@each(
    ("text", "shown"),
    [
        ("Asha", "Asha"),
        ("\x1b[2J", "<U+001B>[2J"),
        ("\u202e4321", "<U+202E>4321"),
        ("a\nb\tc\r", "a<U+000A>b<U+0009>c<U+000D>"),
        ("\x9b", "<U+009B>"),
        ("\U000e0041", "<U+E0041>"),
        ("मीरा क\u094d\u200dष 👩\u200d🦰", "मीरा क\u094d\u200dष 👩\u200d🦰"),
    ],
)
def test_a_hidden_character_is_shown_by_its_code(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible_value({text: [text, 1]}) == {shown: [shown, 1]}


ANY = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.recursive(ANY | st.integers() | st.none(), lambda x: st.lists(x) | st.dictionaries(ANY, x))
)
@examples(200)
def test_json_stays_json_and_is_clean(value: Any) -> None:
    text = as_json(value)
    assert is_clean(text)
    assert json.loads(text) == value


def test_half_an_emoji_can_be_printed() -> None:
    assert visible("Asha \ud83d") == "Asha <U+D83D>"
    as_json({"a": "Asha \ud83d"}).encode()
