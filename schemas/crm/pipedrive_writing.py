"""How Pipedrive is told of calls: an activity of the type "call", and the record's fields.

https://developers.pipedrive.com/docs/api/v1/Activities (v2: /api/v2/activities)
https://developers.pipedrive.com/docs/api/v1/Persons (v2: PATCH /api/v2/persons/{id})
https://developers.pipedrive.com/docs/api/v1/PersonFields (v2: GET /api/v2/personFields)
(read on 2026-11-29, as Pipedrive's own client has them: https://github.com/pipedrive/client-nodejs)
https://pipedrive.readme.io/docs/pipedrive-api-v2-migration-guide: ids are numbers, custom fields
are in `custom_fields`.
https://github.com/n8n-io/n8n/issues/31684: `person_id` is refused, the person is a participant.

Unconfirmed: that due_time and duration may be HH:MM, as in version 1, and that a new activity is in
the next list of its person's activities.
"""

import html
import re
from collections.abc import Generator, Mapping, Sequence
from datetime import UTC
from typing import Any, Final

from schemas.crm.call_notes import keyed_title, notes, started_at
from schemas.crm.forms import objects
from schemas.crm_api import (
    CrmRequest,
    Refused,
    Told,
    UnwritableError,
    WriteBack,
    WriteCheck,
    Written,
)
from schemas.source import id_text

API: Final = "/api/v2"
PERSON: Final = "person"
# What our word for a record is in paths.
PATHS: Final = {PERSON: "persons", "deal": "deals"}
# Records whose events are about their person.
OF_PERSON: Final = frozenset({"deal", "lead", "activity", "note"})
NOTE_CHARS: Final = 60_000  # how long a note may be is unconfirmed
NEWEST: Final = 100  # of a person's activities, among which a call is looked for
LONGEST_MIN: Final = 24 * 60 - 1  # of a duration
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_CUSTOM: Final = re.compile(r"[0-9a-f]{40}")  # the name of a field that the company made


def _keeps_call(told: Told) -> bool:
    # An activity that is not done is a task in its owner's list, until somebody ends it.
    return told.outcome is not None


def _find_call(told: Told) -> Generator[CrmRequest, Any, str | None]:
    """Look at the record's newest activities. Not by a search: its index may be behind."""
    if not _NUMBER.fullmatch(told.subject):
        return None
    answer = yield CrmRequest(
        method="GET",
        path=f"{API}/activities",
        params={
            f"{told.subject_type}_id": told.subject,
            "sort_by": "id",
            "sort_direction": "desc",
            "limit": str(NEWEST),
        },
    )
    if answer and not isinstance(answer.get("data"), list):
        raise ValueError("no list of activities")
    for activity in objects(answer.get("data")):
        if str(activity.get("subject")).endswith(f"({told.key})"):
            return id_text(activity.get("id"))
    return None


def _create_calls(told: Sequence[Told]) -> CrmRequest:
    (one,) = told
    body = {**_activity(one), **_links(one)}
    return CrmRequest(method="POST", path=f"{API}/activities", json=body)


def _update_calls(told: Sequence[Told]) -> CrmRequest:
    (one,) = told
    return _patch("activities", one.call_id or "", _activity(one))


def _set_fields(told: Sequence[Told]) -> CrmRequest:
    (one,) = told
    custom = {name: value for name, value in one.fields.items() if _CUSTOM.fullmatch(name)}
    own = {name: value for name, value in one.fields.items() if name not in custom}
    body = {**own, "custom_fields": custom} if custom else own
    return _patch(PATHS[one.subject_type], one.subject, body)


def _patch(name: str, record_id: str, body: Mapping[str, Any]) -> CrmRequest:
    return CrmRequest(method="PATCH", path=f"{API}/{name}/{_number(record_id)}", json=body)


def _number(record_id: str) -> int:
    """Return an id as Pipedrive's API wants it. Raises UnwritableError."""
    if not _NUMBER.fullmatch(record_id):
        raise UnwritableError("Pipedrive has no record with such an id.")
    return int(record_id)


def _activity(told: Told) -> dict[str, Any]:
    started = started_at(told).astimezone(UTC)
    talked_s = int((told.outcome or {}).get("talked_s") or 0)
    minutes = min(-(-talked_s // 60), LONGEST_MIN)  # a minute that began counts
    # Notes are HTML. Cut before it is escaped: no entity is cut in two.
    text = "\n".join(notes(told))[: NOTE_CHARS // 6]
    return {
        "type": "call",
        # It ends with our key: that is how the call is found again.
        "subject": keyed_title(told),
        "done": True,
        "due_date": f"{started:%Y-%m-%d}",
        "due_time": f"{started:%H:%M}",
        "duration": f"{minutes // 60:02}:{minutes % 60:02}",
        "note": html.escape(text).replace("\n", "<br>"),
    }


def _links(told: Told) -> dict[str, Any]:
    """Return the records that show a call: the person, and the deal or lead of the event."""
    found: dict[str, Any] = {}
    if told.subject_type == PERSON:
        found["participants"] = [{"person_id": _number(told.subject), "primary": True}]
    deal, lead = _named(told, "deal"), _named(told, "lead")
    if told.subject_type == "deal":
        deal = told.subject
    if deal and _NUMBER.fullmatch(deal):
        found["deal_id"] = int(deal)
    elif lead:  # an activity has one of both
        found["lead_id"] = lead
    return found


def _named(told: Told, word: str) -> str | None:
    """Return the id of the deal or lead that an event is about, or that its record names."""
    data = told.event if isinstance(told.event, Mapping) else {}
    meta, record = data.get("meta"), data.get("data") or data.get("current")
    meta = meta if isinstance(meta, Mapping) else {}
    if meta.get("entity", meta.get("object")) == word:
        return id_text(meta.get("entity_id", meta.get("id")))
    return id_text(record.get(f"{word}_id")) if isinstance(record, Mapping) else None


def _read(answer: Any, told: Sequence[Told]) -> dict[str, Written | Refused | None]:
    """Return what became of the one record. A refusal has a 4xx, and a sentence in `error`."""
    if not isinstance(answer, Mapping) or answer.get("success") is not True:
        return {}
    data = answer.get("data")
    written = Written(id_text(data.get("id")) if isinstance(data, Mapping) else None)
    return {one.id: written for one in told}


# --- what Pipedrive is asked before a call is told --------------------------------------------

# Pipedrive's own fields of persons and of deals that the API sets. The lists of fields do not say
# which ones are, and have some under another name: "phone" is set as "phones".
SETTABLE: Final = frozenset(
    {
        *("name", "emails", "phones", "marketing_status", "owner_id", "org_id", "visible_to"),
        *("label_ids", "title", "person_id", "pipeline_id", "stage_id", "value", "currency"),
        *("status", "probability", "lost_reason", "is_archived", "expected_close_date"),
        *("close_time", "won_time", "lost_time"),
    }
)


def _fields(subject_type: str) -> CrmRequest:
    path = f"{API}/{subject_type}Fields"
    return CrmRequest(method="GET", path=path, params={"limit": "500"})


def _read_fields(answer: Any) -> Mapping[str, bool] | None:
    listed = {
        name: one.get("is_custom_field") is True or name in SETTABLE
        for one in objects(answer.get("data") if isinstance(answer, dict) else None)
        if isinstance(name := one.get("field_code"), str)
    }
    return {**dict.fromkeys(SETTABLE, True), **listed} if listed else None


CHECK: Final = WriteCheck(
    field_word="field",
    fields=_fields,
    read_fields=_read_fields,
    # An API token has no scopes: it may do what its user may.
)

WRITE_BACK: Final = WriteBack(
    batch=1,  # version 2 has no request for several records
    subject_types=frozenset(PATHS),
    about=dict.fromkeys(OF_PERSON, PERSON),
    keeps_call=_keeps_call,
    find_call=_find_call,
    create_calls=_create_calls,
    update_calls=_update_calls,
    set_fields=_set_fields,
    read=_read,
    check=CHECK,
)
