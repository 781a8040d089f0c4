"""The rules and the data are pure. import-linter sees the imports; calls are looked at here."""

import ast
from pathlib import Path

import pytest
from support import ROOT, each

# A name that reads a clock, a file, or the terminal, and needs no import of its own.
CALLS = {"now", "utcnow", "today", "open", "input", "print"}
MODULES = sorted(path for room in ("rules", "schemas") for path in (ROOT / room).rglob("*.py"))


def impure_calls(text: str) -> list[str]:
    """Return the calls in a module's text that are not pure, with their lines."""
    names = (
        (node.lineno, node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)
    )
    return [f"{line}: {name}()" for line, name in names if name in CALLS]


@each("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_clock_no_file_and_no_terminal_is_used(module: Path) -> None:
    assert impure_calls(module.read_text("utf-8")) == []


@pytest.mark.parametrize("call", ["datetime.now(UTC)", "date.today()", "open(path)", "print(1)"])
def test_a_call_that_is_not_pure_would_be_found(call: str) -> None:
    assert impure_calls(f"value = {call}\n") != []
