"""How GoHighLevel is told of calls: a note on the contact, and the contact's fields.

Its calls of others (POST /conversations/messages/outbound) need a conversation provider, which is
an app of its own, so a note it is. One request writes one record.

https://github.com/GoHighLevel/highlevel-api-docs/blob/main/apps/contacts.json (notes, Update
Contact), apps/locations.json (Get Custom Fields), docs/oauth/Scopes.md (read on 2026-11-29)

Unconfirmed: how long a note may be, whether the list of a contact's notes is always complete and
never behind, and what is answered for a contact or a custom field that does not exist.
"""

import re
from collections.abc import Generator, Mapping, Sequence, Set
from typing import Any, Final, Literal

from schemas.crm.call_notes import OUR_KEY, notes, title
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

HEADERS: Final = {"Version": "2021-07-28"}
RECORD_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")  # nothing else is put into a path
BODY_CHARS: Final = 5_000
# The fields of every contact that Update Contact takes, but for its lists: `tags` replaces all
# tags of the contact. Any other name is the id of a custom field.
FIELDS: Final = frozenset(
    {
        *("firstName", "lastName", "name", "email", "phone", "address1", "city", "state"),
        *("postalCode", "country", "website", "timezone", "source", "dateOfBirth", "assignedTo"),
        *("dnd", "dndSettings", "inboundDndSettings"),
    }
)
LISTS: Final = frozenset({"tags", "customFields"})


def _keeps_call(told: Told) -> bool:
    return told.outcome is not None  # a note says how a call ended


def _find_call(told: Told) -> Generator[CrmRequest, Any, str | None]:
    if not RECORD_ID.fullmatch(told.subject):
        return None
    answer = yield _request("GET", f"/contacts/{told.subject}/notes")
    found = answer.get("notes") if answer else []  # {}: 404, so there is no contact
    if not isinstance(found, list):
        raise ValueError("The answer has no list of notes.")
    for note in found:
        if isinstance(note, dict) and _ending(told) in str(note.get("body")):
            return id_text(note.get("id"))
    return None


def _create_calls(told: Sequence[Told]) -> CrmRequest:
    return _request("POST", f"{_contact(told[0])}/notes", {"body": _text(told[0])})


def _update_calls(told: Sequence[Told]) -> CrmRequest:
    note = _in_path(str(told[0].call_id))
    return _request("PUT", f"{_contact(told[0])}/notes/{note}", {"body": _text(told[0])})


def _set_fields(told: Sequence[Told]) -> CrmRequest:
    given = told[0].fields
    if lists := LISTS & given.keys():
        raise UnwritableError(
            f"GoHighLevel would replace all {min(lists)} of the contact, so the bridge does not "
            "set them. Set a custom field by its id; a workflow can add a tag then."
        )
    body = {name: value for name, value in given.items() if name in FIELDS}
    custom = [
        {"id": name, "field_value": _value(value)}
        for name, value in given.items()
        if name not in FIELDS
    ]
    if custom:
        body["customFields"] = custom
    return _request("PUT", _contact(told[0]), body)


def _request(method: Literal["GET", "POST", "PUT"], path: str, json: Any = None) -> CrmRequest:
    return CrmRequest(method=method, path=path, json=json, headers=HEADERS)


def _contact(told: Told) -> str:
    return f"/contacts/{_in_path(told.subject)}"


def _in_path(text: str) -> str:
    if not RECORD_ID.fullmatch(text):
        raise UnwritableError("GoHighLevel has no record with such an id.")
    return text


def _text(told: Told) -> str:
    """Return a note. It is sent as plain text: the documentation names no markup."""
    number, talked_s = told.delivery.get("number"), (told.outcome or {}).get("talked_s")
    lines = [
        title(told),
        *([f"Number: {number}"] if number else []),
        *([f"Talked: {int(talked_s)} s"] if talked_s else []),
        *notes(told),
    ]
    ending = f"\n{_ending(told)}"
    return "\n".join(lines)[: BODY_CHARS - len(ending)] + ending


def _ending(told: Told) -> str:
    """Return the end of a note: how it is found again, and how the webhook of it is known."""
    return f"({told.key})"


def _value(value: Any) -> Any:
    """Return the value of a custom field, which is a text, a number, a list or an object."""
    return str(value).lower() if isinstance(value, bool) else value


def _read(answer: Any, told: Sequence[Told]) -> dict[str, Written | Refused | None]:
    if not isinstance(answer, dict):
        return {}
    note = answer.get("note")
    if isinstance(note, dict):
        return {told[0].id: Written(id_text(note.get("id")))}
    # Its documentation spells it so.
    is_contact = isinstance(answer.get("contact"), dict) or answer.get("succeded") is True
    return {told[0].id: Written()} if is_contact else {}


def is_own_change(event_type: str, data: Any) -> bool:
    """Return whether a note is one of ours. Of a contact's update, the webhook does not say it."""
    if event_type not in ("note.created", "note.updated") or not isinstance(data, dict):
        return False
    return OUR_KEY.search(str(data.get("body"))) is not None


# --- what GoHighLevel is asked before a call is told ------------------------------------------

FIELDS_SCOPE: Final = "locations/customFields.readonly"


def _custom_fields(subject_type: str) -> CrmRequest:
    return CrmRequest(
        method="GET",
        path="/locations/{LOCATION_ID}/customFields",
        params={"model": subject_type},
        headers=HEADERS,
    )


def _read_fields(answer: Any) -> Mapping[str, bool] | None:
    found = answer.get("customFields") if isinstance(answer, dict) else None
    if not isinstance(found, list):
        return None
    ids = (id_text(one.get("id")) for one in found if isinstance(one, dict))
    return {
        **{one: True for one in ids if one},
        **dict.fromkeys(FIELDS, True),
        **dict.fromkeys(LISTS, False),
    }


def _scopes(read: Set[str], written: Set[str]) -> Sequence[Sequence[str]]:
    # Contacts of opportunities are read, and the notes of a call whose own is in doubt.
    return [("contacts.readonly",), *([("contacts.write",)] if written else [])]


def _missing(answer: Any) -> Sequence[str]:
    """Return the missing scope: that of the fields, as nothing else is asked.

    "The token is not authorized for this scope." is in no documentation, but in many programs.
    """
    message = answer.get("message") if isinstance(answer, dict) else None
    return [FIELDS_SCOPE] if "not authorized for this scope" in str(message) else ()


CHECK: Final = WriteCheck(
    field_word="field",
    fields=_custom_fields,
    read_fields=_read_fields,
    scopes=_scopes,
    missing=_missing,
    # The scopes of a private integration's token can't be asked for.
)

WRITE_BACK: Final = WriteBack(
    batch=1,
    subject_types=frozenset({"contact"}),
    keeps_call=_keeps_call,
    find_call=_find_call,
    create_calls=_create_calls,
    update_calls=_update_calls,
    set_fields=_set_fields,
    read=_read,
    check=CHECK,
    about={"opportunity": "contact"},
    tells_own_updates=False,
)
