"""Pipedrive's API, as far as the bridge reads persons.

https://developers.pipedrive.com/docs/api/v1/Persons (v2: GET /api/v2/persons and /{id})
https://pipedrive.readme.io/docs/core-api-concepts-authentication
"""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, Response, jsonify, request

from simulator.state import State

PATHS = ("/api/v2/",)
MAX_IDS = 100
MOST_IN_PAGE = 500
# What a question may have; the stand-in knows of these alone.
KNOWN = frozenset({"ids", "limit"})
_ID = re.compile(r"[0-9]{1,20}")

# Errors that are asked for.
SIMULATED = {
    400: "Bad request",
    401: "unauthorized access",
    403: "Scope and URL mismatch",
    404: "Person not found",
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

    return blueprint


def refusal(message: str, status: int) -> tuple[Response, int]:
    """Answer an error as Pipedrive does."""
    return jsonify(success=False, error=message, code=f"ERR_{status}"), status


def simulated(status: int) -> tuple[Response, int]:
    """Answer an error that was asked for, in Pipedrive's words."""
    return refusal(SIMULATED.get(status, "Internal server error"), status)


def _ids() -> list[str]:
    """Return the ids that are asked for, each once. Raises ValueError for another question."""
    unknown = set(request.args) - KNOWN
    if unknown:
        raise ValueError(f"This stand-in does not support: {', '.join(sorted(unknown))}")
    limit = request.args.get("limit", str(MAX_IDS))
    if not limit.isdecimal() or not 0 < int(limit) <= MOST_IN_PAGE:
        raise ValueError(f"limit must be between 1 and {MOST_IN_PAGE}")
    ids = list(dict.fromkeys(request.args.get("ids", "").split(",")))
    if not all(map(_ID.fullmatch, ids)):
        raise ValueError("ids must be numbers with commas between them")
    if len(ids) > MAX_IDS:
        raise ValueError(f"ids must have at most {MAX_IDS} ids")
    return ids[: int(limit)]


def _person(person_id: str, record: dict[str, Any]) -> dict[str, Any]:
    """Return a person as the API answers it: the id is a number, and lists are never missing."""
    usual: dict[str, Any] = {"emails": [], "phones": [], "org_id": None, "custom_fields": {}}
    return {"id": int(person_id), "is_deleted": False, **usual, **record}
