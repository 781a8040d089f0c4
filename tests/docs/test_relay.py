"""The relay of docs/decisions/0014: what it makes of alerts, against its receivers' rules."""

import re
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs
import pytest
from support import ROOT, each

from schemas.alert import SUMMARY, TEST, TYPES, Alert

NOW = datetime(2026, 1, 31, tzinfo=UTC)
# https://developer.pagerduty.com/docs/send-alert-event
PAGERDUTY = {
    "type": "object",
    "required": ["routing_key", "event_action", "payload"],
    "additionalProperties": False,
    "properties": {
        "routing_key": {"type": "string", "minLength": 1},
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255},
        "payload": {
            "type": "object",
            "required": ["summary", "source", "severity"],
            "properties": {
                "summary": {"type": "string", "minLength": 1, "maxLength": 1024},
                "source": {"type": "string"},
                "severity": {"enum": ["critical", "error", "warning", "info"]},
            },
        },
        "links": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["href"],
                "properties": {"href": {"type": "string", "format": "uri"}},
            },
        },
    },
}


@pytest.fixture(scope="module")
def relay() -> dict[str, Any]:
    page = (ROOT / "docs" / "decisions" / "0014-alerts-in-two-forms.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    made: dict[str, Any] = {"__name__": "relay"}
    exec(code, made)  # noqa: S102  (what the page has a person run)
    return made


def body(kind: str, *, is_over: bool = False, url: str | None = "https://b.example") -> Any:
    facts = {"scope": "route:a\nb", "reason": "person", "source": "zoho", "message": "Five failed."}
    return Alert(id="1", type=kind, at=NOW, is_over=is_over, facts=facts).as_body(url)


@each("kind", [*TYPES, SUMMARY, TEST])
def test_each_alert_becomes_what_its_receiver_takes(relay: dict[str, Any], kind: str) -> None:
    for url in ("https://b.example", None):
        began, ended = body(kind, url=url), body(kind, is_over=True, url=url)
        events = [relay["pagerduty"](one, "a-key") for one in (began, ended)]
        for event in events:
            jsonschema_rs.Draft202012Validator(PAGERDUTY).validate(event)
        assert [one["event_action"] for one in events] == ["trigger", "resolve"]
        assert len({one["dedup_key"] for one in events}) == 1
        card = relay["teams"](began)["attachments"][0]["content"]
        assert card["body"][0]["text"] == began["data"]["message"]
        assert len(card["actions"]) == (url is not None)
        mail = relay["email"](began, "bridge@a.example", "on-call@a.example")
        assert mail["Subject"].startswith("CallKaro Bridge: ")
        assert began["data"]["message"].splitlines()[0] in mail.get_content()
