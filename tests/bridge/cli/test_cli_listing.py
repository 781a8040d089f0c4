"""`deliveries`, `events` and `tail`: lists by filters, and what changes; progress on a terminal."""

import json
import os
import pty
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import API_TOKEN, CALL_BACK, LONGEST_S, Web, each, lead, route
from support.commandline import BRIDGE, PLAIN, ROOT, Cli, Fails, Run, read_until, start

from schemas.settings import Settings
from simulator import Simulator
from store import Store

MakeSettings = Callable[..., Settings]
RunDrain = Callable[..., Any]
StartTail = Callable[..., "subprocess.Popen[str]"]
ENV = {"API_TOKEN": API_TOKEN}


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(CALL_BACK + route("other", event="other"))


# --- lists --------------------------------------------------------------------------------------


def test_deliveries_are_listed_by_filters(
    run: Run, web: Web, settings: Settings, run_drain: RunDrain
) -> None:
    [first] = web.send("website", lead())
    run_drain(settings)
    [second] = web.send("website", lead("+919876543211", event_type="other"))

    def ids(*filters: str) -> list[str]:
        found = json.loads(run("deliveries", *filters, "--json").stdout)
        return [one["id"] for one in found["items"]]

    assert ids() == [second, first]
    assert ids("--status", "delivered,failed") == [first]
    assert ids("--route", "other") == [second]
    assert ids("--phone", "+919876543210") == [first]
    assert ids("--source", "hubspot") == []
    assert ids("--until", "2020-01-01T00:00:00Z") == []
    assert ids("--reason", "bulk") == []
    assert ids("--find", "43211") == ids("--find", second) == [second]
    assert ids("--find", "+91 98765 43210", "--status", "delivered") == [first]
    assert ids("--find", "nobody & sons") == []
    lines = run("deliveries").stdout.splitlines()
    assert [word in lines[0] for word in ("Received", "Status", "Route", "ID")] == [True] * 4
    assert [line.split()[-1] for line in lines[1:]] == [second, first]
    assert "No delivery matches." in run("deliveries", "--subject", "none").stdout


def test_events_are_listed_by_filters(run: Run, web: Web) -> None:
    routed = web.post("website", lead()).json["events"][0]["id"]
    other = web.post("website", lead(event_type="unwanted")).json["events"][0]["id"]

    found = json.loads(run("events", "--json").stdout)
    assert [one["id"] for one in found["items"]] == [other, routed]
    found = json.loads(run("events", "--status", "unrouted", "--json").stdout)
    assert [one["id"] for one in found["items"]] == [other]
    said = run("events").stdout
    assert "queued  call back" in said
    assert other in said
    assert "No event matches." in run("events", "--source", "zoho").stdout


def test_refused_requests_are_listed_and_shown(run: Run, fails: Fails, web: Web) -> None:
    assert run("refused").stdout == "No refused request.\n"
    for body in (b'{"phone": "+91 98765 43210", "n": "\x1b[2J\r\n', b"", b"[1, "):
        assert web.post("website", body).status_code == 400
    assert web.post("zoho", b"{").status_code == 400

    found = json.loads(run("refused", "--source", "website", "--json").stdout)["items"]
    assert [one["bytes"] for one in found] == [4, 0, 41]
    said = run("refused", "--limit", "2").stdout
    assert [line.split()[-1] for line in said.splitlines()[2:3]] == [found[0]["id"]]
    assert "There are more." in said
    one = found[2]["id"]
    said = run("refused", one).stdout
    assert "The body is not valid JSON" in said
    assert '{"phone": "+91••••••3210", "n": "<U+001B>[2J<U+000D><U+000A>' in said
    assert json.loads(run("refused", one, "--json").stdout)["place"].startswith("line 1, column")
    assert fails("refused", one, "--source", "zoho")[0] == 2
    assert "There is no refused request" in fails("refused", "0" * 26)[1]


def test_figures_are_a_table(run: Run, fails: Fails, web: Web, store: Store) -> None:
    assert run("stats").stdout == "No call in this time.\n"
    web.send("website", [lead(), lead("+919876543211", event_type="other")])
    found = json.loads(run("stats", "--json").stdout)
    assert {one["key"]: one["events"] for one in found["items"]} == {"call back": 1, "other": 1}
    lines = run("stats").stdout.splitlines()
    assert lines[0].split()[:3] == ["Route", "Events", "Accepted"]
    assert [line.split("  ")[0] for line in lines[1:]] == ["call back", "other", "all"]
    assert lines[-1].split() == ["all", "2", "0", "0", "0", "0", "0:00:00"]
    lines = run("stats", "--by", "source", "--route", "other").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["website", "1"]]
    assert "No call" in run("stats", "--campaign", "Leads").stdout
    assert "No call" in run("stats", "--until", "2020-01-01").stdout
    assert fails("stats", "--by", "minute")[0] == 2
    failed, said = fails("stats", "--route", "call bakc")
    assert (failed, "There is no route with this name" in said) == (1, True)


def test_what_people_did_is_listed(run: Run, fails: Fails, web: Web) -> None:
    assert "Nobody did anything" in run("audit").stdout
    [made] = web.send("website", lead())
    run("cancel", made)
    run("pause", "route:call back")
    run("resume", "route:call back")
    said = run("audit").stdout.splitlines()
    assert "pause route:call back: 0" in said[1]
    assert "pause route:call back" in said[2]
    assert f"delivery {made}" in said[3]
    found = json.loads(run("audit", "--action", "cancel", "--json").stdout)
    assert [(one["target"], one["actor"]) for one in found["items"]] == [(made, "admin")]
    assert "Nobody did anything" in run("audit", "--actor", "asha").stdout
    assert "Unknown action" in fails("audit", "--action", "cancle")[1]


def test_a_list_that_is_longer_than_a_page_is_followed(
    run: Run, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.cli.lists.PAGE", 2)
    ids = web.send("website", [lead() for _ in range(5)])

    found = json.loads(run("deliveries", "--json").stdout)
    assert sorted(one["id"] for one in found["items"]) == sorted(ids)
    assert found["next_cursor"] is None
    some = run("deliveries", "--limit", "3").stdout
    assert "There are more. --limit N lists more of them." in some
    assert len(some.splitlines()) == 5
    assert "There are more" not in run("deliveries", "--limit", "5").stdout


@each(
    ("arguments", "code", "says"),
    [
        (("deliveries", "--status", "sent"), 1, "Unknown status: sent"),
        (("deliveries", "--phone", "12"), 1, "This is not a valid phone number"),
        (("deliveries", "--limit", "0"), 2, "--limit"),
        (("events", "--since", "yesterday"), 2, "'yesterday' is not a time. Write a time such as"),
        (("tail", "--status", "sent"), 2, "There is no status sent."),
    ],
)
def test_a_mistake_is_one_sentence(
    fails: Any, arguments: tuple[str, ...], code: int, says: str
) -> None:
    failed, said = fails(*arguments)
    assert failed == code
    assert says in said


# --- what changes -------------------------------------------------------------------------------


@pytest.fixture
def start_tail(url: str) -> Iterator[StartTail]:
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> "subprocess.Popen[str]":
        started.append(start(*BRIDGE, "tail", "--url", url, *arguments, env=ENV))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_a_delivery_is_shown_as_its_status_changes_until_ctrl_c(
    start_tail: StartTail, web: Web, settings: Settings, run_drain: RunDrain
) -> None:
    [old] = web.send("website", lead())
    tail = start_tail()
    assert "queued" in read_until(tail, old)
    [new] = web.send("website", lead("+919876543211"))
    assert "queued" in read_until(tail, new)
    run_drain(settings)
    said = read_until(tail, "delivered")  # it may be seen on its way, too
    if said.count("delivered") == 1:
        said += read_until(tail, "delivered")
    delivered = [line for line in said.splitlines() if "delivered" in line]
    assert {one for line in delivered for one in (old, new) if one in line} == {old, new}

    tail.send_signal(signal.SIGINT)
    left, _ = tail.communicate()
    assert (tail.returncode, left) == (0, "")


def test_programs_get_a_line_each_of_what_they_asked_for(
    start_tail: StartTail,
    web: Web,
    settings: Settings,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    simulator.state.behave(400, path="/call/outbound", times=2)
    [before] = web.send("website", lead())
    run_drain(settings)
    tail = start_tail("--json", "--status", "failed", "--route", "call back")
    read_until(tail, before)  # so that it has begun
    [failed] = web.send("website", lead())
    run_drain(settings)
    web.send("website", lead("+919876543211"))
    web.send("website", lead("+919876543212", event_type="other"))
    run_drain(settings)

    [line] = read_until(tail, failed).splitlines()
    found = json.loads(line)
    assert (found["id"], found["status"], found["reason"]) == (failed, "failed", "refused")


def test_a_reader_that_goes_ends_it_without_a_complaint(web: Web, url: str) -> None:
    web.send("website", [lead() for _ in range(10)])
    command = shlex.join(BRIDGE)
    done = subprocess.run(  # noqa: S603
        ["/bin/bash", "-c", f"set -o pipefail; {command} tail --url {url} | head -1"],
        cwd=ROOT,
        env={**PLAIN, **ENV},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


def test_a_bridge_that_does_not_answer_ends_it_at_the_start(cli: Cli, free_port: int) -> None:
    result = cli("tail", "--url", f"http://127.0.0.1:{free_port}", env=ENV)
    assert result.exit_code == 1
    assert "No bridge answers" in result.stderr


# --- progress -----------------------------------------------------------------------------------


def on_terminal(*command: str) -> tuple[str, str]:
    """Run a command whose stderr is a terminal, and return what it says on stdout and there."""
    ours, theirs = pty.openpty()
    try:
        env = {**PLAIN, **ENV, "TERM": "xterm"}
        done = subprocess.run(  # noqa: S603
            command,
            cwd=ROOT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=theirs,
            timeout=LONGEST_S,
            check=True,
        )
        return done.stdout.decode(), os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_long_work_shows_how_far_it_has_come_on_a_terminal_alone(
    run: Run, web: Web, url: str
) -> None:
    web.send("website", [lead() for _ in range(3)])
    command = ("cancel", "--route", "call back")

    out, err = on_terminal(*BRIDGE, *command, "--yes", "--json", "--url", url)
    assert json.loads(out)["cancelled"] == 3
    assert "3/3" in err
    assert run(*command, "--dry-run").stderr == ""


# --- for programs -------------------------------------------------------------------------------


def test_check_tells_programs(cli: Cli, redis_url: str) -> None:
    env = {"API_TOKEN": "t", "CALLKARO_API_KEY": "k-123", "HUBSPOT_WEBHOOK_SECRET": "hub-123"}
    good = cli("check", "--json", env={**env, "REDIS_URL": redis_url})
    found = json.loads(good.stdout)
    assert (good.exit_code, found["ok"], found["problems"]) == (0, True, [])
    [hubspot] = [one for one in found["sources"] if one["name"] == "hubspot"]
    assert (hubspot["is_secret_set"], hubspot["url"]) == (True, "/webhooks/hubspot")
    assert found["warnings"]
    assert "-123" not in good.stdout

    bad = cli("check", "--json", env={"PORT": "nonsense"})
    found = json.loads(bad.stdout)
    assert (bad.exit_code, found["ok"], found["sources"]) == (1, False, [])
    assert any(one.startswith("- PORT: ") for one in found["problems"])


def test_send_tells_programs(cli: Cli, url: str, settings: Settings) -> None:
    env = {"HUBSPOT_WEBHOOK_SECRET": settings.secrets["hubspot"][0]}
    sent = ("send", "hubspot", ROOT / "demo" / "samples" / "hubspot.json", "--url", url)
    result = cli(*sent, "--json", "--times", "2", env=env)
    assert result.exit_code == 0, result.output
    first, second = json.loads(result.stdout)
    assert (first["status_code"], second["duplicates"]) == (202, len(first["events"]))


def test_an_alert_can_be_tried(cli: Cli, simulator: Simulator, free_port: int) -> None:
    assert "ALERT_WEBHOOK_URL is not set" in cli("alert-test").stderr
    env = {"ALERT_WEBHOOK_SECRET": "whsec_bWFkZSB1cA=="}
    nowhere = cli("alert-test", env={**env, "ALERT_WEBHOOK_URL": f"http://127.0.0.1:{free_port}"})
    assert (nowhere.exit_code, nowhere.stdout) == (1, "")
    assert "did not answer: ConnectionRefusedError" in nowhere.stderr
    simulator.state.behave(204, path="/alerts")
    taken = cli("alert-test", "--json", env={**env, "ALERT_WEBHOOK_URL": f"{simulator.url}/alerts"})
    assert taken.exit_code == 0, taken.output
    assert json.loads(taken.stdout)["status_code"] == 204
    [request] = simulator.state.requests_to("/alerts")
    assert request.body["type"] == "alert.test"
