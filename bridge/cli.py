"""The command line, `flask --app bridge …`. Each command reads the settings when it runs.

A failure that was to be expected is one message on stderr and exit code 1; a wrong use is 2.
"""

import importlib
import json
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit, urlunsplit

import click
import requests
from flask import Flask
from requests.structures import CaseInsensitiveDict
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bridge.errors import BridgeError, SettingsError
from bridge.settings import Settings, redis_url_from_env
from schemas.source import Incoming, Source

TIMEOUT_S = 30.0
PREVIEW = "workers.preview"  # by name, as RQ gets the drain: bridge never imports workers


class Failure(click.ClickException):
    """What stops a command and was to be expected: its message is all that is shown."""


def carry_commands() -> Flask:
    """Return an app that carries the commands. It serves nothing and reads nothing."""
    app = Flask("bridge", static_folder=None)
    for command in (check, preview, send, status, simulate, demo):
        app.cli.add_command(command)

    @app.route("/", defaults={"path": ""})
    @app.route("/<path:path>")
    def not_here(path: str) -> tuple[dict[str, str], int]:
        message = "This app only carries the commands. Serve with: flask --app bridge.app run"
        return {"error": "not_found", "message": message}, 404

    return app


# --- check ----------------------------------------------------------------------------------


@click.command(short_help="Check the settings, the routes and Redis.")
def check() -> None:
    """Check the settings, the routes and Redis; say all that is wrong at once."""
    problems: list[str] = []
    settings = None
    try:
        settings = Settings.from_env()
    except SettingsError as error:
        problems.append(str(error))
    warnings, redis_problem = _look_at_redis(
        settings.redis_url if settings else redis_url_from_env()
    )
    if redis_problem:
        problems.append(f"  - REDIS_URL: {redis_problem}")
    if settings is None or problems:
        raise Failure("The bridge can't run; mend this:\n" + "\n".join(problems))
    _show_settings(settings, [*settings.warnings(), *warnings])
    if os.environ.get("HONCHO_PROCESS_NAME"):
        # `honcho start` runs every line of the Procfile and ends them all when one ends.
        signal.pause()


def _look_at_redis(url: str | None) -> tuple[list[str], str | None]:
    """Return Redis' warnings and what is wrong with it; None: nothing, or it can't be asked."""
    from bridge.api import persistence_warnings
    from bridge.errors import StoreUnavailable
    from bridge.store import Store, connect

    if url is None:
        return [], None
    try:
        store = Store(connect(url))
        store.ping()
        store.check_room()
        return persistence_warnings(store), None
    except StoreUnavailable as error:
        return [], f"{str(error).rstrip('.')}."
    except ValueError:  # redis-py's, about the address; its text would repeat the password
        return [], "is no address that Redis can be reached under."


def _show_settings(settings: Settings, warnings: list[str]) -> None:
    table = Table("Source", "URL", "Secret", "Routes", box=None, pad_edge=False)
    for source in settings.routes.sources.values():
        routes = [route.name for route in settings.routes.routes if route.source == source.name]
        is_set = bool(settings.secrets.get(source.name))
        if not routes and not is_set:
            continue  # a kind that nobody uses
        base = settings.public_url or ""
        table.add_row(
            source.name,
            f"{base}/webhooks/{source.name}",
            "set" if is_set else f"{source.variable_prefix}WEBHOOK_SECRET is not set",
            ", ".join(routes) or "-",
        )
    screen = console()
    screen.print("Settings, routes and Redis are in order.\n")
    screen.print(table)
    if warnings:
        screen.print("\nNo errors, but mind:")
        for warning in warnings:
            screen.print(Text(f"  - {warning}"))


# --- preview --------------------------------------------------------------------------------


@click.command(short_help="Show what a body would become, and why.")
@click.argument("source")
@click.argument("body", type=click.File("rb"))
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header of it.")
@click.option("--content-type", help="Default: by the file's name, else by its looks.")
@click.option("--record", type=click.File("rb"), help="The full record(s) of a thin event, JSON.")
@click.option("--at", metavar="TIME", help="As of this time (ISO 8601). Default: now.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def preview(
    source: str,
    body: BinaryIO,
    headers: tuple[str, ...],
    content_type: str | None,
    record: BinaryIO | None,
    at: str | None,
    as_json: bool,
) -> None:
    """Show what BODY, posted by SOURCE, would become, and why. Nothing is sent or fetched.

    BODY is a file, or - for stdin. The signature is not checked. A thin event carries only an id:
    --record gives the record that would be fetched, as its CRM's API answers or as plain fields;
    several of them by id.
    """
    settings = read_settings(needs=frozenset({"ROUTES"}))
    found = find_source(settings, source)
    raw = body.read()
    given = CaseInsensitiveDict(_read_header(header) for header in headers)
    kind = content_type or given.get("Content-Type") or guess_content_type(body.name, raw)
    request = incoming(found, raw, kind, base_url="https://bridge.example", headers=dict(given))
    look = importlib.import_module(PREVIEW).look
    try:
        seen = look(
            settings, found, request, now=_read_time(at), record=_read_json(record, "--record")
        )
    except BridgeError as error:
        raise Failure(str(error)) from None
    click.echo(json.dumps(seen.as_json(), indent=2, ensure_ascii=False) if as_json else seen.text())


def _read_header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.BadParameter("write it as 'Name: value'", param_hint="--header")
    return name.strip(), value.strip()


def _read_time(text: str | None) -> datetime:
    """Return an aware time; one without a zone is in this machine's; None: now."""
    if text is None:
        return datetime.now(UTC)
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            "write it as 2026-01-31T09:30:00+05:30", param_hint="--at"
        ) from None


def _read_json(file: BinaryIO | None, hint: str) -> Any:
    try:
        return None if file is None else json.loads(file.read())
    except (ValueError, RecursionError):
        raise click.BadParameter("the file is not JSON", param_hint=hint) from None


# --- send -----------------------------------------------------------------------------------


@click.command(short_help="Sign a body and post it.")
@click.argument("source")
@click.argument("body", type=click.File("rb"))
@click.option("--url", help="Where the bridge runs. Default: this machine, at PORT.")
@click.option("--content-type", help="Default: by the file's name, else by its looks.")
@click.option("--times", type=click.IntRange(1, 10_000), default=1, help="Send it so often.")
def send(
    source: str, body: BinaryIO, url: str | None, content_type: str | None, times: int
) -> None:
    """Sign BODY with SOURCE's secret and post it to a bridge that runs.

    BODY is a file, or - for stdin. More than once is what a CRM does when it resends: the second
    adds nothing where the event has an id. If a real CALLKARO_API_KEY is set over there, a phone
    may ring.
    """
    settings = read_settings(needs=frozenset({"ROUTES"}))
    found = find_source(settings, source)
    raw = body.read()
    base_url = address_of(url or f"http://localhost:{settings.port}")
    kind = content_type or guess_content_type(body.name, raw)
    # One message, resent: only the time and so the signature are new.
    sent_id = f"msg_{os.urandom(12).hex()}"
    table = Table("HTTP", "Event", "Became", "Deliveries", box=None, pad_edge=False)
    ok = True
    for _ in range(times):
        answer = post_signed(settings, found, raw, kind, base_url=base_url, message_id=sent_id)
        ok = ok and answer.ok
        for row in _answer_rows(answer):
            table.add_row(str(answer.status_code), *row)
    console().print(table)
    if not ok:
        raise Failure("Not all of it was taken in.")


def post_signed(
    settings: Settings,
    source: Source,
    body: bytes,
    content_type: str,
    *,
    base_url: str,
    message_id: str | None = None,
) -> requests.Response:
    """Post a body to /webhooks/<source>, signed as its CRM would. Raises Failure."""
    from bridge.verify import sign

    secrets = settings.secrets.get(source.name)
    if not secrets:
        raise Failure(f"{source.variable_prefix}WEBHOOK_SECRET is not set, so it can't be signed.")
    base_url = address_of(base_url)
    # A bridge that knows its public address checks signatures over that one.
    signed_url = settings.public_url if settings.public_url and _is_here(base_url) else base_url
    request = incoming(source, body, content_type, base_url=signed_url)
    proof = sign(source.auth, secrets[0], request, now=datetime.now(UTC), message_id=message_id)
    return ask(
        "POST",
        f"{base_url}/webhooks/{source.name}",
        headers={"Content-Type": content_type, **proof},
        data=body,
    )


def _answer_rows(answer: requests.Response) -> Iterator[tuple[str, str, str]]:
    """Yield a row for each event of the answer, or one that says what it says instead."""
    content = _json_of(answer)
    if not answer.ok or not isinstance(content.get("events"), list):
        yield "-", str(content.get("error", "?")), str(content.get("message", answer.reason))
        return
    for event in content["events"]:
        word = "duplicate" if event["duplicate"] else event["status"]
        deliveries = "\n".join(f"{one['id']}  {one['route']}" for one in event["deliveries"])
        yield event["id"], word, deliveries or "-"
    if not content["events"]:
        yield "-", "no event", "-"


# --- status ---------------------------------------------------------------------------------


@click.command(short_help="Show what became of an event or a delivery.")
@click.argument("some_id", metavar="[ID]", required=False)
@click.option("--json", "as_json", is_flag=True, help="What the API answers, as it is.")
@click.option("--url", help="Where the bridge runs. Default: PUBLIC_URL, else this machine.")
def status(some_id: str | None, as_json: bool, url: str | None) -> None:
    """Show how a running bridge stands, or what became of an event or a delivery by its ID.

    A status_url, as the answer to a webhook has it, will do for an ID.
    """
    settings = read_settings(needs=frozenset({"API_TOKEN"}))
    api = Api(
        base_url=address_of(url or settings.public_url or f"http://localhost:{settings.port}"),
        token=settings.api_tokens[0],
    )
    if some_id is None:
        overview = api.get("/api/status")
        _show(overview, as_json, _show_overview)
        return
    some_id = id_in(some_id)
    event = api.get(f"/api/events/{quote(some_id, safe='')}", or_none=True)
    if event is not None:
        _show(event, as_json, lambda found: _show_event(found, api))
        return
    delivery = api.get(f"/api/deliveries/{quote(some_id, safe='')}", or_none=True)
    if delivery is None:
        raise Failure(
            f"There is no event and no delivery {some_id}; records are kept RETENTION_DAYS."
        )
    _show(delivery, as_json, _show_delivery)


def id_in(text: str) -> str:
    """Return the ID that somebody gave, be it as a pasted status_url."""
    return re.split(r"[?#]", text)[0].rstrip("/").rpartition("/")[2] or text


@dataclass(frozen=True, kw_only=True)
class Api:
    """A running bridge's API."""

    base_url: str
    token: str

    def get(self, path: str, *, or_none: bool = False) -> Any:
        """Return an answer's JSON; None for a 404 if or_none. Raises Failure."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = ask("GET", self.base_url + path, headers=headers)
        if answer.status_code == 404 and or_none:
            return None
        content = _json_of(answer)
        if answer.status_code == 401:
            raise Failure(f"API_TOKEN is not the one of the bridge at {self.base_url}.")
        if not answer.ok:
            message = content.get("message") or answer.reason
            raise Failure(f"The bridge at {self.base_url} answered {answer.status_code}: {message}")
        if not content:
            raise Failure(f"What answers at {self.base_url} is no bridge.")
        return content


def _show(found: Any, as_json: bool, show: Any) -> None:
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        show(found)


def _show_overview(found: Mapping[str, Any]) -> None:
    screen = console()
    counts = Table("Deliveries", "", box=None, pad_edge=False)
    for word, count in found["deliveries"].items():
        counts.add_row(word, str(count))
    screen.print(counts)
    kept = found["persistence"]
    rows = {
        "oldest waiting": _seconds(found["oldest_waiting_s"]),
        "next due": _seconds(found["next_due_s"]),
        "workers": ", ".join(one["state"] for one in found["workers"]) or "none",
        "Redis": f"append-only {'yes' if kept['append_only'] else 'no'}, "
        f"fsync {kept['fsync']}, {kept['policy']}",
        "CallKaro": _callkaro(found.get("callkaro") or {}),
        "routes": found["routes"],
    }
    screen.print(_pairs(rows))
    for warning in found["warnings"]:
        screen.print(Text(f"mind: {warning}"))


def _callkaro(found: Mapping[str, Any]) -> str:
    """Return how CallKaro took the latest requests."""
    answered, failed = found.get("answered_at"), found.get("failed_at")
    told = [
        f"answered {answered}" if answered else "",
        f"failed {failed}" if failed else "",
        found.get("message") or "",
    ]
    return "\n".join(filter(None, told)) or "not asked yet"


def _show_event(found: Mapping[str, Any], api: Api) -> None:
    rows = {
        "event": found["id"],
        "of": f"{found['source']}, there {found['source_event_id']}",
        "type": found["type"],
        "subject": found["subject"],
        "happened": found["time"],
        "received": found["received_at"],
        "status": found["status"],
        "problem": found["problem"],
    }
    console().print(_pairs(rows))
    for brief in found["deliveries"]:
        click.echo()
        _show_delivery(api.get(f"/api/deliveries/{brief['id']}"))


def _show_delivery(found: Mapping[str, Any]) -> None:
    screen = console()
    reason = f" ({found['reason']})" if found["reason"] else ""
    rows = {
        "delivery": found["id"],
        "route": found["route"],
        "status": f"{found['status']}{reason}",
        "message": found["message"],
        "next attempt": found["next_attempt_at"],
        "call": found["call_sid"],
        "campaign": found["batch_id"],
        "request": json.dumps(found["request"], ensure_ascii=False) if found["request"] else None,
    }
    screen.print(_pairs(rows))
    timeline = Table("When", "Became", "Why", box=None, pad_edge=False)
    for change in found["timeline"]:
        timeline.add_row(change["at"], change["status"], change["reason"] or "")
    screen.print(timeline)
    if not found["attempts"]:
        return
    attempts = Table("Attempt", "When", "Took", "HTTP", "Answer", box=None, pad_edge=False)
    for one in found["attempts"]:
        took = one.get("duration_ms")
        attempts.add_row(
            str(one["number"]),
            one["at"],
            "" if took is None else f"{took} ms",
            str(one.get("status_code") or "-"),
            Text(one.get("error") or one.get("answer") or ""),
        )
    screen.print(attempts)


def _pairs(rows: Mapping[str, object]) -> Table:
    """Return names and values, those without a value left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows.items():
        if value not in (None, ""):
            table.add_row(name, Text(str(value)))
    return table


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{max(value, 0):.0f} s"


# --- simulate and demo ----------------------------------------------------------------------


@click.command(short_help="Serve the stand-in APIs.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8001, show_default=True)
def simulate(port: int) -> None:
    """Serve stand-ins for CallKaro, HubSpot and Zoho. They ring no phone.

    A bridge uses them with CALLKARO_BASE_URL, HUBSPOT_API_URL and ZOHO_ACCOUNTS_URL set to their
    address.
    """
    sys.stdout.flush()
    # In place of this process, so that whoever stops it stops them.
    arguments = [sys.executable, "-m", "simulator", "--port", str(port)]
    os.execv(sys.executable, arguments)  # noqa: S606


@click.command(short_help="Start everything and send samples.")
@click.option("--serve", is_flag=True, help="Go on serving until Ctrl-C.")
@click.option("--port", type=click.IntRange(1, 65_535), help="Default: PORT, else 8000.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".data"),
    help="Where the embedded Valkey and the logs are kept. Default: .data",
)
def demo(serve: bool, port: int | None, data: Path) -> None:
    """Start everything, send a signed sample of each source, and show what became of them.

    CallKaro and the CRMs are played by stand-ins, and what is stored is made anew each time. With
    --serve and a CALLKARO_API_KEY it is the real CallKaro: nothing is sent by itself, for a phone
    may ring.
    """
    from bridge.demo import run

    sys.exit(run(serve=serve, port=port or _port_from_env(), data=data))


def _port_from_env() -> int:
    """Return PORT or its default. Raises Failure: PORT is no wrong use of the command."""
    raw = os.environ.get("PORT", "").strip() or "8000"
    if not re.fullmatch(r"[0-9]{1,5}", raw) or not 1 <= int(raw) <= 65_535:
        raise Failure("PORT must be a number from 1 to 65535.")
    return int(raw)


# --- shared ---------------------------------------------------------------------------------


def read_settings(*, needs: frozenset[str]) -> Settings:
    """Return the settings, of which a command needs these. Raises Failure."""
    try:
        return Settings.from_env(needs=needs)
    except SettingsError as error:
        raise Failure(f"The settings can't be used; mend this:\n{error}") from None


def find_source(settings: Settings, name: str) -> Source:
    """Return the source of that name. Raises UsageError that names those there are."""
    source = settings.routes.sources.get(name)
    if source is None:
        known = ", ".join(settings.routes.sources)
        raise click.UsageError(f"There is no source {name!r}; there are {known}.")
    return source


def incoming(
    source: Source,
    body: bytes,
    content_type: str,
    *,
    base_url: str,
    headers: Mapping[str, str] | None = None,
) -> Incoming:
    """Return the webhook request that SOURCE would make of this body."""
    return Incoming(
        method="POST",
        url=f"{base_url}/webhooks/{source.name}",
        headers=CaseInsensitiveDict({**(headers or {}), "Content-Type": content_type}),
        query={},
        body=body,
        content_type=content_type.partition(";")[0].strip().lower(),
    )


def guess_content_type(name: str, body: bytes) -> str:
    """Return what a body is: by its file's name, else by how it begins."""
    if name.endswith(".form") or (
        not name.endswith(".json") and not body.lstrip().startswith((b"{", b"["))
    ):
        return "application/x-www-form-urlencoded"
    return "application/json"


def ask(method: str, url: str, **options: Any) -> requests.Response:
    """Make one request. Raises Failure when nobody answers."""
    with requests.Session() as session:
        session.trust_env = not _is_here(url)  # a proxy can't reach this machine for us
        try:
            return session.request(method, url, timeout=TIMEOUT_S, allow_redirects=False, **options)
        except requests.RequestException as error:
            where = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
            raise Failure(
                f"No bridge answers at {where} ({type(error).__name__}). Does it run there? "
                "--url says where to look."
            ) from None


def address_of(url: str) -> str:
    """Return a bridge's address as it will see it: with a scheme, without a default port.

    HTTP clients leave a default port out of Host, over which some CRMs sign. Raises Failure.
    """
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError:  # an open bracket, a port that is no number
        raise Failure(f"{url} is no address; write it as http://localhost:8000") from None
    netloc = parts.netloc
    if port == {"http": 80, "https": 443}.get(parts.scheme):
        netloc = netloc.removesuffix(f":{port}")
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def _json_of(answer: requests.Response) -> dict[str, Any]:
    try:
        content = answer.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def console() -> Console:
    """Return where tables go; a pipe has no width, so there they get room."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 140)
