"""Calling hours: by the wall's clock, in every zone, across clock changes."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.hours import ALWAYS, Window, next_opening, open_at, parse_window, zones_of

DAY = Window(start_min=9 * 60, end_min=21 * 60)
KOLKATA = {"Asia/Kolkata"}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "start_min", "end_min", "shown"),
    [
        ("09:00-21:00", 540, 1260, "09:00-21:00"),
        ("9:00-21:00", 540, 1260, "09:00-21:00"),
        (" 09:30 - 18:45 ", 570, 1125, "09:30-18:45"),
        ("00:00-24:00", 0, 1440, "00:00-24:00"),
        ("23:59-24:00", 1439, 1440, "23:59-24:00"),
    ],
)
def test_a_window_is_read_and_written_back(text, start_min, end_min, shown):
    window = parse_window(text)
    assert window == Window(start_min=start_min, end_min=end_min)
    assert str(window) == shown
    assert parse_window(str(window)) == window


@pytest.mark.parametrize("text", ["always", " Always "])
def test_always_lifts_the_hours(text):
    assert parse_window(text) is ALWAYS
    assert str(ALWAYS) == "always"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("21:00-09:00", "must end after it starts"),
        ("09:00-09:00", "must end after it starts"),
        ("22:00-00:00", "must end after it starts"),
        ("24:00-24:00", "no such time of day"),
        ("09:00-24:01", "no such time of day"),
        ("09:00-25:00", "no such time of day"),
        ("09:60-10:00", "no such time of day"),
        ("09:00-10:99", "no such time of day"),
        ("9-21", "write"),
        ("09:00", "write"),
        ("09:00-21:00 IST", "write"),
        ("", "write"),
        ("never", "write"),
        ("-1:00-09:00", "write"),
        ("\u0967\u0967:00-21:00", "write"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused_in_a_sentence(text, why):
    with pytest.raises(ValueError, match=why):
        parse_window(text)


@pytest.mark.parametrize(("start_min", "end_min"), [(540, 540), (600, 540), (-1, 10), (0, 1441)])
def test_a_window_can_not_be_built_empty_or_across_midnight(start_min, end_min):
    with pytest.raises(ValueError, match="same day"):
        Window(start_min=start_min, end_min=end_min)


@pytest.mark.parametrize(
    ("number", "zones"),
    [
        ("+919876543210", {"Asia/Calcutta"}),
        ("+12025550123", {"America/New_York"}),
        ("+6281212345678", {"Asia/Jakarta"}),
        ("+80012345678", set()),
        ("+99912345678", set()),
        ("not a number", set()),
        ("", set()),
    ],
)
def test_the_zones_of_a_number_follow_from_its_prefix(number, zones):
    assert zones_of(number) == zones


def test_a_number_without_a_place_has_the_zones_of_its_whole_country():
    assert {"Europe/Moscow", "Asia/Kamchatka"} <= zones_of("+79161234567")


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2025-12-31T03:29:59.999999", False),  # 08:59:59 in Kolkata
        ("2025-12-31T03:30:00", True),  # 09:00
        ("2025-12-31T15:29:59.999999", True),
        ("2025-12-31T15:30:00", False),  # 21:00: the end is not in it
    ],
)
def test_the_window_is_open_from_its_start_up_to_its_end(at, is_open):
    assert open_at(DAY, KOLKATA, utc(at)) is is_open


def test_a_call_is_lawful_only_where_every_zone_is_open():
    at = utc("2025-12-31T14:30")  # 20:00 in Kolkata, 09:30 in New York
    assert open_at(DAY, ["Asia/Kolkata", "America/New_York"], at)
    assert not open_at(DAY, ["Asia/Kolkata", "America/Los_Angeles"], at)


@pytest.mark.parametrize(
    "zones",
    [
        [],
        ["Asia/Bengaluru"],
        ["Asia/Kolkata", "Etc/Unknown"],
        [""],
        ["America"],
        ["../etc/passwd"],
        ["\ud800"],
        ["Asia/Kolkata\0"],
    ],
)
def test_an_unknown_zone_or_none_at_all_is_never_open(zones):
    at = utc("2025-12-31T06:00")
    whole_day = Window(start_min=0, end_min=1440)
    assert not open_at(whole_day, zones, at)
    assert next_opening(whole_day, zones, at) is None
    assert open_at(ALWAYS, zones, at)
    assert next_opening(ALWAYS, zones, at) == at


def test_a_naive_instant_is_refused():
    naive = datetime(2025, 12, 31)  # noqa: DTZ001
    for ask in (open_at, next_opening):
        for window in (DAY, ALWAYS):
            with pytest.raises(ValueError, match="aware"):
                ask(window, KOLKATA, naive)


@pytest.mark.parametrize(
    ("window", "zones", "at", "opens"),
    [
        ("09:00-21:00", ["Asia/Kolkata"], "2025-12-31T06:00:00.5", "2025-12-31T06:00:00.5"),
        ("09:00-21:00", ["Asia/Kolkata"], "2025-12-31T15:30", "2026-01-01T03:30"),
        ("09:00-21:00", ["Asia/Kolkata"], "2025-12-31T03:29:59.9", "2025-12-31T03:30"),
        ("09:00-21:00", ["Asia/Kathmandu"], "2025-12-31T00:00", "2025-12-31T03:15"),
        ("00:00-24:00", ["Asia/Kolkata"], "2025-12-31T20:00", "2025-12-31T20:00"),
        # Both open: 09:00 in New York (14:00) to 21:00 in Kolkata (15:30).
        (
            "09:00-21:00",
            ["Asia/Kolkata", "America/New_York"],
            "2025-12-31T15:30",
            "2026-01-01T14:00",
        ),
        # Nine in the morning comes an hour earlier the day the clocks go forward.
        ("09:00-21:00", ["Europe/Berlin"], "2025-03-29T20:00", "2025-03-30T07:00"),
        ("09:00-21:00", ["Europe/Berlin"], "2025-10-25T19:00", "2025-10-26T08:00"),
        # 02:30 does not exist on that day: the first open instant is 03:00.
        ("02:30-04:00", ["Europe/Berlin"], "2025-03-30T00:00", "2025-03-30T01:00"),
        # The whole window is skipped: the next day's.
        ("02:10-02:50", ["Europe/Berlin"], "2025-03-30T00:00", "2025-03-31T00:10"),
        # The hour from 2 to 3 comes twice: open in the first, closed by 03:00 only after both.
        ("02:30-03:30", ["Europe/Berlin"], "2025-10-26T00:00", "2025-10-26T00:30"),
        ("02:30-03:30", ["Europe/Berlin"], "2025-10-26T01:00", "2025-10-26T01:30"),
        # The window closes at 02:30 and opens again as the clocks go back to 02:00.
        ("01:00-02:30", ["Europe/Berlin"], "2025-10-26T00:30", "2025-10-26T01:00"),
        # A change of half an hour.
        ("01:45-03:00", ["Australia/Lord_Howe"], "2025-04-05T15:00", "2025-04-05T15:15"),
    ],
)
def test_the_next_opening_is_the_first_lawful_instant(window, zones, at, opens):
    assert next_opening(parse_window(window), zones, utc(at)) == utc(opens)


def test_the_next_opening_is_in_utc_whatever_the_question_was_in():
    asked = utc("2025-12-31T00:00").astimezone(ZoneInfo("America/New_York"))
    for window in (DAY, ALWAYS):
        found = next_opening(window, KOLKATA, asked)
        assert found is not None
        assert found.tzinfo is UTC


def test_zones_without_a_common_hour_never_open():
    zones = ["Pacific/Honolulu", "Asia/Kolkata"]
    assert next_opening(parse_window("10:00-18:00"), zones, utc("2025-12-31T00:00")) is None


@pytest.mark.parametrize("at", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_the_ends_of_the_calendar_are_closed_and_not_a_crash(at):
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        assert open_at(DAY, [zone], at) in (True, False)
        assert next_opening(DAY, [zone], at) is None or at < utc("2000-01-01T00:00")


ZONES = (
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "America/New_York",
    "America/Los_Angeles",
    "America/St_Johns",
    "America/Sao_Paulo",
    "Europe/London",
    "Europe/Berlin",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Pacific/Apia",
    "Antarctica/Troll",  # two hours at once
    "UTC",
)
# In the years around a change half of the instants lie within a day of one.
CHANGES = tuple(
    utc(day)
    for day in (
        "2025-03-09T10:00",
        "2025-03-30T01:00",
        "2025-04-05T15:00",
        "2025-10-04T15:30",
        "2025-10-26T01:00",
        "2025-11-02T06:00",
        "2011-12-30T10:00",  # Samoa left out a day
    )
)
INSTANTS = st.datetimes(
    min_value=datetime(2005, 1, 1),  # noqa: DTZ001
    max_value=datetime(2037, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
) | st.builds(
    lambda change, seconds: change + timedelta(seconds=seconds),
    st.sampled_from(CHANGES),
    st.integers(-100_000, 100_000),
)
WINDOWS = st.builds(
    lambda start, length: Window(start_min=start, end_min=min(start + length, 1440)),
    st.integers(0, 1439) | st.integers(0, 200),
    st.integers(1, 1440),
)


@settings(derandomize=True, max_examples=120, deadline=None)
@given(
    window=WINDOWS,
    zones=st.sets(st.sampled_from(ZONES), min_size=1, max_size=3),
    at=INSTANTS,
)
def test_the_next_opening_is_open_not_before_and_nothing_open_lies_between(window, zones, at):
    found = next_opening(window, zones, at)
    limit = at + timedelta(days=8) if found is None else found
    if found is not None:
        assert at <= found < at + timedelta(days=8)
        assert open_at(window, zones, found)
        for zone in zones:
            local = found.astimezone(ZoneInfo(zone))
            assert window.start_min <= local.hour * 60 + local.minute < window.end_min
        if found > at:
            assert not open_at(window, zones, found - timedelta(microseconds=1))
    # Every window opens and closes on a whole minute here, so a probe a minute sees every opening.
    probe = at
    while probe < limit:
        assert not open_at(window, zones, probe)
        probe = probe.replace(second=0, microsecond=0) + timedelta(minutes=1)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(window=WINDOWS, zone=st.sampled_from(ZONES), at=INSTANTS)
def test_an_open_instant_is_its_own_next_opening(window, zone, at):
    assert (next_opening(window, [zone], at) == at) is open_at(window, [zone], at)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(window=WINDOWS, zone=st.sampled_from(ZONES), at=INSTANTS, later=st.integers(0, 10**6))
def test_a_later_question_never_gets_an_earlier_answer(window, zone, at, later):
    asked = [at, at + timedelta(seconds=later)]
    answers = [next_opening(window, [zone], instant) for instant in asked]
    for one, other in pairwise(answers):
        if one is not None and other is not None:
            assert one <= other
