"""A checkout of the bridge, and what a user can do with it: post webhooks, ask for the status.

All that is asked of it goes over HTTP. So an older checkout can be measured, too, whatever the
store of its release looks like.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from bench import load
from bench.leads import form_requests
from bench.processes import HOST, ROOT, BenchError, Child, free_port
from bench.setting import TOKEN

PROCESSES, SERVER_THREADS = 2, 8  # of the web process, as gunicorn.conf.py has them on two cores
FORMS = 100  # leads in one webhook


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkout:
    """Where the code is, and what its figures are called."""

    name: str
    path: Path

    def web(self, port: int, *, log_dir: Path, env: Mapping[str, str]) -> Child:
        """Start the web process. It may need a moment until it listens."""
        command = gunicorn("bridge.app:create_app()", port)
        return Child(f"{self.name}-web", command, log_dir=log_dir, env=env, cwd=self.path)

    def worker(self, *, log_dir: Path, env: Mapping[str, str]) -> Child:
        """Start a worker."""
        command = [sys.executable, "-m", "workers"]
        return Child(f"{self.name}-worker", command, log_dir=log_dir, env=env, cwd=self.path)


OURS = Checkout(name="bridge", path=ROOT)


def before(path: Path) -> Checkout:
    """Return the checkout that ours is compared with. Raises BenchError if none is there."""
    if not (path / "gunicorn.conf.py").is_file():
        raise BenchError(f"--against {path}: no checkout of the bridge is there.")
    return Checkout(name="before", path=path.resolve())


def gunicorn(app: str, port: int) -> list[str]:
    """Return the command of a web process with the bridge's settings, and this app."""
    return [
        *(sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"),
        *("--workers", str(PROCESSES), "--threads", str(SERVER_THREADS)),
        *("--bind", f"{HOST}:{port}", app),
    ]


class Web:
    """A web process that runs."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {TOKEN}"

    def post_leads(self, numbers: Sequence[int]) -> None:
        """Post forms with these leads. Raises BenchError unless all are accepted."""
        if (done := load.run(self.port, form_requests(self.port, numbers, FORMS))).errors:
            raise BenchError(f"{done.errors} webhooks were not answered 202.")

    def counts(self) -> dict[str, int]:
        """Return how many deliveries have each status."""
        counts: dict[str, int] = self._status()["deliveries"]
        return counts

    def _status(self) -> Any:
        url = f"http://{HOST}:{self.port}/api/status"
        answer = self._session.get(url, timeout=30)
        if answer.status_code != 200:
            raise BenchError(f"GET /api/status: {answer.status_code} {answer.text[:200]}")
        return answer.json()


def started_web(checkout: Checkout, *, log_dir: Path, env: Mapping[str, str]) -> tuple[Child, Web]:
    """Start a web process, and wait until it listens. The caller ends it."""
    port = free_port()
    child = checkout.web(port, log_dir=log_dir, env=env)
    try:
        child.wait_for_port(port)
    except BaseException:  # Ctrl-C, too: nobody else knows of the child yet
        child.__exit__(None, None, None)
        raise
    return child, Web(port)
