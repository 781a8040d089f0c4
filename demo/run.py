"""`make run` and `make demo`: everything started as child processes, samples sent and followed.

Stand-ins play CallKaro and the CRMs, unless it is to serve and has a CALLKARO_API_KEY. They forget
all when they end, so what the bridge stores is then made anew as well: it would know campaigns that
they don't. With the real CallKaro, the store is kept and nothing is sent by itself.
"""

import base64
import contextlib
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import requests
from rich import box
from rich.markup import escape
from rich.table import Table

from bridge.cli import Api, Failure, address_of, console, incoming, post_signed
from config.settings import load_settings, warnings_of
from demo.processes import (
    Children,
    Stopped,
    check_port,
    environment,
    free_port,
    fresh,
    lock,
    private,
    quoted,
    stop_signals,
    valkey_binary,
)
from schemas.callkaro import METADATA_ID
from schemas.delivery import SETTLED, Status
from schemas.errors import SettingsError
from schemas.fields import mask_number
from schemas.settings import Settings
from schemas.signatures import sign
from schemas.source import Auth, Basic, Signatures

ROOT = Path(__file__).parent.parent
START_S = 30.0  # how long a child may take until it answers
FOLLOW = timedelta(seconds=30)  # how long a sample may take until it is settled
POLL_S = 0.1
OWN_LEAD = "website"  # the source that one's own lead is posted to
RESTING = SETTLED | {Status.UNKNOWN, Status.HELD}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A webhook request that a CRM might make, and what should become of it."""

    source: str
    content_type: str
    body: bytes
    routed: int
    unrouted: int = 0


@dataclass(kw_only=True, slots=True)
class Sent:
    """What became of the samples: rows to show, and sentences on what was not as it should be."""

    count: int = 0
    expected_calls: int = 0
    rows: list[tuple[str, ...]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def run(*, serve: bool, port: int, data: Path) -> int:
    """Do it all; return the exit code. Raises Failure."""
    env = dict(os.environ)
    if not serve:
        # What ends by itself is a rehearsal: a worker that starts would deliver what waits there.
        env = without(env, "CALLKARO_API_KEY", "CALLKARO_BASE_URL", "REDIS_URL")
    simulated = not is_set(env, "CALLKARO_API_KEY")
    env = checked_web_concurrency(env)
    with stop_signals() as should_stop:
        try:
            with contextlib.ExitStack() as stack:
                # Who started it twice is told so, and not to look for another port.
                stack.enter_context(lock(data))
                check_port(port, command="make run" if serve else "make demo")
                logs = fresh(data / "logs")
                children = Children(logs=logs, env=env, should_stop=should_stop)
                stack.callback(children.stop)
                return Demo(children, port=port, data=data, simulated=simulated).run(serve=serve)
        except Stopped:
            console().print("Stopped.")
            return 0 if serve else 130


class Demo:
    """One run of everything."""

    def __init__(self, children: Children, *, port: int, data: Path, simulated: bool) -> None:
        self.children = children
        self.port = port
        self.data = data
        self.simulated = simulated
        self.url = address_of(f"http://localhost:{port}")
        self.simulator: str | None = None
        self.generated: dict[str, str] = {}  # what was not set, by its name
        self.screen = console()

    def run(self, *, serve: bool) -> int:
        """Start, send, show and serve; return the exit code."""
        env = self._start_what_is_needed()
        settings = settings_of(env)
        token = settings.api_tokens[0]
        api = Api(base_url=self.url, token=token)
        self._start_bridge(env, api)
        ok = True
        if self.simulated:
            ok = self._send_samples(settings, api, serve=serve)
        else:
            self.screen.print(
                f"\nCALLKARO_API_KEY is set, so calls go to {escape(settings.callkaro_base_url)}: "
                "no sample is sent, for a phone may ring.",
                soft_wrap=True,
            )
        if not serve:
            return 0 if ok else 1
        self._explain(settings, token)
        while True:
            self.children.check()
            time.sleep(POLL_S)

    # --- starting -----------------------------------------------------------------------------

    def _start_what_is_needed(self) -> dict[str, str]:
        """Start Valkey and the stand-ins where they are; return the bridge's environment."""
        env = {**self.children.env, "PORT": str(self.port), "PYTHONUNBUFFERED": "1"}
        if self.simulated:
            env = self._simulated(env)
        if not is_set(env, "API_TOKEN"):
            env["API_TOKEN"] = self.generated["API_TOKEN"] = secrets.token_urlsafe(16)
        own_valkey = not is_set(env, "REDIS_URL")
        if own_valkey:
            password, port = secrets.token_hex(16), free_port()
            env["REDIS_URL"] = f"redis://:{password}@127.0.0.1:{port}/0"
        # All that is wrong is told before anything is started.
        settings = settings_of(env)
        if self.simulated:
            env |= self._secrets(settings)
        if own_valkey:
            self._start_valkey(settings, password, port)
        elif self.simulated:
            refuse_real_data(settings)
        if self.simulated:
            self._start_simulator(env)
        self.children.env = env
        return env

    def _simulated(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return an environment in which CallKaro and the CRMs are the stand-ins."""
        port = free_port()
        self.simulator = f"http://127.0.0.1:{port}"
        simulated = {
            "CALLKARO_API_KEY": secrets.token_hex(12),
            "CALLKARO_BASE_URL": self.simulator,
            "CALLING_HOURS": "always",
            "DRY_RUN": "",
            "ALLOW_NUMBERS": "",
            # Real credentials have no business at a stand-in.
            "HUBSPOT_API_URL": self.simulator,
            "HUBSPOT_ACCESS_TOKEN": "played",
            "ZOHO_ACCOUNTS_URL": self.simulator,
            "ZOHO_API_URL": self.simulator,
            "ZOHO_CLIENT_ID": "played",
            "ZOHO_CLIENT_SECRET": "played",
            "ZOHO_REFRESH_TOKEN": "played",
        }
        return without(env, *simulated) | simulated

    def _secrets(self, settings: Settings) -> dict[str, str]:
        """Return a made-up webhook secret for each source that has routes and none of its own."""
        routed = {route.source for route in settings.routes.routes}
        missing = {
            f"{source.variable_prefix}WEBHOOK_SECRET": generated_secret(source.auth)
            for source in settings.routes.sources.values()
            if source.name in routed and not settings.secrets.get(source.name)
        }
        self.generated |= missing
        return missing

    def _start_valkey(self, settings: Settings, password: str, port: int) -> None:
        # Anew for the stand-ins; with the real CallKaro it is what was never to be lost.
        folder = fresh(self.data / "demo") if self.simulated else private(self.data / "valkey")
        config = folder / "valkey.conf"
        config.touch(mode=0o600)
        # In a file, since a password on the command line is everyone's to read.
        config.write_text(
            f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {quoted(folder)}\n"
            'appendonly yes\nappendfsync always\nmaxmemory-policy noeviction\nsave ""\n',
            encoding="utf-8",
        )
        self.children.start("valkey", valkey_binary(), str(config))
        with self._step("Valkey", f"data in {folder}"):
            self._await("valkey", lambda: answers_redis(settings.redis_url))

    def _start_simulator(self, env: Mapping[str, str]) -> None:
        url = str(self.simulator)
        self.children.start(
            "simulator",
            *(sys.executable, "-m", "simulator", "--port", url.rpartition(":")[2]),
            also={"SIMULATOR_API_KEY": env["CALLKARO_API_KEY"]},
        )
        with self._step("Stand-ins for CallKaro, HubSpot and Zoho", "no phone rings"):
            self._await("simulator", lambda: answers(f"{url}/simulator/status"))

    def _start_bridge(self, env: Mapping[str, str], api: Api) -> None:
        config = str(ROOT / "gunicorn.conf.py")
        bind = f"127.0.0.1:{self.port}"
        self.children.start(
            "web",
            *(sys.executable, "-m", "gunicorn", "-c", config, "--bind", bind),
            "bridge.app:create_app()",
        )
        with self._step("Web process", self.url):
            self._await("web", lambda: answers(f"{self.url}/readyz"))
        self.children.start("worker", sys.executable, "-m", "workers")
        with self._step("Worker", "delivers what is due"):
            self._await("worker", lambda: api.get("/api/status")["workers"])

    def _await(self, name: str, is_true: Callable[[], object]) -> None:
        """Wait until something is true. Raises Failure if a child ends or it takes too long."""
        until = time.monotonic() + START_S
        while not is_true():
            self.children.check()
            if time.monotonic() > until:
                log = self.children.logs / f"{name}.log"
                raise Failure(f"{name} does not answer after {START_S:.0f} s; its log: {log}")
            time.sleep(POLL_S)

    @contextlib.contextmanager
    def _step(self, what: str, detail: str) -> Iterator[None]:
        """Show that something is being started, and that it was.

        Start its process before: what turns meanwhile is a thread, and a fork wants none.
        """
        began = time.monotonic()
        with self.screen.status(f"Starting: {escape(what)} …"):
            yield
        took = f"{time.monotonic() - began:.1f} s"
        self.screen.print(f"  started  {escape(what)} ({escape(detail)}, {took})")

    # --- samples ------------------------------------------------------------------------------

    def _send_samples(self, settings: Settings, api: Api, *, serve: bool) -> bool:
        """Send the samples, follow them, show the table; tell whether all went as it should.

        A sample that can't be sent, with routes of one's own, says nothing against the bridge.
        """
        sent = Sent()
        with self.screen.status("Sending a signed sample of each source …"):
            for sample in samples(datetime.now(UTC)):
                if why := why_not_sent(sample, settings):
                    sent.skipped.append(f"{sample.source}: {why}, so no sample is sent")
                    continue
                try:
                    self._send(sample, settings, api, sent)
                except Failure as error:
                    self.children.check()  # a process that ended is another matter
                    sent.problems.append(f"{sample.source}: {error.message}")
        if sent.rows:
            self._show(sent.rows)
        self._sum_up(sent, serve=serve)
        return bool(sent.count) and not sent.problems

    def _send(self, sample: Sample, settings: Settings, api: Api, sent: Sent) -> None:
        """Send one sample and note what became of it. Raises Failure."""
        sent.count += 1
        sent.expected_calls += sample.routed
        sent_at = datetime.now(UTC)
        answer = self._post(settings, sample)
        found = list(self._follow(answer, api))
        sent.problems += judge(sample, answer, found)
        sent.rows += self._rows(sample, found, sent_at)

    def _sum_up(self, sent: Sent, *, serve: bool) -> None:
        """Say which samples were not sent, what is not as it should be, or that all is."""
        for line in sent.skipped:
            self.screen.print(escape(line), soft_wrap=True)
        if not sent.count:
            self.screen.print("No sample could be sent.")
            return
        calls = len(self._received("calls"))
        if calls != sent.expected_calls:
            sent.problems.append(f"CallKaro took {calls} calls, not {sent.expected_calls}")
        # Who serves may have routes of their own, and these samples are made for the shipped ones.
        heading = "Other than with the shipped routes.toml" if serve else "Not as it should be"
        for problem in sent.problems:
            self.screen.print(f"{heading}: {escape(problem)}", soft_wrap=True)
        if not sent.problems:
            which = "Every sample that was sent" if sent.skipped else "Every sample"
            what = "1 call, accepted once" if calls == 1 else f"{calls} calls, each accepted once"
            self.screen.print(f"{which} ended as it should: {what}.")

    def _post(self, settings: Settings, sample: Sample) -> dict[str, Any]:
        answer = post_signed(
            settings,
            settings.routes.sources[sample.source],
            sample.body,
            sample.content_type,
            base_url=self.url,
        )
        if answer.status_code != 202:
            raise Failure(f"the bridge answered {answer.status_code}: {said(answer)}")
        content: dict[str, Any] = answer.json()
        return content

    def _follow(
        self, answer: Mapping[str, Any], api: Api
    ) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Yield each event of an answer with its deliveries, once they are at rest."""
        until = time.monotonic() + FOLLOW.total_seconds()
        for taken in answer["events"]:
            event = api.get(f"/api/events/{taken['id']}")
            deliveries = []
            for one in taken["deliveries"]:
                while True:
                    delivery = api.get(f"/api/deliveries/{one['id']}")
                    if is_at_rest(delivery) or time.monotonic() > until:
                        break
                    self.children.check()
                    time.sleep(POLL_S)
                deliveries.append(delivery)
            yield event, deliveries

    def _rows(
        self, sample: Sample, found: Sequence[Any], sent_at: datetime
    ) -> Iterator[tuple[str, ...]]:
        for event, deliveries in found:
            name = "\n".join(filter(None, (sample.source, event["type"], event["subject"])))
            if not deliveries:
                yield name, "no route wants it", event["status"], "nothing"
            for one in deliveries:
                received, after = self._call_of(one["id"], sent_at)
                became = "\n".join(filter(None, (one["status"], one["reason"], after)))
                yield name, one["route"], became, received

    def _call_of(self, delivery_id: str, sent_at: datetime) -> tuple[str, str]:
        """Return what CallKaro received for a delivery, and how long after the webhook."""
        calls = [one for one in self._received("calls") if one["delivery_id"] == delivery_id]
        if not calls:
            return "nothing", ""
        call = calls[0]
        campaigns = {one["batch_id"]: one["name"] for one in self._received("campaigns")}
        metadata = {
            name: value
            for name, value in call["body"].get("metadata", {}).items()
            if name != METADATA_ID
        }
        campaign = campaigns.get(call["batch_id"])
        received = [
            mask_number(call["to_number"]) + (f" in {campaign!r}" if campaign else ""),
            ", ".join(f"{name}: {value}" for name, value in metadata.items()),
        ]
        after_s = (datetime.fromisoformat(call["at"]) - sent_at).total_seconds()
        return "\n".join(received), f"after {after_s:.2f} s"

    def _received(self, what: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = local("GET", f"{self.simulator}/simulator/{what}").json()[
            "items"
        ]
        return found

    def _show(self, rows: Sequence[tuple[str, ...]]) -> None:
        self.screen.print("\nWhat became of the samples\n")
        table = Table(box=box.HORIZONTALS, show_lines=True, pad_edge=False)
        for heading in ("Event", "Delivery", "Status", "What CallKaro received"):
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        self.screen.print(table)

    # --- serving ------------------------------------------------------------------------------

    def _explain(self, settings: Settings, token: str) -> None:
        """Say where everything is."""
        is_generated = "API_TOKEN" in self.generated
        shown = token if is_generated else "$API_TOKEN"
        curl = f'curl -H "Authorization: Bearer {shown}" {self.url}'
        sections = {
            "Point a CRM at": list(self._addresses(settings)),
            "API token" + (" (made up for this run; API_TOKEN sets one)" if is_generated else ""): [
                shown
            ],
            "Post a lead of your own": list(self._own_lead(settings)),
            "Ask what became of an event": [f"{curl}/api/deliveries", f"{curl}/api/status"],
            "What CallKaro received": [f"{self.simulator}/simulator"] if self.simulator else [],
            "Logs": [f"{self.children.logs}/*.log"],
            "Mind": warnings_of(settings),
        }
        self.screen.print(f"\nThe bridge serves at {self.url} until Ctrl-C.")
        self.screen.print("Open it in a browser: the API token below signs you in.")
        for heading, lines in sections.items():
            if lines:
                self.screen.print(f"\n{heading}")
            for line in lines:
                self.screen.print(f"  {escape(line)}", soft_wrap=True)

    def _own_lead(self, settings: Settings) -> Iterator[str]:
        """Yield a command that posts a lead to the web form's source, if that is on.

        None for the real CallKaro, where the number might be somebody's; none for a signature,
        which holds for minutes only and for just that body.
        """
        source = settings.routes.sources.get(OWN_LEAD)
        given = settings.secrets.get(OWN_LEAD)
        if not (self.simulated and source and given) or isinstance(source.auth, Signatures):
            return
        name = f"{source.variable_prefix}WEBHOOK_SECRET"
        lead = {
            "submission_id": f"my-form-{int(time.time())}",
            "name": "Asha Example",
            "phone": "+91 98765 43216",
            "message": "a lead of my own",
        }
        body = json.dumps(lead)
        request = incoming(source, body.encode(), "application/json", base_url=self.url)
        # A secret that somebody chose is not for a screen; the shell puts it in.
        secret = given[0] if name in self.generated else f"${name}"
        if isinstance(source.auth, Basic):
            proof = f'-u "{secret}"'
        else:
            headers = sign(source.auth, secret, request, now=datetime.now(UTC))
            proof = " ".join(f'-H "{key}: {value}"' for key, value in headers.items())
        yield (
            f"curl {proof} -H \"Content-Type: application/json\" -d '{body}' "
            f"{self.url}/webhooks/{source.name}"
        )

    def _addresses(self, settings: Settings) -> Iterator[str]:
        """Yield the URL of each source that is switched on, with its secret if we made that up."""
        for source in settings.routes.sources.values():
            if not settings.secrets.get(source.name):
                continue
            name = f"{source.variable_prefix}WEBHOOK_SECRET"
            generated = f"   {name}={self.generated[name]}" if name in self.generated else ""
            yield f"{settings.public_url or self.url}/webhooks/{source.name}{generated}"
        if not settings.public_url:
            yield "(From outside: through a public https address, a tunnel's say, in PUBLIC_URL.)"


# --- samples --------------------------------------------------------------------------------


def samples(now: datetime) -> list[Sample]:
    """Return the samples of demo/samples, as if they happened now."""
    folder = files("demo") / "samples"
    now_ms = int(now.timestamp() * 1000)
    notifications = json.loads((folder / "hubspot.json").read_text("utf-8"))
    for number, one in enumerate(notifications):
        one |= {"eventId": now_ms + number, "occurredAt": now_ms}
    lead = json.loads((folder / "website.json").read_text("utf-8"))
    lead["submission_id"] = f"contact-form-{now_ms}"
    form = (folder / "zoho.form").read_text("utf-8").strip()
    return [
        Sample(
            source="hubspot",
            content_type="application/json",
            body=json.dumps(notifications).encode(),
            routed=2,
            unrouted=1,
        ),
        Sample(
            source="zoho",
            content_type="application/x-www-form-urlencoded",
            # Zoho gives no id: it is the bytes that make it an event of its own.
            body=f"{form}&{urlencode({'Created_Time': now.isoformat()})}".encode(),
            routed=1,
        ),
        Sample(
            source="website",
            content_type="application/json",
            body=json.dumps(lead).encode(),
            routed=1,
        ),
    ]


def why_not_sent(sample: Sample, settings: Settings) -> str | None:
    """Return why a sample has nowhere to go; None: it has."""
    source = settings.routes.sources.get(sample.source)
    if source is None:
        return "routes.toml has no such [[source]]"
    if not any(route.source == sample.source for route in settings.routes.routes):
        return "routes.toml has no route for it"
    if not settings.secrets.get(sample.source):
        return f"{source.variable_prefix}WEBHOOK_SECRET is not set"
    return None


def said(answer: requests.Response) -> str:
    """Return what an answer says of itself."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(answer.json()["message"])
    return str(answer.reason)


def judge(sample: Sample, answer: Mapping[str, Any], found: Sequence[Any]) -> Iterator[str]:
    """Yield what did not go as it should with a sample, a sentence each."""
    for word, count in (("accepted", sample.routed), ("unrouted", sample.unrouted)):
        if answer[word] != count:
            yield f"{sample.source}: {answer[word]} events {word}, not {count}"
    for _, deliveries in found:
        for one in deliveries:
            if one["status"] != Status.DELIVERED:
                why = one["message"] or one["reason"] or "it is not settled yet"
                yield f"{sample.source}: {one['route']!r} is {one['status']}: {why}"


def is_at_rest(delivery: Mapping[str, Any]) -> bool:
    """Tell whether nothing more will come of a delivery by itself soon."""
    if delivery["status"] in RESTING:
        return True
    at = delivery["next_attempt_at"]
    # A route's delay may be hours.
    return at is not None and datetime.fromisoformat(at) > datetime.now(UTC) + FOLLOW


def generated_secret(auth: Auth) -> str:
    """Return a secret that suits a source's way to prove itself."""
    match auth:
        case Basic():
            return f"crm:{secrets.token_urlsafe(16)}"
        case Signatures() if auth.schemes[0].secret_encoding == "base64":  # noqa: S105
            encoded = base64.b64encode(secrets.token_bytes(24)).decode()
            return auth.schemes[0].secret_prefix + encoded
        case _:
            return secrets.token_hex(16)


# --- this machine ---------------------------------------------------------------------------


def is_set(env: Mapping[str, str], name: str) -> bool:
    """Tell whether a setting is given, itself or as a file; an empty one is not."""
    return bool(env.get(name, "").strip() or env.get(f"{name}_FILE", "").strip())


def without(env: Mapping[str, str], *names: str) -> dict[str, str]:
    """Return an environment that gives none of these settings, nor names a file for one."""
    gone = {*names, *(f"{name}_FILE" for name in names)}
    return {name: value for name, value in env.items() if name not in gone}


def checked_web_concurrency(env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment that gunicorn can be imported with. Raises Failure.

    It reads WEB_CONCURRENCY long before our configuration, and ends with a traceback even at "".
    """
    given = env.get("WEB_CONCURRENCY", "").strip()
    if not given:
        return without(env, "WEB_CONCURRENCY")
    if not re.fullmatch(r"[1-9][0-9]{0,2}", given):
        raise Failure("WEB_CONCURRENCY must be a number from 1 to 999.")
    return dict(env)


def settings_of(env: Mapping[str, str]) -> Settings:
    """Return the settings that a child with this environment has. Raises Failure."""
    try:
        with environment(env):
            return load_settings()
    except SettingsError as error:
        raise Failure(f"The bridge can't start; mend this:\n{error}") from None


def refuse_real_data(settings: Settings) -> None:
    """Raise Failure if REDIS_URL holds deliveries: stand-ins must not take real ones."""
    from schemas.errors import StoreUnavailable
    from store import Store, connect

    try:
        counts = Store(connect(settings.redis_url)).counts()
    except StoreUnavailable as error:
        raise Failure(f"REDIS_URL: {error}") from None
    if any(counts.values()):
        raise Failure(
            "REDIS_URL holds deliveries, and stand-ins must not take them for CallKaro. Unset "
            "REDIS_URL or give an empty database; or set CALLKARO_API_KEY for the real thing."
        )


def answers_redis(url: str) -> bool:
    """Tell whether Valkey is there and has read what it kept."""
    from schemas.errors import StoreUnavailable
    from store import Store, connect

    try:
        Store(connect(url)).ping()
    except StoreUnavailable:
        return False
    return True


def answers(url: str) -> bool:
    """Tell whether a URL of this machine answers 200."""
    try:
        return local("GET", url).status_code == 200
    except requests.RequestException:
        return False


def local(method: str, url: str) -> requests.Response:
    """Make a request on this machine, past any proxy."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, timeout=10)
