"""Pipedrive's API, as far as the bridge reads and changes persons, deals and activities.

https://developers.pipedrive.com/docs/api/v1/Persons (v2: GET /api/v2/persons and /{id}, PATCH)
https://developers.pipedrive.com/docs/api/v1/Activities (v2: GET, POST /api/v2/activities, PATCH)
https://developers.pipedrive.com/docs/api/v1/PersonFields (v2: GET /api/v2/personFields)
https://pipedrive.readme.io/docs/core-api-concepts-authentication
The words of its refusals are from https://github.com/n8n-io/n8n/issues/31684 and
https://github.com/pipedrive/client-nodejs/issues/651; those about a person who does not exist, and
about a value of another type, are made up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import Blueprint, Response, jsonify, request

from simulator.state import Received, State
from simulator.telling import Change, Telling

PATHS = ("/api/v2/", "/v1/users/")
MAX_IDS = 100
MOST_IN_PAGE = 500
# What a question may have; the stand-in knows of these alone.
KNOWN = frozenset({"ids", "limit"})
KNOWN_OF_ACTIVITIES = frozenset(
    {"person_id", "deal_id", "lead_id", "sort_by", "sort_direction", "limit"}
)
_ID = re.compile(r"[0-9]{1,20}")
_CUSTOM = re.compile(r"[0-9a-f]{40}")
NOT_ALLOWED = "Parameter '{}' is not allowed for this request"
READ_ONLY_PERSON = (
    "'person_id' is a read-only field. Add a primary participant to set 'person_id' instead. "
    'For example: "participants": [{ "person_id": 1, "primary": true }]'
)
TYPES = frozenset({"call", "meeting", "task", "deadline", "email", "lunch"})  # of a new account

# Nobody: see simulator/people.py.
USER = {"id": 9900001, "name": "Sona Example", "email": "sona.example@example.com"}


def _is_time(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9]{2}:[0-9]{2}", value) is not None


def _is_day(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9]{4}(-[0-9]{2}){2}", value) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


Check = Callable[[Any], bool]
# What an activity may be given, with what it must be.
ACTIVITY: dict[str, Check] = {
    "subject": _is_text,
    "type": lambda value: isinstance(value, str) and value in TYPES,
    "done": lambda value: isinstance(value, bool),
    "busy": lambda value: isinstance(value, bool),
    "due_date": _is_day,
    "due_time": _is_time,
    "duration": _is_time,
    "note": _is_text,
    "public_description": _is_text,
    "owner_id": _is_number,
    "deal_id": _is_number,
    "lead_id": _is_text,
    "participants": _is_list,
}
# The fields of records that can be set, besides custom ones.
SETTABLE: dict[str, dict[str, Check]] = {
    "persons": {
        **dict.fromkeys(("name", "marketing_status"), _is_text),
        **dict.fromkeys(("owner_id", "org_id", "visible_to"), _is_number),
        **dict.fromkeys(("emails", "phones"), _is_list),
        "label_ids": lambda value: isinstance(value, list),
    },
    "deals": {
        **dict.fromkeys(("title", "currency", "status", "lost_reason"), _is_text),
        **dict.fromkeys(("owner_id", "person_id", "org_id", "pipeline_id", "stage_id"), _is_number),
    },
}

# Errors that are asked for.
SIMULATED = {
    400: "Bad request",
    401: "unauthorized access",
    403: "Scope and URL mismatch",
    404: "Entity not found",
    429: "Rate limit exceeded",
}


def views(state: State) -> Blueprint:
    """Build Pipedrive's endpoints over this state."""
    blueprint = Blueprint("pipedrive", __name__)

    @blueprint.before_request
    def check_token() -> tuple[Response, int] | None:
        return None if request.headers.get("x-api-token", "").strip() else simulated(401)

    @blueprint.get("/api/v2/persons")
    def read_many() -> tuple[Response, int]:
        try:
            ids = _ids()
        except ValueError as error:
            return refusal(str(error), 400)
        # What does not exist or can't be seen is not in the answer, and is no error.
        found = ((one, state.find_record("pipedrive", "persons", one)) for one in ids)
        persons = [_person(one, record) for one, record in found if record is not None]
        return jsonify(success=True, data=persons, additional_data={"next_cursor": None}), 200

    @blueprint.get("/api/v2/persons/<person_id>")
    def read_one(person_id: str) -> tuple[Response, int]:
        if not _ID.fullmatch(person_id):
            return refusal("Parameter 'id' must be a number", 400)
        record = state.find_record("pipedrive", "persons", person_id)
        if record is None:
            return simulated(404)
        return jsonify(success=True, data=_person(person_id, record)), 200

    @blueprint.patch("/api/v2/persons/<record_id>")
    def update_person(record_id: str) -> tuple[Response, int]:
        return _updated(state, "persons", record_id)

    @blueprint.patch("/api/v2/deals/<record_id>")
    def update_deal(record_id: str) -> tuple[Response, int]:
        return _updated(state, "deals", record_id)

    @blueprint.get("/api/v2/activities")
    def read_activities() -> tuple[Response, int]:
        try:
            found = _activities(state)
        except ValueError as error:
            return refusal(str(error), 400)
        return jsonify(success=True, data=found, additional_data={"next_cursor": None}), 200

    @blueprint.post("/api/v2/activities")
    def add_activity() -> tuple[Response, int]:
        body = _body()
        if said := _refused(state, "activities", body, ACTIVITY):
            return said
        written = state.add_written("pipedrive", "activities", body)
        state.put_record("pipedrive", "activities", written.id, body)
        return jsonify(success=True, data=_activity(written.id, body)), 201

    @blueprint.patch("/api/v2/activities/<record_id>")
    def update_activity(record_id: str) -> tuple[Response, int]:
        return _updated(state, "activities", record_id)

    @blueprint.get("/api/v2/<any(person, deal):kind>Fields")
    def fields_of(kind: str) -> tuple[Response, int]:
        return jsonify(success=True, data=_fields(state, f"{kind}s"), additional_data={}), 200

    @blueprint.get("/v1/users/me")
    def our_user() -> tuple[Response, int]:
        return jsonify(success=True, data=USER), 200

    return blueprint


# --- what is written ------------------------------------------------------------------------------


def _body() -> dict[str, Any]:
    found = request.get_json(silent=True)
    return found if isinstance(found, dict) else {}


def _updated(state: State, object_name: str, record_id: str) -> tuple[Response, int]:
    if not _ID.fullmatch(record_id):
        return refusal("Parameter 'id' must be a number", 400)
    record = state.find_record("pipedrive", object_name, record_id)
    if record is None:
        return simulated(404)
    is_call = object_name == "activities"
    body = _body()
    if said := _refused(state, object_name, body, ACTIVITY if is_call else SETTABLE[object_name]):
        return said
    custom = {**record.get("custom_fields", {}), **body.get("custom_fields", {})}
    changed = {**record, **body, **({"custom_fields": custom} if custom else {})}
    state.put_record("pipedrive", object_name, record_id, changed)
    shown = _activity(record_id, changed) if is_call else {**changed, "id": int(record_id)}
    return jsonify(success=True, data=shown), 200


def _refused(
    state: State, object_name: str, body: Mapping[str, Any], known: Mapping[str, Check]
) -> tuple[Response, int] | None:
    """Return why Pipedrive does not take a body; None: it does."""
    if "person_id" in body and object_name == "activities":
        return refusal(READ_ONLY_PERSON, 400, "ERR_BAD_REQUEST")
    custom = body.get("custom_fields", {})
    if object_name == "activities" or not isinstance(custom, dict):
        custom = {}
    wrong = [
        f"{name}: {NOT_ALLOWED.format(name)}"
        for name in body
        if name not in known and not (name == "custom_fields" and custom)
    ]
    wrong += [f"{name}: {NOT_ALLOWED.format(name)}" for name in custom if not _is_custom(name)]
    wrong += [
        f"{name}: This value is not valid."
        for name, check in known.items()
        if name in body and not check(body[name])
    ]
    for name in (*body, *custom):
        if message := state.refused_field("pipedrive", object_name, name):
            wrong.append(f"{name}: {message}")
    if wrong:
        text = f"Validation failed: {'; '.join(wrong)}"
        return refusal(text, 400, "ERR_SCHEMA_VALIDATION_FAILED")
    for one in body.get("participants", []):
        person = str(one.get("person_id"))
        if state.find_record("pipedrive", "persons", person) is None:
            return refusal(f"Person {person} does not exist", 400, "ERR_BAD_REQUEST")
    return None


def _is_custom(name: str) -> bool:
    return _CUSTOM.fullmatch(name) is not None


def _activities(state: State) -> list[dict[str, Any]]:
    """Return the activities that are asked for. Raises ValueError for another question."""
    unknown = set(request.args) - KNOWN_OF_ACTIVITIES
    if unknown:
        raise ValueError(f"This stand-in does not support: {', '.join(sorted(unknown))}")
    if request.args.get("sort_by", "id") != "id":
        raise ValueError("sort_by must be id")
    wanted = {name: request.args[name] for name in request.args if name.endswith("_id")}
    limit = _limit(100)
    found = [
        _activity(one, record)
        for one, record in state.find_records("pipedrive", "activities").items()
    ]
    found = [one for one in found if all(str(one[name]) == wanted[name] for name in wanted)]
    found.sort(key=lambda one: one["id"], reverse=request.args.get("sort_direction") == "desc")
    return found[:limit]


def _activity(record_id: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return an activity as the API answers it."""
    participants = record.get("participants", [])
    primary = [one["person_id"] for one in participants if one.get("primary")]
    usual = {"deal_id": None, "lead_id": None, "org_id": None, "owner_id": USER["id"]}
    return {
        **usual,
        **record,
        "id": int(record_id),
        "person_id": next(iter(primary), None),
        "is_deleted": False,
    }


def _fields(state: State, object_name: str) -> list[dict[str, Any]]:
    records = state.find_records("pipedrive", object_name).values()
    custom = sorted({name for record in records for name in record.get("custom_fields", {})})
    usual = ["id", "add_time", *sorted(SETTABLE[object_name])]
    return [
        {
            "field_name": name,
            "field_code": name,
            "field_type": "varchar",
            "is_custom_field": name in custom,
            "is_optional_response_field": False,
        }
        for name in (*usual, *custom)
    ]


# --- answers --------------------------------------------------------------------------------------


def refusal(message: str, status: int, code: str = "") -> tuple[Response, int]:
    """Answer an error as Pipedrive does."""
    return jsonify(success=False, error=message, code=code or f"ERR_{status}"), status


def _limit(usual: int) -> int:
    limit = request.args.get("limit", str(usual))
    if not limit.isdecimal() or not 0 < int(limit) <= MOST_IN_PAGE:
        raise ValueError(f"limit must be between 1 and {MOST_IN_PAGE}")
    return int(limit)


def simulated(status: int) -> tuple[Response, int]:
    """Answer an error that was asked for, in Pipedrive's words."""
    return refusal(SIMULATED.get(status, "Internal server error"), status)


def _ids() -> list[str]:
    """Return the ids that are asked for, each once. Raises ValueError for another question."""
    unknown = set(request.args) - KNOWN
    if unknown:
        raise ValueError(f"This stand-in does not support: {', '.join(sorted(unknown))}")
    limit = _limit(MAX_IDS)
    ids = list(dict.fromkeys(request.args.get("ids", "").split(",")))
    if not all(map(_ID.fullmatch, ids)):
        raise ValueError("ids must be numbers with commas between them")
    if len(ids) > MAX_IDS:
        raise ValueError(f"ids must have at most {MAX_IDS} ids")
    return ids[:limit]


def _person(person_id: str, record: dict[str, Any]) -> dict[str, Any]:
    """Return a person as the API answers it: the id is a number, and lists are never missing."""
    usual: dict[str, Any] = {"emails": [], "phones": [], "org_id": None, "custom_fields": {}}
    return {"id": int(person_id), "is_deleted": False, **usual, **record}


# --- what it was told of calls --------------------------------------------------------------------

_CHANGED = re.compile(r"/api/v2/(persons|deals|activities)/([0-9]+)")


def _record_of(activity: Mapping[str, Any]) -> tuple[str | None, str | None]:
    for one in activity.get("participants", ()):
        return "persons", str(one.get("person_id"))
    return ("deals", str(activity["deal_id"])) if "deal_id" in activity else (None, None)


def _changes(request: Received) -> Iterator[Change]:
    found = _CHANGED.fullmatch(request.path)
    if found and request.method == "PATCH":
        body = request.body if isinstance(request.body, dict) else {}
        fields = {name: value for name, value in body.items() if name != "custom_fields"}
        yield Change(found[1], found[2], {**fields, **(body.get("custom_fields") or {})})


TELLING = Telling(
    calls="activities",
    record_of=_record_of,
    links=frozenset({"lead_id", "participants", "deal_id"}),
    changes=_changes,
)
