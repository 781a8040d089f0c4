"""CallKaro's API by its documentation. It refuses a request that breaks a documented rule.

https://docs.callkaro.ai/api-reference. Documented error texts are used word for word. If only
the rule is documented, the text is ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NoReturn

from flask import Blueprint, Response, g, jsonify, request

from simulator.state import State

LANGUAGES = ("hi", "en", "kn", "mr", "ta", "te", "bn", "gu", "ml")
MAX_NAME = 200
MAX_RETRIES = 10
MAX_PRIORITY = 100

# ASCII and fullmatch: in Python, \d also matches Devanagari digits, and $ a trailing newline.
_E164 = re.compile(r"\+[1-9]\d{1,14}", re.ASCII)
_E164_LOOSE = re.compile(r"\+?[1-9]\d{1,14}", re.ASCII)
_CLOCK = re.compile(r"([0-1]?[0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
_LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)

# field -> (whether a value follows the rule, the message if it does not)
Rules = Mapping[str, tuple[Callable[[Any], bool], str]]


def views(state: State) -> Blueprint:
    """Build CallKaro's endpoints over this state."""
    blueprint = Blueprint("callkaro", __name__)

    @blueprint.before_request
    def check_key() -> tuple[Response, int] | None:
        key = request.headers.get("X-API-KEY", "")
        if not key or (state.api_key is not None and key != state.api_key):
            return refusal("Missing or invalid API key", 403)
        return None

    @blueprint.post("/call/campaign")
    def create_campaign_v1() -> tuple[Response, int]:
        body = read_object(g.raw)
        problem = problem_with_campaign(body, version=1)
        if problem:
            return refusal(problem, 400)
        if body["agent_id"] in state.unknown_agents:
            return refusal("Agent does not exist", 404)
        return created(body["name"], body["agent_id"])

    @blueprint.post("/v2/call/campaign")
    def create_campaign_v2() -> tuple[Response, int]:
        body = read_object(g.raw)
        problem = problem_with_campaign(body, version=2)
        if problem:
            return refusal(problem, 400)
        return created(body["name"], None)

    def created(name: str, agent_id: str | None) -> tuple[Response, int]:
        campaign = state.add_campaign(name, agent_id)
        return jsonify(
            batch_id=campaign.batch_id, message="Campaign created successfully", status="success"
        ), 200

    @blueprint.post("/call/outbound")
    def place_call() -> tuple[Response, int]:
        body = read_object(g.raw)
        problem = problem_with_call(body)
        if problem:
            return refusal(problem, 400)
        if body["agent_id"] in state.unknown_agents:
            return refusal("Agent does not exist", 404)
        if "batch_id" in body:
            campaign = state.campaign(body["batch_id"])
            if campaign is None:
                return refusal("Campaign does not exist", 400)
            # "All calls added to a v1 campaign must use the same agent_id that was specified
            # when creating the campaign."
            if campaign.agent_id not in (None, body["agent_id"]):
                return refusal("agent_id is not the agent of this campaign", 400)
        call = state.add_call(body, g.raw)
        return jsonify(
            status="done", message="Call queued successfully", call_sid=call.call_sid
        ), 200

    @blueprint.post("/call/delete-schedule-call")
    def delete_scheduled_call() -> tuple[Response, int]:
        agent_id = request.args.get("agent_id", "")
        if not agent_id:
            return refusal("Missing agent_id", 400)
        body = read_object(g.raw)
        problem = problem_with_deletion(body)
        if problem:
            return refusal(problem, 400)
        if agent_id in state.unknown_agents:
            return refusal("Agent does not exist", 404)
        # CallKaro's answer if nothing was scheduled is not documented.
        state.delete_scheduled(agent_id, "+" + body["to_number"].removeprefix("+"))
        return jsonify(status="success", message="Scheduled call deleted successfully"), 200

    @blueprint.errorhandler(NotAnObject)
    def refuse_body(_: NotAnObject) -> tuple[Response, int]:
        return refusal("The body must be a JSON object", 400)

    return blueprint


class NotAnObject(ValueError):
    """The body is not a JSON object: refuse it (400)."""


def refusal(message: str, status: int) -> tuple[Response, int]:
    """Answer an error as CallKaro does."""
    return jsonify(status="error", message=message), status


def read_object(raw: bytes) -> dict[str, Any]:
    """Parse a body of any content type, because CallKaro's own curl samples send none.

    Raises:
        NotAnObject: it is not JSON, or not an object.
    """
    try:
        body = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise NotAnObject from None
    if not isinstance(body, dict):
        raise NotAnObject
    return body


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_integer_within(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: _is_integer(value) and low <= value <= high


def _fits(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_local_time(value: Any) -> bool:
    if not _fits(_LOCAL_TIME)(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_gap(value: Any) -> bool:
    minutes = value if isinstance(value, list) else [value]
    # The documentation does not say that minutes must not be negative, but they can't be.
    return all(_is_integer(gap) and gap >= 0 for gap in minutes)


NAME: Rules = {
    "name": (
        lambda value: isinstance(value, str) and 1 <= len(value) <= MAX_NAME,
        f"name must be text of 1 to {MAX_NAME} characters",
    ),
}
AGENT: Rules = {"agent_id": (_is_text, "agent_id must be text")}
CALL: Rules = {
    "to_number": (_fits(_E164), r"to_number must match ^\+[1-9]\d{1,14}$"),
    **AGENT,
    "batch_id": (_is_text, "batch_id must be text"),
    "metadata": (lambda value: isinstance(value, dict), "metadata must be an object"),
    "schedule_at": (_is_local_time, "schedule_at must be a time as YYYY-MM-DDTHH:MM:SS"),
    "min_trigger_time": (_fits(_CLOCK), "min_trigger_time must be a time as HH:MM"),
    "max_trigger_time": (_fits(_CLOCK), "max_trigger_time must be a time as HH:MM"),
    "carry_over": (lambda value: isinstance(value, bool), "carry_over must be true or false"),
    "number_of_retries": (
        _is_integer_within(0, MAX_RETRIES),
        f"number_of_retries must be an integer from 0 to {MAX_RETRIES}",
    ),
    "gap_between_retries": (
        _is_gap,
        "gap_between_retries must be minutes as an integer, or a list of integers",
    ),
    "priority": (
        _is_integer_within(-MAX_PRIORITY, MAX_PRIORITY),
        f"priority must be an integer from -{MAX_PRIORITY} to {MAX_PRIORITY}",
    ),
    "language": (
        lambda value: isinstance(value, str) and value in LANGUAGES,
        f"language must be one of {', '.join(LANGUAGES)}",
    ),
}


def problem_with_campaign(body: dict[str, Any], *, version: int) -> str | None:
    """Return the rule that the body of a campaign breaks; None: it follows all of them."""
    if version == 1:
        return _missing(body, ("agent_id", "name")) or _broken(body, {**NAME, **AGENT})
    return _missing(body, ("name",)) or _broken(body, NAME)


def problem_with_call(body: dict[str, Any]) -> str | None:
    """Return the rule that the body of a call breaks; None: it follows all of them."""
    return _missing(body, ("to_number", "agent_id")) or _broken(body, CALL) or _at_odds(body)


def problem_with_deletion(body: dict[str, Any]) -> str | None:
    """Return the rule that the body of a deletion breaks; None: it follows all of them."""
    rules: Rules = {"to_number": (_fits(_E164_LOOSE), "to_number must be a number in E.164")}
    return _missing(body, ("to_number",)) or _broken(body, rules)


def _missing(body: dict[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        if body.get(name) in (None, ""):
            # The documentation has both texts, each for its field.
            return "Missing agent_id" if name == "agent_id" else f"Missing required field: {name}"
    return None


def _broken(body: dict[str, Any], rules: Rules) -> str | None:
    for name, value in body.items():
        if name not in rules:
            return f"Unknown field: {name}"
        keeps, message = rules[name]
        if not keeps(value):
            return message
    return None


def _at_odds(body: dict[str, Any]) -> str | None:
    """Return the broken rule that is about several fields; each field alone is correct."""
    if any(key.startswith("_") for key in body.get("metadata", {})):
        return "metadata keys must not start with _"
    earliest, latest = body.get("min_trigger_time"), body.get("max_trigger_time")
    # A window over midnight is not documented, so it is refused.
    if earliest and latest and _minutes(earliest) >= _minutes(latest):
        return "min_trigger_time must be before max_trigger_time"
    gaps = body.get("gap_between_retries")
    if isinstance(gaps, list) and len(gaps) != body.get("number_of_retries", 0):
        return "gap_between_retries must have one entry for each of number_of_retries"
    return None


def _minutes(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)
