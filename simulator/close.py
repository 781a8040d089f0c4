"""Close's API, as far as the bridge reads contacts and leads, writes calls, and changes records.

https://developer.close.com/api/resources/contacts/get
https://developer.close.com/api/resources/leads
https://developer.close.com/api/resources/activities/calls
https://developer.close.com/api/resources/users/get-me
https://developer.close.com/api/resources/custom-fields/custom-field-schemas
https://developer.close.com/api/overview/api-key-authentication
https://developer.close.com/api/resources/events
https://github.com/taylorbrooks/closeio/issues/64 (the body of a refusal)
That a call needs `lead_id`, and the words of refusals, are from common knowledge, not from a wire.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, jsonify, request
from werkzeug.datastructures import MultiDict

from simulator import outcomes
from simulator.state import State

CALLS = "calls"  # the object under which the stand-in keeps them
PATHS = (
    "/api/v1/contact/",
    "/api/v1/lead/",
    "/api/v1/activity/call/",
    "/api/v1/custom_field_schema/",
    "/api/v1/me/",
)
# Nobody: see simulator/people.py.
USER = {
    "id": "user_simulated1",
    "first_name": "Sona",
    "last_name": "Example",
    "email": "sona.example@example.com",
}
API_KEY_ID = "api_simulated1"
MOST_IN_PAGE = 100

STATUSES = frozenset(
    {"created", "in-progress", "completed", "cancel", "no-answer", "busy", "failed", "timeout"}
)
# What a call may have; another key is refused, but for custom fields.
OF_UPDATE = frozenset(
    {
        *("activity_at", "contact_id", "conversation_type_id", "duration", "lead_id", "note"),
        *("note_html", "outcome_id", "phone", "playbook_id", "quality_info", "recording_url"),
        *("status", "user_id", "voicemail_url"),
    }
)
OF_CREATION = OF_UPDATE | {"created_by", "date_created", "direction", "organization_id", "source"}
OF_RECORD = {
    "lead": frozenset({"name", "description", "url", "status_id", "addresses", "custom"}),
    "contact": frozenset({"name", "title", "lead_id", "phones", "emails", "urls", "custom"}),
}
LONGEST_S = 604_800
LISTED_BY = frozenset({"lead_id", "contact_id", "user_id", "id__in", "_fields", "_limit", "_skip"})

# Errors that are asked for.
SIMULATED = {
    401: "The server could not verify that you are authorized to access the URL requested.",
    404: "Empty query: the object does not exist.",
    429: "API call count exceeded for this 1-second window",
}


def views(state: State) -> Blueprint:
    """Build Close's endpoints over this state."""
    blueprint = Blueprint("close", __name__)

    @blueprint.before_request
    def check_key() -> tuple[Response, int] | None:
        # "The API key acts as the username and the password is always empty."
        given = request.authorization
        if given is None or given.type != "basic" or not given.username or given.password:
            return simulated(401)
        return None

    @blueprint.get("/api/v1/me/")
    def me() -> tuple[Response, int]:
        return jsonify(_only(USER, request.args)), 200

    @blueprint.get("/api/v1/<any(contact, lead):kind>/<record_id>/")
    def read_one(kind: str, record_id: str) -> tuple[Response, int]:
        record = state.find_record("close", kind, record_id)
        if record is None:
            return simulated(404)
        return jsonify(_shown(kind, record_id, record)), 200

    @blueprint.put("/api/v1/<any(contact, lead):kind>/<record_id>/")
    def change_one(kind: str, record_id: str) -> tuple[Response, int]:
        record = state.find_record("close", kind, record_id)
        if record is None:
            return simulated(404)
        given: Any = request.get_json(silent=True)
        if wrong := _wrong_fields(state, kind, given, OF_RECORD[kind]):
            return refused(wrong)
        changed = {**record, **given}  # "every PUT request behaves as a patch"
        state.put_record("close", kind, record_id, changed)
        _notify(state, kind, "updated", _shown(kind, record_id, changed))
        return jsonify(_shown(kind, record_id, changed)), 200

    @blueprint.get("/api/v1/custom_field_schema/<any(contact, lead):kind>/")
    def schema(kind: str) -> tuple[Response, int]:
        names = [one for one in state.fields_of("close", kind, ()) if one.startswith("custom.")]
        fields = [{"id": one.removeprefix("custom."), "name": one, "type": "text"} for one in names]
        return jsonify(object_type=kind, fields=fields), 200

    @blueprint.get("/api/v1/activity/call/")
    def list_calls() -> tuple[Response, int]:
        if unknown := request.args.keys() - LISTED_BY:
            return refused(dict.fromkeys(unknown, "Unknown filter."))
        try:
            limit = int(request.args.get("_limit", MOST_IN_PAGE))
            skip = int(request.args.get("_skip", 0))
        except ValueError:
            return refused({"_limit": "Must be a number."})
        calls = [
            {"id": call_id, **call}
            for call_id, call in reversed(state.find_records("close", CALLS).items())
            if all(
                call.get(name) == request.args[name]
                for name in ("lead_id", "contact_id")
                if name in request.args
            )
        ]
        page = calls[skip : skip + min(limit, MOST_IN_PAGE)]
        return jsonify(
            data=[_only(one, request.args) for one in page],
            has_more=len(calls) > skip + len(page),
        ), 200

    @blueprint.post("/api/v1/activity/call/")
    def create_call() -> tuple[Response, int]:
        given: Any = request.get_json(silent=True)
        if wrong := _wrong_call(state, given, OF_CREATION) or _wrong_place(state, given):
            return refused(wrong)
        call = {"status": "completed", "source": "External", "duration": 0, **given}
        written = state.add_written("close", CALLS, call, prefix="acti_")
        state.put_record("close", CALLS, written.id, call)
        _notify(state, "activity.call", "created", {"id": written.id, **call})
        return jsonify(_type="Call", id=written.id, **call), 200

    @blueprint.put("/api/v1/activity/call/<call_id>/")
    def change_call(call_id: str) -> tuple[Response, int]:
        call = state.find_record("close", CALLS, call_id)
        if call is None:
            return simulated(404)
        given: Any = request.get_json(silent=True)
        if wrong := _wrong_call(state, given, OF_UPDATE):
            return refused(wrong)
        changed = {**call, **given}
        state.put_record("close", CALLS, call_id, changed)
        _notify(state, "activity.call", "updated", {"id": call_id, **changed})
        return jsonify(_type="Call", id=call_id, **changed), 200

    return blueprint


# --- what is refused ------------------------------------------------------------------------------


def _wrong_fields(
    state: State, object_name: str, given: Any, known: frozenset[str]
) -> dict[str, str]:
    """Return by field what is wrong with it; {}: nothing is."""
    if not isinstance(given, dict):
        return {"": "Must be a JSON object."}
    wrong = {}
    for name in given:
        is_custom = name.startswith("custom.")
        if message := state.refused_field("close", object_name, name):
            wrong[name] = message
        elif state.field_state("close", object_name, name) == "missing":
            wrong[name] = f'The Custom Field "{name.removeprefix("custom.")}" does not exist.'
        elif not is_custom and name not in known:
            wrong[name] = "Unknown field."
    return wrong


def _wrong_call(state: State, given: Any, known: frozenset[str]) -> dict[str, str]:
    if wrong := _wrong_fields(state, CALLS, given, known):
        return wrong
    duration = given.get("duration", 0)
    if type(duration) is not int or not 0 <= duration <= LONGEST_S:
        return {"duration": "Must be a whole number of seconds, at most 604800."}
    if given.get("status", "completed") not in STATUSES:
        return {"status": "Not a valid choice."}
    if given.get("direction", "outbound") not in ("inbound", "outbound"):
        return {"direction": "Not a valid choice."}
    if not str(given.get("recording_url", "https://")).startswith("https://"):
        return {"recording_url": "Must start with https://."}
    return {}


def _wrong_place(state: State, given: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with the lead and the contact that a new call names."""
    if state.find_record("close", "lead", str(given.get("lead_id"))) is None:
        return {"lead_id": "This field is required, and must be an existing lead."}
    contact_id = given.get("contact_id")
    if contact_id is None:
        return {}
    contact = state.find_record("close", "contact", contact_id) or {}
    if contact.get("lead_id") != given["lead_id"]:
        return {"contact_id": "Must be a contact of the lead."}
    return {}


def refused(wrong: Mapping[str, str]) -> tuple[Response, int]:
    """Answer what is wrong with fields, as Close does."""
    return jsonify({"field-errors": wrong, "errors": []}), 400


def simulated(status: int) -> tuple[Response, int]:
    """Answer an error that was asked for, in Close's shape."""
    return jsonify(error=SIMULATED.get(status, "Internal server error")), status


# --- what is shown --------------------------------------------------------------------------------


def _shown(kind: str, record_id: str, record: dict[str, Any]) -> dict[str, Any]:
    """Return a record as the API answers it: lists are never missing."""
    usual: dict[str, Any] = {"contacts": []} if kind == "lead" else {"phones": [], "emails": []}
    return {"id": record_id, **usual, **record}


def _only(record: Mapping[str, Any], asked: MultiDict[str, str]) -> dict[str, Any]:
    """Return the fields of a record that `_fields` asks for; all of them without it."""
    names = asked.get("_fields", ",".join(record)).split(",")
    return {name: record[name] for name in names if name in record}


# --- what others hear of it -----------------------------------------------------------------------


def _notify(state: State, object_type: str, action: str, data: Mapping[str, Any]) -> None:
    """Post an event to the webhook, if there is one. An error is not tried again."""
    webhook = state.close_webhook
    if webhook is None:
        return
    body = {"subscription_id": "whsub_simulated1", "event": _event(object_type, action, data)}
    with suppress(OSError, http.client.HTTPException, outcomes.NotAllowed):
        outcomes.post(
            webhook.url,
            body,
            allowed_hosts=state.callback_hosts,
            sign=lambda raw: signature(webhook.signature_key, raw),
        )


def signature(key: str, raw: bytes) -> dict[str, str]:
    """Return the headers of a request that is signed now."""
    at = str(int(time.time()))
    digest = hmac.new(bytes.fromhex(key), at.encode() + raw, hashlib.sha256).hexdigest()
    return {"close-sig-hash": digest, "close-sig-timestamp": at}


def _event(object_type: str, action: str, data: Mapping[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC).replace(tzinfo=None).isoformat()
    return {
        "id": f"ev_{secrets.token_hex(11)}",
        "date_created": now,
        "date_updated": now,
        "organization_id": "orga_simulated1",
        "user_id": USER["id"],
        "api_key_id": API_KEY_ID,
        "oauth_client_id": None,
        "object_type": object_type,
        "object_id": data["id"],
        "lead_id": data["id"] if object_type == "lead" else data.get("lead_id"),
        "action": action,
        "data": data,
        "previous_data": {},
    }
