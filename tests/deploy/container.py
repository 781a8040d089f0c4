"""Runs the tree of an image about as Docker does, with nothing but the kernel and util-linux.

Own processes, mounts and host name; the root read-only, with /tmp, /dev and /dev/shm of its own;
the image's user, without a capability; its ENTRYPOINT as process 1. What is not as with Docker: the
network is that of whoever starts it, there is no seccomp filter and no limit.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from support import children, end, until

KILLED = 128 + signal.SIGKILL
# $1 the tree, $2 its /etc/hosts, $3 its name; then the command.
ENTER = """
set -eu
root=$1; hosts=$2; name=$3; shift 3
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount --bind "$hosts" "$root/etc/hosts"
mount -o remount,bind,ro "$root"
hostname "$name"
cd /
exec chroot "$root" "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image's tree, and what its configuration says of how to run it."""

    tree: Path
    hosts: Path
    user: str
    folder: str
    environment: Mapping[str, str]
    entry: Sequence[str]
    command: Sequence[str]
    health: Sequence[str]

    @classmethod
    def of(cls, config: Mapping[str, Any], *, tree: Path, hosts: Path) -> Self:
        """Read the configuration as `buildah inspect` shows it under .Docker.config."""
        kind, *health = config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return cls(
            tree=tree,
            hosts=hosts,
            user=config["User"],
            folder=config["WorkingDir"],
            environment=dict(one.split("=", 1) for one in config["Env"]),
            entry=config["Entrypoint"],
            command=config["Cmd"],
            health=health,
        )

    def as_user(self, environment: Mapping[str, str], command: Sequence[str]) -> list[str]:
        """Return what runs a command as the image's user, once inside."""
        given = {**self.environment, **environment}
        return [
            *("/usr/bin/setpriv", f"--reuid={self.user}", f"--regid={self.user}"),
            *("--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"),
            *("/usr/bin/env", "-i", f"--chdir={self.folder}"),
            *(f"{name}={value}" for name, value in given.items()),
            *command,
        ]


class Container:
    """A command that runs in an image, below the image's ENTRYPOINT; without one, its CMD."""

    def __init__(
        self,
        image: Image,
        name: str,
        *,
        environment: Mapping[str, str],
        command: Sequence[str] = (),
        log: Path,
    ) -> None:
        self.image = image
        self.name = name
        self.environment = dict(environment)
        self.log = log
        inside = image.as_user(environment, [*image.entry, *(command or image.command)])
        with log.open("ab") as to:
            self._unshare = subprocess.Popen(  # noqa: S603
                [
                    *("unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child"),
                    *("sh", "-c", ENTER, "sh", str(image.tree), str(image.hosts), name),
                    *inside,
                ],
                stdin=subprocess.DEVNULL,
                stdout=to,
                stderr=to,
            )

    @property
    def pid(self) -> int:
        """The process that is number 1 in there, as we know it."""
        [pid] = until(lambda: children(self._unshare.pid), what=f"process 1 of {self.name}")
        return pid

    def await_entered(self) -> None:
        """Wait until process 1 is no more the shell that prepares."""
        link = f"/proc/{self.pid}/root"
        until(lambda: os.readlink(link) != "/", what=f"{self.name} is inside")
        # setpriv and env, by their full paths; nothing of the image's is called so.
        until(lambda: not _argv0(self.pid).startswith(b"/usr/bin/"), what=f"{self.name} runs")

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in there, as `docker exec` does."""
        return subprocess.run(  # noqa: S603
            [
                *("nsenter", "--target", str(self.pid), "--mount", "--uts", "--pid", "--root"),
                *self.image.as_user(self.environment, command),
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )

    def status(self) -> dict[str, str]:
        """Return what the kernel says of process 1."""
        text = Path(f"/proc/{self.pid}/status").read_text("utf-8")
        return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)

    def wait(self, timeout_s: float = 60) -> int:
        """Wait for its end, and return the exit code."""
        code: int = self._unshare.wait(timeout_s)
        return code

    def stop(self, *, grace_s: float = 35) -> tuple[int, float]:
        """Ask it to stop as `docker stop` does; return the exit code and the seconds it took."""
        began = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._unshare.wait(grace_s), time.monotonic() - began
        os.kill(self.pid, signal.SIGKILL)
        self._unshare.wait(5)  # its own exit code tells nothing then
        return KILLED, time.monotonic() - began

    def kill(self) -> None:
        """End it if it still runs."""
        if self._unshare.poll() is None:
            end(self._unshare, by=signal.SIGKILL)  # --kill-child: what it started goes with it


def _argv0(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
