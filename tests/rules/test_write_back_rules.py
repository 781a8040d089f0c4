"""Write-backs: what a CRM is told, what its answer means, and the moves that follow."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from support.makers import NOW, NUMBER, call_route, delivery, event, settings

from rules import write_back
from rules.plan import Ready
from rules.verdict import Meaning
from schemas.crm.generic import KIND, is_own_change
from schemas.delivery import Delivery, Reason, Status
from schemas.http_result import HttpResult
from schemas.outcome import Outcome, Result
from schemas.records import Move
from schemas.settings import Settings, WebhookOut
from schemas.write_back import WriteBackClaim

TOLD = """
[route.write_back]
on = ["accepted", "outcome", "failed"]
[route.write_back.fields]
status = "outcome.result || delivery.status"
city   = "event.city"
nobody = "event.nobody"
origin = { value = "bridge" }
"""
OUT = WebhookOut(url="http://localhost:1/hook", secrets=("whsec_c2VjcmV0",))
ENDED = Outcome(
    call_sid="call-7",
    delivery_id="d1",
    try_count=1,
    result=Result.CONNECTED,
    duration_s=61,
    ended_at=NOW,
    post_call={"interested": "yes"},
    recording_url="javascript:alert(1)",
    transcription="Hello.",
)


def of(routes: str = TOLD) -> Settings:
    return settings(call_route() + routes, webhooks_out={"generic": OUT})


def a_claim(moment: str = "outcome", *, parent: Any = None, **more: Any) -> WriteBackClaim:
    call: dict[str, Any] = {
        "status": Status.DELIVERED,
        "call_sid": "call-7",
        "number": NUMBER,
        "name": "Meera",
        "message": "CallKaro accepted it.",
        "outcomes": (replace(ENDED, try_count=0), ENDED),
        **(parent or {}),
    }
    own = {
        "id": "w1",
        "to": "write_back",
        "of": "d1",
        "moment": moment,
        "call_sid": "call-7",
        "try_count": 1 if moment == "outcome" else None,
        **more,
    }
    return WriteBackClaim(
        delivery=delivery(**own),
        parent=delivery(**call),
        event=event({"city": "Pune"}, subject="42"),
    )


def ready(claim: WriteBackClaim | None = None) -> Ready:
    found = write_back.prepare(claim or a_claim(), of(), NOW)
    assert isinstance(found, Ready)
    return found


def test_an_outcome_is_told_with_its_call_its_event_and_the_routes_fields() -> None:
    assert ready().body == {
        "bridge": "write_back",
        "moment": "outcome",
        "delivery": {
            "id": "d1",
            "route": "call new leads",
            "status": "delivered",
            "reason": None,
            "message": "CallKaro accepted it.",
            "call_sid": "call-7",
            "batch_id": None,
            "number": NUMBER,
            "name": "Meera",
        },
        "outcome": {
            "result": "connected",
            "talked_s": 61,
            "converted": None,
            "disposition": None,
            "at": "2026-11-20T06:00:00.000Z",
            "is_final": True,
            "tries": 2,
            "recording_url": None,
            "call_link": None,
            "variables": {"interested": "yes"},
            "transcript": "Hello.",
        },
        "event": {
            "id": "e1",
            "source_event_id": "s1",
            "type": "form.submitted",
            "subject": "42",
        },
        # A null is left out: it would empty the record's field.
        "fields": {"status": "connected", "city": "Pune", "origin": "bridge"},
    }


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_outcome_without_a_call_sid_is_told_unless_the_calls_own_is_there(
    order: tuple[int, int],
) -> None:
    claim = a_claim()
    assert claim.parent
    nameless = replace(ENDED, call_sid=None, duration_s=7)
    alone = replace(claim, parent=replace(claim.parent, outcomes=(nameless,)))
    both = tuple((ENDED, nameless)[place] for place in order)

    told = [
        ready(one).body["outcome"]["talked_s"]
        for one in (alone, replace(claim, parent=replace(claim.parent, outcomes=both)))
    ]

    assert told == [7, ENDED.duration_s]


def test_a_moment_that_is_past_is_told_as_it_was() -> None:
    later = {"status": Status.CANCELLED, "reason": "by_person", "message": "A person did this."}
    told = ready(a_claim("accepted", parent=later)).body
    assert told["outcome"] is None
    assert told["fields"]["status"] == "delivered"
    assert (told["delivery"]["reason"], told["delivery"]["message"]) == (None, None)


def test_a_request_that_was_recorded_is_repeated_as_it_was() -> None:
    assert ready(a_claim(request={"bridge": "write_back", "moment": "outcome"})).body == {
        "bridge": "write_back",
        "moment": "outcome",
    }


def test_a_newer_calls_fields_are_not_overwritten() -> None:
    newer = frozenset({"status", "another"})
    for request in (None, {"bridge": "write_back", "fields": ready().body["fields"]}):
        found = ready(a_claim(newer_fields=newer, request=request))
        fields = ready().body["fields"]
        assert "status" in fields
        assert found.body["fields"] == {k: v for k, v in fields.items() if k != "status"}
        move = write_back.start(found, NOW, needs_s=1)
        assert orjson.loads(str(move.fields["sent_fields"])) == [*found.body["fields"]]


def without_route() -> Settings:
    return settings(call_route())


@pytest.mark.parametrize(
    ("claim", "routes", "to", "reason"),
    [
        (a_claim(), without_route(), Status.SKIPPED, Reason.ROUTE_MISSING),
        (a_claim(route="gone"), of(), Status.SKIPPED, Reason.ROUTE_MISSING),
        (replace(a_claim(), parent=None), of(), Status.SKIPPED, Reason.RECORD_GONE),
        (a_claim(try_count=5), of(), Status.SKIPPED, Reason.RECORD_GONE),
        (
            a_claim(),
            of('[route.write_back]\non = ["outcome"]\nfields = { x = "abs(event.city)" }'),
            Status.FAILED,
            Reason.BAD_REQUEST,
        ),
    ],
)
def test_what_can_not_be_told_ends(
    claim: WriteBackClaim, routes: Settings, to: Status, reason: Reason
) -> None:
    found = write_back.prepare(claim, routes, NOW)
    assert isinstance(found, Move)
    assert (found.to, found.reason, found.lease) == (to, reason, 3)


def test_call_false_tells_the_fields_without_the_outcome() -> None:
    said = '[route.write_back]\non = ["outcome"]\ncall = false\nfields = { s = "outcome.result" }'
    found = write_back.prepare(a_claim(), of(said), NOW)
    assert isinstance(found, Ready)
    assert (found.body["outcome"], found.body["fields"]) == (None, {"s": "connected"})


def answer(code: int | None, body: bytes = b"", **more: Any) -> HttpResult:
    return HttpResult(**{"sent": True, "duration_ms": 3, "status_code": code, "body": body, **more})


@pytest.mark.parametrize(
    ("result", "meaning", "to", "reason"),
    [
        (answer(200), Meaning.ACCEPTED, Status.DELIVERED, None),
        (answer(204), Meaning.ACCEPTED, Status.DELIVERED, None),
        (answer(401), Meaning.PAUSE, Status.RETRYING, Reason.ACCOUNT),
        (answer(403), Meaning.PAUSE, Status.RETRYING, Reason.ACCOUNT),
        (answer(402), Meaning.AGAIN, Status.RETRYING, Reason.BUSY),
        (answer(422), Meaning.REFUSED, Status.FAILED, Reason.REFUSED),
        (answer(404), Meaning.REFUSED, Status.FAILED, Reason.REFUSED),
        (answer(408), Meaning.AGAIN, Status.RETRYING, Reason.BUSY),
        (answer(423), Meaning.AGAIN, Status.RETRYING, Reason.BUSY),
        (answer(429), Meaning.AGAIN, Status.RETRYING, Reason.BUSY),
        (answer(500), Meaning.AGAIN, Status.RETRYING, Reason.BUSY),
        (answer(302), Meaning.AGAIN, Status.RETRYING, Reason.BUSY),
        (answer(None, error="ReadTimeout"), Meaning.AGAIN, Status.RETRYING, Reason.NO_ANSWER),
        (answer(None, sent=False), Meaning.AGAIN, Status.RETRYING, Reason.UNREACHABLE),
    ],
)
def test_an_answer_is_never_unknown_and_says_nothing_of_callkaro(
    result: HttpResult, meaning: Meaning, to: Status, reason: Reason | None
) -> None:
    meant = write_back.verdict(result)
    move = write_back.settle(
        ready(), result, meant, NOW, lambda: 0.5, proof="GENERIC_WRITE_BACK_SECRET or the receiver"
    )
    assert (meant.meaning, move.to, move.reason) == (meaning, to, reason)
    assert move.callkaro_ok is None
    assert (move.pause is not None) == (meaning is Meaning.PAUSE)
    assert not {"call_sid", "batch_id"} & move.fields.keys()


def test_an_account_at_fault_spends_no_attempt() -> None:
    result = answer(401)
    move = write_back.settle(
        ready(),
        result,
        write_back.verdict(result),
        NOW,
        lambda: 0.5,
        proof="GENERIC_WRITE_BACK_SECRET or the receiver",
    )
    assert move.fields["spent"] == 0
    assert move.pause is not None
    assert move.pause["reason"] == "credentials"
    assert "GENERIC_WRITE_BACK_SECRET" in move.pause["message"]
    assert "resume crm:generic" in move.pause["message"]


def test_a_wait_that_the_receiver_asks_for_is_kept() -> None:
    result = answer(429, headers={"Retry-After": "600"})
    move = write_back.settle(
        ready(),
        result,
        write_back.verdict(result),
        NOW,
        lambda: 0.0,
        proof="GENERIC_WRITE_BACK_SECRET or the receiver",
    )
    assert move.wait_s == 600


def test_it_is_given_up_after_a_day() -> None:
    tried: Delivery = delivery(
        **{"to": "write_back", "first_attempt_at": NOW - timedelta(days=1), "spent": 9}
    )
    old = replace(ready(), claim=replace(ready().claim, delivery=tried))
    result = answer(503)
    move = write_back.settle(
        old,
        result,
        write_back.verdict(result),
        NOW,
        lambda: 0.5,
        proof="GENERIC_WRITE_BACK_SECRET or the receiver",
    )
    assert (move.to, move.reason) == (Status.FAILED, Reason.GAVE_UP)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"message": "The field City is read-only."}', "The field City is read-only."),
        (b'{"error": {"message": "No such record"}}', "No such record"),
        (b'{"error": "No such record"}', "No such record"),
        (b'{"error": 7}', ""),
        (b'{"message": ["No such field", 7, "No such tag"]}', "No such field; No such tag"),
        (b'{"message": [7]}', ""),
        (b"<html>", ""),
        (b'"text"', "text"),
        (b'{"message": "' + b"x" * 1000 + b'"}', "x" * write_back.SENTENCE_CHARS),
    ],
)
def test_a_refusal_is_told_in_the_receivers_words(body: bytes, text: str) -> None:
    assert write_back.sentence(body) == text
    assert (text or "it gave no reason") in write_back.verdict(answer(400, body)).message


def test_a_number_in_a_refusal_is_masked() -> None:
    body = b'{"message": "%s is not a number"}' % NUMBER.encode()
    assert NUMBER not in write_back.verdict(answer(422, body)).message


def test_errors_of_the_bridge_lead_to_another_try() -> None:
    move = write_back.settle_crashed(ready(), NOW)
    assert move.to is Status.RETRYING
    again = write_back.after_crash(move, NOW)
    assert (again.to, again.is_after_crash) == (Status.RETRYING, True)
    assert again.wait_s


def test_what_is_not_sent_says_why() -> None:
    assert write_back.superseded(ready()).reason is Reason.SUPERSEDED
    assert write_back.dry_run(ready()).reason is Reason.DRY_RUN


def test_a_start_claims_no_number_and_no_campaign() -> None:
    move = write_back.start(ready(), NOW, needs_s=20)
    assert (move.to, move.guard, move.phone, move.number) == (Status.SENDING, None, None, None)
    assert move.fields.keys() == {"request", "spent", "first_ms", "sent_fields"}


def test_our_own_write_back_is_known_when_it_comes_back() -> None:
    assert KIND.is_own_change is is_own_change
    assert is_own_change("form.submitted", ready().body)
    for data in ({}, {"bridge": "other"}, [], None, "write_back"):
        assert not is_own_change("form.submitted", data)


def test_what_is_no_number_leaves_the_records_field_alone() -> None:
    routes = TOLD + "score = \"to_number('nan')\"\nscores = \"[to_number('inf'), `7`]\"\n"
    found = write_back.prepare(a_claim(), of(routes), NOW)
    assert isinstance(found, Ready)
    assert "score" not in found.body["fields"]
    assert found.body["fields"]["scores"] == [None, 7]
