"""How the templates write times, numbers and JSON; what the forms share; what all pages know."""

import json
import re
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import Blueprint, current_app, request, session
from flask.blueprints import BlueprintSetupState
from flask_wtf.csrf import generate_csrf
from markupsafe import Markup
from werkzeug.datastructures import MultiDict

from bridge.api.queries import Args, read_phone
from bridge.dashboard.words import outcome_tone, outcome_words, result_words
from rules.guards import span
from schemas.errors import BadQuery
from schemas.fields import mask_text
from schemas.settings import Settings
from schemas.visible import visible

# The colour of each status. The word always stands beside it.
TONES = {
    "queued": "waits",
    "held": "waits",
    "retrying": "waits",
    "sending": "moves",
    "delivered": "good",
    "unknown": "doubt",
    "failed": "bad",
    "skipped": "quiet",
    "cancelled": "quiet",
    "routed": "good",
    "unrouted": "quiet",
    "unreadable": "bad",
}


# A piece of a name: up to the next sign after which a line may end.
PIECE: Final = re.compile(r"[^_./]*[_./]+|[^_./]+")

PAUSED = "Paused: {scope}. New events are still stored."
RESUMED = "Resumed: {scope}. {released} deliveries that it held are due now."


def add(dashboard: Blueprint, settings: Settings) -> None:
    """Give the templates their filters."""
    zone = ZoneInfo(settings.callkaro_timezone)

    @dashboard.app_template_filter("local")
    def local(at: datetime | str | None) -> str:
        """Return a time in CALLKARO_TIMEZONE, to the second."""
        return "" if at is None else local_time(at, zone)

    @dashboard.app_template_filter("clock")
    def clock(at: datetime | str) -> str:
        """Return a time in CALLKARO_TIMEZONE to the minute, with its day unless that is today."""
        return clock_text(_instant(at).astimezone(zone), datetime.now(zone))

    @dashboard.app_template_filter("ago")
    def ago(at: datetime | str | None) -> str:
        """Return how long ago a time was, or how far ahead it is, in the largest unit."""
        if at is None:
            return ""
        length = datetime.now(UTC) - _instant(at)
        return f"in {span(-length)}" if length.total_seconds() < 0 else f"{span(length)} ago"

    @dashboard.app_template_filter("iso")
    def iso(at: datetime | str | None) -> str:
        return "" if at is None else _instant(at).isoformat(timespec="seconds")

    @dashboard.app_template_filter("pretty")
    def pretty(value: Any) -> str:
        """Return a JSON value for people."""
        return json.dumps(value, indent=2, ensure_ascii=False, default=str)

    @dashboard.record_once
    def show_hidden(state: BlueprintSetupState) -> None:
        """Let every text of every page show its hidden characters as their codes."""
        state.app.jinja_env.finalize = _shown

    dashboard.add_app_template_filter(wraps, "wraps")

    @dashboard.app_template_filter("masked")
    def masked(text: str) -> str:
        return mask_text(text)

    @dashboard.app_template_filter("tone")
    def tone(status: str) -> str:
        return TONES.get(str(status), "quiet")

    dashboard.add_app_template_filter(outcome_words, "outcome_words")
    dashboard.add_app_template_filter(outcome_tone, "outcome_tone")
    dashboard.add_app_template_filter(result_words, "result_words")

    @dashboard.app_template_filter("seconds")
    def seconds(value: float | None) -> str:
        """Return a length in seconds for people."""
        if value is None:
            return "—"
        return (
            f"{value * 1000:.0f} ms"
            if value < 1
            else f"{value:.1f} s"
            if value < 120
            else (f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.0f} h")
        )

    @dashboard.app_context_processor
    def known() -> dict[str, Any]:
        return {
            "csrf": generate_csrf() if "id" in session else "",
            "zone": settings.callkaro_timezone,
            "dry_run": settings.dry_run,
            "allowed": None if settings.allow_numbers is None else len(settings.allow_numbers),
            "with_args": with_args,
            "known_endpoints": current_app.view_functions,
        }


def local_time(at: datetime | str, zone: ZoneInfo) -> str:
    """Return a time as the pages write it, in `zone`, to the second."""
    return f"{_instant(at).astimezone(zone):%d %b %Y, %H:%M:%S}"


def clock_text(at: datetime, now: datetime) -> str:
    """Return a time of day, such as 12:03; with its day, and year, where now has another one."""
    if at.date() == now.date():
        return f"{at:%H:%M}"
    return f"{at:%d %b, %H:%M}" if at.year == now.year else f"{at:%d %b %Y, %H:%M}"


def typed_number(text: str, region: str | None) -> str:
    """Return the number that a person typed into a form, in E.164. Raises BadQuery."""
    try:
        return read_phone(text, region)
    except BadQuery:
        raise BadQuery(
            "This is not a valid phone number. Write it in full, such as +919876543210."
        ) from None


def with_zone(given: Args, settings: Settings) -> Args:
    """Return a form's filters as the API reads them: its times are in CALLKARO_TIMEZONE."""
    zone = ZoneInfo(settings.callkaro_timezone)
    return MultiDict(
        (name, _zoned(value, zone) if name in ("since", "until") else value)
        for name, value in given.items(multi=True)
    )


def _zoned(text: str, zone: ZoneInfo) -> str:
    try:
        at = datetime.fromisoformat(text)
        return text if at.tzinfo else at.replace(tzinfo=zone).isoformat()
    except (ValueError, OverflowError):
        return text  # read_instant() refuses it with a sentence


def with_args(**changes: str | None) -> str:
    """Return this page's address with parts of its query changed; None removes a part."""
    pairs = [(name, value) for name, value in request.args.items(multi=True) if name not in changes]
    pairs += [(name, value) for name, value in changes.items() if value is not None]
    return f"{request.path}?{urlencode(pairs)}" if pairs else request.path


def _shown(value: Any) -> Any:
    """Return a value as a page shows it. A text of a lead could hide or turn around the rest."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return visible(value.replace("\r\n", "\n"), keeps="\n\t")


def wraps(text: Any) -> Markup:
    """Return a name or an id that a page breaks after a "_", "." or "/" rather than in a word."""
    pieces = [visible(piece) for piece in PIECE.findall(str(text))]
    return Markup("<wbr>").join(pieces)


def _instant(at: datetime | str) -> datetime:
    return datetime.fromisoformat(at) if isinstance(at, str) else at
