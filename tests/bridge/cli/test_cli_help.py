"""The program itself: its help, version, misspelt words, .env and the completion of a shell."""

import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from support import LONGEST_S, each
from support.commandline import BRIDGE, PLAIN, ROOT, Cli, start

from bridge import VERSION
from bridge.cli.commands import create_cli
from bridge.cli.completion import PROGRAM, VARIABLE

COMMANDS = create_cli().commands


def test_the_help_names_every_command_and_no_program_but_ours(cli: Cli) -> None:
    said = cli("--help").stdout
    assert said.startswith("Usage: python -m bridge [OPTIONS] COMMAND [ARGS]...\n")
    assert "CallKaro Bridge" in said
    assert "flask" not in said.lower()
    assert [name for name in COMMANDS if f"\n  {name} " not in said] == []
    assert not {"run", "routes", "shell"} & COMMANDS.keys()


def test_the_version_is_defined_once(cli: Cli) -> None:
    assert cli("--version").stdout == f"CallKaro Bridge, version {VERSION}\n"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "bridge.VERSION"}


def helps() -> Iterator[tuple[str, str | None]]:
    for name, command in COMMANDS.items():
        yield name, command.help
        yield f"{name}, short", command.short_help
        for option in command.params:
            if isinstance(option, click.Option):
                yield f"{name} {option.opts[0]}", option.help


@each(("of", "text"), helps())
def test_every_help_is_a_sentence(of: str, text: str | None) -> None:
    assert text, of
    assert text.rstrip().endswith(".")
    assert len(text.split()) >= 3
    assert not text.startswith(("Of ", "So ", "Which", "Default"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("retyr",), "No such command 'retyr'. Did you mean 'retry'?"),
        (("delivery",), "Did you mean 'deliveries'?"),
        (("deliveries", "--rout", "x"), "Did you mean"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_one_that_was_meant(
    cli: Cli, arguments: tuple[str, ...], says: str
) -> None:
    result = cli(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Usage: python -m bridge" in result.stderr


# --- .env -----------------------------------------------------------------------------------------


def check(folder: Path, **env: str) -> str:
    """Run `check` in a folder, with its .env unless it is skipped; return what it prints."""
    done = subprocess.run(  # noqa: S603
        [*BRIDGE, "check"],
        cwd=folder,
        env={**PLAIN, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=2 * LONGEST_S,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.stderr


def test_the_env_file_is_read_and_the_environment_goes_first(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("API_TOKEN=t\nCALLING_HOURS=from-env-file\n")
    below = tmp_path / "below"
    below.mkdir()
    assert "API_TOKEN: is not set" in check(below)  # PLAIN skips it
    said = check(below, BRIDGE_SKIP_DOTENV="", API_TOKEN="")
    assert "API_TOKEN: is not set" in said
    assert "CALLING_HOURS: " in said


def test_an_env_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"API_TOKEN=\xff\n")
    said = check(tmp_path, BRIDGE_SKIP_DOTENV="")
    assert said == f"Error: {tmp_path / '.env'} can't be read (UnicodeDecodeError)\n"


# --- completion -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_bash_completes_words_and_runs_the_program() -> None:
    script = """
        eval "$(_CALLKARO_BRIDGE_COMPLETE=bash_source python -m bridge)"
        complete -p callkaro-bridge
        complete_words() {
            COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
            _callkaro_bridge_completion callkaro-bridge; echo "${COMPREPLY[*]}"
        }
        complete_words callkaro-bridge resolve ID ''
        callkaro-bridge --version
    """
    with start("/bin/bash", "-c", script) as bash:
        said, _ = bash.communicate(timeout=60)
    assert said.splitlines() == [
        "complete -o nosort -F _callkaro_bridge_completion callkaro-bridge",
        "delivered failed",
        f"CallKaro Bridge, version {VERSION}",
    ]


@pytest.mark.parametrize(
    ("typed", "begun", "offered"),
    [
        ([], "re", "refused retry release resolve replay resume reconcile"),
        (["retry"], "--si", "--since"),
    ],
)
def test_commands_and_options_complete(typed: list[str], begun: str, offered: str) -> None:
    completion = ShellComplete(create_cli(), {}, PROGRAM, VARIABLE)
    found = completion.get_completions(typed, begun)
    assert [one.value for one in found] == offered.split()


def test_demo_shows_its_own_help() -> None:
    with start(*BRIDGE, "demo", "--help") as demo:
        said, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0
    assert said.startswith("Usage: python -m demo [OPTIONS]")
    assert "--serve" in said
