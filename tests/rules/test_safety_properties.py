"""Call safety, whatever the instant, the zones, the rules and the record.

The oracle reads clocks by itself, minute by minute: nothing of schemas.hours is in it but the zones
that a number may be in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import phonenumbers
from hypothesis import event, example, given
from hypothesis import strategies as st
from phonenumbers.timezone import time_zones_for_number
from support import examples
from support.makers import call_route, claim, settings

from rules.plan import SPREAD_S, Ready, prepare
from schemas.delivery import Reason, Status
from schemas.hours import parse_window
from schemas.settings import Settings

MINUTE = timedelta(minutes=1)
NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
PHONES = (
    "+919876543210",  # UTC+5:30
    "+9779841234567",  # UTC+5:45
    "+4915112345678",  # with summer time
    "+12125550123",
    "+61412345678",  # a mobile: several zones, some of half an hour, some with summer time
    "+79161234567",  # sixteen zones
    "+18002345678",  # of all of Northern America
    "+6421123456",  # two zones, 45 minutes apart but for the hour
    "+80012345678",  # of no place
)
# Half hours, a change of half an hour (Lord Howe), a day that was left out (Apia), the farthest.
ZONES = (
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Europe/London",
    "America/St_Johns",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Etc/GMT+12",
    "America/New_York",
)
EPOCH = datetime(2025, 1, 1, tzinfo=UTC)
# Around changes of clocks and the ends of years, and any time at all.
STARTS = st.sampled_from(
    [
        datetime(2026, 3, 29, tzinfo=UTC),
        datetime(2026, 10, 25, tzinfo=UTC),
        datetime(2026, 3, 8, tzinfo=UTC),
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2026, 4, 4, 12, tzinfo=UTC),
        datetime(2026, 10, 3, 12, tzinfo=UTC),
        datetime(2026, 12, 31, 12, tzinfo=UTC),
        datetime(2028, 2, 29, tzinfo=UTC),
    ]
)
INSTANTS = st.builds(
    lambda start, s, us: start + timedelta(seconds=s, microseconds=us),
    STARTS | st.integers(0, 5 * 365).map(lambda days: EPOCH + timedelta(days=days)),
    st.integers(-86_400, 86_400),
    st.sampled_from([0, 0, 0, 1, 999_999]),
)


@dataclass(frozen=True)
class Own:
    """The hours of a route, as they are written: minutes of the day, days and holidays."""

    opens: int
    closes: int
    days: tuple[str, ...]
    holidays: tuple[date, ...]
    zone: str | None
    by_record: bool

    def text(self) -> str:
        """Write them as routes.toml has them."""
        named = f'timezone = "{"tz" if self.by_record else self.zone}"'
        return "hours = {{ {} }}".format(
            ", ".join(
                [
                    f'from = "{clock(self.opens)}", to = "{clock(self.closes)}"',
                    f"days = {list(self.days)}".replace("'", '"'),
                    f"holidays = [{', '.join(map(str, self.holidays))}]",
                    *([named] if self.zone or self.by_record else []),
                ]
            )
        )


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@st.composite
def windows(draw: Any, step: int = 15) -> tuple[int, int]:
    """Draw a window, wide or narrow, from and to on quarters of an hour."""
    least = draw(st.sampled_from([60, 600, 960]))
    opens = draw(st.integers(0, (24 * 60 - least) // step)) * step
    closes = draw(st.integers((opens + least) // step, 24 * 60 // step)) * step
    return opens, closes


@st.composite
def owns(draw: Any) -> Own:
    """Draw the hours of a route."""
    opens, closes = draw(windows())
    days = draw(
        st.just(NAMES) | st.lists(st.sampled_from(NAMES), min_size=1, max_size=7, unique=True)
    )
    near = draw(INSTANTS).date()
    off = draw(st.lists(st.integers(-2, 5), max_size=4, unique=True))
    return Own(
        opens=opens,
        closes=closes,
        days=tuple(days),
        holidays=tuple(near + timedelta(days=n) for n in off),
        zone=draw(st.none() | st.sampled_from(ZONES)),
        by_record=draw(st.booleans()),
    )


@cache
def zones_of(phone: str) -> tuple[ZoneInfo, ...]:
    found = time_zones_for_number(phonenumbers.parse(phone, None))
    return tuple(ZoneInfo(name) for name in found if name != "Etc/Unknown")


@dataclass(frozen=True)
class Oracle:
    """Whether a phone may ring, read off the clocks on the walls."""

    outer: tuple[int, int]
    own: Own | None
    phone: str

    def is_open(self, at: datetime) -> bool:
        """Say whether all clocks are within all hours."""
        everywhere = zones_of(self.phone)
        if not everywhere:
            return False
        for zone in everywhere:
            wall = at.astimezone(zone)
            if not self.outer[0] <= 60 * wall.hour + wall.minute < self.outer[1]:
                return False
        if self.own is None:
            return True
        for zone in (ZoneInfo(self.own.zone),) if self.own.zone else everywhere:
            wall = at.astimezone(zone)
            if not self.own.opens <= 60 * wall.hour + wall.minute < self.own.closes:
                return False
            if NAMES[wall.weekday()] not in self.own.days or wall.date() in self.own.holidays:
                return False
        return True


@st.composite
def cases(draw: Any) -> tuple[Settings, Oracle, dict[str, Any], datetime]:
    """Draw settings with one route, the oracle for them, a record and an instant."""
    outer, own = draw(windows()), draw(st.none() | owns())
    phone = draw(st.sampled_from(PHONES[:4]) | st.sampled_from(PHONES))
    keys = 'countries = "any"\n' + (own.text() if own else "")
    made = settings(
        call_route(keys, 'carry_over = { value = true }\nschedule_at = "at"'),
        calling_hours=parse_window(f"{clock(outer[0])}-{clock(outer[1])}"),
        callkaro_timezone=draw(st.sampled_from(["Asia/Kolkata", "UTC", "America/New_York"])),
    )
    data = {"phone": phone, "tz": own.zone if own else None}
    return made, Oracle(outer, own, phone), data, draw(INSTANTS)


def by_the_minute(since: datetime, until: datetime) -> list[datetime]:
    """Return the whole minutes between two instants: rules and offsets change on no others."""
    first = since.replace(second=0, microsecond=0) + MINUTE
    return [first + n * MINUTE for n in range(max(0, -((first - until) // MINUTE)))]


@examples(250)
@given(case=cases())
def test_who_is_called_is_called_within_all_hours_and_who_waits_waits_for_the_next(case):
    made, oracle, data, now = case
    found = prepare(claim(data, happened={"time": now, "received_at": now}), data, made, now)
    if isinstance(found, Ready):
        event("called")
        assert oracle.is_open(now)
        assert found.rings_at == now
        return
    assert found.reason is Reason.OUTSIDE_HOURS
    if found.to is Status.HELD:
        event("held")
        assert found.due_at is not None
        assert found.due_at > now
        assert oracle.is_open(found.due_at)
        # A quarter of an hour is the least that rules and offsets are made of, but for a minute's
        # play; so the minutes of three days, and beyond them the quarters.
        near = min(found.due_at, now + timedelta(days=3))
        assert not oracle.is_open(now)
        assert not any(map(oracle.is_open, by_the_minute(now, near)))
        far = by_the_minute(near, found.due_at)
        assert not any(map(oracle.is_open, far[::15]))
        assert 0 <= found.spread_s < SPREAD_S
        later = prepare(claim(data, happened={"time": now}), data, made, found.due_at)
        assert isinstance(later, Ready)
    else:
        event("never, or cut off at midnight")
        assert found.to is Status.SKIPPED
        # Open now, it is only for a clock of CallKaro's that leaves no minute of today.
        if not oracle.is_open(now):
            month = by_the_minute(now, now + timedelta(days=30))
            assert not any(map(oracle.is_open, month[::15]))


@examples(120)
@given(case=cases(), hours=st.integers(-30, 24 * 20))
def test_a_planned_call_rings_within_all_hours(case, hours):
    made, oracle, data, now = case
    planned = (now + timedelta(hours=hours)).replace(microsecond=0)
    data = {**data, "at": planned.isoformat()}
    found = prepare(claim(data, happened={"time": now}), data, made, now)
    if isinstance(found, Ready):
        event("to come" if planned > now else "has passed")
        assert oracle.is_open(found.rings_at)
        # An hour that clocks repeat is one hour to CallKaro, and the first of the two to us.
        assert found.rings_at in (max(now, planned), max(now, planned - timedelta(hours=1)))
    elif planned > now and oracle.is_open(planned) and found.to is Status.HELD:
        # Only where the clock of the plan was read as the earlier of two.
        assert oracle.is_open(planned - timedelta(hours=1)) is False


@examples(200)
@given(case=cases())
def test_callkaro_is_never_told_a_minute_of_the_day_at_which_it_may_not_ring(case):
    made, oracle, data, now = case
    found = prepare(claim(data, happened={"time": now}), data, made, now)
    if not isinstance(found, Ready):
        # Two of three instants would be none to look at.
        if found.due_at is None:
            return
        now = found.due_at
        found = prepare(claim(data, happened={"time": now}), data, made, now)
    if not isinstance(found, Ready):
        assert found.reason is Reason.OUTSIDE_HOURS
        return
    zone = ZoneInfo(made.callkaro_timezone)
    local = now.astimezone(zone)
    opens, closes = (
        time.fromisoformat(found.body[name]) for name in ("min_trigger_time", "max_trigger_time")
    )
    assert opens <= local.time().replace(second=0, microsecond=0) <= closes
    days = 1
    if found.body["carry_over"]:
        event("carried over")
        days = 3
        assert oracle.own is None or (len(oracle.own.days) == 7 and not oracle.own.holidays)
    for day in (local.date() + timedelta(days=n) for n in range(days)):
        told = {
            (datetime.combine(day, opens, zone) + n * MINUTE).replace(fold=turn)
            for turn in (0, 1)
            for n in range(60 * (closes.hour - opens.hour) + closes.minute - opens.minute)
        }
        # What clocks skip is no time at all.
        real = {at for at in told if at.astimezone(UTC).astimezone(zone).time() == at.time()}
        assert all(map(oracle.is_open, real))


# --- numbers --------------------------------------------------------------------------------

SOME = st.sampled_from(
    [
        "+919876543210",
        "98765 43210",
        "9876543210",
        9876543210,
        919876543210,
        "+971 50 123 4567",
        "050 123 4567",
        "+1 (212) 555-0123",
        "+1 900 555 0123",
        "+91 1860 123 4567",
        "+80012345678",
        "+442079460958",
        "100",
        "112",
        "+91 112",
        "1800 123 4567",
        "tel:+919876543210;ext=5",
        "98765 43210, 98765 43211",
        "+9" * 9,
        "AE",
        "IN",
        "",
    ]
)
DIGITS = st.text("+0123456789 -()", max_size=16)
JUNK = (
    st.none() | st.booleans() | st.floats() | st.integers(-(10**20), 10**20) | st.text(max_size=6)
)
VALUES = st.recursive(
    SOME | DIGITS | JUNK,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["phone", "x"]), inner, max_size=2)
    ),
    max_leaves=6,
)
COUNTRIES: Mapping[str, frozenset[str] | None] = {
    "": frozenset({"IN"}),
    'countries = ["AE"]': frozenset({"AE"}),
    'countries = ["IN", "AE", "US"]': frozenset({"IN", "AE", "US"}),
    'countries = "any"': None,
}
REGIONS = ("", 'region = "AE"', 'region = "country"')
ROUTES = {
    (countries, region): settings(
        call_route(f"{countries}\n{region}").replace('"phone"', '"[phone, mobile]"')
    )
    for countries in COUNTRIES
    for region in REGIONS
}


@examples(400)
@given(
    record=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("phone", "mobile"), SOME | st.lists(SOME | JUNK) | VALUES)
    )
    | st.fixed_dictionaries({"phone": SOME, "country": SOME | JUNK})
    | VALUES,
    countries=st.sampled_from(sorted(COUNTRIES)),
    region=st.sampled_from(REGIONS),
    default=st.sampled_from([None, "IN", "AE", "US"]),
)
@example(record={"phone": "112"}, countries="", region="", default="IN")
@example(record={"phone": "+919876543210"}, countries="", region="", default="IN")
def test_whatever_a_record_holds_only_valid_numbers_of_the_routes_countries_are_called(
    record, countries, region, default
):
    made = replace(ROUTES[countries, region], default_region=default)
    found = prepare(claim(record), record, made, claim(record).delivery.created_at)
    if not isinstance(found, Ready):
        assert found.to in (Status.SKIPPED, Status.FAILED)
        return
    event("called")
    dialled = found.body["to_number"]
    number = phonenumbers.parse(dialled, None)
    assert phonenumbers.is_valid_number(number)
    assert phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) == dialled
    assert number.extension is None
    kind = phonenumbers.number_type(number)
    types = phonenumbers.PhoneNumberType
    assert kind not in (types.PREMIUM_RATE, types.SHARED_COST, types.PAGER, types.VOICEMAIL)
    allowed = COUNTRIES[countries] if countries else frozenset({default} - {None})
    if allowed is not None:
        assert phonenumbers.region_code_for_number(number) in allowed
    assert orjson.loads(orjson.dumps(found.body)) == found.body
