"""Text as a terminal may show it. Control characters of a lead must not reach the terminal.

An escape sequence could clear the screen, change the title or type a command; a direction mark
could show a number or a file's name backwards; a line end could make a line that looks like ours.
"""

import json
import re
import unicodedata
from typing import Any, Final

# Zero-width joiners: words of Indian languages, and emoji, are written with them.
_HARMLESS: Final = frozenset("\u200c\u200d")
# Controls, formats (such as direction marks), halves of a pair, ends of lines and paragraphs.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_ORDINARY: Final = re.compile(r"[ -~]*")


def visible(text: str, *, keeps: str = "") -> str:
    """Return a text with each hidden character as its code: an escape is "<U+001B>".

    keeps: hidden characters that stay as they are, such as the line ends of our own sentences.
    """
    if _ORDINARY.fullmatch(text):
        return text
    return "".join(
        char if char in keeps or not _is_hidden(char) else f"<U+{ord(char):04X}>" for char in text
    )


def visible_value(value: Any) -> Any:
    """Return a JSON value with visible() texts and keys."""
    match value:
        case str():
            return visible(value)
        case list():
            return [visible_value(item) for item in value]
        case dict():
            return {visible_value(key): visible_value(item) for key, item in value.items()}
        case _:
            return value


def as_json(value: Any, *, indent: int | None = 2) -> str:
    """Return JSON in which hidden characters are written as JSON's own escapes: "\\u202e"."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    lines = (
        "".join(json.dumps(char)[1:-1] if _is_hidden(char) else char for char in line)
        for line in text.split("\n")  # those between the values; in a text they are escaped
    )
    return "\n".join(lines)


def _is_hidden(char: str) -> bool:
    return unicodedata.category(char) in _HIDDEN and char not in _HARMLESS
