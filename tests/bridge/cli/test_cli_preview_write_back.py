"""`preview` shows what the CRM would be told of a call, without network."""

import json
from pathlib import Path
from typing import Any

import pytest
from support import route
from support.commandline import SAMPLES, Cli

HUBSPOT = SAMPLES / "hubspot.json"
HAPPENED = "2025-11-24T16:05:00+00:00"  # minutes after the sample's notifications
ASHA = {"phone": "098765 43210", "firstname": "Asha"}
ENDED = {
    "event": "call_ended",
    "data": {
        "callSid": "CA1",
        "hangup_reason": "USER_UNAVAILABLE",
        "time": "2025-11-24 21:40:00",
        "try_count": 1,
        "next_call_scheduled": True,
        "post_call": {},
    },
}


@pytest.fixture
def write(tmp_path: Path):
    """Write a file of JSON."""

    def write(name: str, content: object) -> Path:
        (tmp_path / name).write_text(json.dumps(content))
        return tmp_path / name

    return write


@pytest.fixture
def told(cli: Cli, write, tmp_path: Path):
    """Preview the first event of HubSpot's sample, and return what would be written back."""

    def told(
        write_back: str, *more: object, source: str = "hubspot", body: object = HUBSPOT, **env: str
    ) -> dict[str, Any]:
        routes = tmp_path / "routes.toml"
        event = {"hubspot": "contact.*", "zoho": "lead.*"}.get(source, "*")
        routes.write_text(route(source=source, event=event) + write_back)
        result = cli(
            *("preview", source, body, "--record", write("record.json", ASHA)),
            *("--at", HAPPENED, "--json", *more),
            env={"ROUTES_FILE": str(routes), "CALLING_HOURS": "always", **env},
        )
        assert result.exit_code == 0, result.output
        [delivery] = json.loads(result.stdout)[0]["deliveries"]
        found: dict[str, Any] = delivery["write_back"]
        return found

    return told


OUTCOME = '[route.write_back]\non = ["outcome"]\n'
STATUS = '[route.write_back.fields]\nhs_lead_status = "outcome.result"\n'


def test_the_call_and_the_properties_of_a_sample_outcome(told) -> None:
    found = told(OUTCOME + STATUS)
    assert (found["moment"], found["message"]) == ("outcome", None)
    call, contact = found["requests"]
    api = "https://api.hubapi.com/crm/objects/2026-03"
    assert call["path"] == f"{api}/calls/batch/create"
    [one] = call["body"]["inputs"]
    assert one["associations"][0]["to"] == {"id": "101"}
    assert one["properties"]["hs_call_status"] == "COMPLETED"
    assert one["properties"]["hs_call_duration"] == "62000"
    assert one["properties"]["hs_call_to_number"] == "+919876543210"
    assert "interested: yes" in one["properties"]["hs_call_body"]
    assert contact["path"] == f"{api}/contacts/batch/update"
    [one] = contact["body"]["inputs"]
    assert (one["id"], one["properties"]) == ("101", {"hs_lead_status": "connected"})


def test_an_outcome_of_ones_own(told, write) -> None:
    call, contact = told(OUTCOME + STATUS, "--outcome", write("ended.json", ENDED))["requests"]
    [one] = call["body"]["inputs"]
    assert one["properties"]["hs_call_status"] == "NO_ANSWER"
    assert one["properties"]["hs_timestamp"] == "1764000600000"
    [one] = contact["body"]["inputs"]
    assert one["properties"] == {"hs_lead_status": "not_reached"}


def test_a_field_that_fails_on_the_outcome_is_the_problem(told) -> None:
    fields = '[route.write_back.fields]\nx = "sum(outcome.result)"\n'
    found = told(OUTCOME + fields)
    assert found["requests"] == []
    assert "write_back.fields.x" in found["message"]


def test_a_moment_that_the_route_does_not_name(told) -> None:
    found = told('[route.write_back]\non = ["skipped", "failed"]\n')
    assert found["requests"] == []
    assert "its `on` has: failed, skipped" in found["message"]


def test_a_call_that_is_skipped_tells_of_that(told) -> None:
    on = '[route.write_back]\non = ["skipped"]\n[route.write_back.fields]\nx = "delivery.status"\n'
    found = told(on, ALLOW_NUMBERS="+919876543299")
    assert found["moment"] == "skipped"
    [contact] = found["requests"]
    assert contact["body"]["inputs"][0]["properties"] == {"x": "skipped"}


def test_dry_run_hides_nothing(told, write) -> None:
    assert told(OUTCOME + STATUS, DRY_RUN="true") == told(OUTCOME + STATUS)
    body = write("lead.json", {"phone": "+919876543210"})
    [webhook] = told(OUTCOME, source="generic", body=body, DRY_RUN="true")["requests"]
    assert webhook["body"]["delivery"]["reason"] is None


def test_the_body_of_a_signed_webhook(told, write) -> None:
    body = write("lead.json", {"phone": "+919876543210"})
    found = told(OUTCOME + STATUS, source="generic", body=body)
    [webhook] = found["requests"]
    assert webhook["path"] == "<GENERIC_WRITE_BACK_URL>"
    assert webhook["body"]["moment"] == "outcome"
    assert webhook["body"]["outcome"]["talked_s"] == 62
    assert webhook["body"]["fields"] == {"hs_lead_status": "connected"}
    assert webhook["body"]["delivery"]["number"] == "+919876543210"


def test_an_address_for_webhooks_goes_before_the_api(told) -> None:
    url = "https://receiver.example/a-token"
    [webhook] = told(OUTCOME, HUBSPOT_WRITE_BACK_URL=url)["requests"]
    assert webhook["path"] == "<HUBSPOT_WRITE_BACK_URL>"


def test_it_is_shown_in_words_too(cli: Cli, tmp_path: Path) -> None:
    routes = tmp_path / "routes.toml"
    routes.write_text(route(source="hubspot", event="contact.*") + OUTCOME)
    result = cli(
        *("preview", "hubspot", HUBSPOT, "--at", HAPPENED), env={"ROUTES_FILE": str(routes)}
    )
    assert "    written back at the moment 'outcome':\n" in result.stdout
    assert "calls/batch/create   (once a call" in result.stdout


def test_what_is_no_outcome_is_refused(cli: Cli, write) -> None:
    result = cli("preview", "hubspot", HUBSPOT, "--outcome", write("x.json", {"event": "other"}))
    assert result.exit_code == 2
    assert "the file has no outcome" in result.stderr
    result = cli("preview", "hubspot", "-", "--outcome", "-", typed="{}")
    assert result.exit_code == 2
    assert "only one of BODY and --outcome" in result.stderr


def test_what_can_not_be_written_says_so(told, write) -> None:
    body = {"type": "ContactCreate", "id": "contact-1", "phone": "+919876543210"}
    tags = '[route.write_back.fields]\ntags = "[outcome.result]"\n'
    found = told(OUTCOME + tags, source="gohighlevel", body=write("body.json", body))
    assert found["requests"] == []
    assert "GoHighLevel would replace all tags" in found["message"]
