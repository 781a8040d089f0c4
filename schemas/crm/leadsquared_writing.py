"""How LeadSquared is told of calls: an activity of the lead, and the lead's fields.

https://apidocs.leadsquared.com/authentication/ (the hosts: /user-authentication/)
https://apidocs.leadsquared.com/post-an-activity-to-lead/
https://apidocs.leadsquared.com/update-activity/
https://apidocs.leadsquared.com/get-activities-of-a-lead/
https://apidocs.leadsquared.com/update-a-lead/
https://apidocs.leadsquared.com/meta-data/
https://apidocs.leadsquared.com/error-handling/
https://apidocs.leadsquared.com/rate-limits/ (read on 2026-11-29)

An activity is of a type that an administrator makes, since only a custom one can be updated.
LeadSquared answers 500 to what it refuses. "Application errors (like validation errors and other
exceptions starting with 'MX') are not retried", it says of its own: /async-api/. Public code saw
the exception of the rate with 200, 429 and 500.

Unconfirmed: which fields only LeadSquared sets; that a note may have 200 characters, which is
documented of an opportunity's; where a lead's activities, and the webhooks for them, have the note.
So it is looked for everywhere (public code reads NotableEventDescription in Data).
"""

import re
from collections.abc import Generator, Mapping, Sequence
from datetime import UTC
from typing import Any, Final

from schemas.crm.call_notes import OUR_KEY, field_text, keyed_title, notes, started_at
from schemas.crm_api import (
    Api,
    CrmRequest,
    FromVariable,
    HeadersLogin,
    Refused,
    Told,
    WriteBack,
    WriteCheck,
    Written,
)
from schemas.source import id_text

ACTIVITIES: Final = "/v2/ProspectActivity.svc"
LEADS: Final = "/v2/LeadManagement.svc"
EVENT: Final = FromVariable("ACTIVITY_EVENT", is_number=True)
NEWEST: Final = 100  # activities of our type that are looked at
NOTE_CHARS: Final = 200
OWN_NOTE: Final = re.compile(rf"Call by CallKaro: [^\\]{{1,60}} {OUR_KEY.pattern}")
EXCEPTION, TOO_OFTEN = "ExceptionType", "MXAPIRateLimitExceededException"
# Fields of a lead that LeadSquared sets itself.
COMPUTED: Final = frozenset(
    {
        *("ProspectID", "ProspectAutoId", "CreatedOn", "CreatedBy", "CreatedByName"),
        *("ModifiedOn", "ModifiedBy", "ModifiedByName", "OwnerIdName", "OwnerIdEmailAddress"),
    }
)


def status_of(status: int, answer: Any) -> int:
    """Return what the exception in an answer means as a status; without one, the answer's own."""
    if status not in (200, 500) or not isinstance(answer, dict):
        return status
    exception = str(answer.get(EXCEPTION) or "")
    if exception == TOO_OFTEN:
        return 429
    return 400 if exception.startswith("MX") else status


def is_own_change(event_type: str, data: Any) -> bool:
    """Return whether an event tells of an activity that the bridge posted.

    Of a lead that the API changes, LeadSquared sends no webhook.
    """
    return event_type.startswith("activity.") and OWN_NOTE.search(str(data)) is not None


def is_own_call(event_type: str, data: Any, variables: Mapping[str, str]) -> bool:
    """Return whether an event tells of an activity of the type that calls become.

    A webhook may leave out the note, and the next call would post the next activity.
    """
    code = id_text(data.get("ActivityEvent")) if isinstance(data, Mapping) else None
    is_activity = event_type.startswith("activity.") and code is not None
    return is_activity and code == variables.get(EVENT.suffix)


def _keeps_call(told: Told) -> bool:
    # Automations start when an activity is posted, so it is posted with a result.
    return told.outcome is not None


def _find_call(told: Told) -> Generator[CrmRequest, Any, str | None]:
    answer = yield CrmRequest(
        method="POST",
        path=f"{ACTIVITIES}/Retrieve",
        params={"leadId": told.subject},
        json={
            "Parameter": {"ActivityEvent": EVENT},
            "Paging": {"Offset": "0", "RowCount": str(NEWEST)},
        },
    )
    if not answer:  # 404
        return None
    if not isinstance(answer.get("ProspectActivities"), list):
        raise ValueError("no list of activities")
    for one in answer["ProspectActivities"]:
        if isinstance(one, dict) and told.key in str(one):
            return id_text(one.get("Id"))
    return None


def _create_calls(told: Sequence[Told]) -> CrmRequest:
    (one,) = told
    return CrmRequest(
        method="POST",
        path=f"{ACTIVITIES}/Create",
        json={
            "RelatedProspectId": one.subject,
            "ActivityEvent": EVENT,
            "ActivityNote": _note(one),
            "ActivityDateTime": f"{started_at(one).astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        },
    )


def _update_calls(told: Sequence[Told]) -> CrmRequest:
    (one,) = told
    return CrmRequest(
        method="POST",
        path=f"{ACTIVITIES}/CustomActivity/Update",
        json={
            "ProspectActivityId": one.call_id,
            "ActivityEvent": EVENT,
            "ActivityNote": _note(one),
        },
    )


def _note(told: Told) -> str:
    """Return what an activity says: the key in its first line, then as many lines as fit."""
    note = keyed_title(told)
    for line in notes(told):
        if len(note) + 1 + len(line) <= NOTE_CHARS:
            note += f"\n{line}"
    return note


def _set_fields(told: Sequence[Told]) -> CrmRequest:
    (one,) = told
    return CrmRequest(
        method="POST",
        path=f"{LEADS}/Lead.Update",
        params={"leadId": one.subject},
        json=[
            {"Attribute": name, "Value": field_text(value)} for name, value in one.fields.items()
        ],
    )


def _read(answer: Any, told: Sequence[Told]) -> dict[str, Written | Refused | None]:
    """Return what became of the one that was told."""
    (one,) = told
    if not isinstance(answer, dict):
        return {}
    if exception := answer.get(EXCEPTION):
        if exception == TOO_OFTEN:
            return {one.id: None}
        return {one.id: Refused(str(answer.get("ExceptionMessage") or exception))}
    if answer.get("Status") != "Success":
        return {}
    message = answer.get("Message")
    return {one.id: Written(id_text(message.get("Id")) if isinstance(message, dict) else None)}


# --- what LeadSquared is asked before a call is told ------------------------------------------


def _fields(subject_type: str) -> CrmRequest:
    params = {"excludeOptionSets": "1"}
    return CrmRequest(method="GET", path=f"{LEADS}/LeadsMetaData.Get", params=params)


def _read_fields(answer: Any) -> Mapping[str, bool] | None:
    if not isinstance(answer, list):
        return None
    names = [one.get("SchemaName") for one in answer if isinstance(one, dict)]
    return {name: name not in COMPUTED for name in names if isinstance(name, str)}


CHECK: Final = WriteCheck(
    field_word="field",
    fields=_fields,
    read_fields=_read_fields,
    # Its keys have no scopes: they may do what their user may.
)

API: Final = Api(
    login=HeadersLogin(
        keys={"x-LSQ-AccessKey": "ACCESS_KEY", "x-LSQ-SecretKey": "SECRET_KEY"},
    ),
    api_url="API_URL",
    rate=10,  # the plan Pro: 5 in 5 s; the others have more, but for Lite
    status_of=status_of,
)

WRITE_BACK: Final = WriteBack(
    batch=1,
    subject_types=frozenset({"lead"}),
    keeps_call=_keeps_call,
    find_call=_find_call,
    create_calls=_create_calls,
    update_calls=_update_calls,
    set_fields=_set_fields,
    read=_read,
    about={"activity": "lead", "task": "lead"},
    is_own_call=is_own_call,
    call_needs=(EVENT.suffix,),
    check=CHECK,
    api=API,
)
