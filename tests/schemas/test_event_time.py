"""When an event happened, as CRMs and forms write it."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import WEBSITE, each, examples, route

from rules.matching import as_event
from schemas.crm import kinds
from schemas.event import Item
from schemas.event_time import event_time, read_time
from schemas.route import Routes
from schemas.routes_toml import RoutesError, load_routes

INDIA = "Asia/Kolkata"
AT = datetime(2026, 11, 28, 2, 46, 44, tzinfo=UTC)
DAY = date(2026, 11, 28)


@each(
    ("value", "at"),
    [
        ("2026-11-28T02:46:44Z", AT),
        ("2026-11-28t02:46:44z", AT),
        (" 2026-11-28 02:46:44 ", AT),
        ("2026-11-28 02:46:44 UTC", AT),
        ("2026-11-28T08:16:44+05:30", AT),
        ("2026-11-28 08:16:44 +0530", AT),
        ("2026-11-27T19:46:44-07", AT),
        ("2026-11-28T02:46:44.250Z", AT + timedelta(milliseconds=250)),
        ("2026-11-28T02:46:44,25Z", AT + timedelta(milliseconds=250)),
        ("2026-11-28T02:46:44.123456789Z", AT + timedelta(microseconds=123457)),
        # The short forms.
        ("20261128T024644Z", AT),
        ("20261128T024644", AT),
        ("20261128T081644+0530", AT),
        ("20261128024644", AT),
        (20261128024644, AT),
        (20261128024644.0, AT),
        ("2026-11-28T02:46Z", AT.replace(second=0)),
        ("20261128T0246Z", AT.replace(second=0)),
        ("202611280246", AT.replace(second=0)),
        (202611280246, AT.replace(second=0)),
        ("2026-11-28T02Z", AT.replace(minute=0, second=0)),
        ("2026-11-28T02.5Z", AT.replace(minute=30, second=0)),
        ("2026-332T02:46:44Z", AT),
        ("2026332T024644Z", AT),
        ("2026-W48-6T02:46:44Z", AT),
        ("2026W486T024644Z", AT),
        ("2026-11-28T24:00:00Z", datetime(2026, 11, 29, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        # Epochs.
        (1795834004, AT),
        (1795834004000, AT),
        ("1795834004", AT),
        ("1795834004000", AT),
        (1795834004.25, AT + timedelta(milliseconds=250)),
        ("1795834004.25", AT + timedelta(milliseconds=250)),
        (1795834004250, AT + timedelta(milliseconds=250)),
        (978307200000, datetime(2001, 1, 1, tzinfo=UTC)),
        (978307200, datetime(2001, 1, 1, tzinfo=UTC)),
        # A day alone.
        ("2026-11-28", DAY),
        ("20261128", DAY),
        (20261128, DAY),
        ("2026-332", DAY),
        ("2026332", DAY),
        ("2026-W48-6", DAY),
        ("2026W486", DAY),
    ],
)
def test_a_time_is_read_in_every_usual_form(value: Any, at: datetime | date) -> None:
    found = read_time(value)
    assert (type(found), found) == (type(at), at)


@each(
    "value",
    [
        *(None, True, False, "", " ", [], {}, b"2026-11-28", "soon", "null", "true"),
        *(0, 1, -5, "-5", -1795834004, "-2026-11-28", float("nan"), float("inf"), -0.5, 10**5000),
        *("2026", 2026, "2026-11", "202611", "2026-W48", "2026-13-28", "2026-11-31", "20261131"),
        *("2026-366", "2026-000", "2026-W54-1", "2026-W48-8", "26-11-28", "28/11/2026"),
        *("2026-11-28T25:00Z", "2026-11-28T24:01Z", "2026-11-28T02:60Z", "2026-11-28T02:46:61Z"),
        *("2026-11-28T", "2026-11-28T02:46:44+25:00", "2026-11-28T02:46 PM", "2026-1128"),
        *("1e9", "1_795_834_004", "0x6B0A", "1795834004s"),
        *(
            "9" * 40,
            "2026-11-28" + " " * 5000 + "x",
            "0000-01-01T00:00Z",
            "\u0662\u0660\u0662\u0666-11-28",
        ),
    ],
)
def test_what_is_not_a_time_is_none(value: Any) -> None:
    assert read_time(value) is None


@each(
    ("value", "zone", "at"),
    [
        ("2026-11-28 08:16:44", INDIA, AT),
        ("20261128081644", INDIA, AT),
        ("2026-332T0816", INDIA, AT.replace(second=0)),
        ("2026-11-27T21:46:44", "America/New_York", AT),
        # A zone in the text, and an epoch, say more than the source.
        ("2026-11-28T02:46:44Z", INDIA, AT),
        ("2026-11-27T19:46:44-07:00", INDIA, AT),
        (1795834004, INDIA, AT),
        # The clock shows 01:30 twice that night, and 02:30 never: the later instant.
        ("2026-11-01T01:30", "America/New_York", datetime(2026, 11, 1, 6, 30, tzinfo=UTC)),
        ("2026-03-08T02:30", "America/New_York", datetime(2026, 3, 8, 7, 30, tzinfo=UTC)),
    ],
)
def test_a_time_without_a_zone_is_in_the_sources(value: Any, zone: str, at: datetime) -> None:
    assert read_time(value, zone) == at


@each(
    ("found", "zone", "at"),
    [
        (AT, INDIA, AT),
        (AT + timedelta(days=1), INDIA, AT + timedelta(days=1)),
        (AT + timedelta(days=1, seconds=1), INDIA, None),
        (datetime(2612, 1, 1, tzinfo=UTC), INDIA, None),
        (read_time(20282400000), INDIA, None),
        (read_time("99999999999999"), INDIA, None),
        (datetime(1999, 12, 31, 23, 59, tzinfo=UTC), INDIA, None),
        (datetime(2000, 1, 1, tzinfo=UTC), INDIA, datetime(2000, 1, 1, tzinfo=UTC)),
        (DAY, INDIA, datetime(2026, 11, 28, 18, 29, 59, 999999, tzinfo=UTC)),
        (DAY, "UTC", datetime(2026, 11, 28, 23, 59, 59, 999999, tzinfo=UTC)),
        (DAY + timedelta(days=1), INDIA, datetime(2026, 11, 29, 18, 29, 59, 999999, tzinfo=UTC)),
        (DAY + timedelta(days=3), INDIA, None),
        (date(1999, 12, 31), INDIA, None),
        (date.max, "America/New_York", None),
        (date.min, INDIA, None),
        (None, INDIA, None),
    ],
)
def test_what_can_not_be_the_time_of_an_event_counts_as_not_given(
    found: datetime | date | None, zone: str, at: datetime | None
) -> None:
    assert event_time(found, zone, AT) == at


ZONES = st.sampled_from(["UTC", INDIA, "America/New_York", "Pacific/Kiritimati", "Asia/Kathmandu"])


@examples(400)
@given(
    at=st.datetimes(AT.replace(year=2000, tzinfo=None), AT.replace(year=2100, tzinfo=None)),
    minutes=st.integers(-14 * 60, 14 * 60),
    form=st.sampled_from(
        [
            "%Y-%m-%dT%H:%M:%S%z",
            "%Y%m%dT%H%M%S%z",
            "%Y-%m-%d %H:%M:%S.%f %z",
            "%G-W%V-%uT%H:%M:%S%z",
            "%Y-%jT%H%M%S,%f%z",
            "%Y%jT%H:%M:%S%z",
        ]
    ),
)
def test_whatever_python_writes_is_read_back(at: datetime, minutes: int, form: str) -> None:
    there = at.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    wanted = there if "%f" in form else there.replace(microsecond=0)
    found = read_time(there.strftime(form))
    assert isinstance(found, datetime)
    assert abs(found - wanted) <= timedelta(microseconds=1)
    assert found.utcoffset() == timedelta(0)


@examples(400)
@given(
    day=st.dates(date(2000, 1, 2), date(2100, 1, 1)),
    form=st.sampled_from(["%Y-%m-%d", "%Y%m%d", "%Y-%j", "%Y%j", "%G-W%V-%u", "%GW%V%u"]),
    zone=ZONES,
    hour=st.integers(0, 23),
)
def test_no_lead_is_too_old_on_its_own_day(day: date, form: str, zone: str, hour: int) -> None:
    found = read_time(day.strftime(form))
    assert (type(found), found) == (date, day)
    now = datetime(day.year, day.month, day.day, hour, tzinfo=ZoneInfo(zone))
    at = event_time(found, zone, now)
    assert at is not None
    assert at >= now
    assert at.astimezone(ZoneInfo(zone)).date() == day


@examples(400)
@given(value=st.text(max_size=30) | st.integers() | st.floats() | st.text("0123456789-T:Z+.W "))
def test_no_value_is_a_crash(value: Any) -> None:
    found = read_time(value, INDIA)
    assert event_time(found, INDIA, AT) is None or isinstance(found, date)


def routes_of(source: str = "") -> Routes:
    return load_routes(WEBSITE + source + route(), file="routes.toml", kinds=kinds())


def test_the_zone_of_a_source_is_used_and_else_the_bridges() -> None:
    own = routes_of('timezone = "America/New_York"\n').sources["website"]
    item = Item(type="form.submitted", data={}, time=DAY)
    plain = routes_of().sources["website"]
    assert own.timezone == "America/New_York"
    assert as_event(item, own, AT, 60, zone=INDIA).time == event_time(DAY, "America/New_York", AT)
    assert as_event(item, plain, AT, 60, zone=INDIA).time == event_time(DAY, INDIA, AT)


@pytest.mark.parametrize("zone", ['"Asia/Calcuta"', '"IST+5"', '""', "5"])
def test_a_zone_that_does_not_exist_stops_the_boot(zone: str) -> None:
    with pytest.raises(RoutesError) as caught:
        routes_of(f"timezone = {zone}\n")
    problem, *_ = caught.value.problems
    assert "'website': timezone: " in problem
    assert "is not a time zone" in problem
