"""`retry`, `cancel`, `resolve`, `replay`, `pause`, `resume` against a bridge that serves."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from support import API_TOKEN, CALL_BACK, WEBSITE, Web, each, lead, route
from support.commandline import Cli, Run, Serve

from bridge.operations import bulk
from schemas.settings import Settings
from simulator import Simulator
from store import Store

MakeSettings = Callable[..., Settings]
RunDrain = Callable[..., Any]

CALL = "/call/outbound"


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(CALL_BACK)


def status(web: Web, delivery: str) -> str:
    found: str = web.get(f"/api/deliveries/{delivery}").json["status"]
    return found


@pytest.fixture
def failed(web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain) -> list[str]:
    """Three deliveries that CallKaro refused; from now on it accepts."""
    simulator.state.behave(400, path=CALL, times=3)
    ids = [web.send("website", lead())[0] for _ in range(3)]
    run_drain(settings)
    assert [status(web, one) for one in ids] == ["failed"] * 3
    return ids


# --- one ----------------------------------------------------------------------------------------


def test_one_delivery_is_tried_again(
    run: Run, web: Web, url: str, failed: list[str], settings: Settings, run_drain: RunDrain
) -> None:
    said = run("retry", failed[0]).stdout
    assert "queued (by_person)" in said
    assert failed[0] in said
    pasted = run("retry", f"{url}/api/deliveries/{failed[1]}", "--json").stdout
    assert json.loads(pasted)["status"] == "queued"
    run_drain(settings)
    assert [status(web, one) for one in failed] == ["delivered", "delivered", "failed"]


def test_what_rang_needs_call_again(
    run: Run, fails: Any, web: Web, settings: Settings, run_drain: RunDrain
) -> None:
    [delivery] = web.send("website", lead())
    run_drain(settings)

    code, said = fails("retry", delivery)
    assert code == 1
    assert "409" in said
    assert "call_again" in said
    assert "queued" in run("retry", delivery, "--call-again").stdout


def test_a_delivery_is_cancelled(run: Run, fails: Any, web: Web) -> None:
    [delivery] = web.send("website", lead())

    assert "cancelled (by_person)" in run("cancel", delivery).stdout
    code, said = fails("cancel", delivery)
    assert (code, "has ended already" in said) == (1, True)


@pytest.mark.parametrize("word", ["delivered", "failed"])
def test_an_unknown_delivery_is_resolved(
    run: Run,
    fails: Any,
    web: Web,
    settings: Settings,
    simulator: Simulator,
    run_drain: RunDrain,
    word: str,
) -> None:
    simulator.state.behave(path=CALL, times=1, cut="after")
    [delivery] = web.send("website", lead())
    run_drain(settings)

    assert fails("resolve", delivery, "cancelled")[0] == 2
    assert f"{word} (by_person)" in run("resolve", delivery, word).stdout
    assert status(web, delivery) == word


def test_an_event_is_replayed(
    cli: Cli, serve: Serve, make_settings: MakeSettings, open_web: Any
) -> None:
    [event] = open_web(make_settings(WEBSITE)).post("website", lead()).json["events"]
    address = serve(make_settings(CALL_BACK))

    def replay(*arguments: str) -> str:
        env = {"API_TOKEN": API_TOKEN}
        result = cli("replay", event["id"], *arguments, "--url", address, env=env)
        assert result.exit_code == 0, result.output
        return result.stdout

    tried = json.loads(replay("--dry-run", "--json"))
    assert (tried["dry_run"], len(tried["deliveries"])) == (True, 1)
    [delivery] = tried["deliveries"]
    assert replay("--dry-run") == f"would be new: {delivery['id']}  call back\n"
    assert replay() == f"new: {delivery['id']}  call back\n"
    assert replay() == "The event stays routed: no route makes a new delivery for it.\n"


# --- many ---------------------------------------------------------------------------------------


def test_many_are_counted_first_and_done_when_told(
    cli: Cli, url: str, web: Web, failed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "PAGE", 1)
    monkeypatch.setattr(bulk, "MOST_AT_ONCE", 1)  # so that every one has a page of its own
    counted = "3 deliveries match; would be retried: 3, refused: 0.\n"

    def retry(*arguments: str) -> Result:
        command = ("retry", "--route", "call back", *arguments, "--url", url)
        return cli(*command, env={"API_TOKEN": API_TOKEN})

    dry = retry("--dry-run")
    assert (dry.exit_code, dry.stdout) == (0, counted)
    unsure = retry()  # there is nobody to ask
    assert unsure.exit_code == 1
    assert counted in unsure.stdout
    assert [status(web, one) for one in failed] == ["failed"] * 3
    sure = retry("--yes")
    assert sure.exit_code == 0
    assert sure.stdout == counted + "3 deliveries match; retried: 3, refused: 0.\n"
    assert [status(web, one) for one in failed] == ["queued"] * 3
    none = retry("--yes")
    assert none.stdout == "0 deliveries match; would be retried: 0, refused: 0.\n"


def test_programs_get_the_counts_alone(run: Run, web: Web, failed: list[str]) -> None:
    filters = ("--phone", "+919876543210", "--status", "failed,queued")
    web.send("website", lead())

    dry = json.loads(run("retry", *filters, "--dry-run", "--json").stdout)
    really = json.loads(run("retry", *filters, "--yes", "--json").stdout)

    counts = {"matched": 3, "retried": 3, "refused": 0}
    assert dry == {**counts, "dry_run": True}
    assert really == {**counts, "dry_run": False}


def test_events_are_replayed_by_filter(
    cli: Cli, serve: Serve, make_settings: MakeSettings, open_web: Any, store: Store
) -> None:
    before = open_web(make_settings(WEBSITE))
    before.post("website", [lead(), lead(), lead(event_type="other")])
    address = serve(make_settings(CALL_BACK))

    def replay(*arguments: str) -> str:
        command = ("replay", "--source", "website", *arguments, "--url", address)
        result = cli(*command, env={"API_TOKEN": API_TOKEN})
        assert result.exit_code == 0, result.output
        return result.stdout

    assert replay("--dry-run") == "3 events match; would be replayed: 2, unchanged: 1.\n"
    assert store.counts()["queued"] == 0
    assert replay("--yes").endswith("3 events match; replayed: 2, unchanged: 1.\n")
    assert store.counts()["queued"] == 2


# --- pauses -------------------------------------------------------------------------------------


def test_a_pause_is_shown_and_ended(
    cli: Cli,
    serve: Serve,
    make_settings: MakeSettings,
    open_web: Any,
    run_drain: RunDrain,
) -> None:
    name = "new leads: 50 %/day? #1"
    settings = make_settings(WEBSITE + route(name))
    web, address = open_web(settings), serve(settings)

    def run(*arguments: str) -> str:
        result = cli(*arguments, "--url", address, env={"API_TOKEN": API_TOKEN})
        assert result.exit_code == 0, result.output
        return result.stdout

    scope = f"route:{name}"
    assert "Wrong agent." in run("pause", scope, "--message", "Wrong agent.")
    [delivery] = web.send("website", lead())
    run_drain(settings)
    overview = run("status")
    assert "Paused" in overview
    assert "Wrong agent." in overview
    assert "held (paused)" in run("status", delivery)
    assert json.loads(run("pause", scope, "--json"))["scope"] == scope
    assert run("resume", scope) == f"{scope} is resumed; deliveries released: 1.\n"
    assert "Paused" not in run("status")


def test_status_shows_the_outcomes_of_a_delivery(
    cli: Cli,
    serve: Serve,
    make_settings: MakeSettings,
    open_web: Any,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(CALL_BACK, callkaro_webhook_tokens=("a-token",))
    web, address = open_web(settings), serve(settings)
    [delivery] = web.send("website", lead())
    run_drain(settings)
    to = f"{address}/callbacks/callkaro/a-token"
    again = {"try_count": 0, "hangup_reason": "USER_REJECTED", "next_call_scheduled": True}
    assert simulator.end_call(to, delivery_id=delivery, **again) == 200
    assert simulator.end_call(to, delivery_id=delivery, try_count=1) == 200

    said = cli("status", delivery, "--url", address, env={"API_TOKEN": API_TOKEN}).stdout

    lines = [line.split() for line in said.splitlines()]
    assert ["not_reached", "redials"] in [[line[0], line[-1]] for line in lines if line]
    assert ["connected", "yes"] in [[line[0], line[-1]] for line in lines if line]
    assert "42 s" in said


# --- wrong use ----------------------------------------------------------------------------------


@each(
    ("arguments", "code", "says"),
    [
        (("retry",), 2, "Give an ID, or at least one filter: --status, "),
        (("retry", "--yes"), 2, "Give an ID, or at least one filter: --status, "),
        (("retry", "--call-again", "--yes"), 2, "Give an ID, or at least one filter: --status, "),
        (("replay",), 2, "Give an ID, or at least one filter: --status, "),
        (("retry", "x", "--route", "call back"), 2, "An ID names one"),
        (("retry", "x", "--dry-run"), 2, "An ID names one"),
        (("replay", "x", "--source", "website"), 2, "An ID names one"),
        (("retry", ""), 2, "'' is not an ID."),
        (("cancel", "/"), 2, "'/' is not an ID."),
        (("retry", "--route", "", "--yes"), 1, "This filter is empty: route"),
        (("retry", "--status", "sent", "--yes"), 1, "Unknown status: sent"),
        (("retry", "--phone", "12", "--yes"), 1, "This is not a valid phone number"),
        (("replay", "--since", "yesterday", "--yes"), 2, "'yesterday' is not a time"),
        (("retry", "."), 2, "'.' is not an ID."),
        (("retry", "nope"), 1, "There is no delivery with this id"),
        (("cancel", "nope"), 1, "There is no delivery with this id"),
        (("resolve", "nope", "failed"), 1, "There is no delivery with this id"),
        (("replay", "nope"), 1, "There is no event with this id"),
        (("pause", "everything"), 1, "Nothing has this name. You can pause one of: all,"),
        (("resume", "all"), 1, "Nothing is paused under this name."),
    ],
)
def test_a_mistake_is_one_sentence(
    fails: Any, web: Web, failed: list[str], arguments: tuple[str, ...], code: int, says: str
) -> None:
    assert fails(*arguments)[0] == code
    assert says in fails(*arguments)[1]
    assert [status(web, one) for one in failed] == ["failed"] * 3


def test_without_the_token_nothing_is_done(cli: Cli, url: str) -> None:
    for command in (("retry", "x"), ("pause", "all"), ("replay", "--source", "x", "--yes")):
        result = cli(*command, "--url", url, env={"API_TOKEN": "wrong"})
        assert result.exit_code == 1
        assert "does not accept this API_TOKEN" in result.stderr
