"""The machine that the figures are from. They mean little without it."""

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.processes import valkey_path


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What a reader needs to know to compare figures."""

    cpu: str  # its model
    cores: int  # those that this process may use
    memory_gb: float
    kernel: str
    python: str
    valkey: str
    load_before: float  # the load average of the last minute, before the run

    def sentence(self) -> str:
        """Return the description as one line."""
        return (
            f"{self.cpu}, {self.cores} cores, {self.memory_gb:.0f} GB; {self.kernel}; "
            f"Python {self.python}; Valkey {self.valkey}; load average before: "
            f"{self.load_before:.1f}"
        )


def this_machine() -> Machine:
    """Look at this machine. Call it before the run, for the load average."""
    return Machine(
        cpu=_found(r"model name\s*:\s*(.+)", _text("/proc/cpuinfo")) or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=int(_found(r"MemTotal:\s*(\d+)", _text("/proc/meminfo")) or 0) / 1e6,
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        valkey=_valkey_version(),
        load_before=os.getloadavg()[0],
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", errors="replace")
    except OSError:  # not Linux
        return ""


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1].strip() if match else ""


def _valkey_version() -> str:
    command = [valkey_path(), "--version"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    return _found(r"v=(\S+)", told)
