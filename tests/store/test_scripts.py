"""Each Lua script has what it uses and nothing else; the includes are resolved once, in order."""

import re
from pathlib import Path

import pytest
from support import each

from store.script_loader import assembled, load_scripts, named

FOLDER = Path(__file__).parent.parent.parent / "store" / "scripts"
SCRIPTS = {file.stem: file.read_text("utf-8") for file in FOLDER.glob("*.lua")}
INCLUDES = {file.stem: file.read_text("utf-8") for file in (FOLDER / "includes").glob("*.lua")}
FILES = {**SCRIPTS, **{f"includes/{name}": text for name, text in INCLUDES.items()}}

KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        """and break do else elseif end false for function if in local nil not or repeat return
        then true until while""",
    )
)
LIBRARY = frozenset(
    re.findall(
        r"\w+",
        """redis cjson KEYS ARGV math string table tonumber tostring type ipairs pairs next unpack
        pcall error select""",
    )
)


def code(text: str) -> str:
    """Return Lua without its comments and its strings."""
    text = re.sub(r"'(?:\\.|[^'\\\n])*'", "''", text)
    return re.sub(r"--.*", "", text)


def defined(text: str) -> set[str]:
    """Return the names that an include gives to those who name it."""
    names: set[str] = set()
    for line in code(text).splitlines():
        if found := re.match(r"local function (\w+)", line):
            names.add(found[1])
        elif found := re.match(r"local ([\w, ]+)", line):
            names |= {name.strip() for name in found[1].split(",")}
    return names


def used(text: str) -> set[str]:
    """Return the names that a file reads: no field, no key of a table, nothing of Lua itself."""
    plain = re.sub(r"([{,]\s*)\w+(\s*=[^=])", r"\1\2", code(text))
    names = set(re.findall(r"(?<![.:\w])[A-Za-z_]\w*", plain))
    return names - KEYWORDS - LIBRARY


def own(text: str) -> set[str]:
    """Return every name that a file defines anywhere: locals, parameters, loop variables."""
    plain, names = code(text), set[str]()
    for found in re.finditer(r"local function (\w+)|\blocal ([\w, \n]+?)(?==|\n|;|$)", plain):
        names |= {name.strip() for name in (found[1] or found[2]).split(",")}
    for listed in re.findall(r"function\s*\w*\(([^)]*)\)", plain):
        names |= {name.strip() for name in listed.split(",")}
    for listed in re.findall(r"\bfor ([\w, ]+?) (?:in|=)", plain):
        names |= {name.strip() for name in listed.split(",")}
    return names


@each("name", FILES)
def test_a_file_uses_each_include_that_it_names(name: str) -> None:
    for include in named(FILES[name], "include"):
        assert used(FILES[name]) & defined(INCLUDES[include]), f"{name} does not use {include}"


@each("name", FILES)
def test_a_file_names_each_include_that_it_uses(name: str) -> None:
    given = set().union(*(defined(INCLUDES[one]) for one in named(FILES[name], "include")))
    assert used(FILES[name]) - own(FILES[name]) - given == set()


def test_each_script_refuses_a_closed_store() -> None:
    # `fits` only asks what the server can, and has no data.
    found = {name for name, text in load_scripts().items() if "P .. 'closed'" in text}
    assert found == set(SCRIPTS) - {"fits"}


def test_each_include_is_used_by_some_script() -> None:
    named_somewhere = {one for text in FILES.values() for one in named(text, "include")}
    assert named_somewhere == set(INCLUDES)


def test_no_two_includes_give_the_same_name() -> None:
    names = [name for text in INCLUDES.values() for name in defined(text)]
    assert len(names) == len(set(names))


@each("name", SCRIPTS)
def test_a_script_is_loaded_with_each_include_once_and_in_order(name: str) -> None:
    text = load_scripts()[name]
    for include, body in INCLUDES.items():
        assert text.count(body) <= 1, include
        if body in text:
            for other in named(body, "include"):
                assert text.index(INCLUDES[other]) < text.index(body)
    assert SCRIPTS[name] in text


def test_an_include_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(LookupError, match=r"includes/nothing\.lua"):
        assembled("-- include: nothing\nreturn 1", {})
    with pytest.raises(LookupError, match="a, b, a"):
        assembled("-- include: a\n", {"a": "-- include: b\n", "b": "-- include: a\n"})


def test_what_runs_after_a_script_comes_after_it() -> None:
    after = {"counts": "-- after: write\nlocal function write() end"}
    text = assembled("-- include: counts\nreturn 7", after)
    assert text.index("return 7") < text.index("pcall(write)") < text.index("return answer")
    assert "pcall" not in assembled("return 7", after)
