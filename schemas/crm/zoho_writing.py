"""How Zoho CRM is told of calls: a record of the module Calls, and the record's fields.

https://www.zoho.com/crm/developer/docs/api/v8/insert-records.html
https://www.zoho.com/crm/developer/docs/api/v8/update-records.html
https://www.zoho.com/crm/developer/docs/api/v8/Get-Records-through-COQL-Query.html
The form of Call_Duration ("mm:ss") is unconfirmed.
"""

from collections.abc import Generator
from datetime import datetime
from typing import Any, Final

from schemas.source import CrmRequest, Told, WriteBack, id_text

MODULES: Final = {"lead": "Leads", "contact": "Contacts", "deal": "Deals", "account": "Accounts"}
CALLS: Final = "/crm/v8/Calls"
QUERY: Final = "select id from Calls where Subject like '%({key})' limit 0, 1"


def _subject(told: Told) -> str:
    """Return the call's subject. It ends with our key: that is how a call is found again."""
    result = (told.outcome or {}).get("result", "").replace("_", " ")
    return f"Call by CallKaro: {result} ({told.key})"


def _find(told: Told) -> Generator[CrmRequest, Any, str | None]:
    # COQL has no index that is behind, as the search has.
    answer = yield CrmRequest(
        method="POST",
        path="/crm/v8/coql",
        json={"select_query": QUERY.format(key=told.key)},
    )
    return _id_of(answer)


def _call(told: Told) -> CrmRequest | None:
    if told.outcome is None:
        return None  # Zoho keeps calls that ended
    talked_s = int(told.outcome.get("talked_s") or 0)
    lines = [told.outcome.get(name) for name in ("recording_url", "call_link", "transcript")]
    record: dict[str, Any] = {
        "Subject": _subject(told),
        "Call_Type": "Outbound",
        "Outbound_Call_Status": "Completed",
        "Call_Duration": f"{talked_s // 60:02}:{talked_s % 60:02}",
        "Description": "\n".join(str(line) for line in lines if line),
    }
    if told.call_id is not None:  # the start of a completed call can't be changed
        return _request("PUT", CALLS, {**record, "id": told.call_id})
    started = datetime.fromisoformat(told.at).replace(microsecond=0).isoformat()
    record["Call_Start_Time"] = started
    if told.subject_type == "contact":
        record["Who_Id"] = {"id": told.subject}
    else:
        record["What_Id"] = {"id": told.subject}
        record["$se_module"] = MODULES[told.subject_type]
    return _request("POST", CALLS, record)


def _request(method: Any, path: str, record: dict[str, Any]) -> CrmRequest:
    return CrmRequest(method=method, path=path, json={"data": [record]})


def _first(answer: Any) -> dict[str, Any]:
    data = answer.get("data") if isinstance(answer, dict) else None
    return data[0] if isinstance(data, list) and data and isinstance(data[0], dict) else {}


def _id_of(answer: Any) -> str | None:
    return id_text(_first(answer).get("id"))


def _call_id(answer: Any) -> str | None:
    details = _first(answer).get("details")
    return id_text(details.get("id")) if isinstance(details, dict) else None


def _update(told: Told) -> CrmRequest:
    path = f"/crm/v8/{MODULES[told.subject_type]}"
    return _request("PUT", path, {**told.fields, "id": told.subject})


def _refusal(answer: Any) -> str | None:
    """Return the sentence of an entry that Zoho refused: its answer is 2xx all the same."""
    entry = _first(answer)
    if entry.get("status") != "error":
        return None
    details = entry.get("details")
    field = details.get("api_name") if isinstance(details, dict) else None
    return f"{entry.get('message') or entry.get('code')}" + (f" ({field})" if field else "")


WRITE_BACK: Final = WriteBack(
    rate=50,
    subject_types=frozenset(MODULES),
    find=_find,
    call=_call,
    call_id=_call_id,
    update=_update,
    refusal=_refusal,
)
