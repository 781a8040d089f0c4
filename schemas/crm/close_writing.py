"""How Close is told of calls: a call activity on the lead, and custom fields of lead or contact.

https://developer.close.com/api/resources/activities/calls/create
https://developer.close.com/api/resources/activities/calls/update
https://developer.close.com/api/resources/activities/calls/list
https://developer.close.com/api/resources/contacts/update
https://developer.close.com/api/resources/leads/update
https://developer.close.com/api/resources/custom-fields/custom-field-schemas
https://developer.close.com/topics/updating-specific-fields (a PUT leaves other fields as they are)
https://github.com/taylorbrooks/closeio/issues/64 (a refusal's body; read on 2026-11-29, as all)
Unconfirmed: that a new call needs lead_id, the order of the list, how long a note may be, and the
sentence of a refusal in `errors`.
"""

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, Final

from schemas.crm.call_notes import keyed_title, notes, started_at
from schemas.crm_api import CrmRequest, Refused, Told, WriteBack, WriteCheck, Written
from schemas.outcome import Result
from schemas.source import id_text

API: Final = "/api/v1"
CALLS: Final = f"{API}/activity/call/"
CONTACT: Final = "contact"
LEAD: Final = "lead"
OBJECT_ID: Final = re.compile(r"[A-Za-z0-9_]{1,100}\Z")  # nothing else is put into a path

PAGE: Final = 100
PAGES: Final = 5  # of a lead's calls that are looked at
NOTE_CHARS: Final = 30_000
LONGEST_S: Final = 604_800  # a call can't be longer

# The result of a call -> its status. Only "completed" counts as answered in Close, so a call that
# a mailbox took is none.
STATUSES: Final[Mapping[str, str]] = {
    Result.CONNECTED: "completed",
    Result.VOICEMAIL: "no-answer",
    Result.NOT_REACHED: "no-answer",
    Result.NOT_DIALLED: "cancel",
    Result.CANCELLED: "cancel",
}


def _keeps_call(told: Told) -> bool:
    return told.outcome is not None  # Close keeps calls that were made


def _find_call(told: Told) -> Generator[CrmRequest, Any, str | None]:
    """Look at the calls of the lead: our key is in the note."""
    for page in range(PAGES):
        params = {"_fields": "id,note", "_limit": str(PAGE), "_skip": str(page * PAGE)}
        answer = yield CrmRequest(method="GET", path=CALLS, params={**_record(told), **params})
        calls = answer.get("data")
        if answer and not isinstance(calls, list):  # {}: 404
            raise ValueError("no list of calls")
        for call in calls or []:
            if isinstance(call, dict) and f"({told.key})" in str(call.get("note")):
                return _call_id(call)
        if answer.get("has_more") is not True:
            break
    return None


def _record(told: Told) -> dict[str, str]:
    """Return the lead of a call, else its contact, as the list of calls is asked by."""
    lead_id = _lead_id(told)
    return {"lead_id": lead_id} if lead_id else {"contact_id": told.subject}


def _lead_id(told: Told) -> str | None:
    """Return the lead of a call: of a contact, the one that its event names."""
    if told.subject_type == LEAD:
        return told.subject
    event = told.event.get("event") if isinstance(told.event, Mapping) else None
    return id_text(event.get("lead_id")) if isinstance(event, Mapping) else None


def _create_calls(told: Sequence[Told]) -> CrmRequest:
    (one,) = told
    place = {
        "lead_id": _lead_id(one),
        "contact_id": one.subject if one.subject_type == CONTACT else None,
        "direction": "outbound",
        "phone": one.delivery.get("number"),
    }
    known = {name: value for name, value in place.items() if value is not None}
    return CrmRequest(method="POST", path=CALLS, json={**known, **_call(one)})


def _update_calls(told: Sequence[Told]) -> CrmRequest:
    (one,) = told
    return CrmRequest(method="PUT", path=f"{CALLS}{one.call_id}/", json=_call(one))


def _set_fields(told: Sequence[Told]) -> CrmRequest:
    (one,) = told
    path = f"{API}/{one.subject_type}/{one.subject}/"
    return CrmRequest(method="PUT", path=path, json=dict(one.fields))


def _call(told: Told) -> dict[str, Any]:
    outcome = told.outcome or {}
    recording = str(outcome.get("recording_url"))
    found = {
        "activity_at": started_at(told).isoformat(),
        "status": STATUSES.get(str(outcome.get("result")), "failed"),
        "duration": max(0, min(int(outcome.get("talked_s") or 0), LONGEST_S)),
        # Its first line ends with our key: that is how the call is found again.
        "note": "\n".join([keyed_title(told), *notes(told)])[:NOTE_CHARS],
    }
    return {**found, "recording_url": recording} if recording.startswith("https://") else found


# --- answers ----------------------------------------------------------------------------------


def _read(answer: Any, told: Sequence[Told]) -> dict[str, Written | Refused | None]:
    """Return what became of the one record: Close answers with it, or with errors."""
    if not isinstance(answer, dict):
        return {}
    if said := "; ".join(_sentences(answer)):
        return {one.id: Refused(said) for one in told}
    if _call_id(answer):
        return {one.id: Written(_call_id(answer)) for one in told}
    return {}


def _call_id(record: Mapping[str, Any]) -> str | None:
    found = id_text(record.get("id"))
    return found if found and OBJECT_ID.fullmatch(found) else None


def _sentences(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an answer says is wrong: with the whole, then with single fields."""
    errors, of_fields = answer.get("errors"), answer.get("field-errors")
    for said in [*(errors if isinstance(errors, list) else []), answer.get("error")]:
        if isinstance(said, str) and said:
            yield said
    for name, said in of_fields.items() if isinstance(of_fields, dict) else []:
        # Of a list of objects, what is wrong with each stands below it.
        yield f"{said} ({name})" if isinstance(said, str) else f"it is not valid ({name})"


# --- what Close is asked before a call is told ------------------------------------------------

# Fields that are no custom ones: https://developer.close.com/api/resources/leads/update,
# https://developer.close.com/api/resources/contacts/update
USUAL: Final = (
    *("name", "description", "url", "status_id", "addresses"),
    *("title", "phones", "emails", "urls"),
)


def _fields(subject_type: str) -> CrmRequest:
    return CrmRequest(method="GET", path=f"{API}/custom_field_schema/{subject_type}/")


def _read_fields(answer: Any) -> Mapping[str, bool] | None:
    """Return the fields that can be set. Whether a role forbids one is not known here."""
    fields = answer.get("fields") if isinstance(answer, dict) else None
    if not isinstance(fields, list):
        return None
    ids = (id_text(one.get("id")) for one in fields if isinstance(one, dict))
    custom = (f"custom.{id_}{end}" for id_ in ids if id_ for end in ("", ".add", ".remove"))
    return dict.fromkeys([*USUAL, *custom], True)


WRITE_BACK: Final = WriteBack(
    batch=1,
    subject_types=frozenset({CONTACT, LEAD}),
    about=dict.fromkeys(("activity", "opportunity", "status_change", "task"), "*"),
    keeps_call=_keeps_call,
    find_call=_find_call,
    create_calls=_create_calls,
    update_calls=_update_calls,
    set_fields=_set_fields,
    read=_read,
    check=WriteCheck(
        field_word="field",
        fields=_fields,
        read_fields=_read_fields,
        # An API key has no scopes: it may do what its user may.
    ),
)
