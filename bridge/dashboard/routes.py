"""The page of routes: which events become which request, under which rules; and Try a body."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from bridge.dashboard.filters import PAUSED, RESUMED
from bridge.http.incoming import TOO_LARGE
from bridge.http.links import own_address
from bridge.operations import Operations
from bridge.preview import guess_content_type, incoming, look, read_header
from config.settings import MAX_BODY_BYTES
from rules.guards import span
from schemas.errors import BadQuery, BridgeError, RequestError
from schemas.json_body import read_json
from schemas.route import CampaignChoice, Constant, Route, RouteHours, Value
from schemas.settings import Settings
from store import Store

KINDS: Final = {"json": "application/json", "form": "application/x-www-form-urlencoded"}
# The colours of the preview's verdicts on a request or a guard.
TONES: Final = {
    "would be sent": "good",
    "fetches the record first": "waits",
    "ok": "good",
    "no": "bad",
    "at the intake": "waits",
    "at the send": "waits",
    "not checked": "quiet",
}
TRY: Final = "dashboard.routes_try"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """The form of Try a body, and its result: a preview, or a problem."""

    typed: Mapping[str, str]
    seen: list[dict[str, Any]] | None = None
    problem: str = ""
    at: str = ""  # the field that has the problem


class Mistyped(BadQuery):
    """A field of Try a body that can't be read."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def add(dashboard: Blueprint, operations: Operations) -> None:
    """Give the blueprint its page about routes."""
    settings, store = operations.settings, operations.store

    def page(tried: Tried) -> str:
        paused = {pause.scope: pause for pause in store.pauses()}
        return render_template(
            "routes.html",
            routes=[_shown(route, settings) for route in settings.routes.routes],
            sources=_sources(settings, store),
            counts=store.counts_of("route", [one.name for one in settings.routes.routes]),
            paused=paused,
            tried=tried,
            tones=TONES,
            limits=_limits(settings),
        )

    @dashboard.before_app_request
    def allow_long_forms() -> None:
        # This form has a body, which may be as long as a webhook's.
        if request.endpoint == TRY:
            request.max_content_length = 4 * MAX_BODY_BYTES  # each byte of it may be written as %XX
            request.max_form_memory_size = 4 * MAX_BODY_BYTES

    @dashboard.get("/routes")
    def routes() -> str:
        source = request.args.get("source", "")
        return page(Tried(typed={"source": source}))

    @dashboard.get("/routes/try")
    def routes_again() -> AnyResponse:
        return redirect(url_for("dashboard.routes"))

    @dashboard.post("/routes/try")
    def routes_try() -> Response:
        tried = _try(settings, request.form)
        status = 400 if tried.problem else 200
        return Response(page(tried), status, mimetype="text/html")

    @dashboard.post("/routes/pause")
    def routes_pause() -> AnyResponse:
        scope = request.form.get("scope", "")
        operations.pause(scope, "Paused on the dashboard.")
        flash(PAUSED.format(scope=scope))
        return redirect(url_for("dashboard.routes"))

    @dashboard.post("/routes/resume")
    def routes_resume() -> AnyResponse:
        scope = request.form.get("scope", "")
        try:
            released = operations.resume(scope)
            flash(RESUMED.format(scope=scope, released=released))
        except RequestError as error:
            flash(str(error), "problem")
        return redirect(url_for("dashboard.routes"))

    @dashboard.errorhandler(413)
    def too_large(error: HTTPException) -> tuple[str, int]:
        message = "The form is too large for this page."
        return render_template("problem.html", message=message, status=413), 413


# --- one route ----------------------------------------------------------------------------------


def _shown(route: Route, settings: Settings) -> dict[str, Any]:
    return {
        "name": route.name,
        "source": route.source,
        "event": route.event,
        "to": route.to,
        "expressions": [
            (name, expression.text)
            for name, expression in (
                ("match", route.match),
                ("when", route.when),
                ("consent", route.consent),
            )
            if expression
        ],
        "rules": list(_rules(route, settings)),
        "request": [(name, *_value(one)) for name, one in route.request.items()],
        "metadata": [(name, *_value(one)) for name, one in route.metadata.items()],
    }


def _rules(route: Route, settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the rules of a route, in the words of routes.toml."""
    if route.campaign:
        yield "campaign", _campaign(route.campaign)
    yield "max_age", _span(route.max_age_s) if route.max_age_s else "never too old"
    if route.delay_s:
        yield "delay", _span(route.delay_s)
    if route.fetch:
        yield "fetch", ", ".join(route.fetch)
    if route.to == "call":
        yield from _call_rules(route, settings)
    if route.flood:
        within = _span(route.flood.within_s)
        yield "flood", f"more than {route.flood.over} within {within} are held"


def _call_rules(route: Route, settings: Settings) -> Iterator[tuple[str, str]]:
    yield "hours", _hours(route.hours) if route.hours else "CALLING_HOURS only"
    again = f"once in {_span(route.again_after_s)}" if route.again_after_s else "no limit"
    yield "again_after", again
    yield "max_per_day", f"{route.max_per_day:,}" if route.max_per_day else "no cap"
    yield "countries", _countries(route, settings)
    if route.on_unknown == "call_again":
        yield "on_unknown", "call_again: a phone may ring twice"


def _campaign(campaign: CampaignChoice) -> str:
    if campaign.name is None:
        return f"the campaign with the key {campaign.key.text if campaign.key else ''}"
    return f"{campaign.name}, one a {campaign.period}" if campaign.period else campaign.name


def _hours(hours: RouteHours) -> str:
    if hours.timezone is None:
        return f"{hours.hours}, where the phone is"
    zone = hours.timezone if isinstance(hours.timezone, str) else hours.timezone.text
    return f"{hours.hours}, {zone}"


def _countries(route: Route, settings: Settings) -> str:
    if route.countries == "any":
        return "any"
    if route.countries:
        return ", ".join(sorted(route.countries))
    return f"{settings.default_region} (DEFAULT_REGION)" if settings.default_region else "any"


def _value(value: Value) -> tuple[str, bool]:
    """Return how a field's value is written, and whether it is a constant."""
    if isinstance(value, Constant):
        return json.dumps(value.value, ensure_ascii=False), True
    return value.text, False


def _span(seconds: int) -> str:
    return span(timedelta(seconds=seconds))


def _limits(settings: Settings) -> list[tuple[str, str]]:
    """Return the limits of every route."""
    found = [("CALLING_HOURS", f"{settings.calling_hours}, where the phone is")]
    if settings.max_per_number:
        found.append(("MAX_PER_NUMBER_PER_DAY", str(settings.max_per_number)))
    if settings.allow_numbers is not None:
        found.append(("ALLOW_NUMBERS", f"only these {len(settings.allow_numbers)} are called"))
    return found


def _sources(settings: Settings, store: Store) -> list[dict[str, Any]]:
    counts = store.counts_of("source", list(settings.routes.sources))
    channels, now = store.channels(), datetime.now(UTC)
    return [
        {
            "name": name,
            "title": source.kind.title,
            "url": f"{own_address()}/webhooks/{name}",
            "variable": f"{source.variable_prefix}WEBHOOK_SECRET",
            "is_on": bool(settings.secrets.get(name)),
            "deliveries": counts[name],
            "channel": channels.get(name),
            "has_lapsed": name in channels and channels[name].has_lapsed(now),
        }
        for name, source in settings.routes.sources.items()
    ]


# --- trying a body out --------------------------------------------------------------------------


def _try(settings: Settings, form: Mapping[str, str]) -> Tried:
    """Return what a body would become, or what is wrong in the form. Nothing is stored."""
    typed = {
        name: form.get(name, "") for name in ("source", "body", "kind", "headers", "record", "at")
    }
    try:
        return Tried(typed=typed, seen=_looked_at(settings, typed))
    except Mistyped as error:
        return Tried(typed=typed, problem=str(error), at=error.field)
    except BridgeError as error:
        return Tried(typed=typed, problem=str(error), at="body")


def _looked_at(settings: Settings, typed: Mapping[str, str]) -> list[dict[str, Any]]:
    source = settings.routes.sources.get(typed["source"])
    if source is None:
        raise Mistyped("source", "Choose a source.")
    body = typed["body"].strip().encode("utf-8", "replace")
    if not body:
        raise Mistyped("body", "Paste a body first.")
    if len(body) > MAX_BODY_BYTES:
        raise Mistyped("body", TOO_LARGE)
    kind = KINDS.get(typed["kind"]) or guess_content_type("", body)
    headers = _read_headers(typed["headers"])
    sent = incoming(source, body, kind, base_url=own_address(), headers=headers)
    now = _read_time(typed["at"], settings.callkaro_timezone)
    seen = look(settings, source, sent, now=now, record=_read_record(typed["record"]))
    found: list[dict[str, Any]] = seen.as_json()
    return found


def _read_headers(text: str) -> dict[str, str]:
    try:
        return dict(read_header(line) for line in text.splitlines() if line.strip())
    except ValueError:
        raise Mistyped(
            "headers", "Write each header on a line of its own, as Name: value."
        ) from None


def _read_record(text: str) -> Any:
    if not text.strip():
        return None
    try:
        return read_json(text.encode("utf-8", "replace"))
    except RequestError as error:
        raise Mistyped("record", str(error).replace("The body", "The record")) from None


def _read_time(text: str, zone: str) -> datetime:
    """Return an aware time; without a zone it is in CALLKARO_TIMEZONE; empty: now."""
    if not text.strip():
        return datetime.now(UTC)
    try:
        at = datetime.fromisoformat(text.strip())
        return (at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Mistyped("at", "This is not a time. Write it as 2026-01-31T09:30.") from None
