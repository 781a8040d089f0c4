"""`call-me` against a bridge that serves and drains."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support import API_TOKEN, LONGEST_S, WEBSITE, each, route
from support.commandline import Cli, Serve

from bridge.cli import call_me as calling
from schemas.hours import Window
from schemas.settings import Settings
from simulator import Simulator
from store import Store
from store.suppression import Suppressions

ME = "+919876543210"
NAME = "call back / 50 %?"
GUARDED = {"when": "\"stage == 'lead'\"", "consent": '"agreed"', "again_after": '"24h"'}
NAMED = {
    "to_number": '"phone"',
    "agent_id": '{ value = "6803fa770b666a64ab1694c1e" }',
    "metadata": '{ name = "name" }',
}
ONE = (
    WEBSITE
    + route(NAME, request=NAMED, **GUARDED)
    + route("campaigns", to="campaign", request={"name": '"title"'}, event="x")
)
TWO = ONE + route("call too", event="other")


@pytest.fixture
def settings(make_settings) -> Settings:
    return make_settings(ONE)


@pytest.fixture
def drained(run_drain: Any) -> Iterator[Any]:
    """Drain with these settings, again and again, until the end of the test."""
    over, threads = threading.Event(), []

    def drain(settings: Settings) -> None:
        while not over.wait(0.05):
            run_drain(settings)

    def start(settings: Settings) -> None:
        threads.append(threading.Thread(target=drain, args=(settings,)))
        threads[-1].start()

    yield start
    over.set()
    for thread in threads:
        thread.join()


@pytest.fixture
def call_me(cli: Cli, serve: Serve, monkeypatch: pytest.MonkeyPatch):
    """Run the command against the bridge of these settings."""

    monkeypatch.setattr(calling, "WAIT_S", LONGEST_S)

    def run(settings: Settings, *arguments: object, routes: str = ONE) -> Any:
        env = {"API_TOKEN": API_TOKEN, "ROUTES_TOML": routes}
        return cli("call-me", *arguments, "--url", serve(settings), env=env)

    return run


def test_my_own_phone_rings_by_the_only_route(
    call_me, settings: Settings, drained, simulator: Simulator, tmp_path: Path
) -> None:
    record = tmp_path / "record.json"
    record.write_text('{"name": "Asha", "phone": "+919812345678"}')
    drained(settings)

    first = call_me(settings, "098765 43210", "--record", record)
    assert first.exit_code == 0, first.output
    assert "delivered" in first.stdout
    again = call_me(settings, ME, "--route", NAME, "--json")  # although it was called just now
    assert json.loads(again.stdout)["status"] == "delivered"

    assert [call.to_number for call in simulator.state.calls] == [ME, ME]
    bodies = [one.body for one in simulator.state.requests_to("/call/outbound")]
    assert [body["metadata"]["name"] for body in bodies] == ["Asha", ""]
    assert "9876543210" not in first.output + again.output


def closed_now() -> Window:
    """Return calling hours of half an hour that is half a day away."""
    now = datetime.now(UTC).astimezone(ZoneInfo("Asia/Kolkata"))
    start = min((now.hour * 60 + now.minute + 720) % 1440, 1380)
    return Window(start_min=start, end_min=start + 30)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"calling_hours": closed_now()}, "The delivery is skipped (outside_hours). Outside"),
        ({"dry_run": True}, "The delivery is skipped (dry_run). DRY_RUN is on"),
        ({"allow_numbers": frozenset({"+919812345678"})}, "The delivery is skipped (not_allowed)."),
        ({"default_region": "US"}, "The delivery is skipped (country)."),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_guard_that_says_no_is_told(
    call_me, make_settings, drained, simulator: Simulator, overrides: dict[str, Any], says: str
) -> None:
    settings = make_settings(ONE, **overrides)
    drained(settings)

    said = call_me(settings, ME)

    assert said.exit_code == 1
    assert says in said.stderr
    assert "delivery" in said.stdout  # as status shows it
    assert simulator.state.calls == []


def test_who_is_suppressed_is_not_called_even_so(
    call_me, settings: Settings, drained, simulator: Simulator, store: Store
) -> None:
    Suppressions(store=store).suppress(ME)
    drained(settings)
    said = call_me(settings, ME)
    assert (said.exit_code, "The delivery is skipped (suppressed)." in said.stderr) == (1, True)
    assert simulator.state.calls == []


def test_what_callkaro_refuses_is_told(
    call_me, settings: Settings, drained, simulator: Simulator
) -> None:
    simulator.state.behave(400, path="/call/outbound")
    drained(settings)
    said = call_me(settings, ME)
    assert (said.exit_code, "The delivery is failed (refused)." in said.stderr) == (1, True)


def test_without_a_worker_patience_ends(
    call_me, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling, "WAIT_S", 0.5)
    said = call_me(settings, ME)
    assert said.exit_code == 1
    assert "The delivery is still queued. Does a worker run?" in said.stderr
    assert "status " in said.stderr


@each(
    ("arguments", "routes", "code", "says"),
    [
        ((ME,), TWO, 2, f"Give --route: one of {NAME!r}, 'call too'."),
        ((ME,), WEBSITE, 2, "No route calls."),
        ((ME,), "[[route]]", 1, "The settings can't be used"),
        ((ME, "--route", "nope"), ONE, 1, 'No route with to = "call" has this name.'),
        ((ME, "--route", "campaigns"), ONE, 1, 'No route with to = "call" has this name.'),
        (("12",), ONE, 1, "This is not a valid phone number"),
        ((ME, "--record", "README.md"), ONE, 2, "the file is not a JSON object"),
        ((ME, "--record", "demo/samples/hubspot.json"), ONE, 2, "the file is not a JSON object"),
    ],
)
def test_a_mistake_is_one_sentence_and_makes_nothing(
    call_me,
    settings: Settings,
    store: Store,
    arguments: tuple[str, ...],
    routes: str,
    code: int,
    says: str,
) -> None:
    said = call_me(settings, *arguments, routes=routes)
    assert (said.exit_code, says in said.stderr) == (code, True), said.stderr
    assert "Traceback" not in said.output
    assert store.counts()["queued"] == 0
