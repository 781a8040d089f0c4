"""Close's API, as far as the bridge reads contacts and leads.

https://developer.close.com/api/resources/contacts/get
https://developer.close.com/api/resources/leads
https://developer.close.com/api/overview/api-key-authentication
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request

from simulator.state import State

PATHS = ("/api/v1/contact/", "/api/v1/lead/")

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

    @blueprint.get("/api/v1/<any(contact, lead):kind>/<record_id>/")
    def read_one(kind: str, record_id: str) -> tuple[Response, int]:
        record = state.find_record("close", kind, record_id)
        if record is None:
            return simulated(404)
        return jsonify(_shown(kind, record_id, record)), 200

    return blueprint


def simulated(status: int) -> tuple[Response, int]:
    """Answer an error that was asked for, in Close's shape."""
    return jsonify(error=SIMULATED.get(status, "Internal server error")), status


def _shown(kind: str, record_id: str, record: dict[str, Any]) -> dict[str, Any]:
    """Return a record as the API answers it: lists are never missing."""
    usual: dict[str, Any] = {"contacts": []} if kind == "lead" else {"phones": [], "emails": []}
    return {"id": record_id, **usual, **record}
