"""The guards: who may be called now, and when to ask again."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.delivery import Reason
from schemas.guards import judge, judge_hours
from schemas.hours import ALWAYS, parse_window

DAY = parse_window("09:00-21:00")
INDIA = "+919876543210"
NEPAL = "+9779841234567"  # UTC+5:45
GERMANY = "+4915112345678"
NOWHERE = "+8835100012345"  # international networks: no zone
RUSSIA = "+79161234567"  # a mobile: several zones
US_TOLL_FREE = "+18002345678"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ask(number=INDIA, *, now, schedule_at=None, zone="Asia/Kolkata", hours=DAY, allowed=None):
    return judge(
        number=number, schedule_at=schedule_at, zone=zone, hours=hours, allowed=allowed, now=now
    )


@pytest.mark.parametrize(
    ("allowed", "passes"),
    [
        (None, True),
        (frozenset({INDIA}), True),
        (frozenset({INDIA, NEPAL}), True),
        (frozenset({NEPAL}), False),
        (frozenset(), False),
        (frozenset({"919876543210"}), False),
    ],
)
def test_only_numbers_on_the_allow_list_are_called_where_there_is_one(allowed, passes):
    no = ask(now=at("2026-11-20T06:00:00"), allowed=allowed)
    assert (no is None) is passes
    if no:
        assert (no.reason, no.until) == (Reason.NOT_ALLOWED, None)
        assert INDIA not in no.message


def test_the_allow_list_is_asked_before_the_hours():
    no = ask(now=at("2026-11-20T23:00:00"), allowed=frozenset())
    assert no is not None
    assert no.reason is Reason.NOT_ALLOWED


def test_the_allow_list_counts_even_where_hours_are_lifted():
    assert ask(now=at("2026-11-20T23:00:00"), hours=ALWAYS, allowed=frozenset()) is not None


@pytest.mark.parametrize(
    ("number", "now", "until"),
    [
        # India, UTC+5:30
        (INDIA, "2026-11-20T03:30:00", None),
        (INDIA, "2026-11-20T15:29:59", None),
        (INDIA, "2026-11-20T03:29:59", "2026-11-20T03:30:00"),
        (INDIA, "2026-11-20T15:30:00", "2026-11-21T03:30:00"),
        (INDIA, "2026-11-19T21:30:00", "2026-11-20T03:30:00"),  # 3 am
        # Nepal, UTC+5:45
        (NEPAL, "2026-11-20T03:15:00", None),
        (NEPAL, "2026-11-20T03:14:59", "2026-11-20T03:15:00"),
        (NEPAL, "2026-11-20T15:15:00", "2026-11-21T03:15:00"),
        # Germany, over the change of clocks on 29 March 2026
        (GERMANY, "2026-03-28T21:00:00", "2026-03-29T07:00:00"),
        (GERMANY, "2026-03-29T07:00:00", None),
        (GERMANY, "2026-03-29T18:59:59", None),
        (GERMANY, "2026-03-29T19:00:00", "2026-03-30T07:00:00"),
    ],
)
def test_phones_ring_by_the_clock_where_they_are(number, now, until):
    no = ask(number, now=at(now))
    if until is None:
        assert no is None
        return
    assert no is not None
    assert (no.reason, no.until) == (Reason.OUTSIDE_HOURS, at(until))
    assert ask(number, now=no.until) is None
    assert "09:00-21:00" in no.message


def test_a_number_of_several_zones_is_called_only_while_all_of_them_are_open():
    # +1 800 may ring from the Caribbean (UTC-4) to Hawaii and Saipan: hardly a common hour.
    open_hours = [
        hour
        for hour in range(24)
        if ask(US_TOLL_FREE, now=at(f"2026-11-20T{hour:02}:00:00")) is None
    ]
    ny_open = [
        hour
        for hour in range(24)
        if ask("+12125550123", now=at(f"2026-11-20T{hour:02}:00:00")) is None
    ]
    assert len(ny_open) == 12
    assert set(open_hours) < set(ny_open)


def test_zones_without_a_common_hour_are_a_no_for_good():
    no = ask(RUSSIA, now=at("2026-11-20T09:00:00"), hours=parse_window("09:00-10:00"))
    assert no is not None
    assert (no.reason, no.until) == (Reason.OUTSIDE_HOURS, None)


def test_where_the_phone_is_unknown_it_stays_silent():
    no = ask(NOWHERE, now=at("2026-11-20T06:00:00"))
    assert no is not None
    assert (no.reason, no.until) == (Reason.OUTSIDE_HOURS, None)
    assert NOWHERE not in no.message


@pytest.mark.parametrize("number", [INDIA, NOWHERE, RUSSIA])
@pytest.mark.parametrize("schedule_at", [None, "2026-11-21T03:00:00"])
def test_always_lifts_the_hours_for_everybody(number, schedule_at):
    now = at("2026-11-20T21:30:00")
    assert ask(number, now=now, hours=ALWAYS, schedule_at=schedule_at) is None


@pytest.mark.parametrize(
    ("now", "schedule_at", "zone", "answer"),
    [
        # In the middle of the night, for tomorrow morning: CallKaro will wait.
        ("2026-11-19T21:30:00", "2026-11-20T10:00:00", "Asia/Kolkata", None),
        # At noon, for the middle of the night: no, and asking again changes nothing.
        ("2026-11-20T06:30:00", "2026-11-21T03:00:00", "Asia/Kolkata", "for good"),
        ("2026-11-20T06:30:00", "2026-11-20T20:59:59", "Asia/Kolkata", None),
        ("2026-11-20T06:30:00", "2026-11-20T21:00:00", "Asia/Kolkata", "for good"),
        # The same wall-clock time, read in another zone: 04:00 UTC is 09:30 in India.
        ("2026-11-20T02:00:00", "2026-11-20T04:00:00", "UTC", None),
        ("2026-11-20T02:00:00", "2026-11-20T04:00:00", "Asia/Kolkata", "held"),  # has passed
        # A time that has passed may mean "at once", so now is what counts.
        ("2026-11-20T06:30:00", "2026-11-20T03:00:00", "Asia/Kolkata", None),
        ("2026-11-20T21:30:00", "2026-11-20T12:00:00", "Asia/Kolkata", "held"),
        ("2026-11-20T21:30:00", "2026-11-21T03:00:00", "Asia/Kolkata", "held"),  # exactly now
    ],
)
def test_hours_are_judged_at_schedule_at_where_that_is_to_come(now, schedule_at, zone, answer):
    no = ask(now=at(now), schedule_at=schedule_at, zone=zone)
    match answer:
        case None:
            assert no is None
        case "for good":
            assert no is not None
            assert no.until is None
            assert "schedule_at" in no.message
        case _:
            assert no is not None
            assert no.until is not None
            assert no.until > at(now)


@settings(derandomize=True, max_examples=120, deadline=None)
@given(
    number=st.sampled_from([INDIA, NEPAL, GERMANY, NOWHERE, RUSSIA, US_TOLL_FREE]),
    now=st.integers(0, 2 * 365 * 24 * 60),
)
def test_what_is_held_is_held_until_a_time_at_which_it_passes(number, now):
    aware = at("2026-01-01T00:00:00") + timedelta(minutes=now)
    no = judge_hours(number=number, schedule_at=None, zone="Asia/Kolkata", hours=DAY, now=aware)
    if no and no.until:
        assert no.until > aware
        assert ask(number, now=no.until) is None
