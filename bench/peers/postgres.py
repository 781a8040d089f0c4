"""A PostgreSQL of our own, from Debian's package. It writes to the disk before it answers."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.processes import HOST, BenchError, Child, free_port

USER = "postgres"  # of Debian's package, and of the database
_BINARIES = "/usr/lib/postgresql"


@contextmanager
def postgres(home: Path) -> Iterator[int]:
    """Start it over an empty folder, which is removed at the end. Yields its port."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-postgres-") as folder:
        if os.geteuid() == 0:
            shutil.chown(folder, USER, USER)  # it refuses to run as root
        data = f"{folder}/data"
        make = [*_as_user(), _binary("initdb"), "-D", data, "-U", USER, "--auth", "trust"]
        made = subprocess.run(make, capture_output=True, text=True, cwd=folder, check=False)  # noqa: S603
        if made.returncode:
            raise BenchError(f"initdb failed.\n{made.stderr}")
        command = [*_as_user(), _binary("postgres"), "-D", data, "-h", HOST, "-p", str(port)]
        command += ["-k", folder, "-c", "max_connections=100"]
        with Child("postgres", command, log_dir=home, env={}, cwd=Path(folder)) as child:
            child.wait_for_port(port)
            yield port


def _as_user() -> list[str]:
    if os.geteuid() != 0:
        return []
    # It replaces itself by the program, so our pid is that of PostgreSQL.
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--"]


def _binary(name: str) -> str:
    """Return the path of a program of the newest version that is installed."""
    found = sorted(Path(_BINARIES).glob(f"*/bin/{name}"))
    if not found:
        raise BenchError(f"PostgreSQL is not installed: no {name} in {_BINARIES}/*/bin.")
    return str(found[-1])
