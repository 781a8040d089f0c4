"""GoHighLevel's API, as far as the bridge reads contacts.

https://github.com/GoHighLevel/highlevel-api-docs/blob/main/apps/contacts.json (Get Contact)
https://marketplace.gohighlevel.com/docs/other/rate-limits/
"""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, Response, jsonify, request

from simulator.state import State

PATHS = ("/contacts/",)
VERSION = "2021-07-28"  # the only one of its documentation
LOCATION = "ve9EPM428h8vShlRW1KT"  # whose contacts they are
MOST_REQUESTS, INTERVAL_MS, MOST_A_DAY = 100, 10_000, 200_000
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

# Errors that are asked for: (message, its word). Documented are 400, 401 and 422.
SIMULATED = {
    400: ("Bad Request", "Bad Request"),
    401: ("Invalid token: access token is invalid", "Unauthorized"),
    403: ("The token does not have access to this location.", "Forbidden"),
    422: ("Unprocessable Entity", "Unprocessable Entity"),
    429: ("Too Many Requests", "Too Many Requests"),
}


def views(state: State) -> Blueprint:
    """Build GoHighLevel's endpoints over this state."""
    blueprint = Blueprint("gohighlevel", __name__)

    @blueprint.before_request
    def check_headers() -> tuple[Response, int] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return simulated(401)
        if request.headers.get("Version") != VERSION:
            return refusal("version header was not found or is invalid", "Unauthorized", 401)
        return None

    @blueprint.get("/contacts/<contact_id>")
    def read_one(contact_id: str) -> tuple[Response, int]:
        if request.args:
            unknown = [f"property {name} should not exist" for name in sorted(request.args)]
            return refusal(unknown, "Unprocessable Entity", 422)
        record = state.find_record("gohighlevel", "contacts", contact_id)
        if record is None or not _ID.fullmatch(contact_id):
            # The documentation has no 404, and does not say which of its statuses this is.
            return refusal("Contact not found", "Bad Request", 400)
        return jsonify(contact=_contact(contact_id, record)), 200

    @blueprint.after_request
    def tell_limits(response: Response) -> Response:
        response.headers["X-RateLimit-Limit-Daily"] = str(MOST_A_DAY)
        response.headers["X-RateLimit-Daily-Remaining"] = str(MOST_A_DAY - 1)
        response.headers["X-RateLimit-Interval-Milliseconds"] = str(INTERVAL_MS)
        response.headers["X-RateLimit-Max"] = str(MOST_REQUESTS)
        response.headers["X-RateLimit-Remaining"] = str(MOST_REQUESTS - 1)
        return response

    return blueprint


def refusal(message: str | list[str], word: str, status: int) -> tuple[Response, int]:
    """Answer an error as GoHighLevel does."""
    return jsonify(statusCode=status, message=message, error=word), status


def simulated(status: int) -> tuple[Response, int]:
    """Answer an error that was asked for, in GoHighLevel's words."""
    message, word = SIMULATED.get(status, ("Internal server error", "Internal Server Error"))
    return refusal(message, word, status)


def _contact(contact_id: str, record: dict[str, Any]) -> dict[str, Any]:
    """Return a contact as the API answers it: `dnd` and `tags` are never missing."""
    return {"id": contact_id, "locationId": LOCATION, "dnd": False, "tags": [], **record}
