"""`demo`, `send` and `status` against a bridge that really runs."""

import contextlib
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import requests
from click.testing import CliRunner
from rq import Worker
from support import until
from support.commandline import (
    BRIDGE,
    PLAIN,
    ROOT,
    SAMPLES,
    Cli,
    is_listening,
    read_until,
    start,
    start_demo,
)
from werkzeug.serving import make_server

from bridge.app import create_app
from bridge.cli import address_of, incoming, post_signed
from config.settings import load_settings
from demo.__main__ import demo as demo_command
from demo.processes import Children, Stopped, environment
from demo.run import Demo
from rules.matching import as_event
from schemas.crm import kinds
from schemas.event import Item
from schemas.records import NewDelivery
from schemas.settings import Settings
from schemas.signatures import verify
from schemas.source import Source
from simulator import Simulator, State
from store import Store, connect
from store.queue import connect_queue, open_queue

SERVES = "serves at"
TOLD = "3 of them told to CRMs, each once."
SECRETS = {"API_TOKEN": "the-token-of-the-demo", "WEBSITE_WEBHOOK_SECRET": "website-secret"}


@pytest.mark.slow
def test_the_demo_ends_well_and_does_so_again_and_never_touches_what_is_real(
    tmp_path: Path, free_port: int, simulator: Simulator
) -> None:
    (tmp_path / "key").write_text("real")
    real = {
        "CALLKARO_API_KEY": "real",
        "CALLKARO_API_KEY_FILE": str(tmp_path / "key"),
        "CALLKARO_BASE_URL": simulator.url,
        "REDIS_URL": "redis://127.0.0.1:1/0",  # nobody answers there, and nobody asks
    }
    command = (*BRIDGE, "demo", "--port", str(free_port), "--data", str(tmp_path / "data"))
    for env in ({}, real):  # the stand-ins forgot the campaigns of the first run
        with start(*command, env=env) as demo:
            output, _ = demo.communicate(timeout=60)
        assert demo.returncode == 0, output
        assert output.count("delivered") == 4
        assert output.count("unrouted") == 1
        assert f"Every sample ended as expected: 4 calls, each accepted once. {TOLD}" in output
        assert "98765" not in output
        assert not is_listening(free_port)
        assert simulator.state.requests == []
        assert not (tmp_path / "data" / "valkey").exists()


class Threads(Children):
    """What a demo starts, as threads of this process: a start of all takes a tenth of the time.

    For tests of what a demo says of its samples. Valkey must be there already.
    """

    def __init__(
        self, stack: ExitStack, run_drain: Callable[..., Any], stand_ins: State, **options: Any
    ) -> None:
        super().__init__(**options)
        self.stack = stack  # it ends them
        self.run_drain = run_drain
        self.stand_ins = stand_ins

    def start(self, name: str, *command: str, also: Mapping[str, str] | None = None) -> Any:
        {"simulator": self._simulator, "web": self._web, "worker": self._worker}[name](*command)

    def _simulator(self, *command: str) -> None:
        self.stack.enter_context(Simulator(port=int(command[-1]), state=self.stand_ins))

    def _settings(self) -> Settings:
        with environment(self.env):
            return load_settings()

    def _web(self, *command: str) -> None:
        port = int(command[command.index("--bind") + 1].rpartition(":")[2])
        server = make_server("127.0.0.1", port, create_app(self._settings()), threaded=True)
        self.stack.callback(server.server_close)
        self._run(lambda: server.serve_forever(0.01), end=server.shutdown)

    def _worker(self, *command: str) -> None:
        settings = self._settings()
        told = {one.name: one.write_back.on for one in settings.routes.routes if one.write_back}
        with connect(settings.redis_url) as client:
            Store(client).note_write_back_routes(told)
        queue = open_queue(connect_queue(settings.redis_url))
        Worker([queue], connection=queue.connection).register_birth()
        ended = threading.Event()

        def drain() -> None:
            while not ended.wait(0.02):
                self.run_drain(settings)

        self._run(drain, end=ended.set)

    def _run(self, work: Callable[[], None], *, end: Callable[[], None]) -> None:
        thread = threading.Thread(target=work)
        thread.start()
        self.stack.callback(thread.join)
        self.stack.callback(end)


RunDemo = Callable[..., tuple[int | None, str]]


@pytest.fixture
def run_demo(
    tmp_path: Path,
    free_port: int,
    redis_url: str,
    run_drain: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> Iterator[RunDemo]:
    """Run a demo in this process, on free_port; return its exit code and what it said.

    The exit code is None if it served, until it had told where everything is. stand_ins: the state
    that they begin with.
    """
    said = []

    def has_told_all() -> bool:
        said.append(capsys.readouterr().out)
        return "\nLogs\n" in "".join(said)

    with ExitStack() as stack:

        def run(
            routes: Path | None = None, *, serve: bool = False, stand_ins: State | None = None
        ) -> tuple[int | None, str]:
            env = {**PLAIN, "REDIS_URL": redis_url, "LOG_LEVEL": "ERROR"}
            env |= {"ROUTES_FILE": str(routes)} if routes else {}
            should_stop = has_told_all if serve else lambda: False
            how: dict[str, Any] = {"logs": tmp_path, "env": env, "should_stop": should_stop}
            threads = Threads(stack, run_drain, stand_ins or State(), **how)
            code = None
            with contextlib.suppress(Stopped):
                demo = Demo(threads, port=free_port, data=tmp_path / "data", is_simulated=True)
                code = demo.run(serve=serve, with_day=False)
            return code, "".join(said) + capsys.readouterr().out

        yield run


def test_a_sample_that_ends_otherwise_fails_the_demo(tmp_path: Path, run_demo: RunDemo) -> None:
    routes = tmp_path / "routes.toml"
    routes.write_text((ROOT / "routes.toml").read_text().replace("== 'lead'", "== 'customer'"))
    code, output = run_demo(routes)
    assert code == 1
    assert "hubspot: 'call new leads' is skipped: The route's condition `when` is false" in output


def test_a_demo_shows_what_the_crms_were_told(run_demo: RunDemo) -> None:
    code, output = run_demo()
    assert code == 0, output
    assert output.count("call: connected") == 3
    assert output.count("hs_lead_status → ") == 2
    assert output.count("Lead_Status → Contacted") == 1
    assert TOLD in output


def test_a_crm_that_has_a_call_twice_fails_the_demo(run_demo: RunDemo) -> None:
    state = State()
    of_contact = {"to": {"id": "101"}, "types": [{"associationTypeId": 194}]}
    state.add_written("hubspot", "calls", {"properties": {}, "associations": [of_contact]})
    code, output = run_demo(stand_ins=state)
    assert code == 1
    assert "hubspot: record 101 has 2 calls in the CRM, not 1\n" in output
    assert TOLD not in output


def test_a_crm_that_was_not_told_fails_the_demo(run_demo: RunDemo) -> None:
    state = State()
    state.behave(400, path="/crm/v8/Calls")
    code, output = run_demo(stand_ins=state)
    assert code == 1
    assert "zoho: the CRM was not told of an outcome (failed): " in output
    assert "hubspot: the CRM" not in output


WEBHOOK = """
[route.write_back]
on = ["accepted", "outcome"]
"""


def test_a_signed_webhook_out_goes_to_the_stand_in_and_is_shown(
    own_routes: Path, run_demo: RunDemo
) -> None:
    own_routes.write_text(own_routes.read_text().replace('"mobile"', '"phone"') + WEBHOOK)
    code, output = run_demo(own_routes)
    assert code == 0, output
    assert "webhook: outcome connected" in " ".join(output.split())
    assert "1 of them told to CRMs, each once." in output


def refused_demo(*arguments: object, env: Mapping[str, str] | None = None) -> str:
    """Return what a demo says that ends before it has started anything, with exit code 1."""
    with environment({**PLAIN, **(env or {})}):
        result = CliRunner().invoke(demo_command, [str(one) for one in arguments])
    assert result.exit_code == 1, result.output
    return result.output


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        output = refused_demo("--port", port, "--data", tmp_path / "data")
    assert output == (
        f"Error: Port {port} is taken by another program. "
        f"Choose another: PORT={port + 1} make demo\n"
    )


@pytest.mark.slow
def test_with_a_real_key_nothing_is_sent(
    tmp_path: Path, free_port: int, simulator: Simulator
) -> None:
    env = {"CALLKARO_API_KEY": "real", "CALLKARO_BASE_URL": simulator.url}
    with start_demo("--serve", "--port", free_port, "--data", tmp_path, env=env) as demo:
        output = read_until(demo, SERVES, "Logs")
        demo.send_signal(signal.SIGINT)
        output += demo.communicate(timeout=60)[0]
    assert demo.returncode == 0, output
    assert (
        f"CALLKARO_API_KEY is set, so calls go to {simulator.url}. No sample is sent, because a "
        "phone may ring.\n" in output
    )
    assert "Post a lead of your own" not in output
    assert simulator.state.requests == []
    assert (tmp_path / "valkey" / "appendonlydir").is_dir()


def test_stand_ins_never_take_what_waits_in_a_redis_of_ones_own(
    tmp_path: Path, free_port: int, redis_url: str
) -> None:
    kind = kinds()["generic"]
    source = Source(name="website", kind=kind, auth=kind.auth)
    event = as_event(Item(type="form.submitted", data={}), source, datetime.now(UTC), 60)
    delivery = NewDelivery(id="d", route="call back", to="call", wait_s=0)
    client = connect(redis_url)
    with client:
        Store(client).accept([(event, [delivery])], routes="")
    arguments = ("--port", free_port, "--data", tmp_path / "data")
    output = refused_demo("--serve", *arguments, env={"REDIS_URL": redis_url})
    assert "REDIS_URL holds deliveries" in output


@pytest.fixture
def own_routes(tmp_path: Path) -> Path:
    """Routes of one's own: website's alone, which takes no lead that has no e-mail address."""
    routes = tmp_path / "routes.toml"
    website = (ROOT / "routes.toml").read_text().partition("# --- A web form of your own")[2]
    routes.write_text("#" + website.replace('to_number = "phone"', 'to_number = "mobile"'))
    return routes


def test_routes_of_ones_own_are_served_whatever_became_of_the_samples(
    free_port: int, own_routes: Path, run_demo: RunDemo
) -> None:
    code, output = run_demo(own_routes, serve=True)
    assert code is None
    assert SERVES in output
    assert is_listening(free_port)
    for source in ("hubspot", "zoho"):
        assert f"{source}: routes.toml has no route for it, so no sample is sent\n" in output
    assert "What became of the samples" in output
    assert "Differs from the shipped routes.toml: website: 'call back' is " in output


def test_a_demo_judges_only_what_was_sent(own_routes: Path, run_demo: RunDemo) -> None:
    own_routes.write_text(own_routes.read_text().replace('"mobile"', '"phone"'))
    code, output = run_demo(own_routes)
    assert code == 0, output
    assert "Every sample that was sent ended as expected: 1 call, accepted once." in output


def test_a_demo_that_can_send_nothing_says_so_and_fails(tmp_path: Path, run_demo: RunDemo) -> None:
    (tmp_path / "routes.toml").write_text("# none yet\n")
    code, output = run_demo(tmp_path / "routes.toml")
    assert code == 1
    assert "website: routes.toml has no such [[source]], so no sample is sent\n" in output
    assert output.endswith("No sample could be sent.\n")
    assert "Traceback" not in output


@pytest.mark.parametrize("name", ["PORT", "WEB_CONCURRENCY"])
def test_a_setting_that_is_no_number_is_one_sentence(tmp_path: Path, name: str) -> None:
    output = refused_demo("--data", tmp_path / "data", env={name: "abc"})
    assert output.startswith(f"Error: {name} must be a number from 1 to ")
    assert output.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, free_port: int) -> None:
    (tmp_path / "file").touch()
    output = refused_demo("--port", free_port, "--data", tmp_path / "file" / "data")
    assert output.startswith(f"Error: {tmp_path / 'file' / 'data'} can't be written")
    assert output.count("\n") == 1


class Served(NamedTuple):
    """A demo that serves."""

    url: str
    data: Path
    pid: int


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A demo that serves until the end of this module."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = tmp_path_factory.mktemp("served")
    with start_demo("--serve", "--port", port, "--data", data, env=SECRETS) as demo:
        try:
            read_until(demo, SERVES, "Logs")
            yield Served(f"http://localhost:{port}", data, demo.pid)
        finally:
            demo.send_signal(signal.SIGINT)
            output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0, output
    assert output.endswith("Stopped.\n")
    assert not is_listening(port)


def test_what_is_sent_is_what_was_previewed(cli: Cli, served: Served) -> None:
    url = served.url
    body = SAMPLES / "website.json"
    sent = cli("send", "website", body, "--url", url, "--times", 2, env=SECRETS)
    assert sent.exit_code == 0, sent.output
    assert [word in sent.stdout for word in ("routed", "duplicate")] == [True, True]
    preview = cli("preview", "website", body, "--json", env={"CALLING_HOURS": "always"})
    [event] = json.loads(preview.stdout)
    call = event["deliveries"][0]["requests"][-1]["body"]
    assert event["id"] in sent.stdout
    assert call["metadata"]["bridge_delivery_id"] in sent.stdout


def test_status_tells_the_story_of_an_event_and_of_a_delivery(cli: Cli, served: Served) -> None:
    url = served.url
    overview = cli("status", "--url", url, env=SECRETS)
    assert overview.exit_code == 0, overview.output
    assert "delivered" in overview.stdout
    sent = cli("send", "website", SAMPLES / "website.json", "--url", url, env=SECRETS).stdout
    event_id, delivery_id = re.findall(r"\b[0-9a-f]{26}\b", sent)
    assert "CallKaro" in overview.stdout
    assert re.search(r"answered \d{4}-", overview.stdout)
    event = cli("status", event_id, "--url", url, env=SECRETS)
    assert event.exit_code == 0, event.output
    assert "form.submitted" in event.stdout
    assert "call back" in event.stdout
    delivery = cli("status", delivery_id, "--url", url, "--json", env=SECRETS)
    assert json.loads(delivery.stdout)["id"] == delivery_id
    pasted = cli(
        *("status", f"{url}/api/deliveries/{delivery_id}", "--json"),
        *("--url", url.removeprefix("http://")),
        env=SECRETS,
    )
    assert pasted.stdout == delivery.stdout
    assert "98765" not in event.output + delivery.output


@pytest.mark.parametrize(
    ("arguments", "env", "says"),
    [
        (("status", "nope"), SECRETS, "There is no event and no delivery nope"),
        (("status", "../status"), SECRETS, "There is no event and no delivery status"),
        (("status", "a b%2F?x"), SECRETS, "There is no event and no delivery a b%2F"),
        (("status",), {"API_TOKEN": "wrong"}, "does not accept this API_TOKEN"),
        (("status",), {}, "API_TOKEN: is not set"),
        (("send", "website", SAMPLES / "website.json"), {}, "WEBSITE_WEBHOOK_SECRET is not set"),
        (
            ("send", "website", SAMPLES / "website.json"),
            {"WEBSITE_WEBHOOK_SECRET": "wrong"},
            "The bridge did not accept every request.",
        ),
    ],
)
def test_a_refusal_is_told_and_exits_1(
    cli: Cli, served: Served, arguments, env: dict[str, str], says: str
) -> None:
    result = cli(*arguments, "--url", served.url, env=env)
    assert result.exit_code == 1
    assert says in result.stderr
    assert "Traceback" not in result.output


def test_a_second_run_keeps_its_hands_off_the_first_ones_data(
    served: Served, free_port: int
) -> None:
    output = refused_demo("--port", free_port, "--data", served.data)
    assert "Another `make run` or `make demo` uses" in output


def test_nobody_there_is_one_sentence(cli: Cli, free_port: int) -> None:
    result = cli("status", "--url", f"http://localhost:{free_port}", env=SECRETS)
    assert result.exit_code == 1
    assert f"No bridge answers at http://localhost:{free_port}" in result.stderr


@pytest.mark.slow
def test_a_process_that_dies_ends_the_run_and_is_named(tmp_path: Path, free_port: int) -> None:
    data = tmp_path / "data"
    # Then no sample is sent, which takes its time.
    env = {"CALLKARO_API_KEY": "real", "CALLKARO_BASE_URL": "http://127.0.0.1:9"}
    with start_demo("--serve", "--port", free_port, "--data", data, env=env) as demo:
        read_until(demo, SERVES)
        found = re.search(r"Listening at: \S+ \((\d+)\)", (data / "logs" / "web.log").read_text())
        assert found
        subprocess.run(["kill", "-KILL", found[1]], check=True)  # noqa: S603, S607
        output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "Error: web ended with exit code -9. The end of its log" in output
    assert not is_listening(free_port)


def descendants(pid: int) -> list[int]:
    """Return the processes below one, by what Linux tells."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [one for child in map(int, children) for one in (child, *descendants(child))]


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that only waits for its parent to notice does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def read(pid: int, what: str) -> list[str]:
    """Return the words of a process' command line or environment; none if it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{what}").read_bytes().decode("utf-8", "replace").split("\0")
    return []


def secrets_in(environment: list[str]) -> set[str]:
    """Return the values of what is called a secret, a token or a key, and Redis' password."""
    variables = dict(pair.split("=", 1) for pair in environment if "=" in pair)
    found = {
        value
        for name, value in variables.items()
        if name.endswith(("_SECRET", "_TOKEN", "_KEY")) and value != "played"
    }
    return found | ({urlsplit(variables.get("REDIS_URL", "")).password or ""} - {""})


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_no_secret_of_the_demo_stands_on_a_command_line(served: Served) -> None:
    started = [served.pid, *descendants(served.pid)]
    lines = [" ".join(read(pid, "cmdline")) for pid in started]
    told = set[str]().union(*(secrets_in(read(pid, "environ")) for pid in started))
    # The key, its like at the stand-in, the API token, the password, and three webhook secrets.
    assert len(told) >= 6, "the demo makes secrets up, and its children have them"
    for program in ("valkey", "simulator", "gunicorn", "workers", "demo"):
        assert any(program in line for line in lines), program
    assert [secret for secret in told for line in lines if secret in line] == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a death")
def test_nothing_outlives_a_demo_that_is_killed(tmp_path: Path, free_port: int) -> None:
    with start_demo("--serve", "--port", free_port, "--data", tmp_path / "data") as demo:
        read_until(demo, "started  Worker")
        below = descendants(demo.pid)
        assert len(below) >= 4
        demo.kill()
        demo.communicate(timeout=60)
    until(lambda: not any(map(is_alive, below)), what="the end of its children")
    assert not is_listening(free_port)


def test_the_lead_of_ones_own_that_make_run_shows_is_taken_in(run_demo: RunDemo) -> None:
    _, output = run_demo(serve=True)
    [command] = re.findall(r"^ +(curl .*/webhooks/website)$", output, re.M)
    words = shlex.split(command)
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    body = words[words.index("-d") + 1]
    answer = requests.post(words[-1], data=body, headers=headers, timeout=30)
    assert answer.status_code == 202
    assert answer.json()["accepted"] == 1


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("http://localhost:80", "http://localhost"),
        ("https://b.example:443/", "https://b.example"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("localhost:8000", "http://localhost:8000"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_an_address_is_what_the_bridge_will_see(given: str, seen: str) -> None:
    assert address_of(given) == seen


def test_a_signature_at_a_default_port_is_over_the_host_that_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = {}

    def http_request(method: str, url: str, **options: Any) -> requests.Response:
        asked.update(options, url=url)
        return requests.Response()

    monkeypatch.setattr("bridge.cli.send.http_request", http_request)
    kind = kinds()["hubspot"]
    source = Source(name="hubspot", kind=kind, auth=kind.auth)
    env = {"HUBSPOT_WEBHOOK_SECRET": "hub", "ROUTES_TOML": "#"}
    with environment(env):
        settings = load_settings(needs=frozenset({"ROUTES"}))
    post_signed(settings, source, b"[]", "application/json", base_url="http://localhost:80")
    assert asked["url"] == "http://localhost/webhooks/hubspot"
    request = incoming(
        *(source, b"[]", "application/json"),
        base_url="http://localhost",
        headers=asked["headers"],
    )
    verify(kind.auth, ["hub"], request, now=datetime.now(UTC))


def test_an_address_that_is_none_is_one_sentence(cli: Cli) -> None:
    result = cli("status", "--url", "http://localhost:port", env=SECRETS)
    assert result.exit_code == 1
    assert "http://localhost:port is not an address" in result.stderr


def test_ctrl_c_during_the_start_leaves_nothing_behind(tmp_path: Path, free_port: int) -> None:
    with start_demo("--port", free_port, "--data", tmp_path / "data") as demo:
        read_until(demo, "Valkey")
        demo.send_signal(signal.SIGINT)
        output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert output.endswith("Stopped.\n")
    assert not is_listening(free_port)


def test_simulate_serves_the_stand_ins(free_port: int) -> None:
    with start(*BRIDGE, "simulate", "--port", str(free_port)) as process:
        read_until(process, f"http://127.0.0.1:{free_port}/simulator")
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0
