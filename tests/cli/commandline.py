"""Programs of ours, started with nothing of the machine's own environment or .env."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from click.testing import Result

from schemas.settings import Settings

ROOT = Path(__file__).parent.parent.parent
SAMPLES = ROOT / "demo" / "samples"
PLAIN = {
    "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
    "FLASK_SKIP_DOTENV": "1",
    "PYTHONUNBUFFERED": "1",
    "WEB_CONCURRENCY": "1",  # one process less to start
}

Cli = Callable[..., Result]
Serve = Callable[[Settings], str]
Run = Callable[..., Result]
Fails = Callable[..., tuple[int, str]]


def start(*command: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a program in the root of the repository; its errors come with its output."""
    return subprocess.Popen(  # noqa: S603
        command,
        cwd=ROOT,
        env={**PLAIN, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_demo(*arguments: object, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start `python -m demo`."""
    return start(sys.executable, "-m", "demo", *map(str, arguments), env=env)


def read_until(process: subprocess.Popen[str], *texts: str) -> str:
    """Read a program's output until each of texts was in it."""
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if all(text in read for text in texts):
            return read
    raise AssertionError(f"it ended without saying {texts}:\n{read}")


def is_listening(port: int) -> bool:
    """Tell whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
