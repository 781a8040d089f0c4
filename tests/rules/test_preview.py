"""The guards of a preview: each one's verdict, and what they make of the delivery."""

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support import each, route
from support.makers import AGENT, NOW, NUMBER, call_route, campaign_route, settings

from rules.preview import look
from rules.preview.text import Outcome, Preview, Seen
from schemas.hours import parse_window
from schemas.source import Incoming

DAY = parse_window("09:00-21:00")
KOLKATA = ZoneInfo("Asia/Kolkata")
NIGHT = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)  # 22:30 in Asia/Kolkata
OPENING = datetime(2026, 11, 21, 3, 30, tzinfo=UTC)
CONTACTS = f"""
[[route]]
name   = "call contacts"
source = "hubspot"
event  = "contact.*"
to     = "call"
%s
[route.request]
to_number = "properties.phone"
agent_id  = {{ value = "{AGENT}" }}
"""
LEAD = {"phone": NUMBER}
CREATED = {
    "portalId": 62515,
    "appId": 7,
    "subscriptionId": 3001,
    "eventId": 1,
    "objectId": 101,
    "occurredAt": int(NOW.timestamp() * 1000),
    "subscriptionType": "contact.creation",
    "changeSource": "CRM_UI",
    "attemptNumber": 0,
}


def preview(
    body: Any,
    routes: str,
    *,
    source: str = "generic",
    at: datetime = NOW,
    record: Any = None,
    **more: Any,
) -> Preview:
    """Look at a body."""
    known = settings(routes, **more)
    request = Incoming(
        method="POST",
        url="https://bridge.example/webhooks/x",
        headers={"Content-Type": "application/json"},
        query={},
        body=json.dumps(body).encode(),
        content_type="application/json",
    )
    return look(known, known.routes.sources[source], request, body, now=at, record=record)


def one(*arguments: Any, **more: Any) -> tuple[Seen, Outcome]:
    [seen] = preview(*arguments, **more).events
    [outcome] = seen.outcomes
    return seen, outcome


def said(outcome: Outcome) -> dict[str, str]:
    """Return each guard's verdict, with the reason or else the message."""
    return {
        guard.guard: " ".join(filter(None, (guard.verdict, guard.reason or guard.message)))
        for guard in outcome.guards
    }


USUAL = {
    "own change": "ok",
    "when": "ok not set",
    "max_age": "ok not set",
    "opt_out": "ok not set",
    "do-not-disturb": "ok not set",
    "consent": "ok not set",
    "number": "ok",
    "ALLOW_NUMBERS": "ok not set",
    "hours": "ok not set",
    "suppressed": "at the send",
}
ALL_SET = {"calling_hours": DAY, "allow_numbers": frozenset({NUMBER})}
ALL_KEYS = """
when = "stage == 'lead'"
max_age = "1h"
consent = "agreed"
"""
ALL_YES = USUAL | dict.fromkeys(("when", "max_age", "consent", "ALLOW_NUMBERS", "hours"), "ok")


def test_what_is_not_set_is_told_as_that() -> None:
    _, outcome = one(LEAD, call_route())
    assert outcome.verdict == "would be sent"
    assert said(outcome) == USUAL
    assert list(said(outcome)) == list(USUAL)


# What differs from all guards saying yes: of the lead, of the settings; then the guards' words.
@each(
    ("lead", "more", "no", "verdict"),
    [
        ({}, {}, {}, ("would be sent", None)),
        ({"agreed": "yes"}, {}, {"consent": "no no_consent"}, ("skipped", "no_consent")),
        (
            {"phone": ""},
            {},
            {
                "number": "no no_number",
                "ALLOW_NUMBERS": "not checked needs a number",
                "hours": "not checked needs a number",
            },
            ("skipped", "no_number"),
        ),
        (
            {"phone": "+12025550123"},
            {},
            {
                "number": "no country",
                "ALLOW_NUMBERS": "not checked needs a number",
                "hours": "not checked needs a number",
            },
            ("skipped", "country"),
        ),
        ({}, {"at": NIGHT}, {"hours": "no outside_hours"}, ("held", "outside_hours")),
        (
            {"phone": "+919812345678", "agreed": None},
            {"at": NIGHT},
            {
                "consent": "no no_consent",
                "ALLOW_NUMBERS": "no not_allowed",
                "hours": "no outside_hours",
            },
            ("skipped", "no_consent"),
        ),
        ({}, {"dry_run": True}, {"DRY_RUN": "no dry_run"}, ("skipped", "dry_run")),
        (
            {"agreed": False},
            {"dry_run": True},
            {"consent": "no no_consent", "DRY_RUN": "no dry_run"},
            ("skipped", "no_consent"),
        ),
        (
            {},
            {"max_per_number": 3},
            {"day_cap": "at the send 3 a day to a number"},
            ("would be sent", None),
        ),
    ],
)
def test_every_guard_is_judged_and_not_only_up_to_the_first_no(
    lead: dict[str, Any],
    more: dict[str, Any],
    no: dict[str, str],
    verdict: tuple[str, str | None],
) -> None:
    body = LEAD | {"stage": "lead", "agreed": True} | lead
    _, outcome = one(body, call_route(ALL_KEYS), **(ALL_SET | more))
    assert said(outcome) == ALL_YES | no
    assert (outcome.verdict, outcome.reason) == verdict


def test_an_opening_is_the_guard_s_own() -> None:
    _, outcome = one(LEAD, call_route(), at=NIGHT, calling_hours=DAY)
    assert {one.guard: one.until for one in outcome.guards if one.until} == {"hours": OPENING}
    assert outcome.until == OPENING


def test_what_history_knows_is_judged_at_the_send() -> None:
    route = call_route('again_after = "24h"\nmax_per_day = 500')
    _, outcome = one(LEAD, route, max_per_number=3)
    assert outcome.verdict == "would be sent"
    assert {name: word for name, word in said(outcome).items() if "send" in word} == {
        "suppressed": "at the send",
        "called_recently": "at the send at most once in 1 d for a number",
        "day_cap": "at the send 500 a day by the route, 3 a day to a number",
    }


def test_a_campaign_is_asked_only_whether_it_is_wanted() -> None:
    body = {"title": "Leads", "event_type": "x"}
    routes = campaign_route().replace("campaign.created", "form.submitted")
    _, outcome = one(body, routes, **ALL_SET, max_per_number=3)
    assert list(said(outcome)) == ["own change", "when", "max_age"]


# --- thin events --------------------------------------------------------------------------------

BEFORE_FETCH = {
    "when": "ok not set",
    "own change": "ok",
    "max_age": "ok not set",
    "opt_out": "ok not set",
    "do-not-disturb": "ok not set",
    "consent": "ok not set",
    "number": "not checked needs the record",
    "ALLOW_NUMBERS": "ok not set",
    "hours": "ok not set",
    "suppressed": "at the send",
}


@pytest.mark.parametrize(
    ("keys", "change", "differs", "verdict"),
    [
        ("", {}, {}, "fetches the record first"),
        (
            'when = "properties.stage == \'lead\'"\nconsent = "properties.agreed"',
            {},
            {"when": "not checked needs the record", "consent": "not checked needs the record"},
            "fetches the record first",
        ),
        ("match = \"changeSource == 'CRM_UI'\"", {}, {"when": "ok"}, "fetches the record first"),
        ('match = "sum(objectId) == `1`"', {}, {"when": "no bad_request"}, "failed"),
        (
            'max_age = "1h"',
            {"occurredAt": CREATED["occurredAt"] - 7_200_000},
            {"max_age": "no too_old"},
            "skipped",
        ),
        (
            "",
            {
                "subscriptionType": "contact.propertyChange",
                "changeSource": "INTEGRATION",
                "sourceId": "7",
            },
            {"own change": "no own_change"},
            "skipped",
        ),
    ],
    ids=["plain", "when", "match", "match fails", "too old", "own change"],
)
def test_a_thin_event_is_judged_as_far_as_that_goes(
    keys: str, change: dict[str, Any], differs: dict[str, str], verdict: str
) -> None:
    _, outcome = one([CREATED | change], CONTACTS % keys, source="hubspot")
    assert said(outcome) == BEFORE_FETCH | differs
    assert outcome.verdict == verdict
    [ask] = outcome.requests
    assert ask.path.endswith("/contacts/batch/read")
    assert (ask.note is None) == (verdict == "fetches the record first")


def test_a_record_that_is_not_there_leaves_its_guards_unjudged() -> None:
    record = {"results": [{"id": "999", "properties": {}}]}
    _, outcome = one([CREATED], CONTACTS % "", source="hubspot", record=record)
    assert outcome.reason == "record_gone"
    assert said(outcome) == BEFORE_FETCH


# --- imports, floods, people --------------------------------------------------------------------


@pytest.mark.parametrize("record", [None, {"phone": NUMBER}, {"phone": ""}])
def test_an_import_is_held_whatever_else_would_come_of_it(record: Any) -> None:
    body = [CREATED | {"changeSource": "IMPORT"}]
    _, outcome = one(body, CONTACTS % "", source="hubspot", record=record)
    assert (outcome.verdict, outcome.reason, outcome.until) == ("held", "bulk", None)
    assert said(outcome)["bulk"] == "no bulk"
    assert [ask.note is None for ask in outcome.requests] == [False] * len(outcome.requests)


@pytest.mark.parametrize(
    ("gaps", "sent", "note"),
    [
        ([30, 60], [30, 60, 60], "gap_between_retries has 2 of 3 entries; its last one, 60, is"),
        (["5"], [5, 5, 5], "gap_between_retries has 1 of 3 entries; its last one, 5, is repeated"),
        ([30, 60, 90], [30, 60, 90], None),
        (30, 30, None),
    ],
)
def test_gaps_that_are_padded_are_told(gaps: Any, sent: Any, note: str | None) -> None:
    routes = CONTACTS.replace("hubspot", "generic").replace("contact.*", "form.submitted")
    routes = routes.replace("properties.phone", "phone") % "" + (
        'gap_between_retries = "gaps"\nnumber_of_retries = { value = 3 }\n'
    )
    _, outcome = one(LEAD | {"gaps": gaps}, routes)
    [ask] = outcome.requests
    assert outcome.verdict == "would be sent"
    assert ask.body["gap_between_retries"] == sent
    assert (ask.note or "").startswith(note or "")
    assert (ask.note is None) == (note is None)


def test_a_flood_is_told_and_holds_nothing_by_itself() -> None:
    _, outcome = one(LEAD, call_route('flood = { over = 100, within = "5m" }'))
    assert outcome.verdict == "would be sent"
    assert said(outcome)["flood"] == "at the intake more than 100 within 300 s are held as bulk"
    assert "bulk" not in said(outcome)


STOP = "\n[[source]]\nname = 'hubspot'\nopt_out = \"%s\"\n"


@pytest.mark.parametrize(
    ("change", "opt_out", "wants"),
    [
        ({}, None, None),
        ({}, "propertyName == 'stop'", None),
        ({"propertyName": "stop"}, "propertyName == 'stop'", "opt_out"),
        ({"propertyName": "stop"}, "propertyName", None),  # a text says neither yes nor no
        ({}, "sum(objectId) == `1`", None),
        ({"subscriptionType": "contact.privacyDeletion"}, None, "erase"),
    ],
)
def test_what_an_event_does_to_its_person_is_told(
    change: dict[str, Any], opt_out: str | None, wants: str | None
) -> None:
    routes = CONTACTS % "" + (STOP % opt_out if opt_out else "")
    found = preview([CREATED | change], routes, source="hubspot")
    [seen] = found.events
    assert seen.wants == wants
    assert found.as_json()[0]["wants"] == wants
    assert ("erases its person" in found.text(KOLKATA)) == (wants == "erase")
    assert ("suppresses its person" in found.text(KOLKATA)) == (wants == "opt_out")


def test_an_event_that_suppresses_its_person_calls_nobody() -> None:
    routes = CONTACTS.replace("contact.*", "contact.privacy_deleted") % ""
    deleted = CREATED | {"subscriptionType": "contact.privacyDeletion", "phone": NUMBER}
    seen, outcome = one([deleted], routes.replace("properties.phone", "phone"), source="hubspot")
    assert seen.wants == "erase"
    assert said(outcome)["suppressed"] == "no suppressed"
    assert (outcome.verdict, outcome.reason) == ("skipped", "suppressed")


def test_an_opt_out_is_judged_over_the_record_too() -> None:
    routes = CONTACTS % "" + STOP % "properties.stop == 'true'"
    for stop, word in (("true", "no suppressed"), ("false", "ok")):
        record = {"phone": NUMBER, "stop": stop}
        seen, outcome = one([CREATED], routes, source="hubspot", record=record)
        assert (seen.wants, said(outcome)["opt_out"]) == (None, word)


# --- changes by our own user --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "verdict"),
    [("update", "not checked needs our user at the CRM"), ("insert", "ok not set")],
)
@pytest.mark.parametrize("record", [None, {"Phone": NUMBER, "Modified_By": {"id": "1"}}])
def test_whether_our_user_changed_a_record_is_for_the_worker_to_ask(
    operation: str, verdict: str, record: dict[str, Any] | None
) -> None:
    now_ms = CREATED["occurredAt"]
    body = {"channel_id": "1", "server_time": now_ms, "module": "Leads", "ids": ["7"]}
    routes = route(source="zoho", event="lead.*")
    _, outcome = one({**body, "operation": operation}, routes, source="zoho", record=record)
    assert said(outcome)["own change"] == verdict
    assert outcome.verdict == ("would be sent" if record else "fetches the record first")


def test_an_activity_that_a_write_back_made_needs_no_user_to_be_known() -> None:
    subject = "Call by CallKaro: connected (bridge-0123456789abcdef0123)"
    meta = {"version": "2.0", "id": "e-1", "action": "change", "entity": "activity"}
    body = {"meta": {**meta, "entity_id": "9"}, "data": {"subject": subject, "person_id": 501}}
    _, outcome = one(body, route(source="pipedrive", event="activity.*"), source="pipedrive")
    assert said(outcome)["own change"] == "no own_change"
    assert outcome.verdict == "skipped"
