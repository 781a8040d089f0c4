"""How HubSpot is told of calls: a call on the record's timeline, and the record's properties.

https://developers.hubspot.com/docs/api-reference/crm-calls-v3/guide
https://developers.hubspot.com/docs/api-reference/crm-associations-v4/guide
"""

from collections.abc import Generator, Mapping
from datetime import datetime
from typing import Any, Final

from schemas.outcome import Result
from schemas.source import CrmRequest, Told, WriteBack, id_text

OBJECTS: Final = "/crm/objects/{API_VERSION}"
# Our word -> the object's name in paths, and the id of HubSpot's own association of a call with it.
RECORDS: Final = {
    "contact": ("contacts", 194),
    "company": ("companies", 182),
    "deal": ("deals", 206),
    "ticket": ("tickets", 220),
}
KEY: Final = "hs_call_external_id"
MOST_CALLS: Final = 100  # of a record that are looked at: what one batch read can have
# HubSpot's own ids of dispositions; an account may rename them, not remove them.
CONNECTED: Final = "f240bbac-87c9-4f6e-bf70-924b57d47db7"
NO_ANSWER: Final = "73a0d17f-1163-4015-bdd5-ec830791da20"
VOICEMAIL: Final = "b2cf5968-551e-4856-9783-52b3da59a7d0"
WRONG_NUMBER: Final = "17b47fee-58de-441e-a44c-c6300d46f273"
# The result of a call -> hs_call_status, hs_call_disposition.
STATUSES: Final[Mapping[str, tuple[str, str | None]]] = {
    Result.CONNECTED: ("COMPLETED", CONNECTED),
    Result.VOICEMAIL: ("COMPLETED", VOICEMAIL),
    Result.NOT_REACHED: ("NO_ANSWER", NO_ANSWER),
    Result.WRONG_NUMBER: ("FAILED", WRONG_NUMBER),
    Result.NOT_DIALLED: ("CANCELED", None),
    Result.CANCELLED: ("CANCELED", None),
}


def _find(told: Told) -> Generator[CrmRequest, Any, str | None]:
    """Look at the record's newest calls. Not by a search: its index is seconds behind."""
    name, _ = RECORDS[told.subject_type]
    answer = yield CrmRequest(
        method="GET",
        path=f"{OBJECTS}/{name}/{told.subject}",
        params={"associations": "calls"},
    )
    calls: Any = answer
    for part in ("associations", "calls", "results"):
        calls = calls.get(part) if isinstance(calls, dict) else None
    ids = {id_ for one in calls or () if isinstance(one, dict) and (id_ := id_text(one.get("id")))}
    newest = sorted(ids, key=lambda one: (len(one), one))[-MOST_CALLS:]
    if not newest:
        return None
    answer = yield CrmRequest(
        method="POST",
        path=f"{OBJECTS}/calls/batch/read",
        json={"properties": [KEY], "inputs": [{"id": one} for one in newest]},
    )
    results = answer.get("results") if isinstance(answer, dict) else None
    for one in results or ():
        properties = one.get("properties") if isinstance(one, dict) else None
        if isinstance(properties, dict) and properties.get(KEY) == told.key:
            return id_text(one.get("id"))
    return None


def _call(told: Told) -> CrmRequest | None:
    if told.outcome is None and told.moment != "accepted":
        return None  # nobody was called
    properties = _properties(told)
    if told.call_id is not None:
        return CrmRequest(
            method="PATCH", path=f"{OBJECTS}/calls/{told.call_id}", json={"properties": properties}
        )
    association = {
        "to": {"id": told.subject},
        "types": [
            {
                "associationCategory": "HUBSPOT_DEFINED",
                "associationTypeId": RECORDS[told.subject_type][1],
            }
        ],
    }
    return CrmRequest(
        method="POST",
        path=f"{OBJECTS}/calls",
        json={"properties": properties, "associations": [association]},
    )


def _properties(told: Told) -> dict[str, Any]:
    outcome = told.outcome or {}
    status, disposition = (
        STATUSES.get(outcome["result"], ("FAILED", None)) if outcome else ("QUEUED", None)
    )
    talked_s, recording = outcome.get("talked_s"), outcome.get("recording_url")
    found = {
        "hs_timestamp": int(datetime.fromisoformat(told.at).timestamp() * 1000),
        "hs_call_title": f"Call by CallKaro: {outcome.get('result', 'queued').replace('_', ' ')}",
        "hs_call_body": outcome.get("transcript"),
        "hs_call_direction": "OUTBOUND",
        "hs_call_status": status,
        "hs_call_disposition": disposition,
        "hs_call_duration": None if talked_s is None else int(talked_s * 1000),
        "hs_call_to_number": told.delivery.get("number"),
        "hs_call_recording_url": recording if str(recording).startswith("https://") else None,
        KEY: told.key,
    }
    return {name: value for name, value in found.items() if value is not None}


def _call_id(answer: Any) -> str | None:
    return id_text(answer.get("id")) if isinstance(answer, dict) else None


def _update(told: Told) -> CrmRequest:
    name, _ = RECORDS[told.subject_type]
    return CrmRequest(
        method="PATCH",
        path=f"{OBJECTS}/{name}/{told.subject}",
        json={"properties": dict(told.fields)},
    )


WRITE_BACK: Final = WriteBack(
    rate=90,
    subject_types=frozenset(RECORDS),
    find=_find,
    call=_call,
    call_id=_call_id,
    update=_update,
)
