"""What CRM modules are told of a call."""

from typing import Any

from schemas.crm_api import Told


def told(**more: Any) -> Told:
    fields: dict[str, Any] = {
        "id": "w1",
        "key": "bridge-1",
        "moment": "outcome",
        "at": "2026-11-20T06:00:00.000Z",
        "subject": "101",
        "subject_type": "contact",
        "delivery": {"number": "+919876500001", "call_sid": "CA1"},
        "outcome": {"result": "connected", "talked_s": 61},
        "fields": {},
        **more,
    }
    return Told(**fields)
