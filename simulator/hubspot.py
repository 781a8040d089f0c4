"""HubSpot's API, as far as the bridge reads records and writes calls.

https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/batch/read
"""

from __future__ import annotations

import json
import secrets
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, g, jsonify, request

from simulator.state import State

MAX_IDS = 100

# Generic subscriptions name an object by its type id. The paths accept both.
OBJECT_NAMES = {
    "0-1": "contacts",
    "0-2": "companies",
    "0-3": "deals",
    "0-5": "tickets",
    "0-48": "calls",
}
# Always in the answer, also if not asked for.
ALWAYS = ("createdate", "hs_object_id", "lastmodifieddate")
# In the answer if no property is asked for.
USUAL = ("email", "firstname", "lastname")


def views(state: State) -> Blueprint:
    """Build HubSpot's endpoints over this state."""
    blueprint = Blueprint("hubspot", __name__, url_prefix="/crm/v3/objects")
    started_at = _shown(state.started_at)

    @blueprint.before_request
    def check_token() -> tuple[Response, int] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        known = token.strip() and state.hubspot_token in (None, token.strip())
        if scheme.lower() == "bearer" and known:
            return None
        return refusal(
            "Authentication credentials not found. This API supports OAuth 2.0 authentication.",
            "INVALID_AUTHENTICATION",
            401,
        )

    @blueprint.post("/<object_name>/batch/read")
    def read_batch(object_name: str) -> tuple[Response, int]:
        object_name = OBJECT_NAMES.get(object_name, object_name)
        try:
            ids, properties = read_question(g.raw)
        except ValueError as error:
            return refusal(str(error), "VALIDATION_ERROR", 400)
        results, missing = [], []
        # An id that is asked for twice is answered once.
        for record_id in dict.fromkeys(ids):
            record = state.find_record("hubspot", object_name, record_id)
            if record is None:
                missing.append(record_id)
            else:
                results.append(result(record_id, record, properties, started_at))
        answer: dict[str, Any] = {
            "status": "COMPLETE",
            "results": results,
            "startedAt": started_at,
            "completedAt": started_at,
        }
        if not missing:
            return jsonify(answer), 200
        kind = object_name.upper().removesuffix("S")
        answer["numErrors"] = 1
        answer["errors"] = [
            {
                "status": "error",
                "category": "OBJECT_NOT_FOUND",
                "message": f"Could not get some {kind} objects, they may be deleted or not exist. "
                "Check that ids are valid.",
                "context": {"ids": missing},
            }
        ]
        return jsonify(answer), 207

    @blueprint.post("/calls")
    def write_call() -> tuple[Response, int]:
        try:
            body = _object(g.raw)
        except ValueError as error:
            return refusal(str(error), "VALIDATION_ERROR", 400)
        properties = body.get("properties")
        if not isinstance(properties, dict) or not properties.get("hs_timestamp"):
            return refusal("hs_timestamp is required", "VALIDATION_ERROR", 400)
        written = state.add_written("hubspot", "calls", body)
        at = _shown(written.at)
        return jsonify(
            id=written.id,
            properties={**properties, "hs_object_id": written.id},
            createdAt=at,
            updatedAt=at,
            archived=False,
        ), 201

    return blueprint


def refusal(message: str, category: str, status: int) -> tuple[Response, int]:
    """Answer an error as HubSpot does."""
    return jsonify(
        status="error", message=message, correlationId=secrets.token_hex(16), category=category
    ), status


def read_question(raw: bytes) -> tuple[list[str], list[str]]:
    """Return the ids and the properties that a batch read asks for.

    Raises:
        ValueError: the body is not such a question.
    """
    body = _object(raw)
    unknown = body.keys() - {"properties", "propertiesWithHistory", "inputs"}
    if unknown:
        raise ValueError(f"This stand-in does not support: {', '.join(sorted(unknown))}")
    inputs, properties = body.get("inputs"), body.get("properties", [])
    if not isinstance(inputs, list) or not inputs:
        raise ValueError("inputs must be a list with at least one entry")
    if len(inputs) > MAX_IDS:
        raise ValueError(f"The maximum number of inputs supported in a batch is {MAX_IDS}")
    if not all(isinstance(entry, dict) and isinstance(entry.get("id"), str) for entry in inputs):
        raise ValueError("each of inputs must be an object with an id as text")
    if not isinstance(properties, list) or not all(isinstance(name, str) for name in properties):
        raise ValueError("properties must be a list of names")
    return [entry["id"] for entry in inputs], properties


def result(
    record_id: str, record: dict[str, Any], properties: list[str], started_at: str
) -> dict[str, Any]:
    """Return one record as HubSpot does: only properties that were asked for and that exist."""
    known = {
        "createdate": started_at,
        "lastmodifieddate": started_at,
        **record,
        "hs_object_id": record_id,
    }
    wanted = dict.fromkeys((*ALWAYS, *(properties or USUAL)))
    return {
        "id": record_id,
        "properties": {name: known[name] for name in wanted if name in known},
        "createdAt": known["createdate"],
        "updatedAt": known["lastmodifieddate"],
        "archived": False,
    }


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("Invalid input JSON") from None
    if not isinstance(body, dict):
        raise ValueError("Invalid input JSON: not an object")
    return body


def _shown(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"
