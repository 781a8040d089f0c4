"""A new user follows README, against stand-ins: from `hubspot-app` to a call and its engagement.

The commands, the names of the variables and the address of CallKaro's webhook are taken out of the
pages. Left out are the tunnel, npm and `hs`, which need an account. What they upload is read here:
the webhooks are those that the app subscribes to.
"""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from support import as_bytes, end, free_port, signed, until
from support.commandline import PLAIN, ROOT, read_until

from simulator import Simulator, State
from simulator.outcomes import call_ended

README, CONNECT, CALLKARO = (
    (ROOT / name).read_text("utf-8")
    for name in ("README.md", "docs/connect-hubspot.md", "docs/callkaro.md")
)
ADDRESS = "https://bridge.example"
SAMPLE_AGENT, AGENT = "6803fa770b666a64ab1694c1e", "an-agent-of-my-own"
NUMBER = "+919876500001"
CONTACT = "501"
RECORD = {"firstname": "Asha", "lifecyclestage": "lead", "phone": NUMBER, "hs_language": "en"}
FILLED = {  # step 5
    "CALLKARO_API_KEY": "a-key-of-callkaro",
    "HUBSPOT_WEBHOOK_SECRET": "the-client-secret-of-the-app",
    "HUBSPOT_ACCESS_TOKEN": "pat-na1-the-access-token",
    "PUBLIC_URL": ADDRESS,
    "API_TOKEN": "6f1d0c5a9b7e4f32a8d1c0b5e7f94a26",
    "CALLKARO_WEBHOOK_TOKEN": "0b5e7f94a266f1d0c5a9b7e4f32a8d1c",
    "DRY_RUN": "true",
}


def steps() -> dict[int, str]:
    """Return README's steps, by number."""
    section = README[README.index("## Connect HubSpot") : README.index("**After each change of")]
    parts = re.split(r"^(\d+)\. ", section, flags=re.MULTILINE)[1:]
    return {int(number): text for number, text in zip(parts[::2], parts[1::2], strict=True)}


def commands(text: str) -> list[list[str]]:
    """Return the words of each command in the blocks of a text."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in dedent(block).splitlines()]
    parts = [part for line in lines for part in line.split(" && ")]
    return [found for part in parts if (found := shlex.split(part, comments=True))]


STEPS = steps()


class NewUser:
    """A person at a clone of this repository, with a tunnel from ADDRESS to it."""

    def __init__(self, folder: Path, simulator: Simulator) -> None:
        self.folder = folder
        self.simulator = simulator
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        given = {name: value for name, value in PLAIN.items() if name != "BRIDGE_SKIP_DOTENV"}
        self.environment = {
            **given,
            "PORT": str(self.port),
            "CALLING_HOURS": "always",  # whatever the time is
            "CALLKARO_BASE_URL": simulator.url,
            "HUBSPOT_API_URL": simulator.url,
        }
        self.session = requests.Session()
        self.session.trust_env = False
        self._bridge: subprocess.Popen[str] | None = None

    def run(self, *command: str) -> str:
        """Run a command of the page; return what it says."""
        program = [sys.executable, *command[1:]] if command[0] == "python" else list(command)
        done = subprocess.run(  # noqa: S603
            program, cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def fill_in(self, values: Mapping[str, str]) -> None:
        """Fill in variables of .env; each has a line there."""
        file = self.folder / ".env"
        text = file.read_text("utf-8")
        for name, value in values.items():
            text, count = re.subn(rf"^(# )?{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
            assert count == 1, name
        file.write_text(text, "utf-8")

    def start(self) -> None:
        """Do what `make run` does, until it serves."""
        self._bridge = subprocess.Popen(
            [sys.executable, "-m", "demo", "--serve"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        read_until(self._bridge, "serves at", "Logs")

    def stop(self) -> None:
        """Press Ctrl-C."""
        if self._bridge is not None:
            assert end(self._bridge, by=signal.SIGINT) == 0
            assert self._bridge.stdout is not None
            self._bridge.stdout.close()
            self._bridge = None

    def app(self, name: str) -> Any:
        """Return the settings in a file of the app that was written."""
        file = self.folder / "hubspot-app" / "src" / "app" / name
        return json.loads(file.read_text("utf-8"))["config"]

    def create_contact(self) -> Any:
        """Create a contact in HubSpot; return the bridge's answer to the webhook of the app."""
        self.simulator.state.put_record("hubspot", "contacts", CONTACT, RECORD)
        webhooks = self.app("webhooks/webhooks-hsmeta.json")
        target = webhooks["settings"]["targetUrl"]
        wanted = {"subscriptionType": "object.creation", "objectType": "contact", "active": True}
        assert wanted in webhooks["subscriptions"]["crmObjects"]
        notification = {
            "eventId": 1,
            "subscriptionId": 3001,
            "portalId": 62515,
            "appId": 50780459,
            "occurredAt": int(time.time() * 1000),
            "subscriptionType": "object.creation",
            "objectTypeId": "0-1",
            "objectId": int(CONTACT),
            "attemptNumber": 0,
            "changeSource": "CRM_UI",
            "sourceId": "userId:7",
        }
        return self.post(target, as_bytes([notification]))

    def post(self, target: str, body: bytes) -> Any:
        """Post a webhook of HubSpot's to its target URL, which the tunnel leads to this machine."""
        headers = signed("hubspot", body, target, secret=FILLED["HUBSPOT_WEBHOOK_SECRET"])
        assert target.startswith(ADDRESS)
        url = self.url + urlsplit(target).path
        answer = self.session.post(url, data=body, headers=headers, timeout=60)
        assert answer.status_code == 202, answer.text
        return answer.json()

    def end_call(self) -> str:
        """Have CallKaro tell that the call ended; return what the bridge did with it."""
        [call] = self.simulator.state.calls
        [address] = re.findall(r"https://<your host>(/\S+)<token>", CALLKARO)
        url = f"{self.url}{address}{FILLED['CALLKARO_WEBHOOK_TOKEN']}"
        answer = self.session.post(url, json=call_ended(call), timeout=60)
        assert answer.status_code == 200, answer.text
        found: str = answer.json()["status"]
        return found

    def ask(self, method: str, path: str) -> Any:
        """Ask the API, as the dashboard's buttons do."""
        headers = {"Authorization": f"Bearer {FILLED['API_TOKEN']}"}
        answer = self.session.request(method, self.url + path, headers=headers, timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    def await_status(self, delivery_id: str, status: str) -> Any:
        """Wait until the dashboard shows a delivery in a status, and return it."""

        def shown() -> Any:
            found = self.ask("GET", f"/api/deliveries/{delivery_id}")
            return found if found["status"] == status else None

        return until(shown, what=status)


@pytest.fixture
def user(tmp_path: Path) -> Iterator[NewUser]:
    state = State(api_key=FILLED["CALLKARO_API_KEY"], hubspot_token=FILLED["HUBSPOT_ACCESS_TOKEN"])
    folder = tmp_path / "clone"
    folder.mkdir()
    for one in ROOT.iterdir():
        if not one.name.startswith(".") and one.suffix != ".toml":
            (folder / one.name).symlink_to(one)
    for name in (".env.example", "routes.toml"):
        shutil.copy(ROOT / name, folder)
    with Simulator(state=state) as simulator:
        user = NewUser(folder, simulator)
        with user.session:
            yield user
            user.stop()


def test_both_pages_have_the_same_commands_for_the_app() -> None:
    of_readme = [one for one in commands(STEPS[4]) if one != ["cd", ".."]]
    assert of_readme[0][:4] == ["python", "-m", "bridge", "hubspot-app"]
    section = CONNECT[CONNECT.index("## Project app") : CONNECT.index("### Which subscriptions")]
    assert commands(section) == of_readme


@pytest.mark.slow
def test_a_new_user_follows_readme_from_the_app_to_the_engagement(user: NewUser) -> None:
    state = user.simulator.state

    assert "`cp .env.example .env`" in STEPS[1]
    user.run("cp", ".env.example", ".env")
    routes = user.folder / "routes.toml"
    routes.write_text(routes.read_text("utf-8").replace(SAMPLE_AGENT, AGENT), "utf-8")
    [write_app] = [one for one in commands(STEPS[4]) if one[0] == "python"]
    user.run(*write_app)
    scopes = user.app("app-hsmeta.json")["auth"]["requiredScopes"]
    assert {"crm.objects.contacts.read", "crm.objects.contacts.write"} <= {*scopes}
    assert re.findall(r"^ +- `([A-Z_]+)`:", STEPS[5], re.MULTILINE) == [*FILLED]
    user.fill_in(FILLED)
    previews = [user.run(*command) for command in commands(STEPS[6])]
    assert [AGENT in said for said in previews] == [False, True], previews
    assert "`make run`" in STEPS[7]
    assert "\n\t@$(PY) -m demo --serve\n" in (ROOT / "Makefile").read_text("utf-8")
    user.start()

    assert "create a contact" in STEPS[8]
    [event] = user.create_contact()["events"]
    [delivery] = [one["id"] for one in event["deliveries"]]
    tried = user.await_status(delivery, "skipped")
    assert tried["reason"] == "dry_run"
    assert tried["request"]["agent_id"] == AGENT
    assert state.calls == []

    for said in ("DRY_RUN=false", "ALLOW_NUMBERS=<your number>", "Ctrl-C", "**Retry**"):
        assert said in STEPS[9]
    user.fill_in({"DRY_RUN": "false", "ALLOW_NUMBERS": NUMBER})
    user.stop()
    user.start()
    user.ask("POST", f"/api/deliveries/{delivery}/retry")
    user.await_status(delivery, "delivered")
    [call] = state.calls
    assert (call.to_number, call.agent_id) == (NUMBER, AGENT)

    assert user.end_call() == "stored"
    until(
        lambda: (
            [one["status"] for one in user.ask("GET", f"/api/deliveries/{delivery}")["write_backs"]]
            == ["delivered"]
        ),
        what="HubSpot is told",
    )
    [engagement] = state.hubspot_calls_of(CONTACT)
    written = state.find_record("hubspot", "calls", engagement) or {}
    assert (written["hs_call_status"], written["hs_call_to_number"]) == ("COMPLETED", NUMBER)
    contact = state.find_record("hubspot", "contacts", CONTACT) or {}
    assert contact == {**RECORD, "hs_lead_status": "CONNECTED"}
    assert "*Lead status* is *Connected*" in STEPS[10]

    assert user.end_call() == "duplicate"
    assert [one.id for one in state.written] == [engagement]
    assert len(state.calls) == 1
