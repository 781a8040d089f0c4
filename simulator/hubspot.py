"""HubSpot's API, as far as the bridge reads records and writes calls.

https://developers.hubspot.com/docs/api-reference/2026-03/crm/using-object-apis
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, g, jsonify, request

from simulator import outcomes
from simulator.state import FieldState, HubSpotApp, Received, State
from simulator.telling import Change, Telling, objects

MAX_IDS = 100
TRACE = "objectWriteTraceId"  # of an input of a batch; its answer has it, too
MOST_FOUND_AT_ONCE = 200  # in a page of a search
PORTAL = 62515  # whose account it is while no app is known

# Where the object APIs are: by date, and where they were before.
DATED = "/crm/objects/<version>"
LEGACY = "/crm/v3/objects"
PATHS = ("/crm/objects/", "/crm/properties/", "/crm/v3/")
_DATE = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])")

# Generic subscriptions name an object by its type id. The paths accept both.
OBJECT_NAMES = {
    "0-1": "contacts",
    "0-2": "companies",
    "0-3": "deals",
    "0-5": "tickets",
    "0-48": "calls",
}
# The properties of records that HubSpot has from the start, as far as they matter here, and those
# that only HubSpot sets.
PROPERTIES = (
    *("email", "firstname", "lastname", "phone", "mobilephone", "city", "country"),
    *("hs_lead_status", "lifecyclestage", "hubspot_owner_id"),
)
READ_ONLY = ("createdate", "hs_object_id", "lastmodifieddate")
# The scopes of the app, unless others are set.
SCOPES = (
    *("oauth", "tickets", "crm.objects.leads.read"),
    *("crm.objects.contacts.read", "crm.objects.contacts.write"),
    *("crm.objects.companies.read", "crm.objects.companies.write"),
    *("crm.objects.deals.read", "crm.objects.deals.write"),
)
APP = 50780459  # whose token it is while no app is known
USER = 9586504  # who installed the app
# What a question names: the properties to give, and those to give with their history.
ASKED_FOR = ("properties", "propertiesWithHistory")
# Always in the answer, also if not asked for.
ALWAYS = ("createdate", "hs_object_id", "lastmodifieddate")
# In the answer if no property is asked for.
USUAL = ("email", "firstname", "lastname")

# Errors that are asked for: (message, category).
SIMULATED = {
    400: ("Invalid input JSON", "VALIDATION_ERROR"),
    401: (
        "Authentication credentials not found. This API supports OAuth 2.0 authentication.",
        "INVALID_AUTHENTICATION",
    ),
    403: ("This app hasn't been granted all required scopes.", "MISSING_SCOPES"),
    404: ("resource not found", "OBJECT_NOT_FOUND"),
    409: ("The record already exists.", "CONFLICT"),
    423: ("The account is locked for a moment.", "LOCKED"),
    503: ("Service unavailable", "SERVICE_UNAVAILABLE"),
}


def views(state: State) -> Blueprint:
    """Build HubSpot's endpoints over this state."""
    blueprint = Blueprint("hubspot", __name__)
    started_at = _shown(state.started_at)

    @blueprint.url_value_preprocessor
    def take_version(_: str | None, values: dict[str, Any] | None) -> None:
        """Take the date out of what the endpoints are called with. None: it is the old path."""
        g.version = (values or {}).pop("version", None)

    @blueprint.before_request
    def check_version() -> tuple[Response, int] | None:
        # That the old paths will be 404 is an assumption: HubSpot calls them unsupported from
        # September 2027. https://developers.hubspot.com/docs/api-reference/legacy/overview
        known = state.has_legacy_hubspot if g.version is None else _DATE.fullmatch(g.version)
        return None if known else simulated(404)

    @blueprint.before_request
    def check_token() -> tuple[Response, int] | None:
        return None if is_known_token(state) else simulated(401)

    def find(object_name: str, record_id: str) -> dict[str, Any] | None:
        record = state.find_record("hubspot", object_name, record_id)
        merged = state.merged_from("hubspot", object_name, record_id)
        if record is None or not merged:
            return record
        return {**record, "hs_merged_object_ids": ";".join(merged)}

    def is_object(kind: str) -> bool:
        return kind in OBJECT_NAMES.values() or bool(state.find_records("hubspot", kind))

    @blueprint.post("/<object_name>/batch/read")
    def read_batch(object_name: str) -> tuple[Response, int]:
        kind = OBJECT_NAMES.get(object_name, object_name)
        if not is_object(kind):
            return unknown_object(object_name)
        object_name = kind

        def now(record_id: str) -> str:
            return state.merged_id("hubspot", kind, record_id, in_batch=True)

        try:
            ids, properties, with_history = read_question(g.raw)
        except ValueError as error:
            return refusal(str(error), "VALIDATION_ERROR", 400)
        results, missing = [], []
        # A record that is asked for twice, also under a merged id, is answered once.
        for record_id in dict.fromkeys(map(now, ids)):
            record = find(object_name, record_id)
            if record is None:
                missing.append(record_id)
            else:
                results.append(result(record_id, record, properties, with_history, started_at))
        answer: dict[str, Any] = {
            "status": "COMPLETE",
            "results": results,
            "startedAt": started_at,
            "completedAt": started_at,
        }
        if not missing:
            return jsonify(answer), 200
        singular = object_name.upper().removesuffix("S")
        answer["numErrors"] = 1
        answer["errors"] = [
            {
                "status": "error",
                "category": "OBJECT_NOT_FOUND",
                "message": f"Could not get some {singular} objects, they may be deleted or not "
                "exist. Check that ids are valid.",
                "context": {"ids": missing},
            }
        ]
        return jsonify(answer), 207

    @blueprint.post("/<object_name>/search")
    def search(object_name: str) -> tuple[Response, int]:
        kind = OBJECT_NAMES.get(object_name, object_name)
        if not is_object(kind):
            return unknown_object(object_name)
        try:
            page = search_page(_object(g.raw), state.find_records("hubspot", kind), started_at)
        except (ValueError, KeyError, TypeError) as error:
            return refusal(str(error), "VALIDATION_ERROR", 400)
        return jsonify(page), 200

    @blueprint.get("/<object_name>/<record_id>")
    def read_one(object_name: str, record_id: str) -> tuple[Response, int]:
        kind = OBJECT_NAMES.get(object_name, object_name)
        if not is_object(kind):
            return unknown_object(object_name)
        record_id = state.merged_id("hubspot", kind, record_id)
        record = find(kind, record_id)
        if record is None:
            return simulated(404)
        associated = _names(request.args.getlist("associations"))
        properties, with_history = (_names(request.args.getlist(name)) for name in ASKED_FOR)
        answer = result(record_id, record, properties, with_history, started_at)
        if "calls" in associated and (calls := state.hubspot_calls_of(record_id)):
            answer["associations"] = {"calls": {"results": [{"id": one} for one in calls]}}
        return jsonify(answer), 200

    @blueprint.patch("/<object_name>/<record_id>")
    def update_one(object_name: str, record_id: str) -> tuple[Response, int]:
        kind = OBJECT_NAMES.get(object_name, object_name)
        if not is_object(kind):
            return unknown_object(object_name)
        try:
            changed = _properties(_object(g.raw))
            _check_fields(state, kind, changed)
        except ValueError as error:
            return refusal(str(error), "VALIDATION_ERROR", 400)
        record_id = state.merged_id("hubspot", kind, record_id)
        if (record := find(kind, record_id)) is None:
            return simulated(404)
        record = {**record, **changed}
        state.put_record("hubspot", kind, record_id, record)
        notify(state, kind, record_id, changed)
        return jsonify(result(record_id, record, [*changed], [], started_at)), 200

    @blueprint.post("/<object_name>/batch/update")
    def update_batch(object_name: str) -> tuple[Response, int]:
        kind = OBJECT_NAMES.get(object_name, object_name)
        if not is_object(kind):
            return unknown_object(object_name)
        try:
            inputs = _inputs(g.raw)
            ids = [state.merged_id("hubspot", kind, str(one.get("id"))) for one in inputs]
            if len(set(ids)) < len(ids):
                raise ValueError("Duplicate IDs found in batch input")
            for one in inputs:
                _check_fields(state, kind, _properties(one))
        except ValueError as error:
            return refusal(str(error), "VALIDATION_ERROR", 400)
        results, errors = [], []
        for one, record_id in zip(inputs, ids, strict=True):
            record = find(kind, record_id)
            if record is None:
                message = f"resource not found: {record_id}"
                errors.append(_error(message, "OBJECT_NOT_FOUND", ids=[one["id"]]))
                continue
            changed = _properties(one)
            state.put_record("hubspot", kind, record_id, {**record, **changed})
            notify(state, kind, record_id, changed)
            shown = result(record_id, {**record, **changed}, [*changed], [], started_at)
            results.append(_traced(shown, one))
        return _batch_answer(results, errors, started_at, done=200)

    @blueprint.post("/calls")
    def write_call() -> tuple[Response, int]:
        try:
            body = _object(g.raw)
            _check_call(state, body)
        except ValueError as error:
            return refusal(str(error), "VALIDATION_ERROR", 400)
        return jsonify(add_call(body)), 201

    @blueprint.post("/calls/batch/create")
    def write_calls() -> tuple[Response, int]:
        try:
            inputs = _inputs(g.raw)
        except ValueError as error:
            return refusal(str(error), "VALIDATION_ERROR", 400)
        results, errors = [], []
        for one in inputs:
            try:
                _check_call(state, one)
            except ValueError as error:
                if TRACE not in one:
                    # Without it, one bad input costs the batch.
                    return refusal(str(error), "VALIDATION_ERROR", 400)
                errors.append(_error(str(error), "VALIDATION_ERROR", **{TRACE: [one[TRACE]]}))
        refused = {trace for error in errors for trace in error["context"][TRACE]}
        for one in inputs:
            if one.get(TRACE) not in refused:
                results.append(_traced(add_call(one), one))
        return _batch_answer(results, errors, started_at, done=201)

    def add_call(body: dict[str, Any]) -> dict[str, Any]:
        properties = body["properties"]
        written = state.add_written("hubspot", "calls", body)
        state.put_record("hubspot", "calls", written.id, properties)
        at = _shown(written.at)
        return {
            "id": written.id,
            "properties": {**properties, "hs_object_id": written.id},
            "createdAt": at,
            "updatedAt": at,
            "archived": False,
        }

    return blueprint


def notify(state: State, kind: str, record_id: str, changed: Mapping[str, Any]) -> None:
    """Tell the app which properties it changed by the API. An error is not tried again."""
    app = state.hubspot_app
    if app is None:
        return
    type_id = next((one for one, name in OBJECT_NAMES.items() if name == kind), kind)
    body = [
        {
            "eventId": secrets.randbelow(2**31),
            "subscriptionId": app.subscription_id,
            "portalId": app.portal_id,
            "appId": app.app_id,
            "occurredAt": int(time.time() * 1000),
            "subscriptionType": "object.propertyChange",
            "attemptNumber": 0,
            "objectId": int(record_id) if record_id.isdecimal() else record_id,
            "objectTypeId": type_id,
            "propertyName": name,
            "propertyValue": value,
            "changeSource": "INTEGRATION",
            "sourceId": str(app.app_id),
        }
        for name, value in changed.items()
    ]
    with suppress(OSError, http.client.HTTPException, outcomes.NotAllowed):
        outcomes.post(
            app.target_url,
            body,
            allowed_hosts=state.callback_hosts,
            sign=lambda raw: _signature(app, raw),
        )


def _signature(app: HubSpotApp, raw: bytes) -> dict[str, str]:
    """Return the headers of HubSpot's signature v3."""
    at = str(int(time.time() * 1000))
    text = b"POST" + app.target_url.encode() + raw + at.encode()
    digest = hmac.new(app.client_secret.encode(), text, hashlib.sha256).digest()
    return {
        "X-HubSpot-Request-Timestamp": at,
        "X-HubSpot-Signature-v3": base64.b64encode(digest).decode(),
    }


def is_known_token(state: State) -> bool:
    """Say whether a request has the token of the app."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    known = token.strip() and state.hubspot_token in (None, token.strip())
    return scheme.lower() == "bearer" and bool(known)


def refusal(message: str, category: str, status: int) -> tuple[Response, int]:
    """Answer an error as HubSpot does."""
    return jsonify(
        status="error", message=message, correlationId=secrets.token_hex(16), category=category
    ), status


def unknown_object(name: str) -> tuple[Response, int]:
    """Answer that there are no such records."""
    return refusal(f"Unable to infer object type from: {name}", "VALIDATION_ERROR", 400)


def simulated(status: int) -> tuple[Response, int]:
    """Answer an error that was asked for, in HubSpot's words."""
    if status != 429:
        message, category = SIMULATED.get(status, ("internal error", "INTERNAL_ERROR"))
        return refusal(message, category, status)
    # Its own client gives up on a 429 without a policyName:
    # https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines
    return jsonify(
        status="error",
        message="You have reached your ten_secondly_rolling limit.",
        errorType="RATE_LIMIT",
        correlationId=secrets.token_hex(16),
        policyName="TEN_SECONDLY_ROLLING",
    ), 429


def read_question(raw: bytes) -> tuple[list[str], list[str], list[str]]:
    """Return the ids, the properties and those with history that a batch read asks for.

    Raises:
        ValueError: the body is not such a question.
    """
    body = _object(raw)
    unknown = body.keys() - {*ASKED_FOR, "inputs"}
    if unknown:
        raise ValueError(f"This stand-in does not support: {', '.join(sorted(unknown))}")
    inputs, properties = body.get("inputs"), body.get("properties", [])
    with_history = body.get("propertiesWithHistory", [])
    if not isinstance(inputs, list) or not inputs:
        raise ValueError("inputs must be a list with at least one entry")
    if len(inputs) > MAX_IDS:
        raise ValueError(f"The maximum number of inputs supported in a batch is {MAX_IDS}")
    if not all(isinstance(entry, dict) and isinstance(entry.get("id"), str) for entry in inputs):
        raise ValueError("each of inputs must be an object with an id as text")
    for names in (properties, with_history):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("properties and propertiesWithHistory must be lists of names")
    return [entry["id"] for entry in inputs], properties, with_history


def result(
    record_id: str,
    record: dict[str, Any],
    properties: list[str],
    with_history: list[str],
    started_at: str,
) -> dict[str, Any]:
    """Return one record as HubSpot does: the properties that were asked for; null: it has none."""
    known = {
        "createdate": started_at,
        "lastmodifieddate": started_at,
        **record,
        "hs_object_id": record_id,
    }
    wanted = dict.fromkeys((*ALWAYS, *(properties or USUAL)))
    found = {
        "id": record_id,
        "properties": {name: known.get(name) for name in wanted},
        "createdAt": known.get("hs_createdate") or known["createdate"],
        "updatedAt": known.get("hs_lastmodifieddate") or known["lastmodifieddate"],
        "archived": False,
    }
    if with_history:
        # Of what the stand-in knows: the value of today.
        found["propertiesWithHistory"] = {
            name: [{"value": known[name], "timestamp": started_at, "sourceType": "API"}]
            for name in with_history
            if known.get(name) is not None
        }
    return found


def search_page(
    body: Mapping[str, Any], records: Mapping[str, dict[str, Any]], started_at: str
) -> dict[str, Any]:
    """Return a page of a search from a time on, by id, as the bridge makes it.

    https://developers.hubspot.com/docs/api-reference/2026-03/crm/search-the-crm

    Raises:
        ValueError, KeyError, TypeError: the body is not such a search.
    """
    ((since, *beyond),) = (group["filters"] for group in body["filterGroups"])
    if body["sorts"] != [{"propertyName": "hs_object_id", "direction": "ASCENDING"}]:
        raise ValueError("This stand-in sorts by hs_object_id.")
    if since["operator"] != "GTE" or any(
        (one["propertyName"], one["operator"]) != ("hs_object_id", "GT") for one in beyond
    ):
        raise ValueError("This stand-in searches from a time on, and beyond an id.")
    size = int(body.get("limit", 10))
    if not 1 <= size <= MOST_FOUND_AT_ONCE:
        raise ValueError("The limit is too large.")
    since_at = datetime.fromtimestamp(int(since["value"]) / 1000, UTC)
    least = max((int(one["value"]) for one in beyond), default=0)

    def is_found(record_id: str, record: Mapping[str, Any]) -> bool:
        at = datetime.fromisoformat(record.get(since["propertyName"], started_at))
        return at >= since_at and int(record_id) > least

    found = sorted(
        (pair for pair in records.items() if is_found(*pair)), key=lambda one: int(one[0])
    )
    results = [
        result(record_id, record, [*body.get("properties", ())], [], started_at)
        for record_id, record in found[:size]
    ]
    more = {"paging": {"next": {"after": str(size)}}} if size < len(found) else {}
    return {"total": len(found), "results": results, **more}


def account_views(state: State) -> Blueprint:
    """Build the endpoints about the account: whose it is, its properties, its app's scopes."""
    blueprint = Blueprint("hubspot_account", __name__)

    @blueprint.get("/account-info/<_>/details")
    def details(_: str) -> Response:
        app = state.hubspot_app
        return jsonify(portalId=app.portal_id if app else PORTAL, accountType="STANDARD")

    # https://developers.hubspot.com/docs/api-reference/2026-03/crm/properties/get-properties
    @blueprint.get("/crm/properties/<version>/<object_name>")
    def properties(version: str, object_name: str) -> tuple[Response, int]:
        if not is_known_token(state):
            return simulated(401)
        kind = OBJECT_NAMES.get(object_name, object_name)
        if not _DATE.fullmatch(version) or kind not in OBJECT_NAMES.values():
            return unknown_object(object_name)
        known = state.fields_of("hubspot", kind, (*PROPERTIES, *READ_ONLY))
        return jsonify(results=[_property(name, found) for name, found in known.items()]), 200

    # https://developers.hubspot.com/docs/api/private-apps
    @blueprint.post("/oauth/v2/private-apps/get/access-token-info")
    def token_info() -> tuple[Response, int]:
        if not is_known_token(state):
            return simulated(401)
        token = request.headers["Authorization"].partition(" ")[2].strip()
        try:
            is_own = _object(g.raw).get("tokenKey") == token
        except ValueError as error:
            return refusal(str(error), "VALIDATION_ERROR", 400)
        if not is_own:
            return simulated(401)
        app = state.hubspot_app
        return jsonify(
            userId=USER,
            hubId=app.portal_id if app else PORTAL,
            appId=app.app_id if app else APP,
            scopes=list(state.scopes("hubspot", SCOPES)),
        ), 200

    return blueprint


def _property(name: str, state: FieldState | None) -> dict[str, Any]:
    is_read_only = state == "read_only" or name in READ_ONLY
    return {
        "name": name,
        "label": name,
        "type": "string",
        "fieldType": "text",
        "calculated": False,
        "modificationMetadata": {"archivable": True, "readOnlyValue": is_read_only},
    }


def _names(listed: list[str]) -> list[str]:
    """Return names from a query: with commas, or, as HubSpot's own client has them, each alone."""
    return [name.strip() for part in listed for name in part.split(",") if name.strip()]


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("Invalid input JSON") from None
    if not isinstance(body, dict):
        raise ValueError("Invalid input JSON: not an object")
    return body


def _inputs(raw: bytes) -> list[dict[str, Any]]:
    """Return the inputs of a batch. Raises ValueError."""
    inputs = _object(raw).get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(one, dict) for one in inputs):
        raise ValueError("inputs must be a list of objects")
    if not 1 <= len(inputs) <= MAX_IDS:
        raise ValueError(f"The number of inputs supported in a batch is 1 to {MAX_IDS}")
    return inputs


def _check_call(state: State, body: Mapping[str, Any]) -> None:
    """Raise ValueError if HubSpot keeps no such call."""
    properties = _properties(body)
    if not properties.get("hs_timestamp"):
        raise ValueError("hs_timestamp is required")
    _check_fields(state, "calls", properties)


def _check_fields(state: State, kind: str, properties: Mapping[str, Any]) -> None:
    """Raise ValueError if a property is refused, as a test asked for."""
    for name in properties:
        said = state.refused_field("hubspot", kind, name)
        match state.field_state("hubspot", kind, name):
            case "missing":
                said = f'Property "{name}" does not exist'
            case "read_only":
                said = f'"{name}" is a read only property'
        if said:
            raise ValueError(f"Property values were not valid: {said}")


def _error(message: str, category: str, **context: list[Any]) -> dict[str, Any]:
    return {"status": "error", "category": category, "message": message, "context": context}


def _traced(result: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result with the mark of its input, if that has one."""
    return {**result, TRACE: given[TRACE]} if TRACE in given else result


def _batch_answer(
    results: list[Any], errors: list[Any], at: str, *, done: int
) -> tuple[Response, int]:
    """Answer a batch: 207 if a part of it was refused."""
    answer = {"status": "COMPLETE", "results": results, "startedAt": at, "completedAt": at}
    if not errors:
        return jsonify(answer), done
    return jsonify({**answer, "numErrors": len(errors), "errors": errors}), 207


def _properties(body: Mapping[str, Any]) -> dict[str, Any]:
    found = body.get("properties")
    if not isinstance(found, dict) or not found:
        raise ValueError("properties must be an object with at least one property")
    return found


def _shown(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"


# --- what it was told of calls --------------------------------------------------------------------

_OBJECT = re.compile(r"/crm/(?:objects/[^/]+|v3/objects)/([^/]+)/(.+)")
# The ids of HubSpot's own associations of a call.
_ASSOCIATED = {194: "contacts", 182: "companies", 206: "deals", 220: "tickets"}


def _record_of(call: Mapping[str, Any]) -> tuple[str | None, str | None]:
    for one in call.get("associations", ()):
        types = [_ASSOCIATED.get(kind.get("associationTypeId")) for kind in one.get("types", ())]
        return next(filter(None, types), None), str(one["to"]["id"])
    return None, None


def _changes(request: Received) -> Iterator[Change]:
    found = _OBJECT.fullmatch(request.path)
    if not found:
        return
    object_name, rest = found.groups()
    if request.method == "PATCH":
        entries = [{**request.body, "id": rest}]
    elif (request.method, rest) == ("POST", "batch/update"):
        entries = objects(request.body, "inputs")
    else:
        return
    name = OBJECT_NAMES.get(object_name, object_name)
    for entry in entries:
        yield Change(name, entry.get("id"), entry.get("properties", {}))


TELLING = Telling(calls="calls", record_of=_record_of, links=frozenset(), changes=_changes)
