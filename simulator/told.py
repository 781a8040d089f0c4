"""What the CRMs were told, in order: calls, changed fields, signed webhooks.

Each CRM's module says how to read it: see simulator/telling.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from flask import Blueprint

from simulator import close, gohighlevel, hubspot, leadsquared, pipedrive, zoho
from simulator.state import Received, State, Written
from simulator.telling import Telling

HOOK = "/hook"
"""A signed webhook out goes to /hook/<source>."""

What = Literal["call created", "call changed", "record changed", "webhook"]

TELLINGS: Mapping[str, Telling] = {
    "close": close.TELLING,
    "gohighlevel": gohighlevel.TELLING,
    "hubspot": hubspot.TELLING,
    "leadsquared": leadsquared.TELLING,
    "pipedrive": pipedrive.TELLING,
    "zoho": zoho.TELLING,
}
_CALLS = frozenset((crm, telling.calls) for crm, telling in TELLINGS.items())


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
    calls = {
        (one.crm, one.id): _created(one) for one in state.written if (one.crm, one.object) in _CALLS
    }
    changes = (one for request in state.requests if request.accepted for one in _changes(request))
    known = (
        _of_call(one, calls) if (one.crm, one.object) in _CALLS else one
        for one in changes
        if one.what == "webhook" or _was_made(state, one)
    )
    return sorted([*calls.values(), *known], key=lambda one: one.at)


def _was_made(state: State, one: Told) -> bool:
    """Say whether a change was made: a batch is accepted although some of it was refused."""
    if any(state.refused_field(one.crm, str(one.object), name) for name in one.fields):
        return False
    record_id = state.merged_id(one.crm, str(one.object), str(one.record_id))
    return state.find_record(one.crm, str(one.object), record_id) is not None


def _created(written: Written) -> Told:
    telling = TELLINGS[written.crm]
    object_name, record_id = telling.record_of(written.body)
    fields = written.body.get("properties", written.body)
    return Told(
        at=written.at,
        crm=written.crm,
        what="call created",
        object=object_name,
        record_id=record_id,
        call_id=written.id,
        fields={name: value for name, value in fields.items() if name not in telling.links},
    )


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
    for crm, telling in TELLINGS.items():
        for one in telling.changes(request):
            yield _told(request, crm, "record changed", one.object, one.record_id, one.fields)


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
