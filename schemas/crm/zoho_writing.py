"""How Zoho CRM is told of calls: a record of the module Calls, and the record's fields.

https://www.zoho.com/crm/developer/docs/api/v8/insert-records.html
https://www.zoho.com/crm/developer/docs/api/v8/update-records.html
https://www.zoho.com/crm/developer/docs/api/v8/Get-Records-through-COQL-Query.html
https://www.zoho.com/crm/developer/docs/api/v8/field-meta.html
https://www.zoho.com/crm/developer/docs/api/v8/scopes.html
The form of Call_Duration ("mm:ss") is unconfirmed.
"""

from collections.abc import Generator, Mapping, Sequence, Set
from typing import Any, Final, Literal

from schemas.crm.call_notes import keyed_title, notes, started_at
from schemas.crm_api import CrmRequest, Refused, Told, WriteBack, WriteCheck, Written
from schemas.source import id_text

API: Final = "/crm/v8"
MODULES: Final = {"lead": "Leads", "contact": "Contacts", "deal": "Deals", "account": "Accounts"}
CALL: Final = "call"  # our word for a record of Calls
QUERY: Final = "select id from Calls where Subject like '%({key})' limit 0, 1"
DESCRIPTION_CHARS: Final = 30_000  # it may have 32,000
# Codes of errors that say nothing about the record: it is told again.
FOR_NOW: Final = frozenset({"INTERNAL_ERROR", "TOO_MANY_REQUESTS", "RECORD_LOCKED"})


def _keeps_call(told: Told) -> bool:
    return told.outcome is not None  # Zoho keeps calls that ended


def _find_call(told: Told) -> Generator[CrmRequest, Any, str | None]:
    # COQL has no index that is behind, as the search has.
    answer = yield CrmRequest(
        method="POST",
        path=f"{API}/coql",
        json={"select_query": QUERY.format(key=told.key)},
    )
    if answer and not isinstance(answer.get("data"), list):
        raise ValueError("Zoho's answer has no list of records")
    for record in _entries(answer):
        return id_text(record.get("id"))
    return None


def _create_calls(told: Sequence[Told]) -> CrmRequest:
    return _request("POST", "Calls", [{**_call(one), **_place(one)} for one in told])


def _update_calls(told: Sequence[Told]) -> CrmRequest:
    # The start of a completed call can't be changed.
    return _request("PUT", "Calls", [{**_call(one), "id": one.call_id} for one in told])


def _set_fields(told: Sequence[Told]) -> CrmRequest:
    module = MODULES[told[0].subject_type]
    return _request("PUT", module, [{**one.fields, "id": one.subject} for one in told])


def _request(method: Literal["POST", "PUT"], module: str, records: list[Any]) -> CrmRequest:
    return CrmRequest(method=method, path=f"{API}/{module}", json={"data": records})


def _call(told: Told) -> dict[str, Any]:
    talked_s = int((told.outcome or {}).get("talked_s") or 0)
    return {
        # It ends with our key: that is how the call is found again.
        "Subject": keyed_title(told),
        "Call_Type": "Outbound",
        "Outbound_Call_Status": "Completed",
        "Call_Duration": f"{talked_s // 60:02}:{talked_s % 60:02}",
        "Description": "\n".join(notes(told))[:DESCRIPTION_CHARS],
    }


def _place(told: Told) -> dict[str, Any]:
    """Return the record that a call belongs to, and its time."""
    started = started_at(told).isoformat()
    if told.subject_type == "contact":
        return {"Call_Start_Time": started, "Who_Id": {"id": told.subject}}
    module = MODULES[told.subject_type]
    return {"Call_Start_Time": started, "What_Id": {"id": told.subject}, "$se_module": module}


def _read(answer: Any, told: Sequence[Told]) -> dict[str, Written | Refused | None]:
    """Return what became of each record: Zoho answers in their order, also within a 4xx."""
    entries = _entries(answer)
    if len(entries) != len(told):
        return {}
    found: dict[str, Written | Refused | None] = {}
    for one, entry in zip(told, entries, strict=True):
        details = entry.get("details")
        details = details if isinstance(details, dict) else {}
        if entry.get("status") == "success":
            found[one.id] = Written(id_text(details.get("id")))
        elif str(entry.get("code")) in FOR_NOW:
            found[one.id] = None
        elif entry.get("status") == "error":
            field = details.get("api_name")
            said = str(entry.get("message") or entry.get("code") or "Zoho gave no reason")
            found[one.id] = Refused(f"{said} ({field})" if field else said)
    return found


def _entries(answer: Any) -> list[dict[str, Any]]:
    data = answer.get("data") if isinstance(answer, dict) else None
    return [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []


# --- what Zoho is asked before a call is told -------------------------------------------------

# Fields that Zoho computes.
COMPUTED: Final = frozenset({"autonumber", "formula", "rollup_summary"})
FIELDS_SCOPE: Final = "ZohoCRM.settings.fields.READ"


def _fields(subject_type: str) -> CrmRequest:
    params = {"module": MODULES[subject_type]}
    return CrmRequest(method="GET", path=f"{API}/settings/fields", params=params)


def _read_fields(answer: Any) -> Mapping[str, bool] | None:
    fields = answer.get("fields") if isinstance(answer, dict) else None
    if not isinstance(fields, list):
        return None
    return {
        one["api_name"]: _is_writable(one)
        for one in fields
        if isinstance(one, dict) and isinstance(one.get("api_name"), str)
    }


def _is_writable(one: Mapping[str, Any]) -> bool:
    if one.get("read_only") is True or one.get("field_read_only") is True:
        return False
    allowed = one.get("operation_type")
    can_update = not isinstance(allowed, dict) or allowed.get("api_update") is not False
    return can_update and one.get("data_type") not in COMPUTED


def _scopes(read: Set[str], written: Set[str]) -> Sequence[Sequence[str]]:
    needs = [_of_module(name, "READ") for name in sorted(read & MODULES.keys())]
    needs += [_of_module(name, "UPDATE", "WRITE") for name in sorted(written & MODULES.keys())]
    if CALL in written:
        needs += [_of_module(CALL, "CREATE", "WRITE"), _of_module(CALL, "UPDATE", "WRITE")]
        needs.append(("ZohoCRM.coql.READ",))
    # Without it, a change that the bridge writes rings like a person's.
    return [*needs, ("ZohoCRM.users.READ", "ZohoCRM.users.ALL")]


def _of_module(subject_type: str, *words: str) -> Sequence[str]:
    """Return the scopes that allow an operation on a module; words: its names, narrowest first."""
    module = {**MODULES, CALL: "Calls"}[subject_type].lower()
    of_module = [f"ZohoCRM.modules.{module}.{word}" for word in (*words, "ALL")]
    return [*of_module, *(f"ZohoCRM.modules.{word}" for word in (*words, "ALL"))]


def _missing(answer: Any) -> Sequence[str]:
    """Return the missing scope: that of the fields, as nothing else is asked."""
    is_scope = isinstance(answer, dict) and answer.get("code") == "OAUTH_SCOPE_MISMATCH"
    return [FIELDS_SCOPE] if is_scope else ()


CHECK: Final = WriteCheck(
    field_word="field",
    fields=_fields,
    read_fields=_read_fields,
    scopes=_scopes,
    missing=_missing,
    # The answer with an access token has its scopes.
)

WRITE_BACK: Final = WriteBack(
    batch=100,
    subject_types=frozenset(MODULES),
    keeps_call=_keeps_call,
    find_call=_find_call,
    create_calls=_create_calls,
    update_calls=_update_calls,
    set_fields=_set_fields,
    read=_read,
    check=CHECK,
)
