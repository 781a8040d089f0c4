"""What the CRMs were told, in order: calls, changed fields, signed webhooks.

It is read out of what the simulator remembers anyway, so no endpoint has to note it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import parse_qs

from flask import Blueprint

from simulator import leadsquared
from simulator.hubspot import OBJECT_NAMES
from simulator.state import Received, State, Written

HOOK = "/hook"
"""A signed webhook out goes to /hook/<source>."""

What = Literal["call created", "call changed", "record changed", "webhook"]

_HUBSPOT = re.compile(r"/crm/(?:objects/[^/]+|v3/objects)/([^/]+)/(.+)")
_CLOSE = re.compile(r"/api/v1/(contact|lead|activity/call)/([^/]+)/")
_GOHIGHLEVEL = re.compile(r"/contacts/([^/]+)(?:/notes/([^/]+))?")
_ZOHO = re.compile(r"/crm/v8/([A-Za-z0-9_]+)")
# The ids of HubSpot's own associations of a call.
_ASSOCIATED = {194: "contacts", 182: "companies", 206: "deals", 220: "tickets"}
# Of a call's record: they say whose call it is, or when it was written.
_LINKS = (
    *("Who_Id", "What_Id", "$se_module"),
    *("lead_id", "contact_id", "contactId", "dateAdded"),
    "RelatedProspectId",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One thing that a CRM was told.

    crm: of a webhook, the source in its address. object, record_id: the record that was changed,
    or to which the call belongs; None: not known. call_id: None: it is about no call's record.
    fields: as they were written.
    """

    at: datetime
    crm: str
    what: What
    object: str | None
    record_id: str | None
    call_id: str | None
    fields: Mapping[str, Any]

    def shown(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "at": self.at.isoformat(),
            "crm": self.crm,
            "what": self.what,
            "object": self.object,
            "record_id": self.record_id,
            "call_id": self.call_id,
            "fields": dict(self.fields),
        }


def views() -> Blueprint:
    """Build the receiver of signed webhooks. It checks no signature: it has no secret."""
    blueprint = Blueprint("told", __name__)

    @blueprint.post(f"{HOOK}/<_>")
    def receive(_: str) -> tuple[str, int]:
        return "", 204

    return blueprint


def told(state: State) -> list[Told]:
    """Return everything that the CRMs accepted, the oldest first."""
    calls = {(one.crm, one.id): _created(one) for one in state.written if _is_call(one.object)}
    changes = (one for request in state.requests if request.accepted for one in _changes(request))
    known = (
        _of_call(one, calls) if _is_call(one.object) else one
        for one in changes
        if one.what == "webhook" or _was_made(state, one)
    )
    return sorted([*calls.values(), *known], key=lambda one: one.at)


def _is_call(object_name: str | None) -> bool:
    return object_name in ("calls", "Calls", "notes", leadsquared.ACTIVITY)


def _was_made(state: State, one: Told) -> bool:
    """Say whether a change was made: a batch is accepted although some of it was refused."""
    if any(state.refused_field(one.crm, str(one.object), name) for name in one.fields):
        return False
    record_id = state.merged_id(one.crm, str(one.object), str(one.record_id))
    return state.find_record(one.crm, str(one.object), record_id) is not None


def _created(written: Written) -> Told:
    object_name, record_id = _RECORD_OF[written.crm](written.body)
    fields = written.body.get("properties", written.body)
    return Told(
        at=written.at,
        crm=written.crm,
        what="call created",
        object=object_name,
        record_id=record_id,
        call_id=written.id,
        fields={name: value for name, value in fields.items() if name not in _LINKS},
    )


def _hubspot_record(body: Mapping[str, Any]) -> tuple[str | None, str | None]:
    for one in body.get("associations", ()):
        types = [_ASSOCIATED.get(kind.get("associationTypeId")) for kind in one.get("types", ())]
        return next(filter(None, types), None), str(one["to"]["id"])
    return None, None


def _zoho_record(body: Mapping[str, Any]) -> tuple[str | None, str | None]:
    for name, object_name in (("Who_Id", "Contacts"), ("What_Id", body.get("$se_module"))):
        if isinstance(body.get(name), dict):
            return object_name, str(body[name].get("id"))
    return None, None


def _leadsquared_record(body: Mapping[str, Any]) -> tuple[str | None, str | None]:
    return leadsquared.LEAD, str(body["RelatedProspectId"])


def _close_record(body: Mapping[str, Any]) -> tuple[str | None, str | None]:
    for name in ("contact", "lead"):
        if body.get(f"{name}_id"):
            return name, str(body[f"{name}_id"])
    return None, None


def _gohighlevel_record(body: Mapping[str, Any]) -> tuple[str | None, str | None]:
    return "contacts", str(body.get("contactId"))


# By the CRM: the object and the id of the record that a new call's record belongs to.
_RECORD_OF: Mapping[str, Callable[[Mapping[str, Any]], tuple[str | None, str | None]]] = {
    "close": _close_record,
    "gohighlevel": _gohighlevel_record,
    "hubspot": _hubspot_record,
    "leadsquared": _leadsquared_record,
    "zoho": _zoho_record,
}


def _of_call(change: Told, calls: Mapping[tuple[str, str], Told]) -> Told:
    """Return the change of a call's record as one of the person whom the call is about."""
    call = calls.get((change.crm, str(change.record_id)))
    return Told(
        at=change.at,
        crm=change.crm,
        what="call changed",
        object=call.object if call else None,
        record_id=call.record_id if call else None,
        call_id=change.record_id,
        fields=change.fields,
    )


# --- requests that change records -----------------------------------------------------------------


def _changes(request: Received) -> Iterator[Told]:
    """Yield what a request that was accepted changes; nothing for one that only reads or adds."""
    if request.path.startswith(f"{HOOK}/"):
        source, body = request.path.rpartition("/")[2], request.body
        yield _told(request, source, "webhook", None, None, body if isinstance(body, dict) else {})
    elif found := _HUBSPOT.fullmatch(request.path):
        yield from _hubspot_changes(request, found[1], found[2])
    elif request.method == "PUT" and (found := _CLOSE.fullmatch(request.path)):
        name = "calls" if found[1] == "activity/call" else found[1]
        fields = request.body if isinstance(request.body, dict) else {}
        yield _told(request, "close", "record changed", name, found[2], fields)
    elif request.method == "PUT" and (found := _ZOHO.fullmatch(request.path)):
        for entry in _objects(request.body, "data"):
            fields = {name: value for name, value in entry.items() if name != "id"}
            yield _told(request, "zoho", "record changed", found[1], entry.get("id"), fields)
    elif request.path.startswith(leadsquared.PATHS):
        yield from _leadsquared_changes(request)
    elif request.method == "PUT" and (found := _GOHIGHLEVEL.fullmatch(request.path)):
        yield _gohighlevel_change(request, found[1], found[2])


def _leadsquared_changes(request: Received) -> Iterator[Told]:
    if request.path == f"{leadsquared.LEADS}Lead.Update":
        lead_id = parse_qs(request.query)["leadId"][0]
        fields = {one["Attribute"]: one["Value"] for one in request.body}
        yield _told(request, "leadsquared", "record changed", leadsquared.LEAD, lead_id, fields)
    elif request.path == f"{leadsquared.ACTIVITIES}CustomActivity/Update":
        fields = dict(request.body)
        activity_id = fields.pop("ProspectActivityId")
        yield _told(
            request, "leadsquared", "record changed", leadsquared.ACTIVITY, activity_id, fields
        )


def _gohighlevel_change(request: Received, contact_id: str, note_id: str | None) -> Told:
    body = request.body
    if note_id is not None:
        return _told(request, "gohighlevel", "record changed", "notes", note_id, body)
    fields = {name: value for name, value in body.items() if name != "customFields"}
    fields |= {one["id"]: one.get("field_value") for one in _objects(body, "customFields")}
    return _told(request, "gohighlevel", "record changed", "contacts", contact_id, fields)


def _hubspot_changes(request: Received, object_name: str, rest: str) -> Iterator[Told]:
    if request.method == "PATCH":
        entries = [{**request.body, "id": rest}]
    elif (request.method, rest) == ("POST", "batch/update"):
        entries = _objects(request.body, "inputs")
    else:
        return
    name = OBJECT_NAMES.get(object_name, object_name)
    for entry in entries:
        fields = entry.get("properties", {})
        yield _told(request, "hubspot", "record changed", name, entry.get("id"), fields)


def _told(
    request: Received,
    crm: str,
    what: What,
    object_name: str | None,
    record_id: Any,
    fields: Mapping[str, Any],
) -> Told:
    return Told(
        at=request.at,
        crm=crm,
        what=what,
        object=object_name,
        record_id=None if record_id is None else str(record_id),
        call_id=None,
        fields=fields,
    )


def _objects(body: Any, name: str) -> list[dict[str, Any]]:
    found = body.get(name) if isinstance(body, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
