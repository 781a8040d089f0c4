"""`python -m bridge.healthcheck`: the image's HEALTHCHECK, for whatever the container runs.

The command of process 1 shows whether that is the web process or a worker. In a pod that shares its
processes, process 1 is another program; then name the role: `python -m bridge.healthcheck worker`.
Exit code 0: healthy. Exit code 1: not healthy; one line says why.
"""

import http.client
import socket
import sys
from pathlib import Path

from config.settings import load_settings
from schemas.errors import SettingsError
from schemas.settings import Settings

TIMEOUT_S = 4.0


def role_of(command: bytes) -> str:
    """Return what a command line runs: `web`, `worker`, or "" for any other program."""
    if b"gunicorn" in command or b"bridge.serve" in command.replace(
        b"\0", b" "
    ):  # first: it may have --workers
        return "web"
    return "worker" if b"workers" in command else ""


def problem_of(role: str, settings: Settings) -> str | None:
    """Return the problem of a process on this machine; None: healthy, or that can't be known."""
    if role == "web":
        return _problem_of_web(settings.port)
    return _problem_of_worker(settings.redis_url) if role == "worker" else None


def _problem_of_web(port: int) -> str | None:
    # http.client uses no proxy, even if http_proxy is set: the web process is on this machine.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"/healthz at port {port} does not answer ({type(error).__name__})"
    finally:
        connection.close()
    return None if status == 200 else f"/healthz at port {port} answers {status}"


def _problem_of_worker(redis_url: str) -> str | None:
    """Look for an RQ worker of this machine; Redis deletes a worker that is silent for a minute."""
    # Imported here, because the check of the web process does not need Redis and RQ.
    from schemas.errors import StoreUnavailable
    from store import Store, connect
    from store.queue import Wakeup, connect_queue, open_queue

    try:
        if not Store(connect(redis_url)).is_migrated():
            return None  # the supervisor starts its RQ worker once the stored names are moved
        found = Wakeup(open_queue(connect_queue(redis_url))).workers()
    except StoreUnavailable:
        # The supervisor waits for Redis, and it knows what its worker sent last. A restart would
        # lose that: docs/decisions/0008-what-redis-forgets.md.
        return None
    if any(worker.hostname == socket.gethostname() for worker in found):
        return None
    return "no RQ worker of this machine is registered in Redis"


def main() -> int:
    """Print the problem, if there is one; return the exit code."""
    role = sys.argv[1] if sys.argv[1:] else role_of(Path("/proc/1/cmdline").read_bytes())
    try:
        problem = problem_of(role, load_settings(needs=frozenset()))
    except SettingsError as error:
        problem = f"the settings can't be used:\n{error}"
    if problem:
        sys.stderr.write(f"{problem}\n")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
