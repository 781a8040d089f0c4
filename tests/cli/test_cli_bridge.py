"""`demo`, `send` and `status` against a bridge that really runs."""

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from commandline import (
    ROOT,
    SAMPLES,
    Cli,
    is_listening,
    read_until,
    start,
    start_demo,
)

from bridge.intake import as_event
from bridge.store import NewDelivery, Store, connect
from schemas.crm import kinds
from schemas.event import Item
from schemas.source import Source
from simulator import Simulator

SERVES = "serves at"
SECRETS = {"API_TOKEN": "tok", "WEBSITE_WEBHOOK_SECRET": "website-secret"}


def test_the_demo_ends_well_and_does_so_again(tmp_path: Path, free_port: int) -> None:
    for _ in range(2):  # the stand-ins forgot the campaigns of the first run
        with start_demo("--port", free_port, "--data", tmp_path / "data") as demo:
            output, _ = demo.communicate(timeout=60)
        assert demo.returncode == 0, output
        assert output.count("delivered") == 4
        assert output.count("unrouted") == 1
        assert "Every sample ended as it should: 4 calls, each accepted once." in output
        assert "98765" not in output
        assert not is_listening(free_port)


def test_a_sample_that_ends_otherwise_fails_the_demo(tmp_path: Path, free_port: int) -> None:
    routes = tmp_path / "routes.toml"
    routes.write_text((ROOT / "routes.toml").read_text().replace("== 'lead'", "== 'customer'"))
    arguments = ("--port", free_port, "--data", tmp_path / "data")
    with start_demo(*arguments, env={"ROUTES_FILE": str(routes)}) as demo:
        output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "hubspot: 'call new leads' is skipped: The route's condition does not hold." in output


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start_demo("--port", port, "--data", tmp_path / "data") as demo:
            output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert output == (
        f"Error: Port {port} is taken by another program. "
        f"Choose another: PORT={port + 1} make run\n"
    )


def test_with_a_real_key_nothing_is_sent(
    tmp_path: Path, free_port: int, simulator: Simulator
) -> None:
    env = {"CALLKARO_API_KEY": "real", "CALLKARO_BASE_URL": simulator.url}
    with start_demo("--port", free_port, "--data", tmp_path, env=env) as demo:
        output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0, output
    assert "no sample is sent, for a phone would ring" in " ".join(output.split())
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
    with start_demo(
        "--port", free_port, "--data", tmp_path / "data", env={"REDIS_URL": redis_url}
    ) as demo:
        output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "REDIS_URL holds deliveries" in output


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A demo that serves until the end of this module: its URL and its data folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = tmp_path_factory.mktemp("served")
    with start_demo("--serve", "--port", port, "--data", data, env=SECRETS) as demo:
        try:
            read_until(demo, SERVES, "Logs")
            yield f"http://localhost:{port}", data
        finally:
            demo.send_signal(signal.SIGINT)
            output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0, output
    assert output.endswith("Stopped.\n")
    assert not is_listening(port)


def test_what_is_sent_is_what_was_previewed(cli: Cli, served: tuple[str, Path]) -> None:
    url, _ = served
    body = SAMPLES / "website.json"
    sent = cli("send", "website", body, "--url", url, "--times", 2, env=SECRETS)
    assert sent.exit_code == 0, sent.output
    assert [word in sent.stdout for word in ("routed", "duplicate")] == [True, True]
    preview = cli("preview", "website", body, "--json", env={"CALLING_HOURS": "always"})
    [event] = json.loads(preview.stdout)
    call = event["deliveries"][0]["requests"][-1]["body"]
    assert event["id"] in sent.stdout
    assert call["metadata"]["bridge_delivery_id"] in sent.stdout


def test_status_tells_the_story_of_an_event_and_of_a_delivery(
    cli: Cli, served: tuple[str, Path]
) -> None:
    url, _ = served
    overview = cli("status", "--url", url, env=SECRETS)
    assert overview.exit_code == 0, overview.output
    assert "delivered" in overview.stdout
    sent = cli("send", "website", SAMPLES / "website.json", "--url", url, env=SECRETS).stdout
    event_id, delivery_id = re.findall(r"\b[0-9a-f]{26}\b", sent)
    event = cli("status", event_id, "--url", url, env=SECRETS)
    assert event.exit_code == 0, event.output
    assert "form.submitted" in event.stdout
    assert "call back" in event.stdout
    delivery = cli("status", delivery_id, "--url", url, "--json", env=SECRETS)
    assert json.loads(delivery.stdout)["id"] == delivery_id
    assert "98765" not in event.output + delivery.output


@pytest.mark.parametrize(
    ("arguments", "env", "says"),
    [
        (("status", "nope"), SECRETS, "There is no event and no delivery nope"),
        (("status",), {"API_TOKEN": "wrong"}, "answered 401"),
        (("status",), {}, "API_TOKEN: is not set"),
        (("send", "website", SAMPLES / "website.json"), {}, "WEBSITE_WEBHOOK_SECRET is not set"),
        (
            ("send", "website", SAMPLES / "website.json"),
            {"WEBSITE_WEBHOOK_SECRET": "wrong"},
            "Not all of it was taken in.",
        ),
    ],
)
def test_a_refusal_is_told_and_exits_1(
    cli: Cli, served: tuple[str, Path], arguments, env: dict[str, str], says: str
) -> None:
    result = cli(*arguments, "--url", served[0], env=env)
    assert result.exit_code == 1
    assert says in result.stderr
    assert "Traceback" not in result.output


def test_a_second_run_keeps_its_hands_off_the_first_ones_data(
    served: tuple[str, Path], free_port: int
) -> None:
    with start_demo("--port", free_port, "--data", served[1]) as demo:
        output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "Another `make run` or `make demo` uses" in output


def test_nobody_there_is_one_sentence(cli: Cli, free_port: int) -> None:
    result = cli("status", "--url", f"http://localhost:{free_port}", env=SECRETS)
    assert result.exit_code == 1
    assert f"No bridge answers at http://localhost:{free_port}" in result.stderr


def test_a_process_that_dies_ends_the_run_and_is_named(tmp_path: Path, free_port: int) -> None:
    data = tmp_path / "data"
    with start_demo("--serve", "--port", free_port, "--data", data) as demo:
        read_until(demo, SERVES)
        found = re.search(r"Listening at: \S+ \((\d+)\)", (data / "logs" / "web.log").read_text())
        assert found
        subprocess.run(["kill", "-KILL", found[1]], check=True)  # noqa: S603, S607
        output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "Error: web ended with exit code -9. The end of its log" in output
    assert not is_listening(free_port)


def test_ctrl_c_during_the_start_leaves_nothing_behind(tmp_path: Path, free_port: int) -> None:
    with start_demo("--port", free_port, "--data", tmp_path / "data") as demo:
        read_until(demo, "Valkey")
        demo.send_signal(signal.SIGINT)
        output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert output.endswith("Stopped.\n")
    assert not is_listening(free_port)


def test_simulate_serves_the_stand_ins(free_port: int) -> None:
    command = (sys.executable, "-m", "flask", "--app", "bridge", "simulate", "--port")
    with start(*command, str(free_port)) as process:
        read_until(process, f"http://127.0.0.1:{free_port}/simulator")
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0
