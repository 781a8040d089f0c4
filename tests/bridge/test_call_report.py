"""What a delivery's page says of its call: which dial is the newest, and what the agent noted."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bridge.dashboard.call_report import (
    Variable,
    call_report,
    in_words,
    look_up,
    variables,
)
from schemas.delivery import Delivery, Status
from schemas.headline import newest
from schemas.outcome import INBOUND, Outcome, Result
from schemas.responses import revealed

AT = datetime(2026, 11, 28, 19, 0, tzinfo=UTC)
INDIA = ZoneInfo("Asia/Kolkata")
NUMBER = "+919876543210"


def newest_of(call: Delivery) -> Outcome | None:
    return newest(call.outcomes, call.past)


def a_call(*outcomes: Outcome, **more: Any) -> Delivery:
    made: dict[str, Any] = {
        "id": "d1",
        "event_id": "e1",
        "source": "website",
        "subject": None,
        "route": "call back",
        "to": "call",
        "routes": "digest",
        "status": Status.DELIVERED,
        "order": 1,
        "created_at": AT,
        "outcomes": outcomes,
        **more,
    }
    return Delivery(**made)


def dialled(try_count: int = 0, sid: str = "c1", ago_s: int = 0, **more: Any) -> Outcome:
    made: dict[str, Any] = {
        "call_sid": sid,
        "delivery_id": "d1",
        "try_count": try_count,
        "result": Result.CONNECTED,
        "ended_at": AT - timedelta(seconds=ago_s),
        **more,
    }
    return Outcome(**made)


# --- the newest -----------------------------------------------------------------------------------


def test_the_newest_dial_is_the_last_redial_and_not_what_came_last() -> None:
    first, redial = dialled(0), dialled(1, ago_s=3600)
    for order in ((first, redial), (redial, first)):
        assert newest_of(a_call(*order)) is redial


def test_of_equal_redials_the_later_one_is_the_newest() -> None:
    late, early, timeless = dialled(2), dialled(2, "c2", 60), dialled(2, "c3", ended_at=None)
    for order in ((late, early, timeless), (timeless, early, late)):
        assert newest_of(a_call(*order)) is late


@pytest.mark.parametrize(
    ("outcomes", "past"),
    [
        ((), ()),
        ((dialled(3, "old"),), ("old",)),
        ((dialled(INBOUND),), ()),
        ((dialled(5, "old"), dialled(INBOUND)), ("older", "old")),
    ],
)
def test_an_old_call_and_an_inbound_one_are_never_the_newest(
    outcomes: tuple[Outcome, ...], past: tuple[str, ...]
) -> None:
    call = a_call(*outcomes, past=past)
    report = call_report(call)
    assert (newest_of(call), report.headline, report.newest) == (None, "", None)
    assert len(report.earlier) == len(outcomes)


def test_after_call_again_the_new_call_is_the_newest_although_it_has_fewer_redials() -> None:
    new = dialled(0, "new", ago_s=60)
    assert newest_of(a_call(dialled(4, "old"), new, past=("old",))) is new


def test_the_other_dials_are_shown_once_the_latest_first() -> None:
    dials = [dialled(0, ago_s=300), dialled(1, ago_s=200), dialled(INBOUND, "in", 250), dialled(2)]
    report = call_report(a_call(*dials))
    assert report.newest is not None
    assert report.newest.name == "redial 2"
    assert [one.name for one in report.earlier] == [
        "redial 1",
        "call from the person",
        "first dial",
    ]


# --- the words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "headline"),
    [
        (
            dialled(duration_s=299, post_call={"interested": "no"}),
            "Connected, 4 min 59 s · interested: no",
        ),
        (
            dialled(
                duration_s=3600,
                post_call={"note": "x" * 50, "call_after": "5 pm", "is_owner": True},
            ),
            "Connected, 1 h · call after: 5 pm · is owner: yes",
        ),
        (dialled(duration_s=5, post_call={"a": 1, "b": 2, "c": 3}), "Connected, 5 s · a: 1 · b: 2"),
        (dialled(post_call={"a": None, "b": "", "c": {"d": 1}, "e": "x\ny"}), "Connected"),
        (
            dialled(result=Result.NOT_REACHED, is_final=False, duration_s=0),
            "Not reached · CallKaro redials",
        ),
        (dialled(result=Result.VOICEMAIL, duration_s=62), "Voicemail, 1 min 2 s"),
        (dialled(result=Result.WRONG_NUMBER), "Wrong number"),
        # The agent's own word stands in the place of CallKaro's conversion_status.
        (
            dialled(duration_s=5, conversion_status=False, post_call={"interested": "later"}),
            "Connected, 5 s · interested: later",
        ),
        (
            dialled(2, duration_s=5, conversion_status=True, post_call={"a": 1}),
            "Connected, 5 s, 3 dials · interested: yes · a: 1",
        ),
    ],
)
def test_the_headline_is_how_the_call_ended(outcome: Outcome, headline: str) -> None:
    assert call_report(a_call(outcome)).headline == headline


def test_numbers_in_what_was_said_are_masked_until_they_are_revealed() -> None:
    noted = {"call_me_at": NUMBER}
    outcome = dialled(
        transcription=f"Agent: {NUMBER}?\nUser: Yes.",
        post_call=noted,
        disposition_reason=f"Asked for {NUMBER}",
    )
    masked = str(call_report(a_call(outcome)))
    assert NUMBER not in masked
    assert "3210" in masked
    with revealed():
        shown = call_report(a_call(outcome))
    assert shown.newest is not None
    assert shown.newest.conversation[0].words == f"{NUMBER}?"
    assert shown.newest.variables == (Variable(name="call_me_at", value=NUMBER),)


def test_a_link_that_leads_nowhere_is_not_shown() -> None:
    report = call_report(
        a_call(dialled(recording_url="https://a.example;x/", call_link="https://u@a.example/"))
    )
    assert report.newest is not None
    assert (report.newest.recording, report.newest.link) == (None, None)


# --- what the agent noted -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "details", "expected"),
    [
        (
            {"interested": "no"},
            {"interested": {"value": "no", "comment": " Too dear. "}},
            [Variable(name="interested", value="no", reason="Too dear.")],
        ),
        ({"a": 1}, None, [Variable(name="a", value=1)]),
        (
            {},
            {"b": {"value": False, "comment": ""}, "c": "bare", "d": {"comment": 7}},
            [
                Variable(name="b", value=False),
                Variable(name="c", value="bare"),
                Variable(name="d", value=None),
            ],
        ),
        # The value of post_call counts, and its order.
        (
            {"b": None, "a": 1},
            {"a": {"value": 2, "comment": "x"}, "z": {"value": 3}, "b": {"comment": "y"}},
            [
                Variable(name="b", value=None, reason="y"),
                Variable(name="a", value=1, reason="x"),
                Variable(name="z", value=3),
            ],
        ),
        ({"a": 1}, ["no", "object"], [Variable(name="a", value=1)]),
    ],
)
def test_each_variable_has_the_agents_reason(
    values: Mapping[str, Any], details: Any, expected: list[Variable]
) -> None:
    assert list(variables(values, details)) == expected


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "—"),
        ("", "—"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (1.5, "1.5"),
        ("x", "x"),
        ([1], [1]),
    ],
)
def test_a_value_is_shown_in_words(value: Any, words: Any) -> None:
    assert in_words(value) == words


# --- what to look up ------------------------------------------------------------------------------


def unknown(**more: Any) -> Delivery:
    return a_call(status=Status.UNKNOWN, **more)


@pytest.mark.parametrize(
    ("sent_at", "day"),
    [
        ("2026-11-28T10:00:00+00:00", "2026-11-28"),
        ("2026-11-28T18:29:59Z", "2026-11-28"),
        ("2026-11-28T18:30:00Z", "2026-11-29"),  # after midnight in India
    ],
)
def test_an_unknown_call_is_looked_up_on_the_day_of_its_last_attempt(
    sent_at: str, day: str
) -> None:
    attempts = ({"number": 1, "at": "2026-11-01T00:00:00Z"}, {"number": 2, "at": sent_at})
    found = look_up(unknown(attempts=attempts), NUMBER, INDIA, "https://ck.example")
    assert found is not None
    assert found.url == "https://ck.example/dashboard/call-history"
    assert found.command == f"ck calls list --to 919876543210 --start {day} --json"


@pytest.mark.parametrize("number", ["••••••••3210", "+91••••••3210", "+••••••••••10"])
def test_a_masked_number_stays_masked_in_the_command(number: str) -> None:
    found = look_up(unknown(), number, INDIA, "https://ck.example")
    assert found is not None
    assert f"--to {number.removeprefix('+')} --start 2026-11-29 " in str(found.command)


@pytest.mark.parametrize("number", [None, "", "; rm -rf ~"])
def test_without_a_number_there_is_no_command(number: str | None) -> None:
    found = look_up(unknown(), number, INDIA, "https://ck.example")
    assert found is not None
    assert found.command is None


def test_a_campaign_is_looked_up_among_campaigns() -> None:
    found = look_up(unknown(to="campaign"), None, INDIA, "https://ck.example")
    assert found is not None
    assert (found.page, found.url, found.command) == (
        "Batch Calls",
        "https://ck.example/dashboard/batch-calls",
        None,
    )


@pytest.mark.parametrize("status", [one for one in Status if one is not Status.UNKNOWN])
def test_only_an_unknown_delivery_is_looked_up(status: Status) -> None:
    assert look_up(a_call(status=status), NUMBER, INDIA, "https://ck.example") is None
