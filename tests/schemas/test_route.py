"""routes.toml: what loads, the message of each mistake, which events a route matches."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import each, examples
from support.makers import AGENT, CALL, FILE, call_route, campaign_route, load, problems

from schemas.crm import kinds
from schemas.expression import Expression
from schemas.hours import Hours, parse_window
from schemas.route import Constant, Flood, RouteHours
from schemas.routes_toml import RoutesError, duration_s, load_routes
from schemas.source import STANDARD_WEBHOOKS, Basic, Signature, Signatures, Token

# A route with every key.
EVERY_KEY = """
[[route]]
name     = "call new leads"
source   = "hubspot"
event    = "contact.created"                        # exact or glob
match    = "changeSource != 'IMPORT'"               # JMESPath over the notification
when     = "properties.lifecyclestage == 'lead' && properties.country != 'US'"
to       = "call"                                   # or "campaign"
campaign = { name = "HubSpot leads", period = "month" }
max_age  = "6h"
delay    = "2m"
max_per_day = 500
hours    = { days = "mon-sat", from = "10:00", to = "19:00", timezone = "Asia/Kolkata" }
again_after = "24h"
consent  = "properties.call_consent == 'yes'"

[route.request]
to_number = "properties.phone || properties.mobilephone"
agent_id  = { value = "6803fa770b666a64ab1694c1e" }
language  = "properties.hs_language"
number_of_retries = { value = 2 }
gap_between_retries = { value = [30, 60] }
[route.request.metadata]
name = "properties.firstname"
city = "properties.city"

[[source]]
name = "website"
kind = "generic"
auth = "hmac"
header = "X-Signature"
event = "event_type"
id = "submission.id"
time = "submission.at"
"""


# --- what loads -----------------------------------------------------------------------------


def test_the_designed_sample_loads_with_all_that_it_says():
    routes = load(EVERY_KEY)
    [route] = routes.routes
    assert (route.name, route.source, route.event, route.to) == (
        "call new leads",
        "hubspot",
        "contact.created",
        "call",
    )
    assert (route.max_per_day, route.again_after_s) == (500, 86_400)
    assert route.hours == RouteHours(
        hours=Hours(window=parse_window("10:00-19:00"), days=frozenset(range(6))),
        timezone="Asia/Kolkata",
    )
    assert route.consent == Expression.of("properties.call_consent == 'yes'")
    assert (route.delay_s, route.max_age_s, route.on_unknown, route.fetch) == (
        120,
        6 * 3600,
        "hold",
        (),
    )
    assert route.match == Expression.of("changeSource != 'IMPORT'")
    assert route.when is not None
    assert route.when.text.startswith("properties.lifecyclestage")
    assert route.campaign is not None
    assert (route.campaign.name, route.campaign.period, route.campaign.key) == (
        "HubSpot leads",
        "month",
        None,
    )
    assert route.request["agent_id"] == Constant(AGENT)
    assert route.request["gap_between_retries"] == Constant([30, 60])
    assert set(route.metadata) == {"name", "city"}
    assert "metadata" not in route.request
    assert kinds()["hubspot"].hydration.fields(route.paths) == {
        "phone",
        "mobilephone",
        "hs_language",
        "firstname",
        "city",
        "lifecyclestage",
        "country",
        "call_consent",
    }
    website = routes.sources["website"]
    assert website.kind is kinds()["generic"]
    assert (website.event, website.id, website.time) == tuple(
        map(Expression.of, ("event_type", "submission.id", "submission.at"))
    )


def test_the_routes_that_come_with_the_service_load():
    text = (Path(__file__).parents[2] / FILE).read_text(encoding="utf-8")
    assert load(text).routes


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "route = []\nsource = []"])
def test_no_route_at_all_loads(text):
    routes = load(text)
    assert routes.routes == ()
    assert set(routes.sources) == set(kinds())


def test_what_a_route_leaves_out_has_a_default():
    [route] = load(CALL).routes
    assert (route.match, route.when, route.campaign, route.max_age_s) == (None, None, None, None)
    assert (route.delay_s, route.on_unknown, route.fetch, dict(route.metadata)) == (
        0,
        "hold",
        (),
        {},
    )
    assert (route.hours, route.consent, route.countries, route.region, route.flood) == (None,) * 5
    assert (route.again_after_s, route.max_per_day) == (0, 0)


def test_every_key_of_a_route_is_taken():
    [route] = load(
        call_route(
            """
            match = "a"
            when = "b"
            fetch = ["hs_timezone", "city"]
            campaign = { key = "Campaign_Id" }
            delay = "90s"
            max_age = "3d"
            on_unknown = "call_again"
            """
        )
    ).routes
    assert (route.delay_s, route.max_age_s, route.on_unknown) == (90, 259_200, "call_again")
    assert route.fetch == ("hs_timezone", "city")
    assert {("a",), ("b",), ("Campaign_Id",), ("phone",)} <= route.paths


def test_every_field_of_callkaro_can_be_mapped():
    fields = """
        batch_id = "a"
        schedule_at = "b"
        min_trigger_time = { value = "9:00" }
        max_trigger_time = { value = "18:00" }
        carry_over = { value = true }
        number_of_retries = { value = 10 }
        gap_between_retries = { value = 30 }
        priority = { value = -100 }
        language = { value = "hi" }
    """
    [route] = load(call_route(request=fields, metadata='"Lead Source" = "c"')).routes
    assert len(route.request) == 11
    assert set(route.metadata) == {"Lead Source"}


def test_constants_are_left_as_they_are():
    [route] = load(call_route(metadata='a = { value = "phone" }\nb = { value = [1, "x"] }')).routes
    assert route.metadata["a"].search({"phone": "data"}) == "phone"
    assert route.metadata["b"].search(None) == [1, "x"]
    assert route.metadata["a"].paths == frozenset()


# --- the message of each mistake -----------------------------------------------------------

ROUTE = f"{FILE}: route 'call new leads': "


@each(
    ("keys", "told"),
    [
        ('wehn = "a"', "wehn: Unknown field."),
        (
            'request.to_numbr = "a"',
            "request.to_numbr: CallKaro has no such field; it has agent_id, ",
        ),
        ('match = "a ||"', "match: is not a JMESPath expression: "),
        ('when = "a ||"', "when: is not a JMESPath expression: "),
        (
            "when = \"contain(a, 'x')\"",
            "when: is not a JMESPath expression: there is no function contain()",
        ),
        ('when = ""', "when: must be a JMESPath expression, as text"),
        ("match = 7", "match: must be a JMESPath expression, as text"),
        ("when = true", "when: must be a JMESPath expression, as text"),
        ('campaign = { key = "a[" }', "campaign.key: is not a JMESPath expression: "),
        ('request.language = "a["', "request.language: is not a JMESPath expression: "),
        ('request.metadata.name = "a["', "request.metadata.name: is not a JMESPath expression: "),
        (
            "request.language = 7",
            "request.language: must be a JMESPath expression, or a constant { value = … }",
        ),
        (
            "request.language = { valeu = 7 }",
            "request.language: a constant is written { value = … }, with that key alone",
        ),
        ("request.language = {}", "request.language: a constant is written { value = … }"),
        (
            'request.language = { value = "hi", x = 1 }',
            "request.language: a constant is written { value = … }",
        ),
        ("request.metadata = 7", "request.metadata: must be a table"),
        ('request.metadata = "a"', "request.metadata: must be a table"),
        ("request.metadata.name = 7", "request.metadata.name: must be a JMESPath expression"),
        (
            'request.metadata._name = "a"',
            "request.metadata._name: CallKaro does not allow a key that starts with _",
        ),
        (
            "request.metadata.born = { value = 2020-01-31 }",
            "request.metadata.born: must contain JSON values only",
        ),
        (
            "request.metadata.much = { value = nan }",
            "request.metadata.much: must not contain NaN or infinity",
        ),
        (
            "request.number_of_retries = { value = 11 }",
            "request.number_of_retries: must be between 0 and 10",
        ),
        (
            "request.number_of_retries = { value = true }",
            "request.number_of_retries: must be a whole number",
        ),
        ('request.language = { value = "fr" }', "request.language: must be one of hi en "),
        ('request.language = { value = "" }', "request.language: must be one of hi en "),
        ("request.priority = { value = -101 }", "request.priority: must be between -100 and 100"),
        ('request.carry_over = { value = "yes" }', "request.carry_over: must be true or false"),
        (
            'request.min_trigger_time = { value = "24:00" }',
            "request.min_trigger_time: must be a time of day",
        ),
        (
            'request.schedule_at = { value = "tomorrow" }',
            "request.schedule_at: must read YYYY-MM-DDTHH:MM:SS",
        ),
        ('request.batch_id = { value = "" }', "request.batch_id: must not be empty"),
        ('delay = "2 minutes"', 'delay: must be a number and a unit, such as "90s"'),
        ('max_age = ""', "max_age: must be a number and a unit"),
        ("max_age = 6", "max_age: must be a number and a unit"),
        ('delay = "-2m"', "delay: must be a number and a unit"),
        ('delay = "999999999d"', "delay: must be at most 3650d"),
        ('on_unknown = "ring"', "on_unknown: Must be one of: hold, call_again."),
        ('fetch = "city"', "fetch: Not a valid list."),
        ("fetch = [7]", "fetch.0: Not a valid string."),
        ('fetch = [""]', "fetch.0: "),
        ('campaign = "HubSpot leads"', "campaign: "),
        ("campaign = {}", 'campaign: needs either "name" or "key"'),
        ('campaign = { name = "a", key = "b" }', 'campaign: needs either "name" or "key"'),
        (
            'campaign = { key = "b", period = "month" }',
            'campaign: "period" is allowed only with "name"',
        ),
        (
            'campaign = { name = "a", period = "year" }',
            "campaign.period: Must be one of: day, week, month.",
        ),
        ('campaign = { name = "a", perod = "day" }', "campaign.perod: Unknown field."),
        ('campaign = { name = "" }', "campaign.name: "),
        ('campaign = { name = "  " }', "campaign.name: "),
        (f'campaign = {{ name = "{"x" * 181}" }}', "campaign.name: "),
        (
            'campaign = { name = "a" }\nrequest.batch_id = "b"',
            "campaign: request.batch_id already says which campaign it is",
        ),
    ],
)
def test_a_mistake_in_a_route_is_one_sentence_with_file_entry_and_key(keys, told):
    inline = keys.split("\nrequest.") if "\nrequest." in keys else [keys]
    keys = "\n".join(line for line in inline if not line.startswith(("request.", "batch_id")))
    requested = "\n".join(
        line.removeprefix("request.")
        for line in inline
        if line.startswith(("request.", "batch_id"))
    )
    text = CALL.replace("[route.request]", f"{keys}\n[route.request]") + requested
    [problem] = problems(text)
    assert problem.startswith(ROUTE + told)
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("name", "name: Missing data for required field."),
        ("source", "source: Missing data for required field."),
        ("event", "event: Missing data for required field."),
        ("to ", "to: Missing data for required field."),
        ("to_number", "request.to_number: is missing"),
        ("agent_id", "request.agent_id: is missing"),
    ],
)
def test_what_a_call_must_have_is_missed(key, told):
    text = "\n".join(line for line in CALL.splitlines() if not line.startswith(key))
    [problem] = problems(text)
    assert problem.endswith(told)
    assert problem.startswith(f"{FILE}: route ")


def test_a_route_without_a_request_misses_it():
    text = CALL.partition("[route.request]")[0]
    assert problems(text) == [f"{ROUTE}request: Missing data for required field."]


@each(
    ("old", "new", "told"),
    [
        ('"form.submitted"', "5", "event: Not a valid string."),
        ('"form.submitted"', '""', "event: "),
        ('"generic"', "['generic']", "source: Not a valid string."),
        ('"call"', '"cal"', "to: Must be one of: call, campaign."),
        ('"call"', "1", "to: Not a valid string."),
        ('"call new leads"', "{}", "name: Not a valid string."),
        ('"call new leads"', '""', "name: "),
        ('"call new leads"', '" "', "name: "),
        ('"call new leads"', '"two\\nlines"', "name: "),
        ('"call new leads"', '"two\\u2028lines"', "name: "),
        (
            '"phone"',
            '{ value = "98765 43210" }',
            "request.to_number: must be a phone number in E.164",
        ),
        ('"phone"', "false", "request.to_number: must be a JMESPath expression"),
        (f'"{AGENT}"', "5", "request.agent_id: must be text"),
    ],
)
def test_a_value_of_the_wrong_type_is_told(old, new, told):
    [problem] = problems(CALL.replace(old, new))
    assert told in problem


@pytest.mark.parametrize("request_is", ['"phone"', "7", "[]", "[[1]]"])
def test_a_request_that_is_no_table_is_told_once(request_is):
    text = CALL.partition("[route.request]")[0] + f"request = {request_is}"
    [problem] = problems(text)
    assert problem.startswith(f"{ROUTE}request: ")


@pytest.mark.parametrize(
    ("number", "gaps", "told"),
    [
        ("2", "[]", "must have at least one entry, and at most one for each of number_of_retries"),
        (
            "2",
            "[30, 60, 90]",
            "must have at least one entry, and at most one for each of number_of_retries",
        ),
        ("2", '["soon", 60]', "must be a whole number"),
    ],
)
def test_constants_are_judged_together(number, gaps, told):
    [problem] = problems(
        call_route(
            request=f"number_of_retries = {{ value = {number} }}\n"
            f"gap_between_retries = {{ value = {gaps} }}"
        )
    )
    assert problem == f"{ROUTE}request.gap_between_retries: {told}"


def test_a_window_of_constants_that_crosses_midnight_is_told():
    window = 'min_trigger_time = { value = "21:00" }\nmax_trigger_time = { value = "9:00" }'
    [problem] = problems(call_route(request=window))
    assert problem == f"{ROUTE}request.max_trigger_time: must be later than min_trigger_time"


@pytest.mark.parametrize(
    ("route", "told"),
    [
        (campaign_route(request='agent_id = "a"'), "request.name: is missing"),
        (
            campaign_route(request='name = "a"\nto_number = "b"'),
            "request.to_number: CallKaro has no such field; it has agent_id, name",
        ),
        (
            campaign_route(request='name = "a"\nmetadata.x = "b"'),
            "request.metadata: CallKaro has no such field",
        ),
        (campaign_route(request='name = { value = "" }'), "request.name: must not be empty"),
        (
            campaign_route(request=f'name = {{ value = "{"x" * 201}" }}'),
            "request.name: must be 1 to 200 characters long",
        ),
        (
            campaign_route('campaign = { name = "x" }'),
            'campaign: a route to = "campaign" names the campaign in request.name',
        ),
    ],
)
def test_a_mistake_in_a_route_to_a_campaign_is_told(route, told):
    [problem] = problems(route)
    assert problem.startswith(f"{FILE}: route 'make campaigns': {told}")


@pytest.mark.parametrize(
    "route",
    [
        campaign_route(),
        campaign_route(request='name = "a"\nagent_id = "b"'),
        campaign_route('campaign = { key = "id" }'),
    ],
)
def test_a_route_to_a_campaign_loads(route):
    assert load(route).routes[0].to == "campaign"


# --- the guards -----------------------------------------------------------------------------


@each(
    ("keys", "attribute", "value"),
    [
        ('again_after = "24h"', "again_after_s", 86_400),
        ('again_after = "0s"', "again_after_s", 0),
        ("max_per_day = 1", "max_per_day", 1),
        ("max_per_day = 500", "max_per_day", 500),
        ("consent = \"a == 'yes'\"", "consent", Expression.of("a == 'yes'")),
        ('countries = ["IN"]', "countries", frozenset({"IN"})),
        ('countries = ["IN", "AE", "IN"]', "countries", frozenset({"IN", "AE"})),
        ('countries = "any"', "countries", "any"),
        ('region = "AE"', "region", Constant("AE")),
        ('region = "country"', "region", Expression.of("country")),
        ("region = \"a.b || 'AE'\"", "region", Expression.of("a.b || 'AE'")),
        ('flood = { over = 100, within = "5m" }', "flood", Flood(over=100, within_s=300)),
        ('flood = { over = 1, within = "1d" }', "flood", Flood(over=1, within_s=86_400)),
    ],
)
def test_a_guard_of_a_route_is_read(keys, attribute, value):
    assert getattr(load(call_route(keys)).routes[0], attribute) == value


@each(
    ("keys", "shown", "zone"),
    [
        ("", "all day", None),
        ('from = "10:00"', "10:00-24:00", None),
        ('to = "19:00"', "00:00-19:00", None),
        ('from = "9:30", to = "24:00"', "09:30-24:00", None),
        ('days = "mon-sat"', "all day, mon-sat", None),
        ('days = ["Monday", "wed"]', "all day, mon,wed", None),
        ('days = "sat-mon"', "all day, sat-mon", None),
        ('days = "mon-sun"', "all day", None),
        ('timezone = "Asia/Kolkata"', "all day", "Asia/Kolkata"),
        ('timezone = "asia/kolkata"', "all day", "Asia/Kolkata"),
        ('timezone = "UTC"', "all day", "UTC"),
        ('timezone = "properties.hs_timezone"', "all day", Expression.of("properties.hs_timezone")),
        ("timezone = \"tz || 'Asia/Dubai'\"", "all day", Expression.of("tz || 'Asia/Dubai'")),
        ('holidays = ["2027-01-26"]', "all day, not on holidays", None),
        ("holidays = [2027-01-26]", "all day, not on holidays", None),
        ("holidays = []", "all day", None),
    ],
)
def test_the_hours_of_a_route_are_read(keys, shown, zone):
    hours = load(call_route(f"hours = {{ {keys} }}")).routes[0].hours
    assert hours is not None
    # Whole days are no "always": that would not look at the clock, nor at a zone.
    assert not hours.hours.always
    assert str(hours.hours).replace("00:00-24:00", "all day") == shown
    assert hours.timezone == zone


def read_file(name: str) -> str:
    """Stand in for the files beside routes.toml."""
    files = {
        "holidays.txt": "\ufeff# Republic Day\n2027-01-26\n\n2027-08-15  # Independence Day\n",
        "wrong.txt": "2027-01-26\nAsha, +91 98765 43210\n",
        "empty.txt": "",
    }
    if name == "bytes.txt":
        return b"\xff".decode()
    if name not in files:
        raise FileNotFoundError(name)
    return files[name]


def load_beside(keys: str) -> RouteHours:
    text = call_route(f"hours = {{ {keys} }}")
    hours = load_routes(text, file=FILE, kinds=kinds(), read=read_file).routes[0].hours
    assert hours is not None
    return hours


def problems_beside(keys: str) -> list[str]:
    with pytest.raises(RoutesError) as caught:
        load_routes(call_route(keys), file=FILE, kinds=kinds(), read=read_file)
    return caught.value.problems


@pytest.mark.parametrize(
    ("keys", "days"),
    [
        ('holidays = "holidays.txt"', {date(2027, 1, 26), date(2027, 8, 15)}),
        ('holidays = "empty.txt"', set()),
        ('holidays = ["2027-01-26", 2027-08-15]', {date(2027, 1, 26), date(2027, 8, 15)}),
    ],
)
def test_holidays_are_a_list_or_a_file(keys, days):
    assert load_beside(keys).hours.holidays == days


@pytest.mark.parametrize("name", ["no-such.txt", "bytes.txt", ""])
def test_a_holidays_file_that_cannot_be_read_stops_the_boot(name):
    assert problems_beside(f'hours = {{ holidays = "{name}" }}') == [
        f"{ROUTE}hours.holidays: the file '{name}' can't be read; a list of dates is possible, too"
    ]


def test_a_holidays_file_with_other_lines_is_told_by_line_and_not_quoted():
    assert problems_beside('hours = { holidays = "wrong.txt" }') == [
        f"{ROUTE}hours.holidays: Line 2 of the holidays is not a date: write it as 2026-11-08."
    ]


def test_a_holidays_file_that_cannot_be_read_hides_no_other_mistake():
    found = problems_beside('wehn = "a"\nhours = { from = "late", holidays = "no-such.txt" }')
    assert {problem.removeprefix(ROUTE).partition(":")[0] for problem in found} == {
        "hours.holidays",
        "hours.from",
        "wehn",
    }


def test_where_there_are_no_files_holidays_are_a_list():
    assert problems(call_route('hours = { holidays = "holidays.txt" }')) == [
        f"{ROUTE}hours.holidays: the file 'holidays.txt' can't be read; "
        "a list of dates is possible, too"
    ]


DURATION = 'must be a number and a unit, such as "90s", "2m", "6h" or "3d"'
EXPRESSION = "must be a JMESPath expression, as text"


@each(
    ("keys", "told"),
    [
        ("hours = 5", "hours: Invalid input type."),
        ('hours = "10:00-19:00"', "hours: Invalid input type."),
        ('hours = { day = "mon" }', "hours.day: Unknown field."),
        ('hours = { days = "" }', "hours.days: '' are no days: write "),
        ('hours = { days = "mon-xyz" }', "hours.days: 'mon-xyz' are no days: write "),
        ("hours = { days = [] }", "hours.days: [] are no days: name at least one."),
        ("hours = { days = 5 }", "hours.days: 5 are no days: write text "),
        ('hours = { days = ["mon", 5] }', "hours.days: 5 are no days: write text "),
        (
            'hours = { from = "19:00", to = "10:00" }',
            "hours.to: '19:00-10:00' is not a window: it must end after it starts, the same day.",
        ),
        ('hours = { from = "10:00", to = "10:00" }', "hours.to: '10:00-10:00' is not a window"),
        ('hours = { from = "always" }', "hours.from: 'always' is not a time of day: "),
        ('hours = { from = "9" }', "hours.from: '9' is not a time of day: "),
        ('hours = { to = "25:00" }', "hours.to: '25:00' is not a time of day: "),
        ("hours = { from = 9 }", "hours.from: Not a valid string."),
        ("hours = { to = 19:00:00 }", "hours.to: Not a valid string."),
        ('hours = { timezone = "" }', "hours.timezone: "),
        ("hours = { timezone = 5.5 }", "hours.timezone: Not a valid string."),
        (
            'hours = { timezone = "Asia/Kolkatta" }',
            "hours.timezone: 'Asia/Kolkatta' is neither a time zone nor a JMESPath expression",
        ),
        ('hours = { timezone = "a ||" }', "hours.timezone: 'a ||' is neither a time zone nor "),
        ("hours = { holidays = 5 }", "hours.holidays: Holidays must be a list of dates, or text"),
        (
            'hours = { holidays = ["2027-01-26", "26 January"] }',
            "hours.holidays: Entry 2 of the holidays is not a date: write it as 2026-11-08.",
        ),
        (
            'hours = { holidays = ["2027-02-29"] }',
            "hours.holidays: Entry 1 of the holidays is a date that does not exist.",
        ),
        (
            "hours = { holidays = [2027-01-26T00:00:00] }",
            "hours.holidays: Entry 1 of the holidays is not a date",
        ),
        ('again_after = "1 day"', f"again_after: {DURATION}"),
        ("again_after = 24", f"again_after: {DURATION}"),
        ('again_after = "4000d"', "again_after: must be at most 3650d"),
        ("max_per_day = 0", "max_per_day: Must be greater than or equal to 1."),
        ("max_per_day = -1", "max_per_day: Must be greater than or equal to 1."),
        ('max_per_day = "500"', "max_per_day: Not a valid integer."),
        ("max_per_day = 1.5", "max_per_day: Not a valid integer."),
        ("max_per_day = true", "max_per_day: Not a valid integer."),
        ('consent = ""', f"consent: {EXPRESSION}"),
        ("consent = true", f"consent: {EXPRESSION}"),
        ('consent = "a =="', "consent: is not a JMESPath expression: "),
        ("countries = []", 'countries: must be a list such as ["IN", "AE"], or "any"'),
        ('countries = "IN"', 'countries: must be a list such as ["IN", "AE"], or "any"'),
        ('countries = "all"', 'countries: must be a list such as ["IN", "AE"], or "any"'),
        ("countries = {}", 'countries: must be a list such as ["IN", "AE"], or "any"'),
        (
            'countries = ["in"]',
            "countries: 'in' is not the two letters of a country (GB for Britain)",
        ),
        (
            'countries = ["IN", "UK"]',
            "countries: 'UK' is not the two letters of a country (GB for ",
        ),
        ('countries = ["any"]', "countries: 'any' is not the two letters of a country"),
        ('countries = [["IN"]]', "countries: ['IN'] is not the two letters of a country"),
        ("countries = [{}]", "countries: {} is not the two letters of a country"),
        ('region = ""', f"region: {EXPRESSION}"),
        ("region = 91", f"region: {EXPRESSION}"),
        ('region = ["IN"]', f"region: {EXPRESSION}"),
        ('region = { value = "IN" }', f"region: {EXPRESSION}"),
        ('region = "UK"', "region: 'UK' is not the two letters of a country (GB for Britain)"),
        ('region = "a ||"', "region: is not a JMESPath expression: "),
        ("flood = 100", "flood: Invalid input type."),
        ("flood = { over = 100 }", "flood.within: Missing data for required field."),
        ('flood = { within = "5m" }', "flood.over: Missing data for required field."),
        ('flood = { over = 0, within = "5m" }', "flood.over: Must be greater than or equal to 1."),
        ('flood = { over = "9", within = "5m" }', "flood.over: Not a valid integer."),
        ("flood = { over = 1, within = 5 }", f"flood.within: {DURATION}"),
        ('flood = { over = 1, within = "0s" }', "flood.within: must be from 1s to 1d"),
        ('flood = { over = 1, within = "2d" }', "flood.within: must be from 1s to 1d"),
        ('flood = { over = 1, within = "5m", x = 1 }', "flood.x: Unknown field."),
    ],
)
def test_a_mistake_in_a_guard_is_one_sentence_with_file_entry_and_key(keys, told):
    [problem] = problems(call_route(keys))
    assert problem.startswith(ROUTE + told)
    assert "\n" not in problem


def test_all_that_is_wrong_with_the_hours_is_told():
    found = problems(
        call_route('hours = { from = "late", days = "mo", holidays = ["x"], timezone = "a/" }')
    )
    assert {problem.removeprefix(ROUTE).partition(":")[0] for problem in found} == {
        "hours.from",
        "hours.days",
        "hours.holidays",
        "hours.timezone",
    }


@pytest.mark.parametrize(
    "keys",
    [
        "hours = {}",
        'again_after = "24h"',
        "max_per_day = 500",
        'consent = "a"',
        'countries = ["IN"]',
        'region = "IN"',
        'flood = { over = 100, within = "5m" }',
    ],
)
def test_a_route_to_a_campaign_can_not_seem_to_guard_its_calls(keys):
    key = keys.partition(" ")[0]
    assert problems(campaign_route(keys)) == [
        f"{FILE}: route 'make campaigns': {key}: is allowed only with to = \"call\""
    ]


def test_a_route_to_a_campaign_may_look_at_its_event():
    keys = 'when = "a"\nmatch = "b"\nmax_age = "1h"\ndelay = "1m"'
    assert load(campaign_route(keys)).routes[0].max_age_s == 3600


def test_all_that_guards_read_is_fetched():
    routes = load(
        '[[source]]\nname = "generic"\nopt_out = "p.dnd"\n'
        + call_route('hours = { timezone = "p.tz" }\nconsent = "p.agreed"\nregion = "p.country"')
    )
    paths = routes.routes[0].paths_with(routes.sources["generic"])
    assert {("p", "tz"), ("p", "agreed"), ("p", "country"), ("p", "dnd"), ("phone",)} <= paths


def test_an_unknown_source_is_told_with_those_there_are():
    text = CALL.replace('"generic"', '"hubspt"')
    assert problems(text) == [
        f"{ROUTE}source: there is no 'hubspt'; there are {', '.join(sorted(kinds()))}"
    ]


def test_two_routes_of_one_name_are_told():
    assert problems(CALL + CALL) == [f"{ROUTE}name: another route has the same name"]


def test_an_entry_without_a_name_is_told_by_its_number():
    text = CALL + CALL.replace('name   = "call new leads"', "")
    assert problems(text) == [f"{FILE}: route 2: name: Missing data for required field."]


def test_all_mistakes_are_named_at_once():
    text = """
        routes = 1

        [[source]]
        name = "Web Site"
        auth = "hmac"

        [[source]]
        name = "other"
        kind = "salesfarce"

        [[route]]
        name = "one"
        source = "hubspt"
        event = "x"
        to = "call"
        wehn = "a"
        again_after = "later"
        delay = "soon"
        campaign = { name = "a", key = "b" }
        [route.request]
        agent_id = "a["
        langage = "b"
        priority = { value = 500 }
        metadata._x = "c"

        [[route]]
        name = "one"
        source = "generic"
        event = "x"
        to = "campaign"
        [route.request]
        agent_id = "a"
    """
    found = problems(text)
    for told in (
        "unknown table or key [routes]",
        "source 'Web Site': name: ",
        "source 'Web Site': header: ",
        "source 'other': kind: there is no 'salesfarce'",
        "route 'one': source: there is no 'hubspt'",
        "route 'one': wehn: ",
        "route 'one': again_after: ",
        "route 'one': delay: ",
        "route 'one': campaign: ",
        "route 'one': request.to_number: is missing",
        "route 'one': request.agent_id: ",
        "route 'one': request.langage: ",
        "route 'one': request.priority: ",
        "route 'one': request.metadata._x: ",
        "route 'one': name: another route has the same name",
        "route 'one': request.name: is missing",
    ):
        assert [p for p in found if p.startswith(f"{FILE}: {told}")], told
    assert len(found) == 16
    with pytest.raises(RoutesError) as caught:
        load(text)
    assert all(problem in str(caught.value) for problem in found)


@each(
    ("text", "told"),
    [
        (CALL.replace("[[route]]", "[route]"), "route: write [[route]], with two brackets"),
        ('[source]\nname = "website"', "source: write [[source]], with two brackets"),
        ("route = 5", "route: write [[route]], with two brackets"),
        ('source = "website"', "source: write [[source]], with two brackets"),
        ("route = [5]", "route 1: must be a table"),
        ('source = [["x"]]', "source 1: must be a table"),
        ("[[routes]]", "unknown table or key [routes]; it may have [[route]] and [[source]]"),
        ("rout = 1", "unknown table or key [rout]; it may have [[route]] and [[source]]"),
    ],
)
def test_a_slip_at_the_top_is_told(text, told):
    assert problems(text) == [f"{FILE}: {told}"]


@each(
    "text",
    [
        "[[route]",
        "name = ",
        '[[route]]\nname = "a"\nname = "b"',
        "{}",
        "\x00",
        "﻿[[route",
        "route = " + "9" * 5000,
        "route = " + "[" * 5000 + "]" * 5000,
    ],
)
def test_what_is_no_toml_is_one_sentence(text):
    [problem] = problems(text)
    assert problem.startswith(f"{FILE}: is not TOML: ")


def test_text_with_bytes_that_are_no_utf_8_is_told():
    # What os.environ makes of such bytes in ROUTES_TOML.
    [problem] = problems(f"# caf\udce9\n{CALL}")
    assert problem.startswith(f"{FILE}: is not TOML: ")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("2m", 120), ("6h", 21_600), ("3d", 259_200), ("0s", 0), (" 1 d ", 86_400)],
)
def test_durations_are_read(text, seconds):
    assert duration_s(text) == seconds


@each("text", ["", "6", "h", "1w", "1.5h", "-1s", "1h30m", None, 6, True, "1H"])
def test_what_is_no_duration_is_refused_with_what_to_write(text):
    with pytest.raises(ValueError, match='"90s", "2m", "6h" or "3d"'):
        duration_s(text)


# --- which events a route wants -------------------------------------------------------------


@each(
    ("to", "pattern", "event_type", "wanted"),
    [
        ("call", "contact.created", "contact.created", True),
        ("call", "contact.created", "contact.updated", False),
        ("call", "contact.created", "contact.createdx", False),
        ("call", "contact.created", "Contact.Created", False),
        ("call", "contact.*", "contact.created", True),
        ("call", "contact.*", "contact.updated", True),
        ("call", "contact.*", "company.created", False),
        ("call", "*", "contact.created", True),
        ("call", "*.created", "lead.created", True),
        ("call", "contact.[cu]*ed", "contact.updated", True),
        ("call", "contact.?reated", "contact.created", True),
        ("call", "*", "contact.restored", True),
        # What nobody may be rung for, unless a route names it.
        *(
            ("call", pattern, f"contact.{happened}", pattern == f"contact.{happened}")
            for happened in ("deleted", "merged", "privacy_deleted", "test")
            for pattern in (
                "*",
                "contact.*",
                "contact.?*",
                f"contact.{happened}",
                f"*{happened}",
                f"contact.{happened[:-1]}?",
                f"contact.[{happened[0]}]{happened[1:]}",
            )
        ),
        ("call", "*", "test", False),
        ("call", "test", "test", True),
        ("call", "*", "a.b.deleted", False),
        # A campaign rings nobody.
        *(
            ("campaign", pattern, f"contact.{happened}", True)
            for happened in ("deleted", "merged", "privacy_deleted", "test", "created")
            for pattern in ("*", "contact.*")
        ),
        ("campaign", "contact.created", "contact.deleted", False),
    ],
)
def test_a_glob_never_calls_for_a_deletion_a_merge_or_a_test(to, pattern, event_type, wanted):
    text = CALL.replace("form.submitted", pattern) if to == "call" else campaign_route()
    routes = load(text.replace("campaign.created", pattern))
    assert [route.to for route in routes.for_event("generic", event_type)] == [to] * wanted
    assert routes.for_event("website", event_type) == ()
    assert routes.for_event("hubspot", event_type) == ()


def test_several_routes_may_want_one_event_in_the_order_of_the_file():
    text = "".join(CALL.replace("call new leads", name) for name in ("b", "a", "c"))
    routes = load(text)
    assert [route.name for route in routes.for_event("generic", "form.submitted")] == list("bac")


def test_a_route_is_found_by_its_name():
    routes = load(CALL)
    assert routes.named("call new leads") is routes.routes[0]
    assert routes.named("call old leads") is None


# --- campaigns ------------------------------------------------------------------------------


def calling(name: str, campaign: str, agent: str) -> str:
    text = call_route(f"campaign = {campaign}").replace("call new leads", name)
    return text.replace(f'{{ value = "{AGENT}" }}', agent)


LEADS = '{ name = "Leads" }'
MONTHLY = '{ name = "Leads", period = "month" }'
ONE, OTHER, MAPPED = '{ value = "agent-1" }', '{ value = "agent-2" }', '"agent"'


@each(
    ("routes", "agents"),
    [
        ([(LEADS, ONE)], ["agent-1"]),
        ([(LEADS, MAPPED)], [None]),
        ([(LEADS, ONE), (LEADS, ONE)], ["agent-1", "agent-1"]),
        ([(LEADS, ONE), (LEADS, OTHER)], [None, None]),
        ([(LEADS, ONE), (LEADS, MAPPED)], [None, None]),
        ([(LEADS, MAPPED), (LEADS, MAPPED)], [None, None]),
        ([(MONTHLY, ONE), (MONTHLY, ONE)], ["agent-1", "agent-1"]),
        ([(LEADS, ONE), ('{ name = "Others" }', OTHER)], ["agent-1", "agent-2"]),
        ([(LEADS, ONE), ('{ key = "Leads" }', OTHER)], ["agent-1", None]),
    ],
)
def test_a_campaign_is_v1_where_all_its_routes_share_one_constant_agent(routes, agents):
    text = "".join(calling(f"r{n}", *choice) for n, choice in enumerate(routes))
    found = load(text)
    named = [r for r in found.routes if r.campaign and r.campaign.name]
    expected = agents[: len(named)]
    assert [found.campaign_agent(route) for route in named] == expected


def test_a_route_that_makes_campaigns_has_no_say_in_anothers_agent():
    made = campaign_route('campaign = { key = "Leads" }', 'name = "t"\nagent_id = "a"')
    found = load(calling("r", LEADS, ONE) + made)
    assert found.campaign_agent(found.routes[0]) == "agent-1"


def test_a_call_outside_any_campaign_has_none():
    found = load(CALL)
    assert found.campaign_agent(found.routes[0]) is None


@each(
    ("period", "at", "zone", "name"),
    [
        (None, "2026-11-30T18:30:00", "Asia/Kolkata", "Leads"),
        ("day", "2026-11-30T18:29:59", "Asia/Kolkata", "Leads 2026-11-30"),
        ("day", "2026-11-30T18:30:00", "Asia/Kolkata", "Leads 2026-12-01"),
        ("day", "2026-11-30T18:30:00", "UTC", "Leads 2026-11-30"),
        ("month", "2026-11-30T18:29:59", "Asia/Kolkata", "Leads 2026-11"),
        ("month", "2026-11-30T18:30:00", "Asia/Kolkata", "Leads 2026-12"),
        ("month", "2026-12-31T18:30:00", "Asia/Kolkata", "Leads 2027-01"),
        # ISO weeks: 1 January 2027 is in the last week of 2026.
        ("week", "2026-12-31T20:00:00", "Asia/Kolkata", "Leads 2026-W53"),
        ("week", "2027-01-03T18:29:59", "Asia/Kolkata", "Leads 2026-W53"),
        ("week", "2027-01-03T18:30:00", "Asia/Kolkata", "Leads 2027-W01"),
    ],
)
def test_a_campaigns_period_is_that_of_the_send_in_callkaros_zone(period, at, zone, name):
    line = f'{{ name = "Leads", period = "{period}" }}' if period else LEADS
    [route] = load(calling("r", line, ONE)).routes
    assert route.campaign is not None
    when = datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert route.campaign.full_name(when, zone) == name


def test_a_keyed_campaign_has_no_name_of_its_own():
    [route] = load(calling("r", '{ key = "a" }', ONE)).routes
    assert route.campaign is not None
    with pytest.raises(ValueError, match="no name"):
        route.campaign.full_name(datetime(2026, 1, 1, tzinfo=UTC), "UTC")


def test_the_longest_name_has_room_for_its_period():
    [route] = load(calling("r", f'{{ name = "{"x" * 180}", period = "week" }}', ONE)).routes
    assert route.campaign is not None
    assert len(route.campaign.full_name(datetime(2026, 1, 1, tzinfo=UTC), "UTC")) <= 200


# --- [[source]] -----------------------------------------------------------------------------


@each(
    ("lines", "auth"),
    [
        ("", Token()),
        ('auth = "token"', Token()),
        ('auth = "token"\nheader = "X-Key"', Token(header="X-Key")),
        ('auth = "basic"', Basic()),
        ('auth = "standard"', STANDARD_WEBHOOKS),
        ('auth = "hmac"\nheader = "X-Sig"', Signatures(schemes=(Signature(header="X-Sig"),))),
        (
            'auth = "hmac"\nheader = "X-Hub-Signature"\nhash = "sha1"\nprefix = "sha1="',
            Signatures(schemes=(Signature(header="X-Hub-Signature", hash="sha1", prefix="sha1="),)),
        ),
        (
            'auth = "hmac"\nheader = "X-Sig"\nhash = "sha512"\nencoding = "base64"\nprefix = ""',
            Signatures(schemes=(Signature(header="X-Sig", hash="sha512", encoding="base64"),)),
        ),
        ('kind = "zoho"', Token(body=("token",))),
        ('kind = "zoho"\nauth = "token"\nheader = "X-Key"', Token(header="X-Key", body=("token",))),
        ('kind = "zoho"\nauth = "basic"', Basic()),
        ('kind = "hubspot"', kinds()["hubspot"].auth),
        ('kind = "hubspot"\nauth = "token"', Token()),
    ],
)
def test_a_source_proves_itself_as_its_entry_says_or_as_its_kind_does(lines, auth):
    source = load(f'[[source]]\nname = "website"\n{lines}').sources["website"]
    assert source.auth == auth
    assert source.name == "website"


def test_a_second_portal_is_read_as_its_kind_is():
    portal = load('[[source]]\nname = "hubspot-2"\nkind = "hubspot"').sources["hubspot-2"]
    assert portal.kind is kinds()["hubspot"]
    assert portal.variable_prefix == "HUBSPOT_2_"
    assert portal.default_type == kinds()["hubspot"].default_type


def test_the_source_of_a_kind_may_be_described_anew():
    lines = '[[source]]\nname = "generic"\nauth = "standard"\nevent = "type"\n'
    source = load(lines + CALL).sources["generic"]
    assert (source.auth, source.event) == (STANDARD_WEBHOOKS, Expression.of("type"))
    assert source.default_type == kinds()["generic"].default_type


@each(
    ("lines", "name", "opt_out"),
    [
        ('name = "website"', "website", None),
        ('name = "website"\nopt_out = "dnd"', "website", Expression.of("dnd")),
        ('name = "hubspot"\nopt_out = "dnd"', "hubspot", Expression.of("dnd")),
        ("", "hubspot", None),
        # What a kind brings along stays until its entry says otherwise.
        ("", "gohighlevel", kinds()["gohighlevel"].opt_out),
        ('name = "gohighlevel"', "gohighlevel", kinds()["gohighlevel"].opt_out),
        ('name = "ghl"\nkind = "gohighlevel"', "ghl", kinds()["gohighlevel"].opt_out),
        ('name = "gohighlevel"\nopt_out = "dnd"', "gohighlevel", Expression.of("dnd")),
    ],
)
def test_a_source_opts_out_as_its_entry_says_or_as_its_kind_does(lines, name, opt_out):
    text = f"[[source]]\n{lines}" if lines else ""
    assert load(text).sources[name].opt_out == opt_out


def test_a_form_of_ones_own_submits_forms():
    source = load('[[source]]\nname = "website"').sources["website"]
    assert (source.default_type, source.id_window_s) == ("form.submitted", 86_400)
    assert (source.event, source.id, source.time) == (None, None, None)


def test_its_id_window_is_read():
    source = load('[[source]]\nname = "website"\nid_window = "2h"').sources["website"]
    assert source.id_window_s == 7200


def test_a_route_finds_a_source_of_ones_own():
    routes = load('[[source]]\nname = "website"\n' + CALL.replace('"generic"', '"website"'))
    assert len(routes.for_event("website", "form.submitted")) == 1


@each(
    ("lines", "told"),
    [
        ("", "source 1: name: Missing data for required field."),
        ('name = "Website"', "name: must be small letters, digits and -"),
        ('name = "my_form"', "name: must be small letters, digits and -"),
        ('name = "9forms"', "name: must be small letters, digits and -"),
        ('name = "form/1"', "name: must be small letters, digits and -"),
        ('name = "form\\n"', "name: must be small letters, digits and -"),
        ('name = ""', "name: must be small letters, digits and -"),
        (f'name = "{"x" * 41}"', "name: must be small letters, digits and -"),
        ("name = 5", "name: Not a valid string."),
        (
            'name = "a"\nkind = "salesfarce"',
            f"kind: there is no 'salesfarce'; there are {', '.join(sorted(kinds()))}",
        ),
        ('name = "a"\nkind = 5', "kind: Not a valid string."),
        ('name = "a"\nauth = "none"', "auth: Must be one of: token, basic, hmac, standard."),
        ('name = "a"\nauth = ""', "auth: Must be one of"),
        ('name = "a"\nauth = ["token"]', "auth: Not a valid string."),
        (
            'name = "a"\nauth = "hmac"',
            'header: auth = "hmac" needs the header that has the signature',
        ),
        ('name = "a"\nauth = "hmac"\nheader = ""', "header: "),
        (
            'name = "a"\nauth = "hmac"\nheader = "b"\nhash = "md5"',
            "hash: Must be one of: sha1, sha256, sha512.",
        ),
        (
            'name = "a"\nauth = "hmac"\nheader = "b"\nencoding = "rot13"',
            "encoding: Must be one of: hex, base64.",
        ),
        ('name = "a"\nauth = "token"\nhash = "sha1"', 'hash: is allowed only with auth = "hmac"'),
        ('name = "a"\nencoding = "hex"', 'encoding: is allowed only with auth = "hmac"'),
        (
            'name = "a"\nauth = "standard"\nprefix = "v1"',
            'prefix: is allowed only with auth = "hmac"',
        ),
        (
            'name = "a"\nauth = "basic"\nheader = "b"',
            'header: is allowed only with auth = "hmac" or "token"',
        ),
        ('name = "a"\nheader = "b"', 'header: is allowed only with auth = "hmac" or "token"'),
        ('name = "a"\nevent = "b["', "event: is not a JMESPath expression: "),
        ('name = "a"\nid = 7', "id: must be a JMESPath expression, as text"),
        ('name = "a"\ntime = ""', "time: must be a JMESPath expression, as text"),
        ('name = "a"\nopt_out = "b["', "opt_out: is not a JMESPath expression: "),
        ('name = "a"\nopt_out = true', "opt_out: must be a JMESPath expression, as text"),
        ('name = "a"\nopt_out = ""', "opt_out: must be a JMESPath expression, as text"),
        ('name = "a"\nid_window = "1 day"', "id_window: must be a number and a unit"),
        ('name = "a"\nauth = "token"\nheader = "x_api_key"', "header: must not have a _"),
        ('name = "a"\nauth = "hmac"\nheader = "X_Signature"', "header: must not have a _"),
        ('name = "a"\nauth = "hmac"\nheader = "X-Sig_"', "header: must not have a _"),
        ('name = "a"\nauth = "token"\nheader = "X Key"', "header: must be the name of a header"),
        ('name = "a"\nauth = "token"\nheader = "X-Key:"', "header: must be the name of a header"),
        ('name = "a"\nauth = "token"\nheader = ""', "header: must be the name of a header"),
        (
            'name = "a"\nauth = "token"\nparts = ["body"]',
            'parts: is allowed only with auth = "hmac"',
        ),
        ('name = "a"\ntolerance = "5m"', 'tolerance: is allowed only with auth = "hmac"'),
        ('name = "a"\nid_window = "0s"', "id_window: "),
        ('name = "a"\nsecret = "s"', "secret: Unknown field."),
    ],
)
def test_a_mistake_in_a_source_is_one_sentence_with_file_entry_and_key(lines, told):
    [problem] = problems(f"[[source]]\n{lines}")
    assert problem.startswith(f"{FILE}: source ")
    assert told in problem


TIMED = 'parts = ["timestamp", "body"]\n'


@each(
    ("lines", "told"),
    [
        (TIMED + 'timestamp_header = "X_Time"', "timestamp_header: must not have a _"),
        (TIMED + 'timestamp_header = "X Time"', "timestamp_header: must be the name of a header"),
        (TIMED, 'parts: "timestamp" needs either'),
        (
            TIMED + 'timestamp_header = "X-T"\nsignature_key = "v1"\ntimestamp_key = "t"',
            'parts: "timestamp" needs either',
        ),
        (TIMED + 'timestamp_key = "t"', "timestamp_key: needs a signature_key"),
        ('parts = ["v0", "body"]', "parts: 'v0' is none of"),
        ('parts = ["id", "body"]', "parts: 'id' is none of"),
        ('parts = ["body", "body"]', 'parts: must have "body" once'),
        ('parts = ["timestamp"]\ntimestamp_header = "X-T"', 'parts: must have "body" once'),
        ('parts = "body"', "parts: must be a list"),
        ("parts = [1]", "parts: must be a list"),
        ('timestamp_header = "X-T"', 'timestamp_header: needs "timestamp" in parts'),
        ('tolerance = "5m"', 'tolerance: needs "timestamp" in parts'),
        ('timestamp_unit = "ms"', 'timestamp_unit: needs "timestamp" in parts'),
        (TIMED + 'tolerance = "2d"\ntimestamp_header = "X-T"', "tolerance: must be from 1s to 1d"),
        (TIMED + 'tolerance = "soon"\ntimestamp_header = "X-T"', "tolerance: must be a number"),
        ('signature_key = "v1="', "signature_key: must be a key"),
        ('secret_encoding = "rot13"', "secret_encoding: "),
    ],
)
def test_a_mistake_in_an_hmac_is_one_sentence_with_its_key(lines, told):
    [problem] = problems(f'[[source]]\nname = "a"\nauth = "hmac"\nheader = "X-S"\n{lines}')
    assert problem.startswith(f"{FILE}: source 'a': {told}")


def test_two_sources_of_one_name_are_told():
    assert problems('[[source]]\nname = "a"\n[[source]]\nname = "a"') == [
        f"{FILE}: source 'a': name: another [[source]] has the same name"
    ]


# --- this version of it ---------------------------------------------------------------------


def test_the_digest_names_the_text():
    digest = load(CALL).digest
    assert digest == load(CALL).digest
    assert digest != load(CALL + "\n# a word more").digest
    assert len(digest) == 12
    assert digest.isalnum()


def test_the_file_is_called_as_the_caller_calls_it():
    with pytest.raises(RoutesError, match=r"^ROUTES_TOML: unknown table"):
        load_routes("x = 1", file="ROUTES_TOML", kinds=kinds())


# --- whatever is written --------------------------------------------------------------------

STRINGS = st.sampled_from(
    [
        "",
        "a",
        "call",
        "campaign",
        "generic",
        "hubspot",
        "hmac",
        "token",
        "a ||",
        "2m",
        "*",
        "[",
        "x" * 300,
    ]
) | st.text(max_size=4)
SCALARS = (
    STRINGS
    | st.integers(-(2**70), 2**70)
    | st.booleans()
    | st.floats()
    | st.datetimes()
    | st.dates()
    | st.times()
)
WORDS = [
    "name",
    "source",
    "event",
    "to",
    "match",
    "when",
    "fetch",
    "campaign",
    "delay",
    "max_age",
    "on_unknown",
    "request",
    "metadata",
    "kind",
    "auth",
    "header",
    "hash",
    "encoding",
    "prefix",
    "id",
    "time",
    "id_window",
    "hours",
    "days",
    "from",
    "timezone",
    "holidays",
    "again_after",
    "max_per_day",
    "consent",
    "countries",
    "region",
    "flood",
    "over",
    "within",
    "opt_out",
    "value",
    "key",
    "period",
    "to_number",
    "agent_id",
    "language",
    "number_of_retries",
    "gap_between_retries",
    "schedule_at",
    "_schema",
]
KEYS = st.sampled_from(WORDS) | st.text(max_size=2)
THINGS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=6,
)
ENTRY = st.dictionaries(st.sampled_from(WORDS), THINGS, max_size=8)
SOUND = st.fixed_dictionaries(
    {
        "name": STRINGS,
        "source": st.just("generic"),
        "event": STRINGS,
        "to": st.sampled_from(["call", "campaign"]),
        "request": st.dictionaries(st.sampled_from(WORDS), THINGS, max_size=6) | THINGS,
    },
    optional={
        "campaign": THINGS,
        "fetch": THINGS,
        "delay": THINGS,
        "match": THINGS,
        "countries": THINGS,
        "region": THINGS,
        "flood": THINGS,
        "hours": THINGS
        | st.dictionaries(
            st.sampled_from(["days", "from", "to", "timezone", "holidays"]), THINGS, max_size=5
        ),
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "route": st.lists(ENTRY | SOUND | SCALARS, max_size=2) | THINGS,
        "source": st.lists(ENTRY | SCALARS, max_size=2) | THINGS,
        "x": SCALARS,
    },
)


def toml(value: object) -> str:
    """Write a value as TOML, tables in one line."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            escaped = "".join(f"\\U{ord(c):08x}" for c in value)
            return f'"{escaped}"'
        case int():
            return str(value)
        case float():
            return repr(value)
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case dict():
            inner = ", ".join(f"{toml(key)} = {toml(item)}" for key, item in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case _:
            return value.isoformat()  # dates and times


@examples(150)
@given(DOCUMENTS)
def test_whatever_the_file_holds_it_loads_or_every_problem_is_a_sentence(document):
    text = "\n".join(f"{key} = {toml(value)}" for key, value in document.items())
    for problem in problems(text):
        assert problem.startswith(f"{FILE}: ")
        assert ": :" not in problem


@examples(120)
@given(
    st.text(max_size=30) | st.lists(st.sampled_from(EVERY_KEY.split()), max_size=12).map("\n".join)
)
def test_whatever_the_text_it_loads_or_is_refused(text):
    problems(text)
