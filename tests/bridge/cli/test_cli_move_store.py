"""`move-store`: nothing is forgotten on the way to another Redis, though it is killed once."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support import API_TOKEN, LONGEST_S, Web, end, free_port, lead, notification, valkey_in_memory
from support.commandline import Cli, start

from bridge.cli.move_store import INTERRUPTED
from bridge.metrics import FLUSHER
from schemas.settings import Settings
from simulator import Simulator
from store import Store, connect, erasure, moving
from store.closing import SENTENCES, State
from store.erasure import Eraser

CALLED, STOPPED, ERASED = "+919876543210", "+919876543211", "+919876543212"
NEEDED = {"API_TOKEN": "tok-123", "CALLKARO_API_KEY": "key-123"}
EMPTY = "Redis has no event and no suppressed number"
# It kills itself once it has copied some pages.
KILLED = """
import os, signal, sys
from store.moving import StoreMove, open_side

def tell(keys):
    if keys > int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

move = StoreMove(open_side(sys.argv[1], "bridge:"), open_side(sys.argv[2], "bridge:"), watch_s=0)
move.begin()
move.copy(tell)
"""
SHOWN = (
    *("deliveries?limit=200", "deliveries?status=queued", "events?limit=200", "suppressions"),
    *("pauses", "campaigns", "audit", "stats?by=route", "stats?by=hour", "deliveries?q=3210"),
)


@dataclass(frozen=True)
class Moved:
    """A bridge, and how it goes on at its new Redis."""

    cli: Cli
    web: Web
    store: Store
    settings: Settings
    new_settings: Settings
    open_web: Callable[[Settings], Web]
    run_drain: Callable[..., Any]

    def let_web_write(self) -> None:
        """Wait until the web has written what it counted: it does so up to a second later."""
        for thread in threading.enumerate():
            if thread.name == FLUSHER:
                thread.join()

    def move(self, *options: str) -> Any:
        """Run the command."""
        self.let_web_write()
        urls = {
            "REDIS_URL": self.new_settings.redis_url,
            "OLD_REDIS_URL": self.settings.redis_url,
        }
        return self.cli("move-store", *options, env={**NEEDED, **urls})

    def kill_on_the_way(self, *, after: int = 0) -> None:
        """Have a process move it that is killed once it has copied more than so many keys."""
        self.let_web_write()
        urls = (self.settings.redis_url, self.new_settings.redis_url)
        with start(sys.executable, "-c", KILLED, *urls, str(after)) as process:
            output, _ = process.communicate()
            assert process.returncode == -signal.SIGKILL, output


@pytest.fixture
def moved(
    cli: Cli,
    web: Web,
    store: Store,
    settings: Settings,
    make_settings: Callable[..., Settings],
    open_web: Callable[[Settings], Web],
    run_drain: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Moved]:
    monkeypatch.setattr(moving, "WATCH_S", 0.0)
    with valkey_in_memory() as server:
        new = make_settings(redis_url=server.url)
        yield Moved(cli, web, store, settings, new, open_web, run_drain)


def test_nothing_is_forgotten_on_the_way(
    moved: Moved, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_killed_once(moved, simulator, monkeypatch, requests=3)


@pytest.mark.slow
def test_20000_deliveries_are_moved(
    moved: Moved, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_killed_once(moved, simulator, monkeypatch, requests=200)


def move_killed_once(
    moved: Moved, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, *, requests: int
) -> None:
    """Move a bridge that has some of everything; requests: of 100 events that wait for a pause."""
    leads = [lead(phone) for phone in (CALLED, STOPPED, ERASED)]
    for one in leads:
        moved.web.send("website", one)
    moved.run_drain(moved.settings)
    put(moved.web, "pauses/source:hubspot", message="until the move is over")
    waiting = [[notification(str(1000 + n)) for n in range(100)] for _ in range(requests)]
    for batch in waiting:
        moved.web.send("hubspot", batch)
    put(moved.web, f"suppressions/{STOPPED}", message="asked us")
    with monkeypatch.context() as patched:
        patched.setattr(erasure, "SLICE_S", 0.0)
        assert not Eraser(store=moved.store).erase(ERASED).is_done
    before, calls = shown(moved.web), len(simulator.state.calls)

    moved.kill_on_the_way(after=400)
    done = moved.move()
    assert done.exit_code == 0, done.output
    assert "An unfinished move goes on." in done.stdout
    assert "All is moved." in done.stdout

    web = moved.open_web(moved.new_settings)
    assert shown(web) == before
    for source, bodies in (("website", leads), ("hubspot", waiting[-20:])):
        for body in bodies:
            assert {one["duplicate"] for one in web.post(source, body).json["events"]} == {True}
    new_calls = [lead(phone) for phone in (STOPPED, ERASED)]
    ids = [one for body in new_calls for one in web.send("website", body)]
    moved.run_drain(moved.new_settings)
    with connect(moved.new_settings.redis_url) as client:
        new = Store(client)
        assert [found.reason for found in map(new.delivery, ids) if found] == ["suppressed"] * 2
        assert client.hlen("bridge:background_tasks") == 0  # the erasure went on, and ended
        assert new.counts()["queued"] + new.counts()["held"] == 100 * requests
    assert len(simulator.state.calls) == calls


def put(web: Web, path: str, **body: Any) -> None:
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    answer = web.client.put(f"/api/{path}", json=body, headers=headers)
    assert answer.status_code < 300, answer.text


def shown(web: Web) -> dict[str, Any]:
    """Return what people see of a bridge: its counts and its lists."""
    overview = web.get("/api/status").json
    counts = ("deliveries", "bulk", "suppressions", "pauses", "write_backs", "events")
    return {
        **{name: overview.get(name) for name in counts},
        **{path: web.get(f"/api/{path}").json for path in SHOWN},
    }


@pytest.mark.slow
def test_no_process_starts_at_a_store_that_is_not_whole_or_was_left(moved: Moved) -> None:
    moved.web.send("website", lead())
    moved.kill_on_the_way()
    at = {State.LEAVING: moved.settings, State.ARRIVING: moved.new_settings}
    for state, settings in at.items():
        assert SENTENCES[state] in refusal("workers", settings)
        checked = moved.cli("check", env={**NEEDED, "REDIS_URL": settings.redis_url})
        assert (checked.exit_code, SENTENCES[state] in checked.stderr) == (1, True)
        web = moved.open_web(settings)
        for answer in (web.post("website", lead()), web.client.get("/readyz")):
            assert answer.status_code == 503
            assert answer.json["message"] == f"{SENTENCES[state]}."
        page = web.client.post("/sign-in", data={"token": API_TOKEN})
        assert page.status_code == 503
        assert SENTENCES[state] in page.text
    assert moved.move().exit_code == 0
    assert SENTENCES[State.LEFT] in refusal("bridge.serve", moved.settings)
    again = moved.move()
    assert (again.exit_code, "The old Redis was moved already." in again.stderr) == (1, True)


def refusal(module: str, settings: Settings) -> str:
    """Return what a process says that may not start."""
    env = {**NEEDED, "REDIS_URL": settings.redis_url, "PORT": str(free_port())}
    process = start(sys.executable, "-m", module, env=env)
    output, _ = process.communicate()
    assert end(process, wait_s=LONGEST_S) != 0, output
    return output


def test_a_move_can_be_undone_and_a_wrong_use_is_said(moved: Moved) -> None:
    moved.web.send("website", lead())
    moved.kill_on_the_way()
    undone = moved.move("--undo")
    assert (undone.exit_code, "The move is undone" in undone.stdout) == (0, True)
    moved.web.send("website", lead())
    for arguments in (
        [],
        ["--from", "http://user:pass-123@host"],
        ["--from", moved.settings.redis_url, "--from-name", "b"],
    ):
        wrong = moved.cli("move-store", *arguments, env={**NEEDED, "REDIS_URL": "redis://host"})
        assert wrong.exit_code == 2
        assert "pass-123" not in wrong.output


def test_who_stops_it_on_the_way_learns_how_it_goes_on(
    moved: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved.web.send("website", lead())
    with monkeypatch.context() as patched:
        patched.setattr(moving.StoreMove, "compare", interrupt)
        stopped = moved.move()
    assert (stopped.exit_code, f"Error: {INTERRUPTED}" in stopped.stderr) == (1, True)
    again = moved.move()
    assert (again.exit_code, "All is moved." in again.stdout) == (0, True)


def interrupt(move: moving.StoreMove) -> None:
    """Do what Ctrl-C does."""
    raise KeyboardInterrupt


def test_an_empty_store_is_a_warning(moved: Moved) -> None:
    env = {**NEEDED, "REDIS_URL": moved.new_settings.redis_url}
    assert f"{EMPTY}, and was never used before" in moved.cli("check", env=env).stdout
    moved.open_web(moved.new_settings).send("website", lead())
    assert EMPTY not in moved.cli("check", env=env).stdout


def test_a_check_is_no_process_that_still_runs(cli: Cli, store: Store, redis_url: str) -> None:
    mark = {"state": str(State.LEAVING), "unused": "1"}
    store.redis.hset("bridge:closed", mapping=mark)
    checked = cli("check", env={**NEEDED, "REDIS_URL": redis_url, "REDIS_ACKS": "1"})
    assert SENTENCES[State.LEAVING] in checked.stderr
    assert store.redis.hgetall("bridge:closed") == mark
