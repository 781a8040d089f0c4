"""One delivery: what is sent for it or why nothing is, and what became of an attempt."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import each, examples
from support.makers import (
    AGENT,
    CALL,
    NOW,
    NUMBER,
    call_route,
    campaign_route,
    claim,
    delivery,
    settings,
)

from rules.backoff import GIVE_UP_AFTER, MAX_ATTEMPTS
from rules.mapping import CampaignNeed
from rules.plan import KEPT_ATTEMPTS, Ready, prepare
from rules.transitions import (
    ANSWER_CHARS,
    RESOLVE,
    hold_for_campaign,
    keep_waiting,
    retry_lookup,
    retry_missing_record,
    settle,
    skip_dry_run,
    skip_forbidden,
    start_sending,
    undo_sending,
)
from rules.verdict import Meaning, Verdict
from schemas.delivery import Reason, Status, may_come_from
from schemas.hours import parse_window
from schemas.http_result import HttpResult
from schemas.records import HistoryCheck, Move

LEAD = {"phone": "098765 43210", "name": "Asha", "city": None}
DAY = parse_window("09:00-21:00")
NIGHT = datetime(2026, 11, 19, 21, 30, tzinfo=UTC)  # 3 am in India
ASKS = HistoryCheck(
    phone="hash",
    person=None,
    again_s=86_400,
    number_cap=3,
    day_cap=500,
    day="2026-11-20",
    rings_at=NOW,
)


def run(routes: str = CALL, data: Any = None, *, now: datetime = NOW, claimed=None, **more: Any):
    """Prepare a claim of the route `call new leads` under these routes and settings."""
    data = LEAD if data is None else data
    return prepare(claimed or claim(data), data, settings(routes, **more), now)


def ready(routes: str = CALL, data: Any = None, **more: Any) -> Ready:
    found = run(routes, data, **more)
    assert isinstance(found, Ready), found
    return found


def stopped(routes: str = CALL, data: Any = None, **more: Any) -> Move:
    found = run(routes, data, **more)
    assert isinstance(found, Move), found
    assert found.lease == 3
    # A claimed delivery stands in `queued` or `retrying`, and must be able to go there.
    assert {Status.QUEUED, Status.RETRYING} <= may_come_from(found.to)
    return found


# --- a request that is ready ----------------------------------------------------------------


def test_a_call_is_mapped_to_the_exact_body():
    routes = call_route(
        request="""
            language = "lang"
            priority = "rank"
            number_of_retries = { value = 2 }
            gap_between_retries = { value = [30, 60] }
            carry_over = "carry"
            batch_id = "batch"
        """,
        metadata="""
            name = "name"
            city = "city"
            state = "no.such"
            plan = { value = "gold" }
            n = "n"
        """,
    )
    data = {**LEAD, "lang": "en-IN", "rank": "5", "carry": False, "batch": "", "n": [0, None]}
    found = ready(routes, data)
    assert found.body == {
        "to_number": NUMBER,
        "agent_id": AGENT,
        "language": "en",
        "priority": 5,
        "number_of_retries": 2,
        "gap_between_retries": [30, 60],
        "carry_over": False,
        "metadata": {
            "name": "Asha",
            "city": "",
            "state": "",
            "plan": "gold",
            "n": [0, None],
            "bridge_delivery_id": "d1",
        },
    }
    assert (found.to, found.campaign, found.campaign_key, found.number) == ("call", None, None, 1)
    assert found.route.name == "call new leads"


def test_a_call_without_metadata_still_carries_our_id():
    assert ready().body["metadata"] == {"bridge_delivery_id": "d1"}


def test_a_route_cannot_put_another_id_into_ours_place():
    found = ready(call_route(metadata='bridge_delivery_id = "name"'))
    assert found.body["metadata"] == {"bridge_delivery_id": "d1"}


@each(
    ("given", "zone", "sent"),
    [
        ("2026-11-21T10:00:00Z", "Asia/Kolkata", "2026-11-21T15:30:00"),
        ("2026-11-21T10:00:00+05:30", "Asia/Kolkata", "2026-11-21T10:00:00"),
        ("2026-11-21T10:00:00-05:00", "Asia/Kolkata", "2026-11-21T20:30:00"),
        ("2026-11-21T22:00:00Z", "Asia/Kolkata", "2026-11-22T03:30:00"),
        ("2026-11-21T10:00:00Z", "UTC", "2026-11-21T10:00:00"),
        ("2026-11-21T10:00:00", "Asia/Kolkata", "2026-11-21T10:00:00"),
        (1_795_255_200_000, "Asia/Kolkata", "2026-11-21T15:30:00"),
        (None, "Asia/Kolkata", None),
        ("", "Asia/Kolkata", None),
        ("  ", "Asia/Kolkata", None),
    ],
)
def test_schedule_at_is_converted_to_callkaros_zone(given, zone, sent):
    found = ready(
        call_route(request='schedule_at = "at"'), {**LEAD, "at": given}, callkaro_timezone=zone
    )
    assert found.body.get("schedule_at") == sent


def test_the_default_region_is_what_a_bare_number_belongs_to():
    assert ready(data={"phone": "020 7946 0958"}, default_region="GB").body["to_number"] == (
        "+442079460958"
    )


# --- campaigns ------------------------------------------------------------------------------

MONTH_ENDS = datetime(2026, 11, 30, 18, 30, tzinfo=UTC)  # midnight in India
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("campaign", "agent", "now", "zone", "need"),
    [
        (
            '{ name = "Leads" }',
            f'{{ value = "{AGENT}" }}',
            NOW,
            "Asia/Kolkata",
            CampaignNeed(key=f"v1/{AGENT}/Leads", body={"name": "Leads", "agent_id": AGENT}),
        ),
        (
            '{ name = "Leads" }',
            '"agent"',
            NOW,
            "Asia/Kolkata",
            CampaignNeed(key="v2/Leads", body={"name": "Leads"}),
        ),
        (
            '{ name = "Leads", period = "month" }',
            '"agent"',
            MONTH_ENDS - SECOND,
            "Asia/Kolkata",
            CampaignNeed(key="v2/Leads 2026-11", body={"name": "Leads 2026-11"}),
        ),
        (
            '{ name = "Leads", period = "month" }',
            '"agent"',
            MONTH_ENDS,
            "Asia/Kolkata",
            CampaignNeed(key="v2/Leads 2026-12", body={"name": "Leads 2026-12"}),
        ),
        (
            '{ name = "Leads", period = "month" }',
            '"agent"',
            MONTH_ENDS,
            "UTC",
            CampaignNeed(key="v2/Leads 2026-11", body={"name": "Leads 2026-11"}),
        ),
        (
            '{ name = "Leads", period = "day" }',
            f'{{ value = "{AGENT}" }}',
            MONTH_ENDS,
            "Asia/Kolkata",
            CampaignNeed(
                key=f"v1/{AGENT}/Leads 2026-12-01",
                body={"name": "Leads 2026-12-01", "agent_id": AGENT},
            ),
        ),
        ('{ key = "Campaign_Id" }', '"agent"', NOW, "UTC", CampaignNeed(key="key/77", body=None)),
    ],
)
def test_a_call_needs_its_campaign_of_the_period_of_the_send(campaign, agent, now, zone, need):
    routes = call_route(f"campaign = {campaign}").replace(f'{{ value = "{AGENT}" }}', agent)
    data = {**LEAD, "agent": "agent-9", "Campaign_Id": "77"}
    found = ready(routes, data, now=now, callkaro_timezone=zone)
    assert found.campaign == need
    assert "batch_id" not in found.body


def test_routes_that_share_a_campaign_with_other_agents_need_a_v2():
    one = call_route('campaign = { name = "Leads" }')
    other = one.replace("call new leads", "other").replace(AGENT, "agent-2")
    assert ready(one + other).campaign == CampaignNeed(key="v2/Leads", body={"name": "Leads"})


def test_a_call_whose_campaign_is_there_carries_its_id_and_needs_it_no_more():
    found = ready(call_route('campaign = { name = "Leads" }'))
    inside = found.in_campaign("b-1")
    assert inside.body == {**found.body, "batch_id": "b-1"}
    assert inside.campaign is None
    assert "batch_id" not in found.body


@each("key", [None, "", "  ", [], {}, {"id": "77"}, ["77"], True, 1e300])
def test_a_key_that_is_no_id_fails(key):
    found = stopped(call_route('campaign = { key = "k" }'), {**LEAD, "k": key})
    assert (found.to, found.reason) == (Status.FAILED, Reason.BAD_REQUEST)
    assert found.message is not None
    assert found.message.startswith("campaign.key: ")
    assert "77" not in found.message


@pytest.mark.parametrize("key", ["77", 77])
def test_calls_and_the_campaign_that_another_event_makes_find_each_other(key):
    made = campaign_route('campaign = { key = "id" }').replace("make campaigns", "call new leads")
    maker = ready(made, {"title": "Diwali", "id": key})
    caller = ready(call_route('campaign = { key = "k" }'), {**LEAD, "k": "77"})
    assert caller.campaign == CampaignNeed(key="key/77", body=None)
    assert maker.campaign_key == "key/77"


def test_a_campaign_without_a_key_is_found_by_its_events_subject():
    made = campaign_route().replace("make campaigns", "call new leads")
    data = {"title": "Diwali"}
    maker = ready(made, data, claimed=claim(data, happened={"subject": "77"}))
    assert maker.campaign_key == "key/77"


@pytest.mark.parametrize("subject", [None, ""])
def test_a_campaign_without_key_or_subject_is_found_by_nobody(subject):
    made = campaign_route().replace("make campaigns", "call new leads")
    data = {"title": "Diwali"}
    without_key = ready(made, data, claimed=claim(data, happened={"subject": subject}))
    assert without_key.campaign_key is None


@pytest.mark.parametrize(
    ("request_", "data", "body"),
    [
        ('name = "title"', {"title": "Diwali"}, {"name": "Diwali"}),
        (
            'name = "title"\nagent_id = "a"',
            {"title": "Diwali", "a": "x"},
            {"name": "Diwali", "agent_id": "x"},
        ),
        ('name = "title"\nagent_id = "a"', {"title": "Diwali", "a": ""}, {"name": "Diwali"}),
        ('name = "title"\nagent_id = "a"', {"title": "Diwali", "a": "  "}, {"name": "Diwali"}),
        ('name = "title"\nagent_id = "a"', {"title": "Diwali"}, {"name": "Diwali"}),
        ('name = { value = "T" }\nagent_id = { value = "x" }', {}, {"name": "T", "agent_id": "x"}),
    ],
)
def test_a_campaign_has_an_agent_or_is_a_v2(request_, data, body):
    made = campaign_route(request=request_).replace("make campaigns", "call new leads")
    # No phone is rung by it, so no hours hold it.
    found = ready(made, data, now=NIGHT, calling_hours=DAY, allow_numbers=frozenset())
    assert (found.to, found.body, found.campaign) == ("campaign", body, None)


def test_a_campaign_without_a_name_fails():
    made = campaign_route().replace("make campaigns", "call new leads")
    found = stopped(made, {"title": " "})
    assert (found.to, found.reason) == (Status.FAILED, Reason.BAD_REQUEST)
    assert found.message == "name: missing."


# --- why nothing is sent --------------------------------------------------------------------


@pytest.mark.parametrize(
    "routes",
    ["", CALL.replace("call new leads", "another"), CALL.replace('"generic"', '"hubspot"')],
)
def test_a_delivery_whose_route_is_gone_is_held_for_it(routes):
    found = stopped(routes)
    assert (found.to, found.reason) == (Status.HELD, Reason.ROUTE_MISSING)
    assert found.due_at == NOW + timedelta(minutes=1)


def test_a_delivery_whose_event_is_no_longer_kept_is_skipped():
    found = prepare(claim(LEAD, kept=False), None, settings(), NOW)
    assert isinstance(found, Move)
    assert (found.to, found.reason) == (Status.SKIPPED, Reason.RECORD_GONE)


@each(
    ("keys", "sent"),
    [
        ("when = \"stage == 'lead'\"", True),
        ("when = \"stage == 'customer'\"", False),
        ('when = "no.such"', False),
        ("match = \"src != 'IMPORT'\"", True),
        ("match = \"src == 'IMPORT'\"", False),
        ("match = \"src == 'CRM'\"\nwhen = \"stage == 'lead'\"", True),
        ("match = \"src == 'CRM'\"\nwhen = \"stage == 'x'\"", False),
        # match looks at the notification, when at the whole record
        ('match = "stage"', False),
        ('when = "stage"', True),
    ],
)
def test_a_condition_that_does_not_hold_skips(keys, sent):
    notification = {"src": "CRM"}
    record = {**notification, **LEAD, "stage": "lead"}
    found = prepare(claim(notification), record, settings(call_route(keys)), NOW)
    if sent:
        assert isinstance(found, Ready)
    else:
        assert isinstance(found, Move)
        assert (found.to, found.reason) == (Status.SKIPPED, Reason.WHEN_FALSE)


@pytest.mark.parametrize(
    ("keys", "request_", "metadata", "told"),
    [
        ('when = "abs(name) > `1`"', "", "", "when: `abs(name) > `1`` can't be worked out"),
        ('match = "abs(name) > `1`"', "", "", "match: `abs(name) > `1`` can't be worked out"),
        ("", 'language = "abs(name)"', "", "language: `abs(name)` can't be worked out"),
        ("", "", 'x = "abs(name)"', "metadata.x: `abs(name)` can't be worked out"),
        ('campaign = { key = "abs(name)" }', "", "", "campaign.key: `abs(name)` can't be"),
    ],
)
def test_an_expression_that_breaks_on_the_record_fails_and_names_its_place(
    keys, request_, metadata, told
):
    found = stopped(call_route(keys, request_, metadata=metadata))
    assert (found.to, found.reason) == (Status.FAILED, Reason.BAD_REQUEST)
    assert found.message is not None
    assert found.message.startswith(told)
    assert "Asha" not in found.message


@each(
    ("data", "reason"),
    [
        ({}, Reason.NO_NUMBER),
        ({"phone": None}, Reason.NO_NUMBER),
        ({"phone": " "}, Reason.NO_NUMBER),
        ({"phone": "12345"}, Reason.INVALID_NUMBER),
        ({"phone": "call Asha"}, Reason.INVALID_NUMBER),
        ({"phone": {"number": "+919876543210"}}, Reason.INVALID_NUMBER),
        ({"phone": []}, Reason.NO_NUMBER),
        ({"phone": [None, "", "12345"]}, Reason.INVALID_NUMBER),
        ({"phone": "9876543210, 9876543211"}, Reason.INVALID_NUMBER),
    ],
)
def test_without_a_number_to_call_it_is_skipped(data, reason):
    found = stopped(data=data)
    assert (found.to, found.reason) == (Status.SKIPPED, reason)
    assert "request" not in found.fields
    assert found.message is not None
    assert not any(part in found.message for part in ("12345", "Asha", "9876"))


def test_a_bare_number_of_no_region_is_never_guessed():
    assert stopped(default_region=None).reason is Reason.INVALID_NUMBER


@each(
    ("request_", "value", "told"),
    [
        ('language = "x"', "Klingon-42", "language: must be one of hi en kn mr ta te bn gu ml."),
        ('priority = "x"', "4711", "priority: must be between -100 and 100."),
        ('priority = "x"', "secret", "priority: must be a whole number."),
        ('number_of_retries = "x"', 47, "number_of_retries: must be between 0 and 10."),
        (
            'gap_between_retries = "x"',
            [47],
            "gap_between_retries: must have at least one entry, and at most one for each of "
            "number_of_retries.",
        ),
        (
            'schedule_at = "x"',
            "soon-4711",
            "schedule_at: must be an ISO 8601 date and time or epoch milliseconds.",
        ),
        (
            'schedule_at = "x"',
            "2026-11-21",
            "schedule_at: must have a time of day, not only a date.",
        ),
        ('schedule_at = "x"', "0001-01-01T00:00:00", "schedule_at: is out of range."),
        ('min_trigger_time = "x"', "47:11", "min_trigger_time: must be a time of day, HH:MM."),
        ('carry_over = "x"', "4711", "carry_over: must be true or false."),
        ('batch_id = "x"', {"a": 4711}, "batch_id: must be text."),
    ],
)
def test_what_callkaros_schema_refuses_fails_with_the_field_and_no_value(request_, value, told):
    found = stopped(call_route(request=request_), {**LEAD, "x": value})
    assert (found.to, found.reason, found.message) == (Status.FAILED, Reason.BAD_REQUEST, told)


def test_all_that_the_schema_refuses_is_told():
    found = stopped(
        call_route(request='language = "x"\npriority = "x"').replace(
            f'{{ value = "{AGENT}" }}', '"x.y"'
        ),
        {**LEAD, "x": "Klingon"},
    )
    assert found.message is not None
    assert {part.split(":")[0] for part in found.message.split("; ")} == {
        "language",
        "priority",
        "agent_id",
    }


@pytest.mark.parametrize(
    ("request_", "metadata"),
    [
        ("", 'x = "to_number(x)"'),
        ('number_of_retries = { value = 2 }\ngap_between_retries = "to_number(x)"', ""),
        ("", 'x = "@"'),
    ],
)
def test_what_cannot_be_stored_as_json_fails_alone(request_, metadata):
    data = {**LEAD, "x": "99999999999999999999999"}
    if metadata == 'x = "@"':
        data["x"] = "\ud800"
    found = stopped(call_route(request=request_, metadata=metadata), data)
    assert (found.to, found.reason) == (Status.FAILED, Reason.BAD_REQUEST)
    assert found.message is not None
    assert "9999" not in found.message


@pytest.mark.parametrize(
    ("age", "held", "sent"),
    [
        (timedelta(0), timedelta(0), True),
        (timedelta(hours=6), timedelta(0), True),
        (timedelta(hours=6, seconds=1), timedelta(0), False),
        (timedelta(hours=18), timedelta(hours=12), True),
        (timedelta(hours=18, seconds=1), timedelta(hours=12), False),
        (timedelta(hours=-1), timedelta(0), True),  # the CRM's clock is ahead
    ],
)
def test_what_is_too_old_is_skipped_and_time_held_for_the_hours_does_not_count(age, held, sent):
    claimed = claim(
        LEAD,
        happened={"time": NOW - age, "received_at": NOW},
        held_ms=int(held.total_seconds() * 1000),
    )
    found = run(call_route('max_age = "6h"'), claimed=claimed)
    if sent:
        assert isinstance(found, Ready)
    else:
        assert isinstance(found, Move)
        assert (found.to, found.reason) == (Status.SKIPPED, Reason.TOO_OLD)
        assert found.message == "The event is 6 h old, and the route calls within 6 h."


def test_where_the_crm_gives_no_time_age_counts_from_the_receipt():
    claimed = claim(LEAD, happened={"time": None, "received_at": NOW - timedelta(hours=7)})
    assert stopped(call_route('max_age = "6h"'), claimed=claimed).reason is Reason.TOO_OLD


def test_without_a_max_age_nothing_is_too_old():
    claimed = claim(LEAD, happened={"time": NOW - timedelta(days=400)})
    assert isinstance(run(claimed=claimed), Ready)


def test_a_number_off_the_allow_list_is_skipped():
    found = stopped(allow_numbers=frozenset({"+919876543211"}))
    assert (found.to, found.reason) == (Status.SKIPPED, Reason.NOT_ALLOWED)
    assert isinstance(run(allow_numbers=frozenset({NUMBER})), Ready)


def test_outside_the_hours_it_is_held_until_they_open():
    found = stopped(now=NIGHT, calling_hours=DAY)
    assert (found.to, found.reason) == (Status.HELD, Reason.OUTSIDE_HOURS)
    assert found.due_at == datetime(2026, 11, 20, 3, 30, tzinfo=UTC)
    assert orjson.loads(found.fields["request"])["to_number"] == NUMBER
    assert isinstance(run(now=found.due_at, calling_hours=DAY), Ready)


@each(
    ("keys", "request", "campaign"),
    [
        ('campaign = { key = "k" }', "", "key/77"),
        ("", 'batch_id = "k"', "77"),
        ('campaign = { name = "Leads" }', "", None),  # the route knows it at any time
        ("", "", None),
    ],
)
def test_a_held_call_keeps_the_campaign_that_its_record_gives(keys, request, campaign):
    routes = call_route(keys, request)
    found = stopped(routes, {**LEAD, "k": "77"}, now=NIGHT, calling_hours=DAY)
    assert found.fields.get("campaign_key") == campaign
    skipped = stopped(routes, {**LEAD, "k": "77"}, allow_numbers=frozenset({"+919876543211"}))
    assert "campaign_key" not in skipped.fields


def test_a_schedule_at_at_night_is_skipped_and_one_by_day_passes_at_night():
    routes = call_route(request='schedule_at = "at"')
    found = stopped(routes, {**LEAD, "at": "2026-11-21T03:00:00+05:30"}, calling_hours=DAY)
    assert (found.to, found.reason, found.due_at) == (Status.SKIPPED, Reason.OUTSIDE_HOURS, None)
    by_day = {**LEAD, "at": "2026-11-20T06:00:00Z"}
    assert ready(routes, by_day, now=NIGHT, calling_hours=DAY).body["schedule_at"] == (
        "2026-11-20T11:30:00"
    )


# --- DRY_RUN, and what the number's history forbids -----------------------------------------


@pytest.mark.parametrize(
    ("routes", "guard"),
    [
        (CALL, ASKS),
        # A campaign rings nobody, so there is no number to ask about.
        (campaign_route().replace("make campaigns", "call new leads"), None),
    ],
)
def test_a_dry_run_shows_what_would_have_been_sent(routes, guard):
    made = ready(routes, {**LEAD, "title": "Diwali"}, dry_run=True)
    found = skip_dry_run(made, guard)
    assert (found.to, found.reason, found.lease) == (Status.SKIPPED, Reason.DRY_RUN, 3)
    assert found.message == "DRY_RUN is on: this is what would have been sent."
    assert orjson.loads(str(found.fields["request"])) == made.body
    # The history is checked all the same: a suppressed number gets that reason.
    assert (found.guard, found.phone) == (guard, guard and "hash")
    assert found.attempt is None


def test_a_dry_run_says_no_to_what_would_not_be_sent_anyway():
    assert stopped(data={}, dry_run=True).reason is Reason.NO_NUMBER
    night = stopped(now=NIGHT, calling_hours=DAY, dry_run=True)
    assert night.reason is Reason.OUTSIDE_HOURS


@each(
    ("answer", "reason", "told"),
    [
        ("no suppressed", Reason.SUPPRESSED, "The number or its CRM record is suppressed."),
        (
            "no duplicate 0f3a",
            Reason.DUPLICATE,
            "The CRM merged the records of this delivery and of 0f3a, which calls the person for "
            "both.",
        ),
        (
            "no called_recently 1795154400000",
            Reason.CALLED_RECENTLY,
            "This route called the number already, and calls it once in 1 d at most.",
        ),
        (
            "no day_cap route",
            Reason.DAY_CAP,
            "The route has made 500 calls that day, its maximum (max_per_day).",
        ),
        (
            "no day_cap number",
            Reason.DAY_CAP,
            "The number was called 3 times that day, the maximum (MAX_PER_NUMBER_PER_DAY).",
        ),
    ],
)
@each("is_dry", [False, True])
def test_what_the_history_forbids_is_skipped_with_its_reason(answer, reason, told, is_dry):
    found = ready()
    asked = (
        skip_dry_run(found, ASKS) if is_dry else start_sending(found, NOW, guard=ASKS, needs_s=30)
    )
    move = skip_forbidden(asked, answer)
    assert (move.to, move.reason, move.message) == (Status.SKIPPED, reason, told)
    assert (move.id, move.lease, move.phone) == ("d1", 3, "hash")
    assert (move.guard, move.attempt, move.wait_s, move.due_at) == (None, None, None, None)
    # What would have been sent is kept, unless it is of someone who may have been erased; that it
    # was begun is not.
    kept = {name: orjson.loads(str(value)) for name, value in move.fields.items()}
    assert kept == ({} if reason is Reason.SUPPRESSED else {"request": found.body})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
WHOLE = settings(
    call_route(
        'when = "@"\nmatch = "@"\nmax_age = "1h"\ncampaign = { key = "k" }',
        'language = "l"\nschedule_at = "s"\npriority = "p"\ncarry_over = "c"\n'
        'number_of_retries = "n"\ngap_between_retries = "g"\nmin_trigger_time = "t"',
        metadata='m = "m"\nall = "@"',
    )
)


@examples(80)
@given(
    st.dictionaries(st.sampled_from("klspcngtm"), JSON),
    st.sampled_from([{}, {"phone": NUMBER, "k": "7"}, {"phone": NUMBER}]),
)
def test_whatever_a_record_holds_it_is_ready_or_moves(data, base):
    found = prepare(claim(data), {**data, **base}, WHOLE, NOW)
    if isinstance(found, Ready):
        assert orjson.loads(orjson.dumps(found.body))["to_number"] == NUMBER
    else:
        assert {Status.QUEUED, Status.RETRYING} <= may_come_from(found.to)


# --- an attempt -----------------------------------------------------------------------------


def attempt(routes: str = CALL, data: Any = None, **more: Any) -> Ready:
    """Return a request that is ready, of a delivery that stands as `more` says."""
    found = ready(routes, data)
    return replace(found, claim=replace(found.claim, delivery=delivery(**more)))


def reply(**more: Any) -> HttpResult:
    return HttpResult(
        **{"sent": True, "duration_ms": 12, "status_code": 200, "body": b"{}", **more}
    )


def settled_as(
    meaning: Meaning,
    found: Ready | None = None,
    came: HttpResult | None = None,
    *,
    jitter: float = 0.5,
) -> Move:
    verdict = Verdict(
        meaning=meaning,
        message="So.",
        id="s-1" if meaning is Meaning.ACCEPTED else None,
        why="busy" if meaning is Meaning.AGAIN else None,
    )
    move = settle(found or attempt(), came or reply(), verdict, NOW, lambda: jitter)
    assert move.to in {s for s in Status if Status.SENDING in may_come_from(s)}
    told = f"So. {RESOLVE}" if move.to is Status.UNKNOWN else "So."
    assert (move.id, move.lease, move.message) == ("d1", 3, told)
    return move


def test_an_attempt_is_recorded_before_it_is_made():
    found = ready(call_route('campaign = { name = "Leads" }')).in_campaign("b-1")
    move = start_sending(found, NOW, guard=ASKS, needs_s=30)
    assert (move.to, move.lease, move.needs_s, move.phone) == (Status.SENDING, 3, 30, "hash")
    assert move.guard == ASKS
    assert orjson.loads(move.fields["request"]) == found.body
    assert {**move.fields, "request": ""} == {
        "request": "",
        "spent": 1,
        "first_ms": int(NOW.timestamp() * 1000),
        "batch_id": "b-1",
        "campaign_key": None,
    }
    assert move.attempt == (1, {"number": 1, "at": "2026-11-20T06:00:00.000Z"})


def test_a_later_attempt_counts_on():
    found = attempt(
        spent=2, first_attempt_at=NOW - timedelta(hours=1), attempts=({}, {}, {}), status="retrying"
    )
    move = start_sending(found, NOW, guard=None, needs_s=30)
    assert (move.phone, move.guard) == (None, None)
    assert move.fields["spent"] == 3
    assert "first_ms" not in move.fields
    assert move.attempt is not None
    assert move.attempt[0] == 4


def test_attempts_without_end_are_kept_up_to_a_number():
    found = attempt(attempts=({},) * (KEPT_ATTEMPTS + 5))
    assert found.number == KEPT_ATTEMPTS


def test_what_came_of_an_attempt_is_kept_with_it():
    came = reply(status_code=503, error=None, body="ü".encode() * 5000, duration_ms=7)
    move = settled_as(Meaning.AGAIN, came=came)
    assert move.attempt == (
        1,
        {
            "number": 1,
            "at": "2026-11-20T06:00:00.000Z",
            "duration_ms": 7,
            "status_code": 503,
            "error": None,
            "answer": "ü" * ANSWER_CHARS,
        },
    )


@pytest.mark.parametrize("body", [b"\xff\xfe", b"\xe2\x82" * 4000, b""])
def test_an_answer_that_is_no_text_is_kept_as_far_as_it_is(body):
    kept = settled_as(Meaning.UNKNOWN, came=reply(body=body)).attempt
    assert kept is not None
    assert len(kept[1]["answer"]) <= ANSWER_CHARS


def test_an_accepted_call_is_delivered_with_its_call_sid():
    move = settled_as(Meaning.ACCEPTED)
    assert (move.to, move.fields, move.reason) == (Status.DELIVERED, {"call_sid": "s-1"}, None)
    assert (move.wait_s, move.due_at) == (None, None)


def test_an_accepted_campaign_is_delivered_with_its_batch_id():
    made = campaign_route().replace("make campaigns", "call new leads")
    move = settled_as(Meaning.ACCEPTED, attempt(made, {"title": "Diwali"}))
    assert (move.to, move.fields) == (Status.DELIVERED, {"batch_id": "s-1"})


@pytest.mark.parametrize(
    ("meaning", "to", "reason"),
    [
        (Meaning.REFUSED, Status.FAILED, Reason.REFUSED),
        (Meaning.UNKNOWN, Status.UNKNOWN, Reason.NO_ANSWER),
    ],
)
def test_a_refusal_and_a_silence_are_not_tried_again(meaning, to, reason):
    move = settled_as(meaning)
    assert (move.to, move.reason, move.wait_s, move.due_at) == (to, reason, None, None)


@each(
    ("spent", "retry_after", "jitter", "waits_s"),
    [
        (0, None, 0.5, 1),
        (1, None, 0.5, 2),
        (2, None, 0.5, 4),
        (20, None, 0.5, 450),
        (0, "60", 0.5, 66),
        (0, "60", 0.0, 60),
        (20, "60", 0.5, 450),
        (0, "Fri, 20 Nov 2020 06:01:00 GMT", 0.5, 1),
        (0, "-60", 0.5, 1),
        (0, "", 0.5, 1),
    ],
)
def test_what_was_surely_not_accepted_is_tried_again_later(spent, retry_after, jitter, waits_s):
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    came = reply(status_code=429, headers=headers)
    move = settled_as(Meaning.AGAIN, attempt(spent=spent), came, jitter=jitter)
    assert (move.to, move.reason) == (Status.RETRYING, Reason.BUSY)
    assert move.wait_s == pytest.approx(waits_s)
    assert "spent" not in move.fields  # `sending` counted it already


@pytest.mark.parametrize(
    ("spent", "since", "over"),
    [
        (MAX_ATTEMPTS - 2, None, False),
        (MAX_ATTEMPTS - 1, None, True),
        (1, NOW - GIVE_UP_AFTER + timedelta(seconds=1), False),
        (1, NOW - GIVE_UP_AFTER, True),
    ],
)
def test_it_is_given_up_after_enough_attempts_or_a_day(spent, since, over):
    move = settled_as(Meaning.AGAIN, attempt(spent=spent, first_attempt_at=since))
    if over:
        assert (move.to, move.reason, move.wait_s) == (Status.FAILED, Reason.GAVE_UP, None)
    else:
        assert (move.to, move.reason) == (Status.RETRYING, Reason.BUSY)


@pytest.mark.parametrize("spent", [0, 3, MAX_ATTEMPTS - 1, MAX_ATTEMPTS])
def test_a_refused_account_spends_no_attempt_and_never_gives_up(spent):
    found = attempt(spent=spent, first_attempt_at=NOW - 10 * GIVE_UP_AFTER)
    move = settled_as(Meaning.PAUSE, found, reply(status_code=403))
    assert (move.to, move.reason) == (Status.RETRYING, Reason.ACCOUNT)
    assert move.fields["spent"] == spent
    assert move.wait_s is not None


def test_a_day_with_a_refused_account_does_not_burn_the_lead():
    # The key is wrong for 30 hours, then right; the next answer is a 503.
    stood = attempt(first_attempt_at=NOW - timedelta(hours=30))
    fields = settled_as(Meaning.PAUSE, stood, reply(status_code=403)).fields
    since = datetime.fromtimestamp(int(fields["first_ms"]) / 1000, UTC)
    assert settled_as(Meaning.AGAIN, attempt(first_attempt_at=since)).to is Status.RETRYING


def test_a_pause_waits_as_long_as_it_is_asked_to():
    came = reply(status_code=403, headers={"Retry-After": "100"})
    assert settled_as(Meaning.PAUSE, came=came, jitter=0.0).wait_s == 100


def test_a_route_may_say_that_a_double_ring_does_no_harm():
    found = attempt(call_route('on_unknown = "call_again"'))
    again = settled_as(Meaning.UNKNOWN, found)
    assert (again.to, again.reason) == (Status.RETRYING, Reason.NO_ANSWER)
    # A phone may have rung: the number stays claimed.
    assert again.keeps_number
    assert not settled_as(Meaning.AGAIN, found).keeps_number
    spent = replace(found, claim=replace(found.claim, delivery=delivery(spent=MAX_ATTEMPTS)))
    move = settled_as(Meaning.UNKNOWN, spent)
    assert (move.to, move.reason) == (Status.FAILED, Reason.GAVE_UP)


@pytest.mark.parametrize(
    ("status", "stays"), [(Status.QUEUED, Status.QUEUED), (Status.RETRYING, Status.RETRYING)]
)
def test_an_attempt_that_surely_never_began_is_taken_back(status, stays):
    found = attempt(status=status, spent=2, attempts=({}, {}))
    back, put = undo_sending(found, NOW, wait=1.0)
    # If `sending` was recorded, this takes it back without spending the attempt …
    assert back.to is Status.RETRYING
    assert Status.SENDING in may_come_from(back.to)
    assert (back.fields, back.wait_s, back.lease) == ({"spent": 2}, 1.0, 3)
    assert back.attempt == (
        3,
        {"number": 3, "at": "2026-11-20T06:00:00.000Z", "error": "not_sent"},
    )
    # … and if it was not, this leaves it where it stood.
    assert (put.to, put.wait_s, put.lease, put.attempt) == (stays, 1.0, 3, None)
    assert status in may_come_from(put.to)


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RETRYING])
def test_a_delivery_waits_where_it_stands(status):
    move = keep_waiting(delivery(status=status), 5, message="Waiting for the campaign.")
    assert (move.to, move.wait_s, move.lease) == (status, 5, 3)
    assert move.message == "Waiting for the campaign."


def test_a_call_waits_for_the_campaign_of_another_event():
    move = hold_for_campaign(attempt(), "key/77", NOW)
    assert (move.to, move.reason, move.awaits_campaign) == (
        Status.HELD,
        Reason.AWAITING_CAMPAIGN,
        "key/77",
    )
    assert move.due_at == NOW + timedelta(minutes=1)


# --- the record -----------------------------------------------------------------------------


@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("status", [Status.QUEUED, Status.RETRYING])
def test_a_record_that_is_not_there_is_asked_for_for_two_minutes(jitter, status):
    asked, since, now, times = 0, None, NOW, 0
    while True:
        stood = delivery(
            lookup_failures=asked, waiting_for="record", waiting_since=since, status=status
        )
        move = retry_missing_record(stood, now, lambda: jitter)
        if move.to is Status.SKIPPED:
            break
        times += 1
        assert move.to is status
        assert move.wait_s is not None
        assert move.wait_s >= 0.5
        asked = int(move.fields["lookup_failures"])
        assert asked == times
        since = datetime.fromtimestamp(int(move.fields["waiting_since_ms"]) / 1000, UTC)
        assert since == NOW
        now += timedelta(seconds=move.wait_s)
    assert move.reason is Reason.RECORD_GONE
    assert timedelta(minutes=2) <= now - NOW <= timedelta(minutes=2, seconds=1)
    assert 5 <= times <= 120


@pytest.mark.parametrize(
    ("asked", "since", "retry_after_s", "waits_s"),
    [
        (0, None, None, 1),
        (3, NOW - timedelta(hours=1), None, 8),
        (50, NOW - timedelta(hours=23), None, 450),
        (0, None, 60, 66),
    ],
)
def test_a_crm_that_cannot_be_read_is_asked_again(asked, since, retry_after_s, waits_s):
    stood = delivery(lookup_failures=asked, waiting_for="record", waiting_since=since)
    move = retry_lookup(
        stood, "record", "HubSpot answered 500.", NOW, lambda: 0.5, retry_after_s=retry_after_s
    )
    assert (move.to, move.message) == (Status.QUEUED, "HubSpot answered 500.")
    assert move.wait_s == pytest.approx(waits_s)
    assert move.fields == {
        "lookup_failures": asked + 1,
        "waiting_for": "record",
        "waiting_since_ms": int((since or NOW).timestamp() * 1000),
        # It is not late while it waits as long as the CRM asked for.
        **({"not_before_ms": int(NOW.timestamp() * 1000) + 66_000} if retry_after_s else {}),
    }


@pytest.mark.parametrize("asked", [1, MAX_ATTEMPTS, 10 * MAX_ATTEMPTS])
def test_a_crm_that_cannot_be_read_for_a_day_is_given_up(asked):
    def after(span: timedelta) -> Move:
        stood = delivery(lookup_failures=asked, waiting_for="record", waiting_since=NOW - span)
        return retry_lookup(stood, "record", "HubSpot answered 500.", NOW, lambda: 0.5)

    assert after(GIVE_UP_AFTER - timedelta(seconds=1)).to is Status.QUEUED
    over = after(GIVE_UP_AFTER)
    assert (over.to, over.reason, over.message) == (
        Status.FAILED,
        Reason.GAVE_UP,
        "HubSpot answered 500.",
    )
    assert (over.wait_s, over.due_at) == (None, None)


def test_waiting_for_a_campaign_does_not_use_up_the_patience_for_a_record():
    waited = delivery(
        lookup_failures=30, waiting_for="campaign", waiting_since=NOW - timedelta(hours=23)
    )
    assert retry_missing_record(waited, NOW, lambda: 0.5).fields["lookup_failures"] == 1
    later = retry_lookup(waited, "record", "HubSpot answered 500.", NOW, lambda: 0.5)
    assert later.fields["waiting_since_ms"] == int(NOW.timestamp() * 1000)


def test_a_refused_account_never_gives_up_on_a_campaign():
    waited = delivery(
        lookup_failures=30, waiting_for="campaign", waiting_since=NOW - 10 * GIVE_UP_AFTER
    )
    why = "CallKaro does not accept the API key (403)."
    kept = retry_lookup(waited, "campaign", why, NOW, lambda: 0.5, may_give_up=False)
    assert kept.to is Status.QUEUED


def test_time_held_does_not_use_up_the_day_of_attempts():
    first = NOW - GIVE_UP_AFTER - timedelta(hours=1)
    held = attempt(spent=1, first_attempt_at=first, held_ms=2 * 3_600_000)
    assert settled_as(Meaning.AGAIN, held).to is Status.RETRYING
