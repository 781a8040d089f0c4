"""/simulator: read what was received, and set how to behave, over HTTP."""

from __future__ import annotations

import http.client
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify, render_template, request

from simulator import outcomes
from simulator.state import Behaviour, State
from simulator.told import told

PREFIX = "/simulator"
ON_PAGE = 100

_TEXT = (str,)
_NUMBER = (int, float)
# The JSON types of a behaviour's values. null always means the default.
_TYPES: dict[str, tuple[type, ...]] = {
    "path": _TEXT,
    "to_number": _TEXT,
    "times": (int,),
    "latency_ms": _NUMBER,
    "status": (int,),
    "retry_after": _TEXT,
    "html": (bool,),
    "body": _TEXT,
    "content_type": _TEXT,
    "headers": (dict,),
    "accept": (bool,),
    "cut": _TEXT,
    "drip_s": _NUMBER,
}


class BadControl(ValueError):
    """A control request is wrong: correct it (400)."""


def views(state: State) -> Blueprint:
    """Build the control API over this state."""
    blueprint = Blueprint("control", __name__, url_prefix=PREFIX)

    @blueprint.get("")
    def page() -> str:
        return render_template(
            "page.html",
            totals=state.totals(),
            behaviours=[_shown_behaviour(*entry) for entry in state.behaviours],
            calls=[state.shown_call(call) for call in state.last_calls(ON_PAGE)],
            campaigns=[campaign.shown() for campaign in reversed(state.campaigns[-ON_PAGE:])],
            told=[entry.shown() for entry in reversed(told(state)[-ON_PAGE:])],
            requests=state.last_requests(ON_PAGE),
        )

    @blueprint.get("/status")
    def status() -> Response:
        return jsonify(state.totals())

    @blueprint.get("/requests")
    def requests() -> Response:
        found = state.requests_to(request.args.get("path", "/"))
        return _items([entry.shown() for entry in _limited(found)], total=len(found))

    @blueprint.delete("/requests")
    def forget() -> tuple[str, int]:
        state.forget()
        return "", 204

    @blueprint.get("/calls")
    def calls() -> Response:
        to_number = request.args.get("to_number")
        found = state.calls if to_number is None else state.calls_to(to_number)
        return _items([state.shown_call(call) for call in _limited(found)], total=len(found))

    @blueprint.get("/campaigns")
    def campaigns() -> Response:
        found = state.campaigns
        return _items([campaign.shown() for campaign in _limited(found)], total=len(found))

    @blueprint.get("/written")
    def written() -> Response:
        found = state.written
        return _items([entry.shown() for entry in _limited(found)], total=len(found))

    @blueprint.get("/told")
    def what_crms_were_told() -> Response:
        found = told(state)
        return _items([entry.shown() for entry in _limited(found)], total=len(found))

    @blueprint.get("/behave")
    def behaviours() -> Response:
        shown = [_shown_behaviour(*entry) for entry in state.behaviours]
        return _items(shown, total=len(shown))

    @blueprint.post("/behave")
    def behave() -> tuple[Response, int]:
        behaviour = read_behaviour(_body())
        state.follow(behaviour)
        return jsonify(_shown_behaviour(behaviour, behaviour.times)), 201

    @blueprint.delete("/behave")
    def behave_normally() -> tuple[str, int]:
        state.behave_normally()
        return "", 204

    @blueprint.put("/records/<crm>/<object_name>/<record_id>")
    def put_record(crm: str, object_name: str, record_id: str) -> tuple[str, int]:
        try:
            visible_after_s = float(request.args.get("visible_after_s", "0"))
        except ValueError:
            raise BadControl("visible_after_s must be a number") from None
        state.put_record(crm, object_name, record_id, _body(), visible_after_s)
        return "", 204

    @blueprint.delete("/records/<crm>/<object_name>/<record_id>")
    def drop_record(crm: str, object_name: str, record_id: str) -> tuple[str, int]:
        state.drop_record(crm, object_name, record_id)
        return "", 204

    @blueprint.put("/fields/<crm>/<object_name>/<field>")
    def set_field(crm: str, object_name: str, field: str) -> tuple[str, int]:
        wanted = _body()
        if wanted not in ({"is": None}, {"is": "missing"}, {"is": "read_only"}):
            raise BadControl('give {"is": …}: "missing", "read_only", or null for a usual field')
        state.set_field(crm, object_name, field, wanted["is"])
        return "", 204

    @blueprint.put("/scopes/<crm>")
    def set_scopes(crm: str) -> tuple[str, int]:
        scopes = _body().get("scopes")
        if not isinstance(scopes, list) or not all(isinstance(one, str) for one in scopes):
            raise BadControl("give scopes, a list of texts")
        state.set_scopes(crm, scopes)
        return "", 204

    @blueprint.put("/merges/<crm>/<object_name>/<record_id>")
    def merge_record(crm: str, object_name: str, record_id: str) -> tuple[str, int]:
        body = _body()
        into, in_batch = body.pop("into", None), body.pop("in_batch", True)
        if body or not isinstance(into, str) or not isinstance(in_batch, bool):
            raise BadControl("give into, an id as text, and perhaps in_batch, true or false")
        try:
            state.merge_record(crm, object_name, record_id, into, in_batch=in_batch)
        except ValueError as error:
            raise BadControl(str(error)) from None
        return "", 204

    @blueprint.post("/call-ended")
    def end_call() -> tuple[Response, int]:
        overrides = _body()
        url = overrides.pop("to", None)
        call_sid = overrides.pop("call_sid", None)
        delivery_id = overrides.pop("delivery_id", None)
        if not isinstance(url, str):
            raise BadControl("to must be the URL that the outcome is sent to")
        for name, value in (("call_sid", call_sid), ("delivery_id", delivery_id)):
            if value is not None and not isinstance(value, str):
                raise BadControl(f"{name} must be text")
        if (call_sid is None) == (delivery_id is None):
            raise BadControl("give either call_sid or delivery_id")
        call = state.find_call(call_sid=call_sid, delivery_id=delivery_id)
        if call is None:
            return jsonify(error="unknown_call", message="No such call was accepted here."), 404
        try:
            body = outcomes.call_ended(call, overrides)
            answered = outcomes.post(url, body, allowed_hosts=state.callback_hosts)
        except ValueError as error:
            raise BadControl(str(error)) from None
        except (OSError, http.client.HTTPException) as error:
            message = f"No answer from there: {type(error).__name__}."
            return jsonify(error="no_answer", message=message), 502
        return jsonify(status=answered, sent=body), 200

    @blueprint.get("/recording.wav")
    def recording() -> Response:
        return Response(outcomes.recording(), content_type="audio/wav")

    @blueprint.errorhandler(BadControl)
    def refuse(error: BadControl) -> tuple[Response, int]:
        return jsonify(error="bad_request", message=f"{error}."), 400

    return blueprint


def read_behaviour(body: dict[str, Any]) -> Behaviour:
    """Read a behaviour from JSON.

    Raises:
        BadControl: a field is unknown or its value makes no sense.
    """
    given = {name: value for name, value in body.items() if value is not None}
    for name, value in given.items():
        if name not in _TYPES:
            raise BadControl(f"{name} is not one of {', '.join(_TYPES)}")
        # bool is an int to Python, but {"times": true} is a slip.
        if not isinstance(value, _TYPES[name]) or (
            isinstance(value, bool) and bool not in _TYPES[name]
        ):
            raise BadControl(f"{name} has a value of the wrong kind")
    headers = given.get("headers", {})
    if not all(isinstance(value, str) for value in headers.values()):
        raise BadControl("headers must be texts by name")
    try:
        return Behaviour(**given)
    except ValueError as error:
        raise BadControl(str(error)) from None


def _shown_behaviour(behaviour: Behaviour, left: int | None) -> dict[str, Any]:
    usual = Behaviour()
    shown = {
        name: value
        for name, value in asdict(behaviour).items()
        if name == "path" or value != getattr(usual, name)
    }
    return {**shown, "left": left}


def _body() -> dict[str, Any]:
    body = request.get_json(force=True, silent=True)
    if not isinstance(body, dict):
        raise BadControl("the body must be a JSON object")
    return body


def _limited(found: list[Any]) -> list[Any]:
    limit = request.args.get("limit")
    if limit is None:
        return found
    if not limit.isdecimal() or int(limit) < 1:
        raise BadControl("limit must be a number from 1")
    return found[-int(limit) :]


def _items(items: list[Any], *, total: int) -> Response:
    return jsonify(items=items, total=total)
