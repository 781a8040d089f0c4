"""`python -m bridge.healthy`: what the image's HEALTHCHECK asks, whatever the container runs.

Process 1 says what that is; where it is somebody else's (a pod that shares its processes), name
it: `python -m bridge.healthy worker`. Exit code 0: healthy; 1: not, and one line says why.
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
    """Return what a command line runs: `web`, `worker`, or "" for what has no health of its own."""
    if b"gunicorn" in command:  # first: it may have --workers
        return "web"
    return "worker" if b"workers" in command else ""


def problem_of(role: str, settings: Settings) -> str | None:
    """Return what is wrong with a process of this machine; None: nothing, or it can't be told."""
    if role == "web":
        return _problem_of_web(settings.port)
    return _problem_of_worker(settings.redis_url) if role == "worker" else None


def _problem_of_web(port: int) -> str | None:
    # Not through a proxy, whatever http_proxy says: it asks this machine.
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
    """Look for an RQ worker of this machine; Redis forgets one that is silent for 90 s."""
    import redis  # in here: the web's check, twice a minute, should not wait for RQ
    from rq import Worker

    from store.queue import connect_queue, open_queue

    try:
        found = Worker.all(queue=open_queue(connect_queue(redis_url)))
    except redis.RedisError:
        # The supervisor waits for Redis, and knows what its worker sent last. A platform that
        # restarted it now would have that forgotten: docs/decisions/0008-what-redis-forgets.md.
        return None
    if any(worker.hostname == socket.gethostname() for worker in found):
        return None
    return "no RQ worker of this machine is registered in Redis"


def main() -> int:
    """Say what ails; return the exit code."""
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
