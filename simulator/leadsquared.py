"""LeadSquared's API, as far as the bridge tells it of calls.

https://apidocs.leadsquared.com/authentication/
https://apidocs.leadsquared.com/post-an-activity-to-lead/
https://apidocs.leadsquared.com/update-activity/
https://apidocs.leadsquared.com/get-activities-of-a-lead/
https://apidocs.leadsquared.com/update-a-lead/
https://apidocs.leadsquared.com/meta-data/
https://apidocs.leadsquared.com/error-handling/ (what it refuses is a 500 with an exception)
The words of most exceptions are from public code, not from a wire.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, jsonify, request

from simulator.state import State

PATHS = ("/v2/LeadManagement.svc/", "/v2/ProspectActivity.svc/")
LEADS, ACTIVITIES = PATHS
LEAD, ACTIVITY = "leads", "activities"  # what its records are called here
USUAL = ("ProspectID", "FirstName", "LastName", "Phone", "Mobile", "EmailAddress", "ProspectStage")
LOWEST_CUSTOM = 100  # of the codes of activities; below are LeadSquared's own
MOST_ROWS = 1000
NOT_A_CODE = ("MXInvalidActivityException", "Event Code is invalid or empty")
# What a body may have; the stand-in knows of these alone.
CREATED = frozenset({"RelatedProspectId", "ActivityEvent", "ActivityNote", "ActivityDateTime"})
CHANGED = frozenset({"ProspectActivityId", "ActivityEvent", "ActivityNote"})

# Errors that are asked for: (exception, message).
SIMULATED = {
    400: ("MXInvalidInputException", "Invalid Input! Parameter Name: body"),
    401: ("MXUnAuthorizedAccessException", "Access key or secret key is invalid"),
    429: ("MXAPIRateLimitExceededException", "API calls exceeded the limit of 25 in 5 second(s)"),
}


class _RefusedError(Exception):
    """An exception of LeadSquared's: its type and its message."""


def views(state: State) -> Blueprint:
    """Build LeadSquared's endpoints over this state."""
    blueprint = Blueprint("leadsquared", __name__)

    @blueprint.before_request
    def check_keys() -> tuple[Response, int] | None:
        keys = ("x-LSQ-AccessKey", "x-LSQ-SecretKey")
        return None if all(request.headers.get(key, "").strip() for key in keys) else simulated(401)

    @blueprint.errorhandler(_RefusedError)
    def refuse(error: _RefusedError) -> tuple[Response, int]:
        exception, message = error.args
        return refusal(exception, message, 500)

    @blueprint.get(f"{LEADS}LeadsMetaData.Get")
    def fields() -> tuple[Response, int]:
        known = state.fields_of("leadsquared", LEAD, USUAL)
        return jsonify([_field(name) for name in known]), 200

    @blueprint.post(f"{LEADS}Lead.Update")
    def update_lead() -> tuple[Response, int]:
        lead_id, lead = _lead(state, request.args.get("leadId", ""))
        given = request.get_json(silent=True)
        if not isinstance(given, list) or not all(map(_is_attribute, given)):
            return simulated(400)
        for one in given:
            _check_field(state, one["Attribute"])
        changed = {one["Attribute"]: one["Value"] for one in given}
        state.put_record("leadsquared", LEAD, lead_id, {**lead, **changed})
        return jsonify(Status="Success", Message={"AffectedRows": 1}), 200

    @blueprint.post(f"{ACTIVITIES}Create")
    def create() -> tuple[Response, int]:
        given = _body(CREATED)
        _check_code(given)
        _lead(state, given.get("RelatedProspectId"))
        if not _is_time(given.get("ActivityDateTime")):
            raise _RefusedError(*SIMULATED[400])
        _check_note(state, given)
        written = state.add_written("leadsquared", ACTIVITY, given)
        state.put_record("leadsquared", ACTIVITY, written.id, given)
        return jsonify(Status="Success", Message={"Id": written.id}), 200

    @blueprint.post(f"{ACTIVITIES}CustomActivity/Update")
    def update() -> tuple[Response, int]:
        given = _body(CHANGED)
        _check_code(given)
        activity_id = str(given.get("ProspectActivityId"))
        activity = state.find_record("leadsquared", ACTIVITY, activity_id)
        if activity is None or activity["ActivityEvent"] != given["ActivityEvent"]:
            raise _RefusedError("MXUnknownProspectActivityException", "No such activity exists")
        _check_note(state, given)
        note = {"ActivityNote": given.get("ActivityNote")}
        state.put_record("leadsquared", ACTIVITY, activity_id, {**activity, **note})
        return jsonify(Status="Success", Message={"Id": activity_id}), 200

    @blueprint.post(f"{ACTIVITIES}Retrieve")
    def retrieve() -> tuple[Response, int]:
        lead_id, _ = _lead(state, request.args.get("leadId", ""))
        asked = _body(frozenset({"Parameter", "Paging"}))
        code = (asked.get("Parameter") or {}).get("ActivityEvent")
        rows = str((asked.get("Paging") or {}).get("RowCount", "25"))
        if not rows.isdecimal() or not 1 <= int(rows) <= MOST_ROWS:
            raise _RefusedError(*SIMULATED[400])
        found = [
            _activity(activity_id, activity)
            for activity_id, activity in state.find_records("leadsquared", ACTIVITY).items()
            if activity["RelatedProspectId"] == lead_id
            and code in (None, activity["ActivityEvent"])
        ]
        newest = found[::-1][: int(rows)]
        return jsonify(RecordCount=len(found), ProspectActivities=newest), 200

    return blueprint


def refusal(exception: str, message: str, status: int) -> tuple[Response, int]:
    """Answer an error as LeadSquared does."""
    return jsonify(Status="Error", ExceptionType=exception, ExceptionMessage=message), status


def simulated(status: int) -> tuple[Response, int]:
    """Answer an error that was asked for; 500 is one that LeadSquared has no exception for."""
    if status in SIMULATED:
        return refusal(*SIMULATED[status], status)
    return jsonify(Message="An error has occurred."), status


def _body(known: frozenset[str]) -> dict[str, Any]:
    """Return the JSON object of the request. Raises _RefusedError for another one."""
    body = request.get_json(silent=True)
    if not isinstance(body, dict) or body.keys() - known:
        raise _RefusedError(*SIMULATED[400])
    return body


def _check_code(given: dict[str, Any]) -> None:
    code = given.get("ActivityEvent")
    if not isinstance(code, int) or code < LOWEST_CUSTOM:
        raise _RefusedError(*NOT_A_CODE)


def _check_note(state: State, given: dict[str, Any]) -> None:
    said = state.refused_field("leadsquared", ACTIVITY, "ActivityNote")
    if said or not isinstance(given.get("ActivityNote"), str):
        raise _RefusedError(
            "MXInvalidInputException", said or "Invalid Input! Parameter Name: note"
        )


def _check_field(state: State, name: str) -> None:
    if said := state.refused_field("leadsquared", LEAD, name):
        raise _RefusedError("MXInvalidAttributeValueException", said)
    if state.field_state("leadsquared", LEAD, name) == "missing":
        raise _RefusedError("MXUnknownAttributeException", f"Unknown attribute: {name}")


def _lead(state: State, lead_id: Any) -> tuple[str, dict[str, Any]]:
    """Return a lead by its id. Raises _RefusedError if there is none."""
    if not lead_id:
        message = "'leadId' is mandatory for updating lead"
        raise _RefusedError("MXMandatoryAttributeMissingException", message)
    lead = state.find_record("leadsquared", LEAD, str(lead_id))
    if lead is None:
        raise _RefusedError("MXInvalidEntityReferenceException", "Lead does not exist")
    return str(lead_id), lead


def _is_attribute(one: Any) -> bool:
    return isinstance(one, dict) and one.keys() == {"Attribute", "Value"} and bool(one["Attribute"])


def _is_time(text: Any) -> bool:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", str(text)):
        return False
    try:
        return bool(datetime.fromisoformat(text))
    except ValueError:
        return False


def _field(name: str) -> dict[str, Any]:
    """Return a field as LeadsMetaData.Get answers it."""
    label = name.removeprefix("mx_").replace("_", " ")
    return {"SchemaName": name, "DisplayName": label, "DataType": "Text", "IsMandatory": False}


def _activity(activity_id: str, activity: dict[str, Any]) -> dict[str, Any]:
    """Return an activity as Retrieve answers it: what its type alone has is in `Data`."""
    return {
        "Id": activity_id,
        "EventCode": activity["ActivityEvent"],
        "EventName": "CallKaro call",
        "CreatedOn": activity["ActivityDateTime"],
        "ActivityType": 2,
        "Type": "Outbound",
        "RelatedProspectId": activity["RelatedProspectId"],
        "Data": [{"Key": "NotableEventDescription", "Value": activity["ActivityNote"]}],
        "ActivityFields": {},
    }
