"""Calling hours: by the wall's clock, in every zone, under every rule, across clock changes."""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import each, examples

from schemas.hours import (
    ALL_DAYS,
    ALWAYS,
    Hours,
    Rule,
    Window,
    next_opening,
    open_at,
    open_span,
    parse_days,
    parse_holidays,
    parse_window,
    read_zone,
    trigger_times,
    zones_of,
)

DAY = Window(start_min=9 * 60, end_min=21 * 60)
WHOLE = Window(start_min=0, end_min=1440)
KOLKATA = {"Asia/Kolkata"}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def rule(window=DAY, zones=KOLKATA, days="mon-sun", holidays=()) -> Rule:
    window = parse_window(window) if isinstance(window, str) else window
    hours = Hours(window=window, days=parse_days(days), holidays=parse_holidays(list(holidays)))
    return Rule(hours=hours, zones=frozenset(zones))


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


@each(
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
    assert open_at([rule()], utc(at)) is is_open


def test_a_call_is_lawful_only_where_every_zone_is_open():
    at = utc("2025-12-31T14:30")  # 20:00 in Kolkata, 09:30 in New York
    assert open_at([rule(zones={"Asia/Kolkata", "America/New_York"})], at)
    assert not open_at([rule(zones={"Asia/Kolkata", "America/Los_Angeles"})], at)


@each(
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
    for closed in (rule(WHOLE, zones), rule(ALWAYS, zones, days="mon-sat")):
        for rules in ([closed], [rule(ALWAYS), closed], [closed, rule(WHOLE)]):
            assert not open_at(rules, at)
            assert next_opening(rules, at) is None
            assert open_span(rules, at) is None
    assert open_at([rule(ALWAYS, zones)], at)
    assert next_opening([rule(ALWAYS, zones)], at) == at
    assert open_span([rule(ALWAYS, zones)], at) == (at - timedelta(1), at + timedelta(1))


def test_a_naive_instant_is_refused():
    naive = datetime(2025, 12, 31)  # noqa: DTZ001
    for ask in (open_at, next_opening, open_span):
        for rules in ([rule()], [rule(ALWAYS)], []):
            with pytest.raises(ValueError, match="aware"):
                ask(rules, naive)
    with pytest.raises(ValueError, match="aware"):
        trigger_times((utc("2025-12-31"), utc("2026-01-01")), naive, "UTC")


@each(
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
    assert next_opening([rule(window, zones)], utc(at)) == utc(opens)


def test_the_next_opening_is_in_utc_whatever_the_question_was_in():
    asked = utc("2025-12-31T00:00").astimezone(ZoneInfo("America/New_York"))
    for window in (DAY, ALWAYS):
        found = next_opening([rule(window)], asked)
        assert found is not None
        assert found.tzinfo is UTC


def test_zones_without_a_common_hour_never_open():
    zones = ["Pacific/Honolulu", "Asia/Kolkata"]
    assert next_opening([rule("10:00-18:00", zones)], utc("2025-12-31T00:00")) is None


@pytest.mark.parametrize("at", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_the_ends_of_the_calendar_are_closed_and_not_a_crash(at):
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        rules = [rule(zones=[zone])]
        assert open_at(rules, at) in (True, False)
        assert next_opening(rules, at) is None or at < utc("2000-01-01T00:00")
        assert open_span(rules, at) is None
        assert open_span([rule(ALWAYS)], at) is None
        assert trigger_times((at, at), at, zone) is None


@pytest.mark.parametrize(
    ("window", "days", "holidays", "at", "opens"),
    [
        # Friday night in Kolkata, and Saturday and Sunday are off.
        ("10:00-19:00", "mon-fri", [], "2026-11-20T14:00", "2026-11-23T04:30"),
        ("10:00-19:00", "mon-fri", ["2026-11-23"], "2026-11-20T14:00", "2026-11-24T04:30"),
        # It is Monday in Kolkata while it is Sunday in UTC.
        ("00:00-24:00", "mon", [], "2026-11-22T12:00", "2026-11-22T18:30"),
        ("always", "mon", [], "2026-11-22T12:00", "2026-11-22T18:30"),
        ("always", "mon-sun", ["2026-11-08"], "2026-11-07T18:30", "2026-11-08T18:30"),
        ("09:00-21:00", "sun", ["2026-11-08"], "2026-11-02T00:00", "2026-11-15T03:30"),
        ("09:00-21:00", "sun", ["2026-11-08", "2026-11-15"], "2026-11-02", "2026-11-22T03:30"),
    ],
)
def test_days_and_holidays_are_those_of_the_walls_calendar(window, days, holidays, at, opens):
    assert next_opening([rule(window, KOLKATA, days, holidays)], utc(at)) == utc(opens)


def test_weeks_of_holidays_are_looked_past_for_thirty_five_days():
    off = [date(2026, 11, 1) + timedelta(days=n) for n in range(60)]
    at = utc("2026-11-01T00:00")
    assert next_opening([rule(holidays=off[:34])], at) == utc("2026-12-05T03:30")
    assert next_opening([rule(holidays=off[:36])], at) is None


def test_every_rule_must_be_open_each_by_its_own_clock():
    outer = rule("09:00-21:00", ["Europe/Berlin"])
    own = rule("10:00-19:00", ["Asia/Kolkata"], "mon-fri")
    friday = utc("2026-11-20T13:30")  # 19:00 in Kolkata, 14:30 in Berlin
    assert open_at([outer], friday)
    assert not open_at([outer, own], friday)
    assert next_opening([outer, own], friday) == utc("2026-11-23T08:00")
    assert open_span([outer, own], utc("2026-11-20T09:00")) == (
        utc("2026-11-20T08:00"),
        utc("2026-11-20T13:30"),
    )


def test_a_zone_beyond_the_date_line_has_its_own_day():
    # Sunday in Kiritimati (UTC+14), still Friday in Pago Pago (UTC-11), half an hour long.
    both = ["Pacific/Kiritimati", "Pacific/Pago_Pago"]
    at = utc("2026-11-21T10:30")
    assert open_at([rule(WHOLE, both[:1], "sun")], at)
    assert open_at([rule(WHOLE, both[1:], "fri")], at)
    assert next_opening([rule(WHOLE, both, "sun")], at) is None


def test_no_rule_forbids_nothing():
    at = utc("2026-11-20T00:00")
    assert open_at([], at)
    assert next_opening([], at) == at


@each(
    ("rules", "at", "opens", "closes"),
    [
        ([rule()], "2026-11-20T03:30", "2026-11-20T03:30", "2026-11-20T15:30"),
        ([rule()], "2026-11-20T15:29:59", "2026-11-20T03:30", "2026-11-20T15:30"),
        # Days that meet at midnight are one, up to 24 h away.
        ([rule(WHOLE)], "2026-11-20T15:30", "2026-11-19T15:30", "2026-11-21T15:30"),
        ([rule(WHOLE, days="fri")], "2026-11-20T15:30", "2026-11-19T18:30", "2026-11-20T18:30"),
        (
            [rule(WHOLE, holidays=["2026-11-21"])],
            "2026-11-20T15:30",
            "2026-11-19T15:30",
            "2026-11-20T18:30",
        ),
        # Eleven hours the night the clocks go forward, thirteen the night they go back.
        (
            [rule("00:00-12:00", ["Europe/Berlin"])],
            "2026-03-29T06:00",
            "2026-03-28T23:00",
            "2026-03-29T10:00",
        ),
        (
            [rule("00:00-12:00", ["America/New_York"])],
            "2026-11-01T12:00",
            "2026-11-01T04:00",
            "2026-11-01T17:00",
        ),
        # Half an hour's change: at 02:00 it is 01:30 again, and closed until 01:40 comes back.
        (
            [rule("01:40-02:30", ["Australia/Lord_Howe"])],
            "2026-04-04T14:45",
            "2026-04-04T14:40",
            "2026-04-04T15:00",
        ),
    ],
)
def test_the_open_span_is_the_whole_stretch_around_an_instant(rules, at, opens, closes):
    assert open_span(rules, utc(at)) == (utc(opens), utc(closes))


def test_a_closed_instant_has_no_open_span():
    assert open_span([rule()], utc("2026-11-20T15:30")) is None
    assert open_span([rule(), rule(days="sat")], utc("2026-11-20T12:00")) is None


@each(
    ("span", "at", "zone", "times"),
    [
        # India calls India.
        (
            "2026-11-20T03:30/2026-11-20T15:30",
            "2026-11-20T06:00",
            "Asia/Kolkata",
            ("09:00", "21:00"),
        ),
        # 09:00 to 21:00 in New York, in Kolkata's clock: across midnight, cut to the call's part.
        (
            "2026-11-20T14:00/2026-11-21T02:00",
            "2026-11-20T15:00",
            "Asia/Kolkata",
            ("19:30", "23:59"),
        ),
        (
            "2026-11-19T14:00/2026-11-20T02:00",
            "2026-11-20T00:30",
            "Asia/Kolkata",
            ("00:00", "07:30"),
        ),
        # Kathmandu's quarter of an hour.
        (
            "2026-11-20T03:15/2026-11-20T15:15",
            "2026-11-20T06:00",
            "Asia/Kolkata",
            ("08:45", "20:45"),
        ),
        (
            "2026-11-20T03:15/2026-11-20T15:15",
            "2026-11-20T06:00",
            "Australia/Adelaide",
            ("13:45", "23:59"),
        ),
        (
            "2026-11-20T03:30:01/2026-11-20T15:29:59",
            "2026-11-20T06:00",
            "Asia/Kolkata",
            ("09:01", "20:59"),
        ),
        (
            "2026-11-19T06:00/2026-11-21T06:00",
            "2026-11-20T06:00",
            "Asia/Kolkata",
            ("00:00", "23:59"),
        ),
        # Less than a whole minute is left.
        ("2026-11-20T03:30:01/2026-11-20T03:31:59", "2026-11-20T03:30:30", "Asia/Kolkata", None),
        ("2026-11-20T18:29/2026-11-20T18:31", "2026-11-20T18:29:30", "Asia/Kolkata", None),
        # at is not in the span.
        ("2026-11-20T03:30/2026-11-20T15:30", "2026-11-20T15:30", "Asia/Kolkata", None),
        ("2026-11-20T03:30/2026-11-20T15:30", "2026-11-20T06:00", "Asia/Bengaluru", None),
        ("2026-11-20T03:30/2026-11-20T15:30", "2026-11-20T06:00", "", None),
        # Clocks in New York go back from 02:00 to 01:00 at 06:00 UTC. 01:30 comes twice: where one
        # of them is outside the span, CallKaro would take it for the other.
        (
            "2026-11-01T04:00/2026-11-01T05:30",
            "2026-11-01T04:30",
            "America/New_York",
            ("00:00", "01:00"),
        ),
        (
            "2026-11-01T04:00/2026-11-01T06:30",
            "2026-11-01T04:30",
            "America/New_York",
            ("00:00", "01:30"),
        ),
        (
            "2026-11-01T05:30/2026-11-01T12:00",
            "2026-11-01T09:00",
            "America/New_York",
            ("01:30", "07:00"),
        ),
        (
            "2026-11-01T06:30/2026-11-01T12:00",
            "2026-11-01T09:00",
            "America/New_York",
            ("02:00", "07:00"),
        ),
        ("2026-11-01T04:00/2026-11-01T05:30", "2026-11-01T05:10", "America/New_York", None),
        (
            "2026-10-25T00:30/2026-10-25T12:00",
            "2026-10-25T09:00",
            "Europe/Berlin",
            ("02:30", "13:00"),
        ),
        # Clocks in Berlin go forward at 01:00 UTC: what is skipped is no time of day.
        (
            "2026-03-29T00:30/2026-03-29T12:00",
            "2026-03-29T09:00",
            "Europe/Berlin",
            ("01:30", "14:00"),
        ),
        (
            "2026-03-29T01:00/2026-03-29T12:00",
            "2026-03-29T09:00",
            "Europe/Berlin",
            ("03:00", "14:00"),
        ),
        (
            "2026-03-28T23:00/2026-03-29T01:00",
            "2026-03-29T00:30",
            "Europe/Berlin",
            ("00:00", "02:00"),
        ),
        # Half an hour: 01:30 to 02:00 comes twice.
        (
            "2026-04-04T13:30/2026-04-04T14:45",
            "2026-04-04T14:00",
            "Australia/Lord_Howe",
            ("00:30", "01:30"),
        ),
    ],
)
def test_trigger_times_are_the_spans_part_of_the_day_by_callkaros_clock(span, at, zone, times):
    opens, closes = (utc(text) for text in span.split("/"))
    assert trigger_times((opens, closes), utc(at), zone) == times


# --- words -----------------------------------------------------------------------------------


@each(
    ("value", "days", "shown"),
    [
        ("mon-sat", {0, 1, 2, 3, 4, 5}, "mon-sat"),
        ("mon,wed,fri", {0, 2, 4}, "mon,wed,fri"),
        (" Mon , WED ", {0, 2}, "mon,wed"),
        ("sat-mon", {5, 6, 0}, "sat-mon"),
        ("sat,sun", {5, 6}, "sat,sun"),
        ("Monday - friday", {0, 1, 2, 3, 4}, "mon-fri"),
        ("mon-wed,fri", {0, 1, 2, 4}, "mon-wed,fri"),
        ("sun", {6}, "sun"),
        ("mon-mon", {0}, "mon"),
        (["mon", "tuesday", "thu-sat"], {0, 1, 3, 4, 5}, "thu-sat,mon,tue"),
        (["mon,tue", "tue"], {0, 1}, "mon,tue"),
    ],
)
def test_days_are_read_and_written_back(value, days, shown):
    assert parse_days(value) == days
    text = str(Hours(window=DAY, days=parse_days(value)))
    assert sorted(text.removeprefix("09:00-21:00, ").split(",")) == sorted(shown.split(","))


@pytest.mark.parametrize("value", ["mon-sun", "tue-mon", ["sat-thu", "fri"]])
def test_the_whole_week_goes_without_saying(value):
    assert parse_days(value) == ALL_DAYS
    assert str(Hours(window=DAY, days=parse_days(value))) == "09:00-21:00"


@examples(127)
@given(days=st.frozensets(st.integers(0, 6), min_size=1, max_size=6))
def test_days_that_were_written_are_read_as_the_same(days):
    shown = str(Hours(window=DAY, days=days))
    assert parse_days(shown.removeprefix("09:00-21:00, ")) == days


@each(
    "value", ["", "mo", "mondays", "mon-", "-mon", "mon-tue-wed", "mon,,tue", "mon to fri", "0-5"]
)
def test_words_that_are_no_days_are_quoted(value):
    with pytest.raises(ValueError, match="are no days") as caught:
        parse_days(value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", [None, 5, [], [5], {"mon": True}, [["mon"]], True])
def test_what_is_no_text_names_no_days(value):
    with pytest.raises(ValueError, match="are no days"):
        parse_days(value)


@pytest.mark.parametrize(
    ("hours", "shown"),
    [
        (Hours(window=ALWAYS), "always"),
        (Hours(window=DAY), "09:00-21:00"),
        (Hours(window=ALWAYS, days=parse_days("mon-sat")), "all day, mon-sat"),
        (
            Hours(window=DAY, days=frozenset({0}), holidays=frozenset({date(2026, 11, 8)})),
            "09:00-21:00, mon, not on holidays",
        ),
    ],
)
def test_hours_are_written_for_people(hours, shown):
    assert str(hours) == shown


def test_hours_that_make_no_sense_can_not_be_built():
    for days in (frozenset(), frozenset({7}), frozenset({-1, 0})):
        with pytest.raises(ValueError, match="days"):
            Hours(window=DAY, days=days)
    with pytest.raises(ValueError, match="holidays"):
        Hours(window=DAY, holidays=frozenset({datetime(2026, 11, 8, tzinfo=UTC)}))


DIWALI, CHRISTMAS = date(2026, 11, 8), date(2026, 12, 25)


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-08\n2026-12-25",
        "\ufeff# Holidays\r\n\r\n 2026-11-08  # Diwali\r\n2026-12-25#Christmas\r\n",
        "2026-12-25\n2026-11-08\n2026-11-08\n",
        [DIWALI, "2026-12-25"],
        ("2026-11-08", " 2026-12-25 "),
    ],
)
def test_holidays_are_read_from_a_file_or_a_list(value):
    assert parse_holidays(value) == {DIWALI, CHRISTMAS}


@pytest.mark.parametrize("value", ["", "\n\n", "# none yet", []])
def test_there_may_be_no_holidays(value):
    assert parse_holidays(value) == frozenset()


@each(
    ("value", "why"),
    [
        ("2026-11-08\n\n08/11/2026", "Line 3 of the holidays is not a date"),
        ("2026-11-08 Diwali", "Line 1 of the holidays is not a date"),
        ("20261108", "Line 1"),
        ("2026-W46-1", "Line 1"),
        ("٢026-11-08", "Line 1"),
        ("# x\n2026-02-29", "Line 2 of the holidays is a date that does not exist"),
        ("0000-01-01", "does not exist"),
        ([DIWALI, "tomorrow"], "Entry 2 of the holidays is not a date"),
        ([datetime(2026, 11, 8, tzinfo=UTC)], "Entry 1"),
        (["# comment"], "Entry 1"),
        ([20261108], "Entry 1"),
        (["2026-11-08\n2026-11-09"], "Entry 1"),
        (None, "list of dates"),
        (DIWALI, "list of dates"),
        (b"2026-11-08", "list of dates"),
    ],
)
def test_the_line_that_is_no_holiday_is_named(value, why):
    with pytest.raises(ValueError, match=why):
        parse_holidays(value)


def test_a_wrong_file_of_holidays_is_not_quoted():
    with pytest.raises(ValueError, match="Line 1") as caught:
        parse_holidays("Asha,+919876543210")
    assert "Asha" not in str(caught.value)
    assert "98765" not in str(caught.value)


@each(
    ("text", "name"),
    [
        ("Asia/Kolkata", "Asia/Kolkata"),
        ("asia/kolkata", "Asia/Kolkata"),
        (" ASIA/CALCUTTA ", "Asia/Calcutta"),
        ("America/New York", "America/New_York"),
        ("america/argentina/buenos_aires", "America/Argentina/Buenos_Aires"),
        ("utc", "UTC"),
        ("etc/gmt+5", "Etc/GMT+5"),
        ("asia_slash_kolkata", "Asia/Kolkata"),
        ("america_slash_argentina_slash_la_rioja", "America/Argentina/La_Rioja"),
        ("america_slash_port_hyphen_au_hyphen_prince", "America/Port-au-Prince"),
        ("us_slash_pacific_hyphen_new", None),
        ("Asia/Bengaluru", None),
        ("IST", None),
        ("+05:30", None),
        ("localtime", None),
        ("Factory", None),
        ("right/Asia/Kolkata", None),
        ("../etc/passwd", None),
        ("America", None),
        ("", None),
        ("\ud800", None),
        ("Asia/Kolkata\0", None),
        ("x" * 100_000, None),
        (None, None),
        (5, None),
    ],
)
def test_a_zone_is_read_as_people_and_crms_write_it(text, name):
    assert read_zone(text) == name


def test_every_zone_is_read_in_every_spelling():
    for name in available_timezones() - {"Factory", "localtime"}:
        slug = name.lower().replace("/", "_slash_").replace("-", "_hyphen_")
        for text in (name, name.upper(), name.replace("_", " "), slug):
            assert read_zone(text) == name
        assert ZoneInfo(name)


# --- properties ------------------------------------------------------------------------------

ZONES = sorted(available_timezones() - {"Factory", "localtime"})
ODD = (
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "America/New_York",
    "America/St_Johns",  # changed its clocks at 00:01 until 2011
    "Europe/Berlin",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Asia/Beirut",  # clocks go back at midnight
    "Australia/Lord_Howe",
    "Australia/Adelaide",
    "Pacific/Chatham",
    "Pacific/Apia",  # left out a day in 2011
    "Pacific/Kiritimati",
    "Antarctica/Troll",  # two hours at once
)
ANY_ZONE = st.sampled_from(ODD) | st.sampled_from(ZONES)
MINUTE = timedelta(minutes=1)


def offset_of(zone: str, at: datetime) -> timedelta:
    return at.astimezone(ZoneInfo(zone)).utcoffset() or timedelta(0)


@lru_cache
def changes_of(zone: str) -> list[datetime]:
    """Return a zone's clock changes from 2005 to 2036, to the minute."""
    found = []
    days = [utc("2005-01-01") + timedelta(days=4 * n) for n in range(32 * 365 // 4)]
    for low, high in pairwise(days):
        if offset_of(zone, low) == offset_of(zone, high):
            continue
        before = offset_of(zone, low)
        while high - low > MINUTE:
            middle = low + (high - low) // 2 // MINUTE * MINUTE
            low, high = (middle, high) if offset_of(zone, middle) == before else (low, middle)
        found.append(high)
    return found


@st.composite
def instants(draw: st.DrawFn, zone: str) -> datetime:
    """Half of them lie within a day or two of a clock change."""
    changes = changes_of(zone)
    if changes and draw(st.booleans()):
        near = draw(st.sampled_from(changes))
        return near + timedelta(seconds=draw(st.integers(-130_000, 130_000)))
    return utc("2005-01-05") + timedelta(seconds=draw(st.integers(0, 31 * 365 * 86_400)))


WINDOWS = st.builds(
    lambda start, length: Window(start_min=start, end_min=min(start + length, 1440)),
    st.integers(0, 1439) | st.integers(0, 200) | st.just(0),
    st.integers(1, 1440) | st.integers(400, 1440),
) | st.just(ALWAYS)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Rule], datetime]:
    """Return one to three rules of one to three zones, and an instant."""
    zones = draw(st.lists(ANY_ZONE, min_size=1, max_size=3, unique=True))
    at = draw(instants(zones[0]))
    near = st.integers(-2, 12).map(lambda n: at.date() + timedelta(days=n))
    rules = []
    for _ in range(draw(st.integers(1, 3))):
        days = draw(st.just(ALL_DAYS) | st.frozensets(st.integers(0, 6), min_size=1))
        off = draw(st.just(frozenset()) | st.frozensets(near, max_size=12))
        hours = Hours(window=draw(WINDOWS), days=days, holidays=off)
        own = draw(st.just(zones) | st.lists(st.sampled_from(zones), min_size=1))
        rules.append(Rule(hours=hours, zones=frozenset(own)))
    return rules, at


def oracle(rules: list[Rule], since: datetime, days: int) -> int:
    """Return which minutes from a UTC midnight on are open, a bit each, by another way.

    Days on which no clock changes are worked out on the calendar, the others minute by minute.
    """
    every = (1 << days * 1440) - 1
    for one in rules:
        if one.hours.always:
            continue
        for zone in one.zones:
            row = 0
            for n in range(days):
                row |= day_bits(one.hours, zone, since + timedelta(days=n)) << n * 1440
            every &= row
    return every


def day_bits(hours: Hours, zone: str, midnight: datetime) -> int:
    offsets = {offset_of(zone, midnight + timedelta(hours=n)) for n in (0, 6, 12, 18, 24)}
    if len(offsets) > 1:
        minutes = ((midnight + n * MINUTE).astimezone(ZoneInfo(zone)) for n in range(1440))
        return sum(1 << n for n, local in enumerate(minutes) if is_in(hours, local))
    [offset] = offsets
    bits = 0
    for shift in (-1, 0, 1):
        day = midnight.date() + timedelta(days=shift)
        if day.weekday() in hours.days and day not in hours.holidays:
            begins = shift * 1440 - offset // MINUTE
            for edge, sign in ((hours.window.end_min, 1), (hours.window.start_min, -1)):
                bits += sign * ((1 << min(max(begins + edge, 0), 1440)) - 1)
    return bits


def is_in(hours: Hours, local: datetime) -> bool:
    begins, ends = (
        timedelta(minutes=edge) for edge in (hours.window.start_min, hours.window.end_min)
    )
    wall = timedelta(hours=local.hour, minutes=local.minute)
    return (
        begins <= wall < ends
        and local.weekday() in hours.days
        and local.date() not in hours.holidays
    )


@examples(120)
@given(case=cases())
def test_the_next_opening_is_the_first_open_instant_and_no_opening_is_missed(case):
    rules, at = case
    midnight = datetime.combine(at.date(), time(), tzinfo=UTC)
    minute = (at - midnight) // MINUTE
    bits = oracle(rules, midnight, 37) >> minute
    found = next_opening(rules, at)
    assert open_at(rules, at) is bool(bits & 1)
    assert (found == at) is open_at(rules, at)
    if bits & 1:
        return
    first = midnight + (minute + (bits & -bits).bit_length() - 1) * MINUTE
    if not bits or first >= at + timedelta(days=35):
        assert found is None
        return
    assert found == first
    assert found.tzinfo is UTC
    assert open_at(rules, found)
    assert not open_at(rules, found - timedelta(microseconds=1))


@examples(40)
@given(case=cases())
def test_nothing_between_the_question_and_the_next_opening_is_open(case):
    rules, at = case
    found = next_opening(rules, at)
    end = min(found or utc("2050-01-01"), at + timedelta(days=2))
    probe = at
    while probe < end:
        assert not open_at(rules, probe)
        probe = probe.replace(second=0, microsecond=0) + MINUTE


@examples(120)
@given(case=cases())
def test_the_open_span_ends_where_the_opening_does_or_a_day_away(case):
    rules, asked = case
    at = next_opening(rules, asked) or asked
    span = open_span(rules, at)
    assert (span is not None) is open_at(rules, at)
    if span is None:
        return
    midnight = datetime.combine(at.date(), time(), tzinfo=UTC)
    bits = oracle(rules, midnight - timedelta(days=2), 5)
    minute = 2 * 1440 + (at - midnight) // MINUTE
    first = last = minute
    while first > 0 and bits >> (first - 1) & 1:
        first -= 1
    while bits >> last & 1:
        last += 1
    start = midnight + (first - 2 * 1440) * MINUTE
    end = midnight + (last - 2 * 1440) * MINUTE
    assert span == (max(start, at - timedelta(days=1)), min(end, at + timedelta(days=1)))
    assert open_at(rules, span[0])
    assert open_at(rules, span[1] - timedelta(microseconds=1))


@examples(80)
@given(case=cases(), later=st.integers(0, 10**6))
def test_a_later_question_never_gets_an_earlier_answer(case, later):
    rules, at = case
    one, other = (next_opening(rules, at + timedelta(seconds=more)) for more in (0, later))
    assert one is None or other is None or one <= other


@st.composite
def spans(draw: st.DrawFn) -> tuple[tuple[datetime, datetime], datetime, str]:
    """Return a span, an instant in it, and a zone; often with an edge near a clock change."""
    zone = draw(ANY_ZONE)
    at = draw(instants(zone))
    reach = st.integers(0, 86_400) | st.integers(0, 1440).map(lambda n: n * 60)
    edges = [at - timedelta(seconds=draw(reach)), at + timedelta(seconds=draw(reach) + 1)]
    for change in changes_of(zone):
        if abs(change - at) < timedelta(hours=22) and draw(st.booleans()):
            near = change + draw(st.integers(-90, 90)) * MINUTE
            edges[near > at] = near
    return (edges[0], edges[1]), at, zone


def turns(day: date, minute: int, zone: str) -> list[datetime]:
    """Return the instants at which a clock in the zone shows that minute: none, one or two."""
    wall = datetime.combine(day, time(minute // 60, minute % 60))
    found = {wall.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1)}
    return [at for at in found if at.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == wall]


def is_within(span: tuple[datetime, datetime], day: date, minute: int, zone: str) -> bool:
    """Tell whether the whole minute lies in the span each time that it comes."""
    return all(span[0] <= at and at + MINUTE <= span[1] for at in turns(day, minute, zone))


@examples(200)
@given(case=spans())
def test_no_minute_between_the_trigger_times_lies_outside_the_span(case):
    span, at, zone = case
    local = at.astimezone(ZoneInfo(zone))
    day, now = local.date(), local.hour * 60 + local.minute
    times = trigger_times(span, at, zone)
    if times is None:
        # Nor is anything given away: the call's own minute was not wholly allowed, or the last.
        assert now == 1439 or not is_within(span, day, now, zone)
        return
    first, last = (int(text[:2]) * 60 + int(text[3:]) for text in times)
    assert first < last
    assert first <= now + 1
    assert now <= last
    for minute in range(first, last):
        assert is_within(span, day, minute, zone)
    # As wide as can be: the minutes next to both ends are forbidden, skipped or another day's.
    for minute in (first - 1, last):
        if 0 <= minute < 1439 and turns(day, minute, zone):
            assert not is_within(span, day, minute, zone)


@examples(100)
@given(case=cases(), zone=ANY_ZONE)
def test_trigger_times_of_an_open_span_admit_open_minutes_only(case, zone):
    rules, asked = case
    at = next_opening(rules, asked)
    span = open_span(rules, at) if at else None
    times = trigger_times(span, at, zone) if at and span else None
    if at is None or times is None:
        return
    day = at.astimezone(ZoneInfo(zone)).date()
    first, last = (int(text[:2]) * 60 + int(text[3:]) for text in times)
    for minute in (first, (first + last) // 2, last - 1):
        for instant in turns(day, minute, zone):
            assert open_at(rules, instant)
            assert open_at(rules, instant + timedelta(seconds=59, microseconds=999_999))
