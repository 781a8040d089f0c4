"""What Dockerfile, Procfile, compose.yaml and .env.example say, read as data."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
GRACEFUL_S = 25  # gunicorn.conf.py's graceful_timeout, and the longest that a worker takes
VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction of the Dockerfile: its word, in capitals, and what follows it."""

    word: str
    rest: str


@cache
def dockerfile() -> list[Step]:
    """Return the instructions of the Dockerfile, without comments, each on one line."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        Step(word=word.upper(), rest=rest.strip())
        for word, _, rest in (line.partition(" ") for line in whole.splitlines() if line.strip())
    ]


def rests(word: str) -> list[str]:
    """Return what follows each instruction of that name."""
    return [step.rest for step in dockerfile() if step.word == word]


def procfile() -> dict[str, list[str]]:
    """Return the commands of the Procfile by process, word by word."""
    lines = (ROOT / "Procfile").read_text("utf-8").splitlines()
    return {name: shlex.split(rest) for name, _, rest in (line.partition(":") for line in lines)}


def known_variables() -> set[str]:
    """Return the variables that .env.example explains."""
    return set(re.findall(r"^#? ?([A-Z_]+)=", (ROOT / ".env.example").read_text("utf-8"), re.M))


@cache
def compose() -> dict[str, Any]:
    """Return compose.yaml, with its anchors followed and its ${…} as they are."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
    return content


def services() -> dict[str, dict[str, Any]]:
    """Return the services of compose.yaml by name."""
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def filled_in(text: str, given: Mapping[str, str] | None = None) -> str:
    """Return a text of compose.yaml with its ${NAME:-default} as Compose would have them."""
    return VARIABLE.sub(lambda found: (given or {}).get(found[1]) or found[2] or "", text)


def command_of(service: Mapping[str, Any]) -> list[str]:
    """Return a service's command, word by word; without one, none: it is the image's."""
    command = service.get("command", [])
    words = shlex.split(filled_in(command)) if isinstance(command, str) else command
    return [filled_in(word) for word in words]


def environment_of(service: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that compose.yaml itself gives a service."""
    return {name: filled_in(value) for name, value in service.get("environment", {}).items()}
