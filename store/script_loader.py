"""Lua scripts: each is loaded with the includes that it names, and nothing else.

A file of store/scripts is one command. A file of store/scripts/includes is code that several
scripts share. The first lines of a file may name what it needs, as in `-- include: keys, time`.
A line `-- after: write_counts` in an include names a function that runs after the script.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

_HEADER = re.compile(r"^-- (include|after): (.+)$")


@cache
def load_scripts() -> Mapping[str, str]:
    """Return the text of each script with its includes, by name. Raises LookupError for a typo."""
    folder = files("store") / "scripts"
    includes = _texts(folder / "includes")
    return {name: assembled(text, includes) for name, text in _texts(folder).items()}


def assembled(script: str, includes: Mapping[str, str]) -> str:
    """Return a script behind the includes that it needs, each once and in order.

    A function that runs after the script must not turn a finished script into an error: what the
    script did cannot be undone, so a count that cannot be written is ignored.

    Raises LookupError for an include that does not exist.
    """
    needed: dict[str, str] = {}
    for name in named(script, "include"):
        _add(name, includes, needed, ())
    after = [name for text in needed.values() for name in named(text, "after")]
    if not after:
        return "\n".join((*needed.values(), script))
    body = f"local function script()\n{script}\nend\nlocal answer = script()"
    calls = (f"pcall({name})" for name in after)
    return "\n".join((*needed.values(), body, *calls, "return answer"))


def named(text: str, what: str) -> Iterator[str]:
    """Yield the names in the header lines of a file; what: `include` or `after`."""
    for line in text.splitlines():
        found = _HEADER.match(line)
        if found is None:
            return
        if found[1] == what:
            yield from (name.strip() for name in found[2].split(","))


def _add(
    name: str, includes: Mapping[str, str], needed: dict[str, str], within: tuple[str, ...]
) -> None:
    """Add an include to `needed`, behind the includes that it needs itself."""
    if name in needed:
        return
    if name in within:
        raise LookupError(f"the includes {', '.join((*within, name))} need each other")
    if name not in includes:
        raise LookupError(f"there is no store/scripts/includes/{name}.lua")
    for other in named(includes[name], "include"):
        _add(other, includes, needed, (*within, name))
    needed[name] = includes[name]


def _texts(folder: Traversable) -> dict[str, str]:
    return {
        file.name.removesuffix(".lua"): file.read_text("utf-8")
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".lua")
    }
