"""What the outcomes of a delivery say of further rings: may CallKaro redial, may it have rung?"""

from dataclasses import replace
from datetime import UTC, datetime

from schemas.delivery import Delivery, Status, may_cancel, may_have_rung, may_redial
from schemas.headline import headline, newest
from schemas.outcome import INBOUND, Outcome

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
LOCAL = "2026-11-28T17:30:00"


def delivery(*outcomes: Outcome, past: tuple[str, ...] = ()) -> Delivery:
    return Delivery(
        id="d1",
        event_id="e1",
        source="website",
        subject=None,
        route="call back",
        to="call",
        routes="r",
        status=Status.DELIVERED,
        order=1,
        created_at=NOW,
        request={"to_number": "+919876543210", "number_of_retries": 2},
        outcomes=outcomes,
        past=past,
        headline=headline(newest(outcomes, past)),
    )


def dial(sid: str | None, try_count: int = 0, *, is_final: bool = True) -> Outcome:
    return Outcome(call_sid=sid, delivery_id="d1", try_count=try_count, is_final=is_final)


def test_the_newest_dial_says_whether_another_follows() -> None:
    follows = delivery(dial("CA1", 0), dial("CA1", 1, is_final=False))
    assert may_redial(follows)
    assert may_cancel(follows, LOCAL) == "at_callkaro"
    ended = delivery(dial("CA1", 0, is_final=False), dial("CA1", 1))
    assert not may_redial(ended)
    assert may_cancel(ended, LOCAL) is None


def test_a_person_who_calls_says_nothing_of_redials() -> None:
    assert may_redial(delivery(dial("CA2", INBOUND)))
    assert may_redial(delivery(dial("CA1", is_final=False), dial("CA2", INBOUND)))


def test_a_past_call_says_nothing_of_the_new_one() -> None:
    assert may_redial(delivery(dial("CA1"), past=("CA1",)))
    assert may_cancel(delivery(dial("CA1", is_final=False), past=("CA1",)), LOCAL) is None


def test_an_outcome_of_any_call_is_a_ring_that_may_have_been() -> None:
    nameless = replace(delivery(dial(None), past=("CA1",)), status=Status.FAILED)
    assert nameless.headline is None
    assert may_have_rung(nameless)
    known = replace(delivery(dial("CA1"), dial(None), past=("CA1", "")), status=Status.FAILED)
    assert not may_have_rung(known)
