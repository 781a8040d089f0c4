"""Completion of commands and options in bash, zsh and fish.

A shell completes the name of one program, and `python -m bridge` is three words. So the script that
this module prints first defines the function `callkaro-bridge`, and then completes that:

    eval "$(_CALLKARO_BRIDGE_COMPLETE=bash_source python -m bridge)"
"""

from collections.abc import MutableMapping
from typing import Any

from click import Command
from click.shell_completion import (
    BashComplete,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

VARIABLE = "_CALLKARO_BRIDGE_COMPLETE"
NAME = "callkaro-bridge"
PROGRAM = "python -m bridge"
QUIET = f"{PROGRAM} 2>/dev/null"  # in another directory there is no bridge: nothing to complete


class _OfFunction(ShellComplete):
    """A completion of NAME. Its script calls PROGRAM, because a shell function is not a program."""

    def __init__(
        self, cli: Command, ctx_args: MutableMapping[str, Any], prog_name: str, complete_var: str
    ) -> None:
        super().__init__(cli, ctx_args, NAME, complete_var)


class _Bash(_OfFunction, BashComplete):
    source_template = f'{NAME}() {{ {PROGRAM} "$@"; }}\n' + BashComplete.source_template.replace(
        "bash_complete $1", f"bash_complete {QUIET}"
    )


class _Zsh(_OfFunction, ZshComplete):
    source_template = f'{NAME}() {{ {PROGRAM} "$@" }}\n' + (
        ZshComplete.source_template.replace("#compdef %(prog_name)s\n", "")
        # Click's script does nothing where the name is not a program on the PATH.
        .replace("(( ! $+commands[%(prog_name)s] )) && return 1\n", "")
        .replace("zsh_complete %(prog_name)s", f"zsh_complete {QUIET}")
    )


class _Fish(_OfFunction, FishComplete):
    source_template = f"function {NAME}; {PROGRAM} $argv; end\n" + (
        FishComplete.source_template.replace(
            "COMP_CWORD=(commandline -t) %(prog_name)s", f"COMP_CWORD=(commandline -t) {QUIET}"
        )
    )


def register() -> None:
    """Have click answer with these scripts."""
    for name, shell in (("bash", _Bash), ("zsh", _Zsh), ("fish", _Fish)):
        add_completion_class(shell, name)
