"""Call safety, from the route's own words to the call: what each guard makes of a record."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from support import each
from support.makers import (
    AGENT,
    CALL,
    NOW,
    NUMBER,
    call_route,
    campaign_route,
    claim,
    load,
    settings,
)

from rules.candidate import countries_of, numbers_of
from rules.plan import SPREAD_S, Ready, candidate_or_none, prepare, screen
from rules.transitions import start_sending
from schemas.delivery import Reason
from schemas.event import CALL_ME, derive_id
from schemas.hours import ALWAYS, parse_window
from schemas.records import Claim, Move

DAY = parse_window("09:00-21:00")
DUBAI = "+971501234567"
NEW_YORK = "+12125550123"
LONDON = "+442079460958"
LEAD = {"phone": NUMBER}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def of_hubspot(routes: str) -> str:
    """Return the same routes, for HubSpot's contacts."""
    text = routes.replace('"generic"', '"hubspot"').replace("form.submitted", "contact.created")
    return text.replace('to_number = "phone"', 'to_number = "properties.phone"')


def hubspot_claim(data: Any, event_type: str = "contact.created", **more: Any) -> Claim:
    happened = {"source": "hubspot", "type": event_type, "hydrate": "contacts", **more}
    return claim(data, happened=happened, source="hubspot")


def judge(routes: str = CALL, data: Any = None, *, now: datetime = NOW, claimed=None, **more: Any):
    data = LEAD if data is None else data
    return prepare(claimed or claim(data), data, settings(routes, **more), now)


def ready(routes: str = CALL, data: Any = None, **more: Any) -> Ready:
    found = judge(routes, data, **more)
    assert isinstance(found, Ready), found
    return found


def number(routes: str = CALL, data: Any = None, **more: Any) -> str:
    """Return the number that is called, or the reason word for which none is."""
    found = judge(routes, data, **more)
    return found.body["to_number"] if isinstance(found, Ready) else str(found.reason)


def stopped(routes: str = CALL, data: Any = None, **more: Any) -> Move:
    found = judge(routes, data, **more)
    assert isinstance(found, Move), found
    assert found.lease == 3
    return found


def verdict(found: Ready | Move) -> str:
    """Return "ready", or where it goes and why: "skipped no_consent"."""
    return "ready" if isinstance(found, Ready) else f"{found.to} {found.reason}"


# --- the region of a number without a country code ----------------------------------------------

LOCAL = "050 123 4567"  # a mobile in the Emirates, and no number at all in India or Britain
ANY = 'countries = "any"'


@each(
    ("keys", "more", "called"),
    [
        ('region = "AE"', {}, DUBAI),
        ('region = "country"', {"country": "AE"}, DUBAI),
        ('region = "country"', {"country": "ae"}, DUBAI),
        ('region = "country"', {"country": " AE "}, DUBAI),
        ("region = \"a.b || 'AE'\"", {}, DUBAI),
        ("region = \"country == 'Dubai' && 'AE' || 'IN'\"", {"country": "Dubai"}, DUBAI),
        # The route's word is another country: then the number is none of it.
        ('region = "IN"', {"country": "AE"}, "invalid_number"),
        ('region = "country"', {"country": "IN"}, "invalid_number"),
        # The route has no word for this record: the default region.
        ('region = "country"', {}, "invalid_number"),
        ('region = "country"', {"country": None}, "invalid_number"),
        ('region = "country"', {"country": " "}, "invalid_number"),
        # A word that is no country is not the default region either.
        ('region = "country"', {"country": "Emirates"}, "invalid_number"),
        ('region = "country"', {"country": "UAE"}, "invalid_number"),
        ('region = "country"', {"country": 971}, "invalid_number"),
        ('region = "country"', {"country": ["AE"]}, "invalid_number"),
        ("", {"country": "AE"}, "invalid_number"),
    ],
)
def test_a_bare_number_is_of_the_country_that_the_route_names(keys, more, called):
    assert number(call_route(f"{keys}\n{ANY}"), {"phone": LOCAL, **more}) == called


@pytest.mark.parametrize("country", ["Emirates", 971, ["AE"], {"code": "IN"}, False])
def test_a_country_that_cannot_be_read_never_falls_back_on_the_default_region(country):
    routes = call_route(f'region = "country"\n{ANY}')
    data = {"phone": "98765 43210", "country": country}
    assert number(routes, data) == "invalid_number"
    assert number(routes, {**data, "country": None}) == NUMBER


@pytest.mark.parametrize("keys", ['region = "AE"', 'region = "country"', ""])
def test_a_number_with_its_country_code_needs_no_region(keys):
    data = {"phone": NUMBER, "country": "AE"}
    assert number(call_route(f"{keys}\n{ANY}"), data, default_region=None) == NUMBER


def test_a_region_that_cannot_be_worked_out_fails_and_names_its_key():
    found = stopped(call_route('region = "abs(country)"'), {"phone": LOCAL, "country": "AE"})
    assert verdict(found) == "failed bad_request"
    assert found.message == (
        "region: `abs(country)` can't be worked out over this record (JMESPathTypeError)."
    )


@each(
    ("keys", "more", "default", "called"),
    [
        ("", {"hs_country_region_code": "AE"}, "IN", DUBAI),
        ("", {"hs_country_region_code": "ae"}, "IN", DUBAI),
        ("", {}, "AE", DUBAI),
        ("", {"hs_country_region_code": None}, "AE", DUBAI),
        ("", {"hs_country_region_code": ""}, "AE", DUBAI),
        ("", {"hs_country_region_code": "Dubai"}, "AE", DUBAI),  # no code: as good as none
        ("", {"hs_country_region_code": "GB"}, "AE", "invalid_number"),
        # The route's own word comes first, and HubSpot's where that has none for the record.
        ('region = "AE"', {"hs_country_region_code": "GB"}, "IN", DUBAI),
        ('region = "properties.c"', {"hs_country_region_code": "GB", "c": "AE"}, "IN", DUBAI),
        ('region = "properties.c"', {"hs_country_region_code": "AE", "c": ""}, "IN", DUBAI),
        ('region = "properties.c"', {"hs_country_region_code": "AE"}, "GB", DUBAI),
        ('region = "properties.c"', {}, "AE", DUBAI),
    ],
)
def test_the_route_then_hubspots_country_then_the_default_name_the_region(
    keys, more, default, called
):
    data = {"properties": {"phone": LOCAL, **more}}
    routes = of_hubspot(call_route(f"{keys}\n{ANY}"))
    claimed = hubspot_claim(data)
    assert number(routes, data, claimed=claimed, default_region=default) == called


@pytest.mark.parametrize(
    ("keys", "fetched"),
    [("", True), ('region = "properties.c"', True), ('region = "AE"', False)],
)
def test_hubspots_country_is_fetched_where_it_may_count(keys, fetched):
    routes = load(of_hubspot(call_route(keys)))
    paths = routes.routes[0].paths_with(routes.sources["hubspot"])
    assert (("properties", "hs_country_region_code") in paths) is fetched


# --- countries ------------------------------------------------------------------------------


@each(
    ("keys", "default", "phone", "called"),
    [
        ("", "IN", NUMBER, NUMBER),
        ("", "IN", DUBAI, "country"),
        ("", "IN", "+800 1234 5678", "country"),
        ("", "AE", DUBAI, DUBAI),
        ("", "AE", NUMBER, "country"),
        ("", None, NUMBER, "country"),
        ('countries = ["AE"]', "IN", DUBAI, DUBAI),
        ('countries = ["AE"]', "IN", NUMBER, "country"),  # the default is not one of them
        ('countries = ["AE", "IN"]', "IN", NUMBER, NUMBER),
        ('countries = ["AE", "IN"]', "IN", DUBAI, DUBAI),
        ('countries = ["AE", "IN"]', "IN", NEW_YORK, "country"),
        ('countries = ["AE"]', None, DUBAI, DUBAI),
        ('countries = ["GB"]', "IN", "+44 1534 440000", "country"),  # Jersey is not Britain
        ('countries = ["US"]', "IN", "+1 416 555 0123", "country"),  # and Canada not the US
        ('countries = "any"', "IN", NEW_YORK, NEW_YORK),
        ('countries = "any"', None, DUBAI, DUBAI),
        ('countries = "any"', "IN", "+80012345678", "+80012345678"),
        # Where a number is from is one thing, whether it exists another.
        ('countries = "any"', "IN", "+91 12345", "invalid_number"),
        ('region = "AE"', "IN", LOCAL, "country"),
    ],
)
def test_only_numbers_of_the_routes_countries_are_called(keys, default, phone, called):
    assert number(call_route(keys), {"phone": phone}, default_region=default) == called


def test_a_country_that_is_not_called_is_skipped_without_the_number_in_its_message():
    found = stopped(data={"phone": DUBAI})
    assert verdict(found) == "skipped country"
    assert found.message == "The number is in AE, and this route does not call that country."
    assert "request" not in found.fields


# --- several candidates -----------------------------------------------------------------------

BOTH = CALL.replace('"phone"', '"[phone, mobile, others]"')


@each(
    ("data", "called"),
    [
        ({"phone": NUMBER, "mobile": DUBAI}, NUMBER),
        ({"phone": DUBAI, "mobile": NUMBER}, NUMBER),
        ({"phone": "", "mobile": NUMBER}, NUMBER),
        ({"mobile": NUMBER}, NUMBER),
        ({"phone": "n/a", "mobile": NUMBER}, NUMBER),
        ({"phone": "112", "mobile": NUMBER}, NUMBER),
        ({"phone": "+91 1860 123 4567", "mobile": NUMBER}, NUMBER),  # shared cost
        ({"phone": NUMBER + " ext. 5", "mobile": "98765 43211"}, "+919876543211"),
        ({"others": ["n/a", None, [NUMBER]]}, NUMBER),
        ({}, "no_number"),
        ({"phone": " ", "mobile": None, "others": []}, "no_number"),
        # No one will do: the first that was there says why.
        ({"phone": "n/a", "mobile": DUBAI}, "invalid_number"),
        ({"phone": DUBAI, "mobile": "n/a"}, "country"),
    ],
)
def test_the_first_candidate_that_may_be_called_is(data, called):
    assert number(BOTH, data) == called


def test_the_allow_list_is_asked_of_the_number_that_is_chosen():
    data = {"phone": "n/a", "mobile": NUMBER}
    assert number(BOTH, data, allow_numbers=frozenset({NUMBER})) == NUMBER
    assert number(BOTH, data, allow_numbers=frozenset({DUBAI})) == "not_allowed"


# --- consent ----------------------------------------------------------------------------------

CONSENT = call_route("consent = \"agreed == 'yes'\"")


@each(
    ("consent", "agreed", "found"),
    [
        ("agreed == 'yes'", "yes", "ready"),
        ("agreed == 'yes'", "no", "skipped no_consent"),
        ("agreed == 'yes'", None, "skipped no_consent"),
        ("agreed == 'yes'", ["yes"], "skipped no_consent"),
        ("agreed", True, "ready"),
        ("agreed", "yes", "skipped no_consent"),
        ("agreed", "true", "skipped no_consent"),
        ("agreed", 1, "skipped no_consent"),
        ("agreed", None, "skipped no_consent"),
        ("abs(agreed) > `0`", "yes", "skipped no_consent"),
        ("no.such.field", True, "skipped no_consent"),
    ],
)
def test_without_consent_nobody_is_called(consent, agreed, found):
    assert verdict(judge(call_route(f'consent = "{consent}"'), {**LEAD, "agreed": agreed})) == found


@pytest.mark.parametrize(
    ("consent", "data", "read"),
    [
        ("agreed == 'yes'", {"agreed": "yes"}, {"agreed": "yes"}),
        ("agreed", {"agreed": True}, {"agreed": True}),
        (
            "form.agreed == 'yes' && form.at > `5`",
            {"form": {"agreed": "yes", "at": 7, "name": "Asha"}},
            {"form.agreed": "yes", "form.at": 7},
        ),
        # Where it might have been read, and was not there.
        ("agreed == 'yes' || p.x", {"agreed": "yes"}, {"agreed": "yes", "p.x": None}),
        # Names lead no further than to a list.
        (
            "contains(forms[*].agreed, 'yes')",
            {"forms": [{"agreed": "no"}, {"agreed": "yes"}]},
            {"forms": [{"agreed": "no"}, {"agreed": "yes"}]},
        ),
        ("`true`", {}, {}),
    ],
)
def test_what_the_consent_read_is_kept_as_proof_and_nothing_besides(consent, data, read):
    found = ready(call_route(f'consent = "{consent}"'), {**LEAD, **data})
    assert found.consent == {"expression": consent, "read": read}


def test_the_proof_of_consent_is_recorded_with_the_attempt_and_its_time():
    found = ready(CONSENT, {**LEAD, "agreed": "yes", "name": "Asha"})
    fields = start_sending(found, NOW, guard=None, needs_s=30).fields
    assert orjson.loads(str(fields["consent"])) == {
        "expression": "agreed == 'yes'",
        "read": {"agreed": "yes"},
        "at": "2026-11-20T06:00:00.000Z",
    }


def test_a_route_that_asks_for_no_consent_records_none():
    found = ready()
    assert found.consent is None
    assert "consent" not in start_sending(found, NOW, guard=None, needs_s=30).fields


def test_consent_is_read_in_the_record_not_in_the_notification():
    record = {**LEAD, "agreed": "no"}
    found = prepare(claim({"agreed": "yes"}), record, settings(CONSENT), NOW)
    assert verdict(found) == "skipped no_consent"


# --- opt-out ------------------------------------------------------------------------------------

OPTING = '[[source]]\nname = "generic"\nopt_out = "dnd"\n' + CALL


@each(
    ("dnd", "found"),
    [
        (True, "skipped suppressed"),
        (False, "ready"),
        (None, "ready"),
        ("", "ready"),
        ("yes", "skipped suppressed"),
        ("no", "skipped suppressed"),
        (0, "skipped suppressed"),
        ({"all": True}, "skipped suppressed"),
    ],
)
def test_who_opted_out_in_the_record_is_not_called(dnd, found):
    assert verdict(judge(OPTING, {**LEAD, "dnd": dnd})) == found


def test_an_opt_out_that_breaks_on_the_record_calls_nobody():
    found = stopped(OPTING.replace('"dnd"', '"abs(dnd)"'), {**LEAD, "dnd": "x"})
    assert verdict(found) == "skipped suppressed"


def test_the_opt_out_is_looked_for_in_the_record_as_it_is_now():
    found = prepare(claim({"dnd": False}), {**LEAD, "dnd": True}, settings(OPTING), NOW)
    assert verdict(found) == "skipped suppressed"


def test_an_opt_out_comes_before_consent_and_number():
    routes = '[[source]]\nname = "generic"\nopt_out = "dnd"\n' + CONSENT
    data = {"phone": "n/a", "dnd": True, "agreed": "yes"}
    assert verdict(judge(routes, data)) == "skipped suppressed"


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({}, "ready"),
        ({"dnd": False}, "ready"),
        ({"dnd": True}, "skipped suppressed"),
        ({"dnd": "true"}, "skipped suppressed"),
        ({"dndSettings": {"Call": {"status": "active"}}}, "skipped suppressed"),
        ({"dndSettings": {"Call": {"status": "inactive"}}}, "ready"),
        ({"dndSettings": {"SMS": {"status": "active"}}}, "ready"),
    ],
)
def test_gohighlevels_do_not_disturb_needs_no_setting(record, found):
    routes = CALL.replace('"generic"', '"gohighlevel"')
    data = {**LEAD, **record}
    claimed = claim(data, happened={"source": "gohighlevel"}, source="gohighlevel")
    assert verdict(judge(routes, data, claimed=claimed)) == found


# --- our own change -----------------------------------------------------------------------------

OURS = {"changeSource": "INTEGRATION", "appId": 7, "sourceId": "7"}


@each(
    ("event_type", "change", "found"),
    [
        ("contact.updated", OURS, "skipped own_change"),
        ("contact.updated", {**OURS, "sourceId": "appId:7"}, "skipped own_change"),
        ("contact.updated", {**OURS, "changeSource": "API"}, "skipped own_change"),
        ("contact.updated", {**OURS, "sourceId": "8"}, "ready"),
        ("contact.updated", {**OURS, "changeSource": "CRM_UI"}, "ready"),
        ("contact.updated", {"changeSource": "INTEGRATION"}, "ready"),
        ("call.created", OURS, "skipped own_change"),
        ("contact.created", OURS, "ready"),  # a lead that the account's own app made
    ],
)
def test_what_our_own_writing_back_caused_makes_no_call(event_type, change, found):
    data = {**change, "properties": {"phone": NUMBER}}
    routes = of_hubspot(CALL).replace("contact.created", event_type)
    claimed = hubspot_claim(change, event_type)
    assert verdict(judge(routes, data, claimed=claimed)) == found
    # Without fetching the record for it.
    screened = screen(claimed, settings(routes), NOW)
    assert (screened is None) is (found == "ready")


def test_a_source_that_does_not_say_who_made_a_change_is_believed():
    assert verdict(judge(CALL, {**LEAD, **OURS})) == "ready"


# --- hours ----------------------------------------------------------------------------------

HELD = "held outside_hours"
NEVER = "skipped outside_hours"


@each(
    ("hours", "now", "found", "until"),
    [
        # 03:30 UTC is 09:00 in India, on Friday, 20 November 2026.
        (None, "2026-11-20T03:29:59", HELD, "2026-11-20T03:30:00"),
        (None, "2026-11-20T03:30:00", "ready", None),
        (None, "2026-11-20T15:29:59", "ready", None),
        (None, "2026-11-20T15:30:00", HELD, "2026-11-21T03:30:00"),
        # Narrower than CALLING_HOURS.
        ('from = "10:00", to = "19:00"', "2026-11-20T04:29:59", HELD, "2026-11-20T04:30:00"),
        ('from = "10:00", to = "19:00"', "2026-11-20T04:30:00", "ready", None),
        ('from = "10:00", to = "19:00"', "2026-11-20T13:30:00", HELD, "2026-11-21T04:30:00"),
        ('to = "19:00"', "2026-11-20T03:30:00", "ready", None),
        ('from = "10:00"', "2026-11-20T15:29:59", "ready", None),
        # Wider: CALLING_HOURS stay.
        ('from = "06:00", to = "23:00"', "2026-11-20T01:00:00", HELD, "2026-11-20T03:30:00"),
        ('from = "06:00", to = "23:00"', "2026-11-20T16:00:00", HELD, "2026-11-21T03:30:00"),
        ('from = "00:00", to = "24:00"', "2026-11-20T21:30:00", HELD, "2026-11-21T03:30:00"),
        ("", "2026-11-20T21:30:00", HELD, "2026-11-21T03:30:00"),
        # Days, by the number's own calendar: 19:00 UTC on a Saturday is Sunday there.
        ('days = "mon-fri"', "2026-11-20T06:00:00", "ready", None),
        ('days = "mon-fri"', "2026-11-21T06:00:00", HELD, "2026-11-23T03:30:00"),
        ('days = "sun"', "2026-11-21T19:00:00", HELD, "2026-11-22T03:30:00"),
        ('days = ["sat", "sun"]', "2026-11-20T06:00:00", HELD, "2026-11-21T03:30:00"),
        # Holidays.
        ('holidays = ["2026-11-20"]', "2026-11-20T06:00:00", HELD, "2026-11-21T03:30:00"),
        ("holidays = [2026-11-20]", "2026-11-20T06:00:00", HELD, "2026-11-21T03:30:00"),
        ('holidays = ["2026-11-21"]', "2026-11-20T06:00:00", "ready", None),
        (
            'days = "mon-sat", from = "10:00", to = "19:00", holidays = ["2026-11-23"]',
            "2026-11-21T14:00:00",
            HELD,
            "2026-11-24T04:30:00",
        ),
        # A zone of its own: 10:00 in Dubai is 06:00 UTC. The number's clock must be open, too.
        (
            'from = "10:00", timezone = "Asia/Dubai"',
            "2026-11-20T05:59:59",
            HELD,
            "2026-11-20T06:00:00",
        ),
        ('from = "10:00", timezone = "Asia/Dubai"', "2026-11-20T06:00:00", "ready", None),
        (
            'from = "10:00", timezone = "asia/dubai"',
            "2026-11-20T15:30:00",
            HELD,
            "2026-11-21T06:00:00",
        ),
        (
            'to = "10:00", timezone = "America/Los_Angeles"',
            "2026-11-20T15:30:00",
            HELD,
            "2026-11-21T08:00:00",
        ),
    ],
)
def test_a_call_waits_for_the_hours_of_the_route_within_the_outer_limit(hours, now, found, until):
    routes = CALL if hours is None else call_route(f"hours = {{ {hours} }}")
    made = judge(routes, now=at(now), calling_hours=DAY)
    assert verdict(made) == found
    if isinstance(made, Move):
        assert made.due_at == at(until)
        assert orjson.loads(str(made.fields["request"]))["to_number"] == NUMBER
        assert isinstance(judge(routes, now=at(until), calling_hours=DAY), Ready)


@each(
    ("zone", "now", "found"),
    [
        # 10:00 to 19:00 in Dubai is 06:00 to 15:00 UTC, in India 04:30 to 13:30.
        ("Asia/Dubai", "2026-11-20T05:00:00", HELD),
        ("Asia/Dubai", "2026-11-20T14:00:00", "ready"),
        ("asia_slash_dubai", "2026-11-20T05:00:00", HELD),  # as HubSpot writes it
        ("ASIA/DUBAI", "2026-11-20T14:00:00", "ready"),
        # Nothing there: the number's own zone.
        (None, "2026-11-20T05:00:00", "ready"),
        (None, "2026-11-20T14:00:00", HELD),
        ("", "2026-11-20T05:00:00", "ready"),
        (" ", "2026-11-20T14:00:00", HELD),
        # There, and no zone: where it is not known what time it is, nobody is rung.
        ("Asia/Dubay", "2026-11-20T05:00:00", NEVER),
        ("IST?", "2026-11-20T05:00:00", NEVER),
        ("localtime", "2026-11-20T05:00:00", NEVER),
        (["Asia/Dubai"], "2026-11-20T14:00:00", NEVER),
        (4, "2026-11-20T05:00:00", NEVER),
        (False, "2026-11-20T05:00:00", NEVER),
        ({"name": "Asia/Dubai"}, "2026-11-20T05:00:00", NEVER),
    ],
)
def test_whose_clock_it_is_may_stand_in_the_record(zone, now, found):
    routes = call_route('hours = { from = "10:00", to = "19:00", timezone = "tz" }')
    made = judge(routes, {**LEAD, "tz": zone}, now=at(now), calling_hours=DAY)
    assert verdict(made) == found


def test_a_zone_from_the_record_never_lifts_the_outer_limit():
    # Noon in Honolulu, half past three at night in India.
    routes = call_route('hours = { timezone = "tz" }')
    data = {**LEAD, "tz": "Pacific/Honolulu"}
    found = stopped(routes, data, now=at("2026-11-20T22:00:00"), calling_hours=DAY)
    assert verdict(found) == HELD
    assert found.due_at is not None
    assert found.due_at >= at("2026-11-21T03:30:00")


def test_a_zone_that_cannot_be_worked_out_is_the_routes_fault():
    routes = call_route('hours = { timezone = "abs(tz)" }')
    found = stopped(routes, {**LEAD, "tz": "Asia/Dubai"}, calling_hours=DAY)
    assert verdict(found) == "failed bad_request"
    assert found.message is not None
    assert found.message.startswith("hours.timezone: `abs(tz)` can't be worked out")


def test_a_route_keeps_its_hours_where_the_outer_limit_is_lifted():
    routes = call_route('hours = { from = "10:00", to = "19:00" }')
    found = stopped(routes, now=at("2026-11-20T21:30:00"), calling_hours=ALWAYS)
    assert found.due_at == at("2026-11-21T04:30:00")


@pytest.mark.parametrize(
    ("phone", "now", "until"),
    [
        (NEW_YORK, "2026-11-20T13:59:59", "2026-11-20T14:00:00"),
        # Clocks go back on 1 November 2026: from UTC-4 to UTC-5.
        (NEW_YORK, "2026-11-01T01:00:00", "2026-11-01T14:00:00"),
        (NEW_YORK, "2026-10-31T01:00:00", "2026-10-31T13:00:00"),
        (LONDON, "2026-11-20T21:00:00", "2026-11-21T09:00:00"),
    ],
)
def test_the_outer_limit_goes_by_the_numbers_clock(phone, now, until):
    data = {"phone": phone}
    found = stopped(call_route(ANY), data, now=at(now), calling_hours=DAY)
    assert (verdict(found), found.due_at) == (HELD, at(until))


def test_a_number_of_no_place_is_called_only_where_no_clock_is_asked():
    data = {"phone": "+80012345678"}
    routes = call_route(ANY)
    assert verdict(judge(routes, data, calling_hours=DAY)) == NEVER
    assert verdict(judge(routes, data, calling_hours=ALWAYS)) == "ready"


# --- schedule_at --------------------------------------------------------------------------------


@each(
    ("planned", "now", "found"),
    [
        ("2026-11-20T12:00:00+05:30", "2026-11-19T21:30:00", "ready"),
        ("2026-11-21T03:00:00+05:30", "2026-11-20T06:00:00", NEVER),
        ("2026-11-20T09:30:00+05:30", "2026-11-20T02:00:00", NEVER),  # before the route's hours
        ("2026-11-20T10:00:00+05:30", "2026-11-20T02:00:00", "ready"),
        ("2026-11-20T19:00:00+05:30", "2026-11-20T06:00:00", NEVER),
        ("2026-11-22T12:00:00+05:30", "2026-11-20T06:00:00", NEVER),  # a Sunday
        ("2026-11-24T12:00:00+05:30", "2026-11-20T06:00:00", NEVER),  # a holiday
        # It has passed: now is what counts.
        ("2026-11-20T03:00:00+05:30", "2026-11-20T06:00:00", "ready"),
        ("2026-11-20T12:00:00+05:30", "2026-11-20T20:30:00", HELD),
        (None, "2026-11-20T20:30:00", HELD),
    ],
)
def test_a_planned_call_is_judged_at_its_own_time(planned, now, found):
    routes = call_route(
        'hours = { days = "mon-sat", from = "10:00", to = "19:00", holidays = ["2026-11-24"] }',
        'schedule_at = "at"',
    )
    made = judge(routes, {**LEAD, "at": planned}, now=at(now), calling_hours=DAY)
    assert verdict(made) == found
    if isinstance(made, Move):
        assert orjson.loads(str(made.fields["request"]))["to_number"] == NUMBER


@pytest.mark.parametrize(
    ("planned", "rings_at"),
    [
        (None, NOW),
        ("2026-11-20T14:00:00+05:30", at("2026-11-20T08:30:00")),
        ("2026-11-22T10:00:00", at("2026-11-22T04:30:00")),  # bare: CallKaro's zone
        ("2026-11-20T09:30:00+05:30", NOW),  # has passed
    ],
)
def test_when_the_phone_is_to_ring_is_known(planned, rings_at):
    found = ready(call_route(request='schedule_at = "at"'), {**LEAD, "at": planned})
    assert found.rings_at == rings_at


# --- spread -------------------------------------------------------------------------------------

NIGHT = at("2026-11-19T21:30:00")


def held(delivery_id: str, now: datetime = NIGHT) -> Move:
    return stopped(claimed=claim(LEAD, id=delivery_id), now=now, calling_hours=DAY)


def test_a_delivery_is_spread_to_the_same_time_at_each_look():
    looks = [held("d1", NIGHT + timedelta(minutes=minutes)) for minutes in (0, 1, 59, 200)]
    assert len({(look.due_at, look.spread_s) for look in looks}) == 1


def test_what_waits_for_the_opening_is_spread_over_the_minutes_after_it():
    spreads = [held(derive_id("delivery", str(n))).spread_s for n in range(1000)]
    assert all(0 <= spread < SPREAD_S for spread in spreads)
    by_minute = [sum(int(spread // 60) == minute for spread in spreads) for minute in range(5)]
    assert all(150 < share < 250 for share in by_minute)


def test_what_waits_for_a_short_opening_is_spread_within_it():
    routes = call_route('hours = { from = "10:00", to = "10:02" }')
    for n in range(50):
        claimed = claim(LEAD, id=derive_id("delivery", str(n)))
        waiting = stopped(routes, claimed=claimed, calling_hours=DAY)
        looked_at = waiting.due_at + timedelta(seconds=waiting.spread_s)
        ready(routes, claimed=claimed, now=looked_at, calling_hours=DAY)


def test_what_is_held_for_anything_else_or_skipped_is_not_spread():
    missing = stopped("")
    assert (missing.reason, missing.spread_s) == (Reason.ROUTE_MISSING, 0)
    planned = {**LEAD, "at": "2026-11-21T03:00:00+05:30"}
    never = stopped(call_route(request='schedule_at = "at"'), planned, calling_hours=DAY)
    assert (verdict(never), never.spread_s) == (NEVER, 0)
    assert stopped(data={}).spread_s == 0


# --- the trigger times --------------------------------------------------------------------------


def times(found: Ready) -> tuple[Any, ...]:
    return tuple(
        found.body.get(name) for name in ("min_trigger_time", "max_trigger_time", "carry_over")
    )


@each(
    ("phone", "now", "expected"),
    [
        (NUMBER, "2026-11-20T06:00:00", ("09:00", "21:00")),
        # 09:00 to 21:00 in the Emirates, by India's clock.
        (DUBAI, "2026-11-20T06:00:00", ("10:30", "22:30")),
        # In New York that is 19:30 to 07:30 in India: cut to the part that holds the call's time.
        (NEW_YORK, "2026-11-20T14:00:00", ("19:30", "23:59")),
        (NEW_YORK, "2026-11-20T18:28:59", ("19:30", "23:59")),
        (NEW_YORK, "2026-11-20T18:30:00", ("00:00", "07:30")),
        (NEW_YORK, "2026-11-21T01:59:59", ("00:00", "07:30")),
        # Summer time there: 18:30 to 06:30.
        (NEW_YORK, "2026-07-20T14:00:00", ("18:30", "23:59")),
        (LONDON, "2026-11-20T10:00:00", ("14:30", "23:59")),
    ],
)
def test_callkaro_is_told_the_hours_by_its_own_clock(phone, now, expected):
    found = ready(call_route(ANY), {"phone": phone}, now=at(now), calling_hours=DAY)
    assert times(found) == (*expected, False)


def test_another_zone_of_callkaros_is_another_clock():
    found = ready(calling_hours=DAY, callkaro_timezone="UTC")
    assert times(found) == ("03:30", "15:30", False)


@each(
    ("hours", "request_", "expected"),
    [
        ("", "", ("09:00", "21:00", False)),
        ('from = "10:00", to = "19:00"', "", ("10:00", "19:00", False)),
        ('from = "06:00", to = "23:00"', "", ("09:00", "21:00", False)),
        # The route's own trigger times narrow, and never widen.
        ("", 'min_trigger_time = { value = "10:00" }', ("10:00", "21:00", False)),
        ("", 'min_trigger_time = { value = "9:30" }', ("09:30", "21:00", False)),
        ("", 'max_trigger_time = { value = "18:00" }', ("09:00", "18:00", False)),
        ("", 'min_trigger_time = { value = "6:00" }', ("09:00", "21:00", False)),
        ("", 'max_trigger_time = { value = "23:59" }', ("09:00", "21:00", False)),
        (
            'from = "10:00", to = "19:00"',
            'min_trigger_time = { value = "9:00" }\nmax_trigger_time = { value = "18:00" }',
            ("10:00", "18:00", False),
        ),
        # CallKaro's next day has the same hours only if all days have them.
        ("", "carry_over = { value = true }", ("09:00", "21:00", True)),
        ("", "carry_over = { value = false }", ("09:00", "21:00", False)),
        ('from = "10:00"', "carry_over = { value = true }", ("10:00", "21:00", True)),
        ('days = "mon-sun"', "carry_over = { value = true }", ("09:00", "21:00", True)),
        ('days = "mon-sat"', "carry_over = { value = true }", ("09:00", "21:00", False)),
        ('holidays = ["2027-01-26"]', "carry_over = { value = true }", ("09:00", "21:00", False)),
        ("holidays = []", "carry_over = { value = true }", ("09:00", "21:00", True)),
    ],
)
def test_the_trigger_times_are_the_hours_within_the_routes_own(hours, request_, expected):
    routes = call_route(f"hours = {{ {hours} }}" if hours else "", request_)
    assert times(ready(routes, calling_hours=DAY)) == expected


def test_nothing_is_carried_over_where_midnight_cuts_the_hours():
    routes = call_route(ANY, "carry_over = { value = true }")
    for now in ("2026-11-20T15:00:00", "2026-11-20T20:00:00"):
        found = ready(routes, {"phone": NEW_YORK}, now=at(now), calling_hours=DAY)
        assert times(found)[2] is False


@pytest.mark.parametrize(
    ("phone", "now", "expected"),
    [
        # Sydney's clocks go forward on 4 October 2026, and back on 5 April 2026.
        ("+61291234567", "2026-09-26T02:00:00", ("04:30", "16:30", True)),
        ("+61291234567", "2026-09-30T02:00:00", ("04:30", "16:30", False)),
        ("+61291234567", "2026-10-03T02:00:00", ("04:30", "16:30", False)),
        ("+61291234567", "2026-10-04T02:00:00", ("03:30", "15:30", True)),
        ("+61291234567", "2026-04-04T09:30:00", ("03:30", "15:30", False)),
        (NUMBER, "2026-10-03T06:00:00", ("09:00", "21:00", True)),
    ],
)
def test_nothing_is_carried_over_to_a_day_after_clocks_change(phone, now, expected):
    routes = call_route(ANY, "carry_over = { value = true }")
    found = ready(routes, {"phone": phone}, now=at(now), calling_hours=DAY)
    assert times(found) == expected


@pytest.mark.parametrize(
    "request_",
    [
        'max_trigger_time = { value = "9:00" }',
        'max_trigger_time = { value = "8:00" }',
        'min_trigger_time = { value = "21:00" }',
        'min_trigger_time = { value = "22:00" }\nmax_trigger_time = { value = "23:00" }',
    ],
)
def test_trigger_times_that_leave_nothing_of_the_hours_call_nobody(request_):
    found = stopped(call_route(request=request_), calling_hours=DAY)
    assert (verdict(found), found.due_at) == (NEVER, None)
    assert found.message == (
        "The route's min_trigger_time and max_trigger_time leave no time within the calling hours. "
        "Fix them in routes.toml."
    )


@pytest.mark.parametrize(
    ("phone", "keys", "zone", "now", "until"),
    [
        # CallKaro's day ends in the middle of New York's: its last minute is no span of time.
        (NEW_YORK, ANY, "Asia/Kolkata", "2026-11-20T18:29:30", "2026-11-20T18:30:00"),
        # 12:00 in India is 01:30 in New York, for the second time that night.
        (
            NUMBER,
            'hours = { to = "12:00" }',
            "America/New_York",
            "2026-11-01T05:40:00",
            "2026-11-02T03:30:00",
        ),
    ],
)
def test_a_call_for_which_no_trigger_times_can_be_told_waits_for_the_next(
    phone, keys, zone, now, until
):
    more = {"calling_hours": DAY, "callkaro_timezone": zone}
    found = stopped(call_route(keys), {"phone": phone}, now=at(now), **more)
    assert (verdict(found), found.due_at) == ("held outside_hours", at(until))
    ready(call_route(keys), {"phone": phone}, now=at(until), **more)


def test_a_planned_call_for_which_no_trigger_times_can_be_told_is_skipped():
    routes = call_route('hours = { to = "12:00" }', 'schedule_at = "at"')
    data = {"phone": NUMBER, "at": "2027-11-07T05:40:00Z"}
    found = stopped(routes, data, calling_hours=DAY, callkaro_timezone="America/New_York")
    assert (verdict(found), found.due_at) == (NEVER, None)


def test_the_trigger_times_are_those_of_the_day_that_the_call_is_planned_for():
    # On 21 March 2027 New York has changed its clocks, on 1 March not yet.
    routes = call_route(ANY, 'schedule_at = "at"')
    data = {"phone": NEW_YORK, "at": "2027-03-21T15:00:00Z"}
    found = ready(routes, data, now=at("2027-03-01T15:00:00"), calling_hours=DAY)
    assert times(found) == ("18:30", "23:59", False)
    now = {**data, "at": None}
    found = ready(routes, now, now=at("2027-03-01T15:00:00"), calling_hours=DAY)
    assert times(found) == ("19:30", "23:59", False)


def test_where_no_clock_is_asked_the_routes_own_trigger_times_are_left_alone():
    assert times(ready(calling_hours=ALWAYS)) == (None, None, None)
    routes = call_route(request='min_trigger_time = { value = "9:00" }\ncarry_over = "carry"')
    found = ready(routes, {**LEAD, "carry": True}, calling_hours=ALWAYS)
    assert times(found)[1:] == (None, True)
    assert times(found)[0] in ("9:00", "09:00")


# --- a person's test call -----------------------------------------------------------------------

MINE = "+919876543211"


def call_me(
    keys: str = "", record: Any = None, *, phone: str = MINE, text: str = "", **more: Any
) -> Ready | Move:
    """Prepare a person's test call by a route with these keys."""
    data = {"to_number": phone, "record": {"phone": NUMBER} if record is None else record}
    claimed = claim(data, happened={"type": CALL_ME})
    now = more.pop("now", NOW)
    routes = text + call_route(keys, metadata='name = "name"')
    return prepare(claimed, data, settings(routes, **more), now)


def test_a_test_call_goes_to_the_number_that_was_named_with_the_routes_map():
    found = call_me(record={"phone": NUMBER, "name": "Asha"})
    assert isinstance(found, Ready)
    assert found.body == {
        "to_number": MINE,
        "agent_id": AGENT,
        "metadata": {"name": "Asha", "bridge_delivery_id": "d1"},
    }


@pytest.mark.parametrize("record", [{}, None, {"phone": "n/a"}, {"phone": None}])
def test_a_test_call_needs_nothing_of_the_record(record):
    data = {"to_number": MINE, "record": record}
    claimed = claim(data, happened={"type": CALL_ME})
    found = prepare(claimed, data, settings(CALL), NOW)
    assert isinstance(found, Ready)
    assert found.body["to_number"] == MINE


@pytest.mark.parametrize(
    "keys",
    [
        "match = \"src == 'CRM'\"",
        "when = \"stage == 'lead'\"",
        "consent = \"agreed == 'yes'\"",
        'match = "abs(phone) > `1`"',
        'when = "abs(phone) > `1`"',
        'consent = "abs(phone) > `1`"',
    ],
)
def test_a_test_call_asks_neither_for_a_condition_nor_for_consent(keys):
    found = call_me(keys)
    assert isinstance(found, Ready)
    assert found.consent is None
    # By the same route the record itself would not have been called.
    assert isinstance(judge(call_route(keys)), Move)


@each(
    ("more", "found"),
    [
        ({"phone": DUBAI}, "skipped country"),
        ({"phone": "+911234"}, "skipped invalid_number"),
        ({"phone": "112"}, "skipped invalid_number"),
        ({"allow_numbers": frozenset({NUMBER})}, "skipped not_allowed"),
        ({"allow_numbers": frozenset({MINE})}, "ready"),
        # A test call is for now: hours later it would surprise whoever asked for it.
        ({"now": NIGHT, "calling_hours": DAY}, NEVER),
        ({"now": NOW + timedelta(hours=7), "keys": 'max_age = "6h"'}, "skipped too_old"),
        ({"keys": 'hours = { days = "sun" }'}, NEVER),
        (
            {
                "text": '[[source]]\nname = "generic"\nopt_out = "dnd"\n',
                "record": {"phone": NUMBER, "dnd": True},
            },
            "skipped suppressed",
        ),
    ],
)
def test_a_test_call_asks_all_other_guards(more, found):
    assert verdict(call_me(**more)) == found


def test_a_webhook_that_claims_to_be_a_test_call_is_nobodys():
    # Whoever knows a form's URL chooses the type of what it sends.
    for pattern in (CALL_ME, "call_me.*", "*", "call_me.tes?"):
        for routes in (CALL.replace("form.submitted", pattern), campaign_route()):
            text = routes.replace("campaign.created", pattern)
            assert load(text).for_event("generic", CALL_ME) == ()


# --- before a record is fetched -----------------------------------------------------------------


@each(
    ("keys", "data", "found"),
    [
        ("", {}, None),
        ("match = \"src == 'CRM'\"", {"src": "CRM"}, None),
        ("match = \"src == 'CRM'\"", {"src": "IMPORT"}, "skipped when_false"),
        ('match = "abs(src) > `1`"', {"src": "CRM"}, "failed bad_request"),
        ('max_age = "6h"', {}, None),
        ('max_age = "1s"', {}, "skipped too_old"),
        ("", {**OURS}, None),
        # What only the record can tell is not asked yet.
        ("when = \"stage == 'lead'\"", {}, None),
        ("consent = \"agreed == 'yes'\"", {}, None),
        ('when = "abs(src) > `1`"', {"src": "x"}, None),
    ],
)
def test_what_the_notification_forbids_costs_no_request_to_the_crm(keys, data, found):
    claimed = hubspot_claim(data, time=NOW - timedelta(hours=1))
    move = screen(claimed, settings(of_hubspot(call_route(keys))), NOW)
    assert (move and verdict(move)) == found
    if move:
        assert move.lease == 3
        assert "request" not in move.fields


def test_hours_and_the_allow_list_wait_for_the_record():
    claimed = hubspot_claim({})
    strict = settings(of_hubspot(CALL), calling_hours=DAY, allow_numbers=frozenset())
    assert screen(claimed, strict, NIGHT) is None


def test_no_record_is_fetched_for_a_route_that_is_gone_or_an_event_that_is_not_kept():
    gone = screen(hubspot_claim({}), settings(""), NOW)
    assert gone is not None
    assert (verdict(gone), gone.due_at) == ("held route_missing", NOW + timedelta(minutes=1))
    unkept = screen(claim({}, kept=False), settings(), NOW)
    assert unkept is not None
    assert verdict(unkept) == "skipped record_gone"


# --- the order of it ----------------------------------------------------------------------------


def test_of_several_guards_that_say_no_the_first_is_told():
    routes = '[[source]]\nname = "generic"\nopt_out = "dnd"\n' + call_route(
        'when = "go"\nmax_age = "1h"\nconsent = "agreed"'
    )
    old = {"happened": {"time": NIGHT - timedelta(hours=2)}}
    data: dict[str, Any] = {"phone": "n/a", "dnd": True}
    strict = {"allow_numbers": frozenset(), "calling_hours": DAY, "now": NIGHT}
    told = []
    for fixed in (
        {},
        {"go": True},
        {"old": False},
        {"dnd": False},
        {"agreed": True},
        {"phone": NUMBER},
        {"allow_numbers": None},
        {"now": NOW},
    ):
        old = {} if "old" in fixed else old
        data |= {key: value for key, value in fixed.items() if key in ("go", "dnd", "agreed")}
        data |= {"phone": fixed.get("phone", data["phone"])}
        strict |= {key: value for key, value in fixed.items() if key in strict}
        told.append(verdict(judge(routes, data, claimed=claim(data, **old), **strict)))
    assert told == [
        "skipped when_false",
        "skipped too_old",
        "skipped suppressed",
        "skipped no_consent",
        "skipped invalid_number",
        "skipped not_allowed",
        HELD,
        "ready",
    ]


def test_what_guards_judge_can_be_looked_at_by_itself():
    case = candidate_or_none(claim(LEAD), LEAD, settings(call_route('region = "AE"')), NOW)
    assert case is not None
    assert case.number == NUMBER
    assert countries_of(case.route, case.settings) == frozenset({"IN"})
    assert candidate_or_none(claim(LEAD), LEAD, settings(""), NOW) is None
    assert candidate_or_none(claim(LEAD, kept=False), LEAD, settings(), NOW) is None


# --- every number of a record -------------------------------------------------------------------


def numbers(data: Any, *routes: str, source: str = "generic", **more: Any) -> set[str]:
    made = settings("".join(routes), **more)
    return set(numbers_of(made.routes.sources[source], data, made))


def named(name: str, to_number: str, keys: str = "") -> str:
    text = call_route(keys).replace("call new leads", name)
    return text.replace('to_number = "phone"', f"to_number = {to_number}")


@each(
    ("routes", "found"),
    [
        ([named("a", '"phone"')], {NUMBER}),
        ([named("a", '"[phone, work]"')], {NUMBER, MINE}),
        ([named("a", '"phone"'), named("b", '"work"')], {NUMBER, MINE}),
        ([named("a", '"phone"'), named("b", '"phone"')], {NUMBER}),
        # Of another country than the route calls: a person's number all the same.
        ([named("a", '"far"')], {DUBAI}),
        # What no route calls is not looked at.
        ([], set()),
        ([campaign_route(request='name = "phone"')], set()),
        ([named("a", '"phone"').replace('"generic"', '"hubspot"')], set()),
        # What breaks, or is no number, costs only itself.
        ([named("a", '"abs(phone)"'), named("b", '"work"')], {MINE}),
        ([named("a", '"work"', 'region = "abs(phone)"'), named("b", '"phone"')], {NUMBER}),
        ([named("a", '"[nothing, junk, phone, no.such]"')], {NUMBER}),
        # Read as each route reads it.
        ([named("a", '"local"', 'region = "AE"'), named("b", '"local"')], {DUBAI}),
        ([named("a", '"phone"', 'when = "stage == \'x\'"\nconsent = "agreed"')], {NUMBER}),
    ],
)
def test_every_number_that_a_route_might_call_is_found(routes, found):
    record = {
        "phone": "98765 43210",
        "work": MINE,
        "far": DUBAI,
        "local": LOCAL,
        "junk": "call Asha",
        "nothing": None,
    }
    assert numbers(record, *routes) == found


@pytest.mark.parametrize("data", [None, [], "text", 7, {}, {"phone": {"x": [[]]}}])
def test_a_record_without_numbers_has_none(data):
    assert numbers(data, CALL) == set()


def test_the_numbers_of_a_hubspot_record_are_read_by_its_country():
    record = {"properties": {"phone": LOCAL, "hs_country_region_code": "AE"}}
    assert numbers(record, of_hubspot(CALL), source="hubspot") == {DUBAI}


def test_a_ready_call_stays_the_same_inside_a_campaign():
    found = ready(CONSENT, {**LEAD, "agreed": "yes"}, calling_hours=DAY)
    inside = found.in_campaign("b-1")
    assert replace(inside, body=found.body) == found
    assert inside.body == {**found.body, "batch_id": "b-1"}
