"""Zoho's accounts server and its CRM API v8, as far as the bridge reads and changes records.

https://www.zoho.com/crm/developer/docs/api/v8/get-records.html
https://www.zoho.com/crm/developer/docs/api/v8/refresh.html
https://www.zoho.com/crm/developer/docs/api/v8/update-records.html
https://www.zoho.com/crm/developer/docs/api/v8/notifications/enable.html
Limits and error bodies are from common knowledge, not from a wire.
"""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, Response, jsonify, request

from simulator import outcomes
from simulator.state import ZOHO_TOKEN_LIFE_S, Received, State
from simulator.telling import Change, Telling, objects

MAX_IDS = 100
MAX_FIELDS = 50
PAGE = 200
LONGEST_TOKEN = 50  # of a channel
LONGEST_CHANNEL = timedelta(days=1)

MODULES = frozenset({"Accounts", "Calls", "Contacts", "Deals", "Leads", "Tasks"})

# Nobody: see simulator/people.py.
USER = {
    "id": "5725767000000400001",
    "first_name": "Sona",
    "last_name": "Example",
    "full_name": "Sona Example",
    "email": "sona.example@example.com",
    "status": "active",
    "type__s": "Regular User",
    "confirm": True,
}
ORGANISATION = {
    "id": "5725767000000400002",
    "zgid": "60000000001",
    "company_name": "Example Leads",
    "country_code": "IN",
    "currency": "Indian Rupee",
    "time_zone": "Asia/Kolkata",
}
FIELDS_SCOPE = "ZohoCRM.settings.fields.READ"
# The scopes of the refresh token, unless others are set.
SCOPES = (
    *("ZohoCRM.modules.ALL", FIELDS_SCOPE, "ZohoCRM.users.READ"),
    *("ZohoCRM.coql.READ", "ZohoCRM.notifications.ALL"),
)
NEEDED_OF_CALLS = ("Subject", "Call_Type", "Call_Start_Time", "Call_Duration")
# Errors that are asked for: (code, message).
SIMULATED = {
    400: ("INVALID_DATA", "invalid data"),
    401: ("INVALID_TOKEN", "invalid oauth token"),
    403: ("NO_PERMISSION", "permission denied"),
    404: ("INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one"),
    429: ("TOO_MANY_REQUESTS", "You have made too many requests. Please try again later."),
    503: ("SERVICE_UNAVAILABLE", "The service is not available for a moment"),
}


def views(state: State) -> Blueprint:
    """Build Zoho's endpoints over this state."""
    blueprint = Blueprint("zoho", __name__)

    @blueprint.post("/oauth/v2/token")
    def refresh() -> tuple[Response, int]:
        # Zoho reads them from the query as well as from the form, and answers these errors
        # with 200: only the body shows the error.
        given = request.values
        if given.get("grant_type") != "refresh_token":
            return jsonify(error="unsupported_grant_type"), 200
        if not given.get("client_id") or not given.get("client_secret"):
            return jsonify(error="invalid_client"), 200
        refresh_token = given.get("refresh_token", "")
        if not refresh_token or refresh_token in state.revoked_refresh_tokens:
            return jsonify(error="invalid_code"), 200
        token = state.new_zoho_token(refresh_token)
        if token is None:
            return jsonify(
                error="Access Denied",
                error_description="You have made too many requests continuously. "
                "Please try again after some time.",
                status="failure",
            ), 400
        return jsonify(
            {
                "access_token": token,
                # https://zoho.com/developer/docs/vertical-solutions/api/v6/refresh.html
                "scope": " ".join(state.scopes("zoho", SCOPES)),
                "api_domain": request.host_url.rstrip("/"),
                "token_type": "Bearer",
                "expires_in": int(ZOHO_TOKEN_LIFE_S),
            }
        ), 200

    @blueprint.before_request
    def check_token() -> tuple[Response, int] | None:
        if not request.path.startswith("/crm/"):
            return None
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Zoho-oauthtoken" and state.is_zoho_token(token):
            return None
        return refusal("INVALID_TOKEN", "invalid oauth token", 401)

    def is_module(name: str) -> bool:
        return name in MODULES or ("zoho", name) in state.records

    @blueprint.get("/crm/v8/settings/fields")
    def fields_of() -> tuple[Response, int]:
        module = request.args.get("module", "")
        if not module:
            return refusal(
                "REQUIRED_PARAM_MISSING",
                "One of the expected parameter is missing",
                400,
                param_name="module",
            )
        if not is_module(module):
            return refusal("INVALID_MODULE", "the module name given seems to be invalid", 400)
        if FIELDS_SCOPE not in state.scopes("zoho", SCOPES):
            return refusal("OAUTH_SCOPE_MISMATCH", "invalid oauth scope to access this URL", 401)
        known = state.fields_of("zoho", module, ["id"])
        return jsonify(
            fields=[
                {
                    "api_name": name,
                    "field_label": name.replace("_", " "),
                    "data_type": "bigint" if name == "id" else "text",
                    "json_type": "string",
                    "visible": True,
                    "read_only": name == "id" or found == "read_only",
                }
                for name, found in known.items()
            ]
        ), 200

    @blueprint.route("/crm/v8/actions/watch", methods=["POST", "PUT"])
    def watch() -> tuple[Response, int]:
        channels = _list_of(request.get_json(silent=True), "watch")
        if not all(one.get("channel_id") and one.get("notify_url") for one in channels):
            return refusal("MANDATORY_NOT_FOUND", "required field not found", 400)
        answers = [_watched(state, one, is_new=request.method == "POST") for one in channels]
        is_refused = any(one["status"] == "error" for one in answers)
        # A refusal has a status of success, too.
        return jsonify(watch=answers), 202 if is_refused else 200

    @blueprint.put("/crm/v8/<module>")
    def update(module: str) -> tuple[Response, int]:
        if not is_module(module):
            return refusal("INVALID_MODULE", "the module name given seems to be invalid", 400)
        changes = _list_of(request.get_json(silent=True), "data")
        if not changes or len(changes) > MAX_IDS:
            return refusal("INVALID_DATA", "invalid data", 400, api_name="data")
        by = {"id": USER["id"], "name": USER["full_name"], "email": USER["email"]}
        answers = []
        for change in changes:
            record_id = str(change.get("id"))
            record = state.find_record("zoho", module, record_id)
            if record is None:
                answers.append(_refused("the id given seems to be invalid", "id"))
                continue
            if said := refused_field(module, change):
                answers.append(said)
                continue
            now = datetime.now(UTC).isoformat(timespec="seconds")
            fields = {**record, **change, "Modified_By": by, "Modified_Time": now}
            state.put_record("zoho", module, record_id, fields)
            answers.append(_done(record_id, "record updated"))
            notify(state, module, record_id, change)
        return jsonify(data=answers), _status_of(answers, 200)

    def refused_field(module: str, given: Mapping[str, Any]) -> dict[str, Any] | None:
        for name in given:
            if message := state.refused_field("zoho", module, name):
                return _refused(message, name)
        return None

    @blueprint.post("/crm/v8/Calls")
    def write_calls() -> tuple[Response, int]:
        answers = []
        calls = _list_of(request.get_json(silent=True), "data")
        if not 1 <= len(calls) <= MAX_IDS:
            return refusal("INVALID_DATA", "invalid data", 400, api_name="data")
        for call in calls:
            missing = next((name for name in NEEDED_OF_CALLS if not call.get(name)), None)
            if missing:
                answers.append(_refused("required field not found", missing))
                continue
            if said := refused_field("Calls", call):
                answers.append(said)
                continue
            written = state.add_written("zoho", "Calls", call)
            state.put_record("zoho", "Calls", written.id, call)
            answers.append(_done(written.id, "record added"))
        return jsonify(data=answers), _status_of(answers, 201)

    # Of COQL, the one question that the bridge has: the calls whose subject ends with a text.
    @blueprint.post("/crm/v8/coql")
    def coql() -> tuple[Response, int]:
        body = request.get_json(silent=True)
        query = body.get("select_query", "") if isinstance(body, dict) else ""
        asked = re.fullmatch(
            r"select id from Calls where Subject like '%([^'%]+)' limit 0, 1", str(query)
        )
        if asked is None:
            return refusal("SYNTAX_ERROR", "error occurred while parsing the query", 400)
        for record_id, call in state.find_records("zoho", "Calls").items():
            if str(call.get("Subject", "")).endswith(asked[1]):
                info = {"count": 1, "more_records": False}
                return jsonify(data=[{"id": record_id}], info=info), 200
        return nothing()

    @blueprint.get("/crm/v8/users")
    def users() -> tuple[Response, int]:
        return jsonify(
            users=[USER],
            info={"per_page": PAGE, "count": 1, "page": 1, "more_records": False},
        ), 200

    # Zoho's own client asks for it with each new token:
    # https://www.zoho.com/crm/developer/docs/api/v8/get-org-data.html
    @blueprint.get("/crm/v8/org")
    def organisation() -> tuple[Response, int]:
        return jsonify(org=[ORGANISATION]), 200

    @blueprint.get("/crm/v8/<module>")
    def read(module: str) -> tuple[Response, int]:
        if not is_module(module):
            return refusal("INVALID_MODULE", "the module name given seems to be invalid", 400)
        fields = _list(request.args.get("fields"))
        if not fields:
            return refusal(
                "REQUIRED_PARAM_MISSING",
                "One of the expected parameter is missing",
                400,
                param_name="fields",
            )
        if len(fields) > MAX_FIELDS:
            return refusal("LIMIT_EXCEEDED", "too many fields", 400, limit=MAX_FIELDS)
        ids = _list(request.args.get("ids"))
        if len(ids) > MAX_IDS:
            return refusal("LIMIT_EXCEEDED", "too many ids", 400, limit=MAX_IDS)
        records = state.find_records("zoho", module)
        if given := request.headers.get("If-Modified-Since"):
            records = changed_since(records, datetime.fromisoformat(given), state.started_at)
            if not records:
                return nothing(304)
        found = [record_id for record_id in dict.fromkeys(ids or records) if record_id in records]
        if not found:
            return nothing()
        try:
            number, size = _paging(request.args)
            number = int(request.args.get("page_token", number))
        except ValueError as error:
            return refusal("INVALID_DATA", "invalid data", 400, api_name=str(error))
        page = found[(number - 1) * size : number * size]
        if not page:
            return nothing()
        return jsonify(
            data=[
                # A field without a value is there, and null.
                {"id": record_id, **{name: records[record_id].get(name) for name in fields}}
                | {"id": record_id}
                for record_id in page
            ],
            info={
                "per_page": size,
                "count": len(page),
                "page": number,
                "more_records": len(found) > number * size,
                # Zoho's own is a long text without a meaning.
                **({"next_page_token": str(number + 1)} if len(found) > number * size else {}),
            },
        ), 200

    return blueprint


def notify(state: State, module: str, record_id: str, change: Mapping[str, Any]) -> None:
    """Tell each channel that watches the module that a record was changed. An error is not tried
    again.
    """
    names = [name for name in change if name != "id"]
    for channel in list(state.zoho_channels.values()):
        if not {f"{module}.edit", f"{module}.all"} & set(channel.get("events", ())):
            continue
        if has_expired(channel):
            continue
        body = {
            "server_time": int(time.time() * 1000),
            "module": module,
            "operation": "update",
            "ids": [record_id],
            "channel_id": channel["channel_id"],
            "token": channel.get("token"),
            "query_params": {},
            "resource_uri": f"{request.host_url}crm/v8/{module}",
            "affected_fields": [{record_id: names}],
            "affected_values": [],
        }
        with suppress(OSError, http.client.HTTPException, outcomes.NotAllowed):
            outcomes.post(channel["notify_url"], body, allowed_hosts=state.callback_hosts)


def has_expired(channel: Mapping[str, Any]) -> bool:
    """Say whether a channel has ended; one that names no time has not."""
    given = channel.get("channel_expiry")
    return given is not None and datetime.fromisoformat(given) <= datetime.now(UTC)


def _watched(state: State, channel: dict[str, Any], *, is_new: bool) -> dict[str, Any]:
    """Make or renew a channel, and answer as Zoho does."""
    channel_id, given = str(channel["channel_id"]), channel.get("channel_expiry")
    known = state.zoho_channels.get(channel_id)
    if not is_new and (known is None or has_expired(known)):
        return _refused("the channel id given seems to be invalid", "channel_id")
    if len(str(channel.get("token") or "")) > LONGEST_TOKEN:
        return _refused("invalid data", "token")
    if given is not None and not _is_expiry(str(given)):
        return _refused("invalid data", "channel_expiry")
    state.zoho_channels[channel_id] = channel
    events = [
        {
            "channel_expiry": given,
            "resource_uri": f"{request.host_url}crm/v8/{name.partition('.')[0]}",
            "resource_name": name.partition(".")[0],
            "channel_id": channel_id,
        }
        for name in channel.get("events", ())
    ]
    done = _done(channel_id, "Successfully subscribed for actions-watch of the given module")
    return {**done, "details": {"id": channel_id, "events": events}}


def _is_expiry(given: str) -> bool:
    """Say whether a time is in whole seconds, and within a day, as older versions want it."""
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        return False
    now = datetime.now(UTC)
    return "." not in given and at.tzinfo is not None and now < at <= now + LONGEST_CHANNEL


def _status_of(answers: list[dict[str, Any]], done: int) -> int:
    """Return the status of an answer: 207 if a part was refused, 202 if all was (unconfirmed)."""
    refused = sum(one["status"] == "error" for one in answers)
    return done if not refused else 202 if refused == len(answers) else 207


def _done(record_id: str, message: str) -> dict[str, Any]:
    details = {"id": record_id}
    return {"code": "SUCCESS", "details": details, "message": message, "status": "success"}


def _refused(message: str, name: str) -> dict[str, Any]:
    details = {"api_name": name}
    return {"code": "INVALID_DATA", "details": details, "message": message, "status": "error"}


def _list_of(body: Any, name: str) -> list[dict[str, Any]]:
    """Return the objects of a list in a body; []: it has none."""
    found = body.get(name) if isinstance(body, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def refusal(code: str, message: str, status: int, **details: Any) -> tuple[Response, int]:
    """Answer an error as Zoho does."""
    return jsonify(code=code, details=details, message=message, status="error"), status


def simulated(status: int) -> tuple[Response, int]:
    """Answer an error that was asked for, in Zoho's words."""
    code, message = SIMULATED.get(status, ("INTERNAL_ERROR", "Internal Server Error"))
    return refusal(code, message, status)


def changed_since(
    records: Mapping[str, dict[str, Any]], since: datetime, started_at: datetime
) -> dict[str, dict[str, Any]]:
    """Return the records that were changed since a time; one without a time is of the start."""

    def at(record: Mapping[str, Any]) -> datetime:
        given = record.get("Modified_Time") or record.get("Created_Time")
        return datetime.fromisoformat(given) if given else started_at

    return {record_id: record for record_id, record in records.items() if at(record) >= since}


def nothing(status: int = 204) -> tuple[Response, int]:
    """Answer 204 or 304 as Zoho does: without a body, and so without a Content-Type."""
    answer = Response(status=status)
    del answer.headers["Content-Type"]
    return answer, status


def _paging(given: Mapping[str, str]) -> tuple[int, int]:
    """Return the number of the page and its size. Raises ValueError with the parameter's name."""
    found = []
    for name, usual, most in (("page", 1, 1000), ("per_page", PAGE, PAGE)):
        text = given.get(name, str(usual))
        if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= most:
            raise ValueError(name)
        found.append(int(text))
    return found[0], found[1]


def _list(value: str | None) -> list[str]:
    return [part.strip() for part in (value or "").split(",") if part.strip()]


# --- what it was told of calls --------------------------------------------------------------------

_MODULE = re.compile(r"/crm/v8/([A-Za-z0-9_]+)")


def _record_of(call: Mapping[str, Any]) -> tuple[str | None, str | None]:
    for name, module in (("Who_Id", "Contacts"), ("What_Id", call.get("$se_module"))):
        if isinstance(call.get(name), dict):
            return module, str(call[name].get("id"))
    return None, None


def _changes(request: Received) -> Iterator[Change]:
    found = _MODULE.fullmatch(request.path)
    if found and request.method == "PUT":
        for entry in objects(request.body, "data"):
            fields = {name: value for name, value in entry.items() if name != "id"}
            yield Change(found[1], entry.get("id"), fields)


TELLING = Telling(
    calls="Calls",
    record_of=_record_of,
    links=frozenset({"Who_Id", "What_Id", "$se_module"}),
    changes=_changes,
)
