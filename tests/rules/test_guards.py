"""The guards, a table each: what each says no to, in which word, and until when."""

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from support import each

from rules.candidate import Denial
from rules.guards import (
    check_age,
    check_allowed,
    check_consent,
    check_dnd,
    check_hours,
    check_match,
    check_opt_out,
    check_own_change,
    check_when,
    span,
)
from schemas.delivery import Reason
from schemas.expression import Expression
from schemas.hours import ALWAYS, Hours, Rule, parse_days, parse_window, zones_of

INDIA = "+919876543210"
NEPAL = "+9779841234567"  # UTC+5:45
GERMANY = "+4915112345678"
NOWHERE = "+8835100012345"  # international networks: no zone
RUSSIA = "+79161234567"  # a mobile: several zones
US_TOLL_FREE = "+18002345678"

PERSONAL = "Asha 98765"  # stands in records, and so must stand in no message


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def about(**known: Any) -> Any:
    """Return a candidate as far as one guard reads it."""
    return SimpleNamespace(**known)


def deny_when(condition: Expression | None, data: Any) -> Denial | None:
    route = about(match=None, when=condition)
    return check_when(
        about(is_call_me=False, is_list_row=False, route=route, event=about(data={}), data=data)
    )


def deny_match(condition: Expression | None, data: Any) -> Denial | None:
    return check_match(about(route=about(match=condition), event=about(data=data)))


def deny_opt_out(opt_out: Expression | None, data: Any) -> Denial | None:
    return check_opt_out(about(source=about(opt_out=opt_out), data=data))


def deny_consent(consent: Expression | None, data: Any, **more: Any) -> Denial | None:
    return check_consent(
        about(**{"is_call_me": False, "route": about(consent=consent), "data": data, **more})
    )


def deny_dnd(is_dnd: Expression | None, data: Any, **more: Any) -> Denial | None:
    source = about(kind=about(is_dnd=is_dnd))
    return check_dnd(about(**{"is_call_me": False, "source": source, "data": data, **more}))


def refused(denial: Denial | None, reason: Reason) -> Denial:
    """Return a no after a look at what every no has to be."""
    assert denial is not None
    assert denial.reason is reason
    assert denial.message.endswith(".")
    assert PERSONAL not in denial.message
    return denial


# --- match, when ----------------------------------------------------------------------------


@each(
    ("condition", "data", "holds"),
    [
        (None, {}, True),
        (None, None, True),
        ("stage == 'lead'", {"stage": "lead"}, True),
        ("stage == 'lead'", {"stage": "customer"}, False),
        ("stage == 'lead'", {}, False),
        ("stage == 'lead'", None, False),
        ("stage", {"stage": "any text"}, True),
        ("stage", {"stage": 0}, True),  # JMESPath: a number is never false
        ("stage", {"stage": True}, True),
        ("stage", {"stage": ""}, False),
        ("stage", {"stage": False}, False),
        ("stage", {"stage": None}, False),
        ("stage", {"stage": []}, False),
        ("stage", {"stage": {}}, False),
        ("stage", {"stage": [None]}, True),
    ],
)
def test_a_condition_holds_as_jmespath_means_it(condition, data, holds):
    denial = deny_when(condition and Expression.of(condition), data)
    if holds:
        assert denial is None
    else:
        denial = refused(denial, Reason.WHEN_FALSE)
        assert denial.message.startswith("The route's condition `when` is false for this event: ")
        assert denial.until is None


@pytest.mark.parametrize(("name", "deny"), [("when", deny_when), ("match", deny_match)])
def test_the_message_names_the_condition_that_is_false(name, deny):
    denial = refused(deny(Expression.of("stage == 'lead'"), {}), Reason.WHEN_FALSE)
    assert f"`{name}`" in denial.message


LEADS = "p.stage == 'lead' && p.country != 'US'"


@pytest.mark.parametrize(
    ("condition", "data", "says"),
    [
        (LEADS, {"p": {"stage": PERSONAL}}, "`p.country` has no value, `p.stage` is a text."),
        (LEADS, {"p": {"stage": "", "country": 1}}, "`p.country` is a number, `p.stage` is empty."),
        (LEADS, {"p": [1]}, "`p.country` is a list, `p.stage` is a list."),
        (LEADS, {"p": PERSONAL}, "`p.country` has no value, `p.stage` has no value."),
        (LEADS, [], "`p.country` is empty, `p.stage` is empty."),
        ("agreed", {"agreed": False}, "`agreed` is false."),
        ("!deleted", {"deleted": True}, "`deleted` is true."),
        ("a == `1`", {"a": {}}, "`a` is empty."),
        ("a == `1`", {"a": {PERSONAL: 1}}, "`a` is an object."),
        (
            "a && b && c && d && e",
            {},
            "`a` has no value, `b` has no value, `c` has no value, `d` has no value.",
        ),
        (
            "tags[?name == 'x']",
            {"tags": [{"name": PERSONAL}]},
            "`tags` is a list, `tags.name` is a list.",
        ),
    ],
)
def test_the_message_says_what_the_condition_found_but_no_text_of_a_person(condition, data, says):
    for deny in (deny_when, deny_match):
        denial = refused(deny(Expression.of(condition), data), Reason.WHEN_FALSE)
        assert denial.message.endswith(f"In this event, {says}")
        assert PERSONAL not in denial.message


def test_a_condition_without_a_path_says_nothing_of_values():
    denial = refused(deny_when(Expression.of("length(@) > `3`"), {}), Reason.WHEN_FALSE)
    assert denial.message.endswith(": `length(@) > `3``.")


@pytest.mark.parametrize(("name", "deny"), [("when", deny_when), ("match", deny_match)])
def test_a_condition_that_cannot_be_worked_out_is_the_routes_fault(name, deny):
    denial = deny(Expression.of("abs(name) > `1`"), {"name": PERSONAL})
    denial = refused(denial, Reason.BAD_REQUEST)
    assert denial.message.startswith(f"{name}: `abs(name) > `1`` can't be worked out")
    assert denial.until is None


# --- our own change -------------------------------------------------------------------------


def test_what_others_changed_passes():
    assert check_own_change(about(is_own_change=False)) is None


def test_what_we_changed_ourselves_makes_no_call():
    assert refused(check_own_change(about(is_own_change=True)), Reason.OWN_CHANGE).until is None


# --- age ------------------------------------------------------------------------------------

HOUR = timedelta(hours=1)
LEAST = timedelta(microseconds=1)


@each(
    ("age", "max_age_s", "passes"),
    [
        (timedelta(0), None, True),
        (timedelta(days=4000), None, True),
        (HOUR - LEAST, 3600, True),
        (HOUR, 3600, True),
        (HOUR + LEAST, 3600, False),
        (timedelta(days=1), 3600, False),
        (-HOUR, 3600, True),  # the CRM's clock is ahead
        (timedelta(0), 0, True),
        (LEAST, 0, False),
    ],
)
def test_an_event_may_be_as_old_as_its_route_says(age, max_age_s, passes):
    denial = check_age(about(age=age, route=about(max_age_s=max_age_s)))
    if passes:
        assert denial is None
    else:
        assert refused(denial, Reason.TOO_OLD).until is None


def test_how_old_it_is_is_told():
    old = about(age=timedelta(hours=7, minutes=40), route=about(max_age_s=6 * 3600))
    denial = refused(check_age(old), Reason.TOO_OLD)
    assert denial.message == "The event is 7 h old, and the route calls within 6 h."


@each(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 m"),
        (61, "61 s"),
        (119, "119 s"),
        (120, "2 m"),
        (3600, "1 h"),
        (3601, "60 m"),
        (7200, "2 h"),
        (86_400, "1 d"),
        (90_000, "25 h"),
        (172_800, "2 d"),
        (172_799, "47 h"),
    ],
)
def test_a_length_of_time_is_told_in_its_largest_unit(seconds, text):
    assert span(timedelta(seconds=seconds)) == text


# --- opt-out --------------------------------------------------------------------------------


@each(
    ("found", "verdict"),
    [
        (True, "out"),
        (False, "in"),
        (None, "in"),
        ("", "in"),
        ([], "in"),
        ({}, "in"),
        # Neither yes nor no: nobody is rung on a guess.
        ("true", "unclear"),
        ("false", "unclear"),
        ("no", "unclear"),
        (PERSONAL, "unclear"),
        (" ", "unclear"),
        (0, "unclear"),
        (1, "unclear"),
        (0.0, "unclear"),
        ([False], "unclear"),
        ([None], "unclear"),
        ({"status": "inactive"}, "unclear"),
    ],
)
def test_an_opt_out_counts_unless_it_surely_is_none(found, verdict):
    denial = deny_opt_out(Expression.of("dnd"), {"dnd": found})
    if verdict == "in":
        assert denial is None
        return
    denial = refused(denial, Reason.SUPPRESSED)
    assert denial.until is None
    assert ("neither true nor false" in denial.message) is (verdict == "unclear")


def test_an_opt_out_that_cannot_be_worked_out_is_a_no():
    denial = deny_opt_out(Expression.of("abs(name) > `1`"), {"name": PERSONAL})
    assert "neither true nor false" in refused(denial, Reason.SUPPRESSED).message


@pytest.mark.parametrize("data", [None, {}, {"dnd": True}])
def test_where_the_source_has_no_opt_out_nobody_opted_out(data):
    assert deny_opt_out(None, data) is None


@pytest.mark.parametrize("data", [None, [], "text", 7, {}])
def test_a_record_that_does_not_say_has_not_opted_out(data):
    assert deny_opt_out(Expression.of("properties.do_not_call == 'true'"), data) is None


# --- consent --------------------------------------------------------------------------------


@each(
    ("found", "verdict"),
    [
        (True, "yes"),
        (False, "none"),
        (None, "none"),
        ("", "none"),
        ([], "none"),
        ({}, "none"),
        ("true", "unclear"),
        ("yes", "unclear"),
        ("no", "unclear"),
        (PERSONAL, "unclear"),
        (1, "unclear"),
        (0, "unclear"),
        ([True], "unclear"),
        ({"given": True}, "unclear"),
    ],
)
def test_only_true_is_consent(found, verdict):
    denial = deny_consent(Expression.of("consent"), {"consent": found})
    if verdict == "yes":
        assert denial is None
        return
    denial = refused(denial, Reason.NO_CONSENT)
    assert denial.until is None
    assert ("neither true nor false" in denial.message) is (verdict == "unclear")


def test_a_consent_that_cannot_be_worked_out_is_none():
    denial = deny_consent(Expression.of("abs(name) > `1`"), {"name": PERSONAL})
    assert "neither true nor false" in refused(denial, Reason.NO_CONSENT).message


@pytest.mark.parametrize("data", [None, {}, {"consent": False}])
def test_where_the_route_asks_for_no_consent_none_is_needed(data):
    assert deny_consent(None, data) is None


@pytest.mark.parametrize("data", [None, [], "yes", 1, {}])
def test_a_record_that_does_not_say_gives_no_consent(data):
    refused(deny_consent(Expression.of("p.call == 'yes'"), data), Reason.NO_CONSENT)


# --- do not disturb --------------------------------------------------------------------------


@each(
    ("found", "is_denied"),
    [
        (True, True),
        (False, False),
        (None, False),
        ("", False),
        ("no", True),
        (0, True),
        (PERSONAL, True),
    ],
)
def test_a_number_on_a_do_not_disturb_list_is_not_called(found: Any, is_denied: bool) -> None:
    denial = deny_dnd(Expression.of("dnd"), {"dnd": found})
    assert (denial is not None) is is_denied
    if is_denied:
        assert refused(denial, Reason.DND_NUMBER).until is None


def test_a_flag_that_cannot_be_worked_out_calls_nobody():
    refused(deny_dnd(Expression.of("abs(name) > `1`"), {"name": PERSONAL}), Reason.DND_NUMBER)


def test_the_flag_of_a_record_does_not_stop_a_test_call():
    assert deny_dnd(Expression.of("dnd"), {"dnd": True}, is_call_me=True) is None


@pytest.mark.parametrize("data", [None, {}, {"dnd": True}])
def test_a_source_without_such_a_flag_denies_nothing(data):
    assert deny_dnd(None, data) is None


# --- the allow list -------------------------------------------------------------------------


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
    denial = check_allowed(about(number=INDIA, settings=about(allow_numbers=allowed)))
    if passes:
        assert denial is None
    else:
        denial = refused(denial, Reason.NOT_ALLOWED)
        assert denial.until is None
        assert INDIA not in denial.message


# --- hours ----------------------------------------------------------------------------------

DAY = Hours(window=parse_window("09:00-21:00"))
LIFTED = Hours(window=ALWAYS)


def own(window="00:00-24:00", days="mon-sun", holidays=(), zones=("Asia/Kolkata",)) -> Rule:
    """Return a route's own rule."""
    hours = Hours(
        window=parse_window(window),
        days=parse_days(days),
        holidays=frozenset(map(date.fromisoformat, holidays)),
    )
    return Rule(hours=hours, zones=frozenset(zones))


def outer(number: str = INDIA, hours: Hours = DAY) -> Rule:
    """Return the outer limit for a number."""
    return Rule(hours=hours, zones=zones_of(number))


def hours_check(*rules: Rule, now: str, planned: str | None = None) -> Denial | None:
    when = planned and at(planned)
    return check_hours(about(rules=rules, now=at(now), planned=when))


@each(
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
    denial = hours_check(outer(number), now=now)
    if until is None:
        assert denial is None
        return
    denial = refused(denial, Reason.OUTSIDE_HOURS)
    assert denial.until == at(until)
    assert denial.message == "Outside the calling hours (09:00-21:00)."
    assert hours_check(outer(number), now=until) is None


@each(
    ("rule", "now", "until"),
    [
        # 20 November 2026 is a Friday; 03:30 UTC is 09:00 in India.
        (own("10:00-19:00"), "2026-11-20T04:29:59", "2026-11-20T04:30:00"),
        (own("10:00-19:00"), "2026-11-20T04:30:00", None),
        (own("10:00-19:00"), "2026-11-20T13:30:00", "2026-11-21T04:30:00"),
        # Wider than the outer limit: the outer limit holds.
        (own("06:00-23:00"), "2026-11-20T01:00:00", "2026-11-20T03:30:00"),
        (own("06:00-23:00"), "2026-11-20T16:00:00", "2026-11-21T03:30:00"),
        (own(), "2026-11-19T22:00:00", "2026-11-20T03:30:00"),
        # Days, by the rule's own calendar.
        (own(days="mon-fri"), "2026-11-20T15:30:00", "2026-11-23T03:30:00"),
        (own(days="sun"), "2026-11-20T06:00:00", "2026-11-22T03:30:00"),
        (own(days="fri"), "2026-11-20T06:00:00", None),
        # Holidays, one after the other and after a weekend.
        (own(holidays=["2026-11-20"]), "2026-11-20T06:00:00", "2026-11-21T03:30:00"),
        (
            own(days="mon-fri", holidays=["2026-11-23", "2026-11-24"]),
            "2026-11-20T16:00:00",
            "2026-11-25T03:30:00",
        ),
        # Another zone: both clocks must be open.
        (own("09:00-17:00", zones=["Asia/Dubai"]), "2026-11-20T04:00:00", "2026-11-20T05:00:00"),
        (own("09:00-17:00", zones=["Asia/Dubai"]), "2026-11-20T12:59:59", None),
        (
            own("09:00-17:00", zones=["America/New_York"]),
            "2026-11-20T06:00:00",
            "2026-11-20T14:00:00",
        ),
    ],
)
def test_a_route_narrows_the_outer_limit_and_never_widens_it(rule, now, until):
    denial = hours_check(outer(), rule, now=now)
    if until is None:
        assert denial is None
        return
    denial = refused(denial, Reason.OUTSIDE_HOURS)
    assert denial.until == at(until)
    assert hours_check(outer(), rule, now=until) is None


@pytest.mark.parametrize(
    "rule",
    [
        own("21:00-23:00"),
        own("09:00-10:00", zones=["America/Los_Angeles"]),
        own(zones=[]),
        own(zones=["Asia/Kolkatta"]),
        own(
            days="sat",
            holidays=["2026-11-21", "2026-11-28", "2026-12-05", "2026-12-12", "2026-12-19"],
        ),
    ],
    ids=["nothing in common", "never both", "no zone", "no such zone", "five weeks of holidays"],
)
def test_rules_that_are_never_open_together_are_a_no_for_good(rule):
    denial = refused(hours_check(outer(), rule, now="2026-11-20T06:00:00"), Reason.OUTSIDE_HOURS)
    assert denial.until is None
    assert denial.message.startswith("No time in the coming weeks")


def test_all_hours_are_told_and_the_same_only_once():
    night = "2026-11-19T22:00:00"
    two = refused(
        hours_check(outer(), own("10:00-19:00", "mon-sat"), now=night), Reason.OUTSIDE_HOURS
    )
    assert two.message == "Outside the calling hours (09:00-21:00 and 10:00-19:00, mon-sat)."
    same = refused(hours_check(outer(), own("09:00-21:00"), now=night), Reason.OUTSIDE_HOURS)
    assert same.message == "Outside the calling hours (09:00-21:00)."


def test_a_number_of_several_zones_is_called_only_while_all_of_them_are_open():
    # +1 800 may ring from the Caribbean (UTC-4) to Hawaii and Saipan: hardly a common hour.
    def open_hours(number: str) -> list[int]:
        times = ((hour, f"2026-11-20T{hour:02}:00:00") for hour in range(24))
        return [hour for hour, now in times if hours_check(outer(number), now=now) is None]

    in_new_york = open_hours("+12125550123")
    assert len(in_new_york) == 12
    assert set(open_hours(US_TOLL_FREE)) < set(in_new_york)


@pytest.mark.parametrize(("number", "window"), [(RUSSIA, "09:00-10:00"), (NOWHERE, "09:00-21:00")])
def test_zones_without_a_common_hour_and_no_zone_at_all_are_a_no_for_good(number, window):
    rule = outer(number, Hours(window=parse_window(window)))
    denial = refused(hours_check(rule, now="2026-11-20T06:00:00"), Reason.OUTSIDE_HOURS)
    assert denial.until is None
    assert number not in denial.message


@pytest.mark.parametrize("number", [INDIA, NOWHERE, RUSSIA])
@pytest.mark.parametrize("planned", [None, "2026-11-20T21:30:00"])
def test_always_lifts_the_hours_for_everybody(number, planned):
    assert hours_check(outer(number, LIFTED), now="2026-11-20T21:30:00", planned=planned) is None


def test_always_lifts_the_outer_limit_but_not_the_routes_own_hours():
    rules = outer(NOWHERE, LIFTED), own("10:00-19:00")
    denial = refused(hours_check(*rules, now="2026-11-19T22:00:00"), Reason.OUTSIDE_HOURS)
    assert denial.until == at("2026-11-20T04:30:00")
    assert denial.message == "Outside the calling hours (10:00-19:00)."
    assert hours_check(*rules, now="2026-11-20T04:30:00") is None


@pytest.mark.parametrize(
    ("now", "planned", "answer"),
    [
        # In the middle of the night, for tomorrow morning: CallKaro will wait.
        ("2026-11-19T21:30:00", "2026-11-20T04:30:00", None),
        # At noon, for the middle of the night: no, and asking again changes nothing.
        ("2026-11-20T06:30:00", "2026-11-20T21:30:00", "for good"),
        ("2026-11-20T06:30:00", "2026-11-20T15:29:59", None),
        ("2026-11-20T06:30:00", "2026-11-20T15:30:00", "for good"),
        # A time that has passed may mean "at once", so now is what counts.
        ("2026-11-20T06:30:00", "2026-11-19T21:30:00", None),
        ("2026-11-20T21:30:00", "2026-11-20T06:30:00", "held"),
        ("2026-11-20T21:30:00", "2026-11-20T21:30:00", "held"),  # exactly now
    ],
)
def test_hours_are_judged_at_the_planned_time_where_that_is_to_come(now, planned, answer):
    denial = hours_check(outer(), now=now, planned=planned)
    if answer is None:
        assert denial is None
        return
    denial = refused(denial, Reason.OUTSIDE_HOURS)
    if answer == "for good":
        assert denial.until is None
        assert denial.message == "schedule_at is outside the calling hours (09:00-21:00)."
    else:
        assert denial.until == at("2026-11-21T03:30:00")


def test_no_rule_at_all_forbids_nothing():
    assert hours_check(now="2026-11-20T21:30:00") is None
