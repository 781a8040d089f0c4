"""The programs that the demo starts: Valkey, the stand-ins, the web process and the worker."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.markup import escape

from bridge.cli import Api, Failure
from demo.processes import Children, fresh, private, quoted, valkey_binary
from schemas.errors import Migrating, StoreUnavailable

ROOT = Path(__file__).parent.parent
START_S = 30.0  # how long a program may take until it answers
POLL_S = 0.1


class Programs:
    """Starts programs, and waits until each one answers."""

    def __init__(self, children: Children, screen: Console) -> None:
        self.children = children
        self._screen = screen

    def start_valkey(self, folder: Path, *, redis_url: str, password: str, port: int) -> None:
        """Start Valkey, with its data in a folder."""
        config = folder / "valkey.conf"
        config.touch(mode=0o600)
        # In a file, because everyone on the machine can read a command line.
        config.write_text(
            f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {quoted(folder)}\n"
            'appendonly yes\nappendfsync always\nmaxmemory-policy noeviction\nsave ""\n',
            encoding="utf-8",
        )
        self.children.start("valkey", valkey_binary(), str(config))
        with self._step("Valkey", f"data in {folder}"):
            self._wait("valkey", lambda: answers_redis(redis_url))

    def start_simulator(self, env: Mapping[str, str], url: str) -> None:
        """Start the stand-ins for CallKaro and the CRMs, at a URL of this machine."""
        self.children.start(
            "simulator",
            *(sys.executable, "-m", "simulator", "--port", url.rpartition(":")[2]),
            also={"SIMULATOR_API_KEY": env["CALLKARO_API_KEY"]},
        )
        with self._step("Stand-ins for CallKaro and the CRMs", "no phone rings"):
            self._wait("simulator", lambda: answers(f"{url}/simulator/status"))

    def start_bridge(self, api: Api, *, url: str, port: int) -> None:
        """Start the web process and the worker."""
        config = str(ROOT / "gunicorn.conf.py")
        self.children.start(
            "web",
            *(sys.executable, "-m", "gunicorn", "-c", config, "--bind", f"127.0.0.1:{port}"),
            "bridge.app:create_app()",
        )
        with self._step("Web process", url):
            ready = f"{url}/readyz"
            self._wait("web", lambda: answers(ready), is_at_work=lambda: is_migrating(ready))
        self.children.start("worker", sys.executable, "-m", "workers")
        with self._step("Worker", "delivers what is due"):
            self._wait("worker", lambda: api.get("/api/status")["workers"])

    def _wait(
        self,
        name: str,
        is_true: Callable[[], object],
        *,
        is_at_work: Callable[[], bool] = lambda: False,
    ) -> None:
        """Wait until something is true. Raises Failure if a program ends or needs too long.

        is_at_work: whether the program says that it needs more time.
        """
        until = time.monotonic() + START_S
        while not is_true():
            self.children.check()
            if time.monotonic() > until and not is_at_work():
                log = self.children.logs / f"{name}.log"
                raise Failure(f"{name} does not answer after {START_S:.0f} s. Its log: {log}")
            time.sleep(POLL_S)

    @contextlib.contextmanager
    def _step(self, what: str, detail: str) -> Iterator[None]:
        """Show that something starts, and that it has started.

        Start its process before: what moves on the screen is a thread, and a process must be
        started while there is none.
        """
        began = time.monotonic()
        with self._screen.status(f"Starting: {escape(what)} …"):
            yield
        took = f"{time.monotonic() - began:.1f} s"
        self._screen.print(f"  started  {escape(what)} ({escape(detail)}, {took})")


def data_folder(data: Path, *, is_simulated: bool) -> Path:
    """Return Valkey's folder: an empty one for stand-ins, the one that is kept for real calls."""
    return fresh(data / "demo") if is_simulated else private(data / "valkey")


class Simulator:
    """The stand-ins: what they have received, and how they should behave, over HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url

    def received(self, what: str) -> list[dict[str, Any]]:
        """Return the `calls` or `campaigns` that it accepted, or what the CRMs were `told`."""
        found: list[dict[str, Any]] = local("GET", f"{self.url}/simulator/{what}").json()["items"]
        return found

    def tell(self, method: str, path: str, body: Mapping[str, Any]) -> requests.Response:
        """Make a request to /simulator/<path>; return its answer. Raises Failure."""
        answer = local(method, f"{self.url}/simulator/{path}", json=body)
        if not answer.ok:
            raise Failure(f"The simulator answered {answer.status_code}: {answer.text}")
        return answer

    @property
    def recording(self) -> str:
        """The address of a sound that a browser can play."""
        return f"{self.url}/simulator/recording.wav"


def answers_redis(url: str) -> bool:
    """Return whether Valkey answers, and has read its data."""
    from store import Store, connect

    try:
        Store(connect(url)).ping()
    except StoreUnavailable:
        return False
    return True


def answers(url: str) -> bool:
    """Return whether a URL of this machine answers 200."""
    try:
        return local("GET", url).status_code == 200
    except requests.RequestException:
        return False


def is_migrating(url: str) -> bool:
    """Return whether the bridge still moves what an older release stored."""
    try:
        return bool(local("GET", url).json().get("error") == Migrating.word)
    except (requests.RequestException, ValueError):
        return False


def local(method: str, url: str, **options: Any) -> requests.Response:
    """Make a request to this machine, past any proxy."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, timeout=10, **options)
