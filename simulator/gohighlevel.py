"""GoHighLevel's API, as far as the bridge reads and changes contacts and their notes.

https://github.com/GoHighLevel/highlevel-api-docs/blob/main/apps/contacts.json (Get Contact, Update
Contact, notes), apps/locations.json (Get Custom Fields), docs/oauth/Scopes.md
https://marketplace.gohighlevel.com/docs/other/rate-limits/
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, jsonify, request

from simulator.state import State

PATHS = ("/contacts/", "/locations/")
VERSION = "2021-07-28"  # the only one of its documentation
LOCATION = "ve9EPM428h8vShlRW1KT"  # whose contacts they are
MOST_REQUESTS, INTERVAL_MS, MOST_A_DAY = 100, 10_000, 200_000
# The scopes of the token, unless others are set.
SCOPES = ("contacts.readonly", "contacts.write", "locations/customFields.readonly")
# What the body of a note, and of Update Contact, may have.
NOTE_KEYS = frozenset({"userId", "body", "title", "color", "pinned"})
CONTACT_KEYS = frozenset(
    {
        *("firstName", "lastName", "name", "email", "phone", "address1", "city", "state"),
        *("postalCode", "website", "timezone", "dnd", "dndSettings", "inboundDndSettings"),
        *("tags", "customFields", "source", "dateOfBirth", "country", "assignedTo"),
    }
)
CUSTOM_FIELD_KEYS = frozenset({"id", "key", "field_value"})
# The sub-account's custom fields of contacts, and those that a test adds to records.
CUSTOM_FIELDS = {"fieldsample00000001": "Call result", "fieldsample00000002": "City of visit"}
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
        if _scope() not in state.scopes("gohighlevel", SCOPES):
            message = "The token is not authorized for this scope."
            return refusal(message, "Unauthorized", 401)
        if request.method != "GET" and not isinstance(request.get_json(silent=True), dict):
            return simulated(400)
        contact_id = (request.view_args or {}).get("contact_id")
        if contact_id is not None and _found(contact_id) is None:
            # The documentation has no 404, and does not say which of its statuses this is.
            return refusal("Contact not found", "Bad Request", 400)
        return None

    def _found(contact_id: str) -> dict[str, Any] | None:
        if not _ID.fullmatch(contact_id):
            return None
        return state.find_record("gohighlevel", "contacts", contact_id)

    @blueprint.get("/contacts/<contact_id>")
    def read_one(contact_id: str) -> tuple[Response, int]:
        if request.args:
            unknown = [f"property {name} should not exist" for name in sorted(request.args)]
            return refusal(unknown, "Unprocessable Entity", 422)
        return jsonify(contact=_contact(contact_id, _found(contact_id) or {})), 200

    @blueprint.put("/contacts/<contact_id>")
    def change(contact_id: str) -> tuple[Response, int]:
        given = request.json or {}
        if wrong := _wrong(given, CONTACT_KEYS) or _wrong_custom(given.get("customFields", [])):
            return refusal(wrong, "Unprocessable Entity", 422)
        custom = {one["id"]: one.get("field_value") for one in given.get("customFields", [])}
        names = [*(name for name in given if name != "customFields"), *custom]
        refused = (state.refused_field("gohighlevel", "contacts", name) for name in names)
        if wrong := [message for message in refused if message]:
            return refusal(wrong, "Unprocessable Entity", 422)
        record = _found(contact_id) or {}
        kept = {one["id"]: one["value"] for one in record.get("customFields", [])}
        values = [{"id": id_, "value": value} for id_, value in {**kept, **custom}.items()]
        changed = {**record, **given, "customFields": values}
        state.put_record("gohighlevel", "contacts", contact_id, changed)
        return jsonify(succeded=True, contact=_contact(contact_id, changed)), 200

    @blueprint.get("/contacts/<contact_id>/notes")
    def notes(contact_id: str) -> tuple[Response, int]:
        found = state.find_records("gohighlevel", "notes").items()
        of_contact = [{"id": id_, **one} for id_, one in found if one["contactId"] == contact_id]
        return jsonify(notes=of_contact[::-1]), 200

    @blueprint.post("/contacts/<contact_id>/notes")
    def write_note(contact_id: str) -> tuple[Response, int]:
        given = request.json or {}
        if wrong := _wrong_note(given):
            return refusal(wrong, "Unprocessable Entity", 422)
        note = {**given, "contactId": contact_id, "dateAdded": _now()}
        written = state.add_written("gohighlevel", "notes", note)
        state.put_record("gohighlevel", "notes", written.id, note)
        return jsonify(note={"id": written.id, **note}), 201

    @blueprint.put("/contacts/<contact_id>/notes/<note_id>")
    def change_note(contact_id: str, note_id: str) -> tuple[Response, int]:
        note, given = state.find_record("gohighlevel", "notes", note_id), request.json or {}
        if note is None or note["contactId"] != contact_id:
            return refusal("Note not found", "Bad Request", 400)
        if wrong := _wrong_note({**note, **given}):
            return refusal(wrong, "Unprocessable Entity", 422)
        state.put_record("gohighlevel", "notes", note_id, {**note, **given})
        return jsonify(note={"id": note_id, **note, **given}), 200

    def _wrong_note(given: dict[str, Any]) -> list[str]:
        if message := state.refused_field("gohighlevel", "notes", "body"):
            return [message]
        body, known = given.get("body"), NOTE_KEYS | {"contactId", "dateAdded"}
        return _wrong(given, known) or (
            [] if isinstance(body, str) and body else ["body must be a string"]
        )

    @blueprint.get("/locations/<location_id>/customFields")
    def custom_fields(location_id: str) -> tuple[Response, int]:
        if location_id != LOCATION:
            return simulated(403)
        if request.args.get("model", "contact") not in ("contact", "all"):
            return jsonify(customFields=[]), 200
        known = state.fields_of("gohighlevel", "customFields", CUSTOM_FIELDS)
        fields = [
            {
                "id": id_,
                "name": CUSTOM_FIELDS.get(id_, id_),
                "fieldKey": f"contact.{CUSTOM_FIELDS.get(id_, id_).lower().replace(' ', '_')}",
                "dataType": "TEXT",
                "locationId": LOCATION,
                "model": "contact",
            }
            for id_ in known
        ]
        return jsonify(customFields=fields), 200

    @blueprint.after_request
    def tell_limits(response: Response) -> Response:
        response.headers["X-RateLimit-Limit-Daily"] = str(MOST_A_DAY)
        response.headers["X-RateLimit-Daily-Remaining"] = str(MOST_A_DAY - 1)
        response.headers["X-RateLimit-Interval-Milliseconds"] = str(INTERVAL_MS)
        response.headers["X-RateLimit-Max"] = str(MOST_REQUESTS)
        response.headers["X-RateLimit-Remaining"] = str(MOST_REQUESTS - 1)
        return response

    return blueprint


def _scope() -> str:
    """Return the scope that the request needs."""
    if request.path.startswith("/locations/"):
        return "locations/customFields.readonly"
    return "contacts.readonly" if request.method == "GET" else "contacts.write"


def _wrong(given: dict[str, Any], known: frozenset[str]) -> list[str]:
    """Return what is wrong with the keys of a body, as GoHighLevel says it."""
    return [f"property {name} should not exist" for name in sorted(given.keys() - known)]


def _wrong_custom(given: Any) -> list[str]:
    if not isinstance(given, list):
        return ["customFields must be an array"]
    for one in given:
        if not isinstance(one, dict) or not one.get("id"):
            return ["customFields.id should not be empty"]
        if wrong := _wrong(one, CUSTOM_FIELD_KEYS):
            return [f"customFields.{text}" for text in wrong]
    return []


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


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
