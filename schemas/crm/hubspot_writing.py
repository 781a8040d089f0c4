"""How HubSpot is told of calls: a call on the record's timeline, and the record's properties.

https://developers.hubspot.com/docs/api-reference/crm-calls-v3/guide
https://developers.hubspot.com/docs/api-reference/crm-associations-v4/guide
https://developers.hubspot.com/docs/api-reference/latest/error-handling (read on 2026-11-29)
"""

import html
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, Final

from schemas.crm.call_notes import field_text, notes, started_at, title
from schemas.crm.hubspot_check import check_of
from schemas.crm_api import CrmRequest, Refused, Told, WriteBack, Written
from schemas.outcome import Result
from schemas.source import id_text

OBJECTS: Final = "/crm/objects/{API_VERSION}"
CALLS: Final = f"{OBJECTS}/calls/batch"
# Our word -> the object's name in paths, and the id of HubSpot's own association of a call with it.
RECORDS: Final = {
    "contact": ("contacts", 194),
    "company": ("companies", 182),
    "deal": ("deals", 206),
    "ticket": ("tickets", 220),
}
KEY: Final = "hs_call_external_id"
TRACE: Final = "objectWriteTraceId"  # of an input; HubSpot says it again in the input's answer
RECORD_ID: Final = re.compile(r"[0-9]{1,30}")  # nothing else is put into a path
BATCH: Final = 100
BODY_CHARS: Final = 60_000  # of hs_call_body, which may have 65,536
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
# Categories of errors that say nothing about the input: it is told again.
FOR_NOW: Final = frozenset({"RATE_LIMITS", "INTERNAL_ERROR", "SERVICE_UNAVAILABLE"})


def _keeps_call(told: Told) -> bool:
    # Without the call's id, the outcome to come would be taken for that of another call.
    is_accepted = told.moment == "accepted" and told.delivery.get("call_sid") is not None
    return told.outcome is not None or is_accepted


def _find_call(told: Told) -> Generator[CrmRequest, Any, str | None]:
    """Look at the record's newest calls. Not by a search: its index is seconds behind."""
    name, _ = RECORDS[told.subject_type]
    if not RECORD_ID.fullmatch(told.subject):
        return None
    answer = yield CrmRequest(
        method="GET",
        path=f"{OBJECTS}/{name}/{told.subject}",
        params={"associations": "calls"},
    )
    calls: Any = answer
    for part in ("associations", "calls", "results"):
        calls = calls.get(part) if isinstance(calls, dict) else None
    ids = {id_ for one in _objects(calls) if (id_ := id_text(one.get("id")))}
    newest = sorted(ids, key=lambda one: (len(one), one))[-BATCH:]
    if not newest:
        return None
    answer = yield CrmRequest(
        method="POST",
        path=f"{CALLS}/read",
        json={"properties": [KEY], "inputs": [{"id": one} for one in newest]},
    )
    for one in _objects(answer.get("results")):
        properties = one.get("properties")
        if isinstance(properties, dict) and properties.get(KEY) == told.key:
            return id_text(one.get("id"))
    return None


def _create_calls(told: Sequence[Told]) -> CrmRequest:
    inputs = [
        {
            "properties": _properties(one),
            "associations": [_association(one)],
            TRACE: one.id,
        }
        for one in told
    ]
    return CrmRequest(method="POST", path=f"{CALLS}/create", json={"inputs": inputs})


def _association(told: Told) -> dict[str, Any]:
    _, type_id = RECORDS[told.subject_type]
    kind = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": type_id}
    return {"to": {"id": told.subject}, "types": [kind]}


def _update_calls(told: Sequence[Told]) -> CrmRequest:
    inputs = [{"id": one.call_id, "properties": _properties(one), TRACE: one.id} for one in told]
    return CrmRequest(method="POST", path=f"{CALLS}/update", json={"inputs": inputs})


def _set_fields(told: Sequence[Told]) -> CrmRequest:
    name, _ = RECORDS[told[0].subject_type]
    inputs = [
        {
            "id": one.subject,
            "properties": {field: field_text(value) for field, value in one.fields.items()},
            TRACE: one.id,
        }
        for one in told
    ]
    path = f"{OBJECTS}/{name}/batch/update"
    return CrmRequest(method="POST", path=path, json={"inputs": inputs})


def _properties(told: Told) -> dict[str, str]:
    outcome = told.outcome or {}
    status, disposition = (
        STATUSES.get(outcome["result"], ("FAILED", None)) if outcome else ("QUEUED", None)
    )
    talked_s, recording = outcome.get("talked_s"), outcome.get("recording_url")
    found = {
        "hs_timestamp": int(started_at(told).timestamp() * 1000),
        "hs_call_title": title(told),
        # It is rich text. Cut before it is escaped: no entity is cut in two.
        "hs_call_body": html.escape("\n".join(notes(told))[: BODY_CHARS // 6]).replace("\n", "<br>")
        or None,
        "hs_call_direction": "OUTBOUND",
        "hs_call_status": status,
        "hs_call_disposition": disposition,
        "hs_call_duration": None if talked_s is None else int(talked_s * 1000),
        "hs_call_to_number": told.delivery.get("number"),
        "hs_call_recording_url": recording if str(recording).startswith("https://") else None,
        KEY: told.key,
    }
    return {name: field_text(value) for name, value in found.items() if value is not None}


def _read(answer: Any, told: Sequence[Told]) -> dict[str, Written | Refused | None]:
    """Return what became of each input: of a 2xx, some may be refused (207)."""
    if not isinstance(answer, dict):
        return {}
    found: dict[str, Written | Refused | None] = {}
    results, errors = _objects(answer.get("results")), _objects(answer.get("errors"))
    for result in results:
        one = next((one for one in told if _is_result_of(result, one)), None)
        if one is not None:
            found[one.id] = Written(id_text(result.get("id")))
    for error in errors:
        about = set(_named(error))
        is_for_now = str(error.get("category")) in FOR_NOW
        said = None if is_for_now else Refused(str(error.get("message") or "it gave no reason"))
        found |= {one.id: said for one in told if about & {one.id, one.subject, one.call_id}}
    # HubSpot merged a record: its answer has another id. Without errors, all inputs were written.
    if len(results) == len(told) and not errors:
        found = {one.id: found.get(one.id) or Written() for one in told}
    return found


def _is_result_of(result: Mapping[str, Any], told: Told) -> bool:
    properties = result.get("properties")
    key = properties.get(KEY) if isinstance(properties, dict) else None
    return result.get(TRACE) == told.id or key == told.key


def _named(error: Mapping[str, Any]) -> Iterator[str]:
    """Yield the ids that an error names: of inputs, or of records."""
    context = error.get("context")
    for name in (TRACE, "ids", "id"):
        values = context.get(name) if isinstance(context, dict) else None
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, str):
                yield value


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


WRITE_BACK: Final = WriteBack(
    batch=BATCH,
    subject_types=frozenset(RECORDS),
    keeps_call=_keeps_call,
    find_call=_find_call,
    create_calls=_create_calls,
    update_calls=_update_calls,
    set_fields=_set_fields,
    read=_read,
    check=check_of({word: name for word, (name, _) in RECORDS.items()}),
)
