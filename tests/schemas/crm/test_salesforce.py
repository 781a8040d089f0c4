"""What is Salesforce's own: its envelope, what is never kept of it, its organization, its Ack."""

from typing import Any

from support import each
from support.samples import PAYLOADS, content_of, items

from bridge.http.xml_body import read_xml
from rules.person import digits_of
from schemas.crm.salesforce import ACK, KIND, OPT_OUT, is_of
from schemas.event import is_guarded_type
from schemas.source import MAX_ITEMS, count_items

OURS = "00D00000000000SAAA"


def sample(name: str) -> Any:
    return content_of(PAYLOADS / "salesforce" / f"{name}.body.xml")


def message(*records: Any, **more: Any) -> dict[str, Any]:
    notes = [
        {"Id": f"04l{n}", "sObject": {"@type": "sf:Lead", "Id": f"00Q{n}", **record}}
        for n, record in enumerate(records)
    ]
    whole = {"OrganizationId": OURS, "Notification": notes, **more}
    return {"Envelope": {"Body": {"notifications": whole}}}


def test_the_data_is_the_record_with_its_notification_and_empty_fields_are_left_out() -> None:
    [item] = items(KIND, sample("lead"))
    assert item.data["Phone"] == "+91 98765 43210"
    assert "MobilePhone" not in item.data
    assert not [name for name in item.data if name.startswith("@")]
    assert item.data["notification"] == {
        "Id": "04l00000000000AAAA",
        "OrganizationId": OURS,
        "ActionId": "04k00000000000SAAA",
    }


def test_a_session_that_could_change_records_is_not_kept() -> None:
    content = message({"Phone": "+911234500001"}, {"Id": None}, SessionId="secret-session")
    found = items(KIND, content)
    assert [bool(item.problem) for item in found] == [False, True]
    assert "secret-session" not in repr([item.data for item in found])

    body = content["Envelope"]["Body"]
    [unread] = items(KIND, {"Envelope": {"Body": {"notifications": [body["notifications"]] * 2}}})
    assert unread.problem
    assert "secret-session" not in repr(unread.data)
    assert OURS in repr(unread.data)


def test_a_hundred_notifications_are_a_hundred_items() -> None:
    content = message(*({"Phone": "+911234500001"} for _ in range(100)))
    assert KIND.count(content) == len(items(KIND, content)) == 100
    assert len({item.source_event_id for item in items(KIND, content)}) == 100


def test_too_many_are_counted_before_they_are_parsed() -> None:
    content = message(*({} for _ in range(MAX_ITEMS + 1)))
    assert KIND.count(content) > MAX_ITEMS
    assert KIND.count([1, 2]) == count_items([1, 2])


def test_a_message_without_notifications_is_no_event() -> None:
    assert items(KIND, sample("no_notifications")) == []


@each("broken", [None, "text", 7, [], {}, {"Id": "04l1"}, {"Id": "04l1", "sObject": "text"}])
def test_one_broken_notification_does_not_cost_the_rest(broken: Any) -> None:
    content = message({"Phone": "+911234500001"})
    content["Envelope"]["Body"]["notifications"]["Notification"].append(broken)
    good, bad = items(KIND, content)
    assert (good.problem, good.type) == (None, "lead.triggered")
    assert bad.problem
    assert bad.source_event_id is None


def test_a_deletion_is_one_that_no_glob_calls_for_and_a_user_is_no_lead() -> None:
    [gone] = items(KIND, sample("lead_deleted"))
    assert is_guarded_type(gone.type)
    [user] = items(KIND, sample("user"))
    assert user.is_test
    assert not gone.is_test


@each(
    ("given", "type_"),
    [
        ("sf:Lead", "lead.triggered"),
        ("Contact", "contact.triggered"),
        ("sf:Opportunity", "deal.triggered"),
        ("sf:Callback__c", "callback__c.triggered"),
        ("sf:", "record.triggered"),
        (None, "record.triggered"),
        (7, "record.triggered"),
    ],
)
def test_the_type_is_the_objects_word(given: Any, type_: str) -> None:
    [item] = items(KIND, message({"@type": given}))
    assert item.type == type_


@each(
    ("fields", "expected"),
    [
        ({}, False),
        ({"DoNotCall": "false"}, False),
        ({"DoNotCall": "true"}, True),
        ({"PersonDoNotCall": "true"}, True),
        ({"DoNotCall": "a word of next year"}, True),
        ({"DoNotCall": ["true"]}, True),
    ],
)
def test_who_is_not_to_be_called(fields: dict[str, Any], expected: bool) -> None:
    assert OPT_OUT.search(fields) is expected


def test_the_numbers_are_the_persons_and_not_the_assistants() -> None:
    data = {
        "MobilePhone": "+911234500001",
        "AssistantPhone": "+911234500002",
        "Fax": "+911234500003",
    }
    assert digits_of(data, KIND, None) == ("1234500001",)


def test_a_source_may_say_where_the_time_is() -> None:
    content = message(
        {"LastModifiedDate": "2026-01-01T07:00:00.000Z", "At__c": "2026-02-01T07:00Z"}
    )
    [item] = items(KIND, content, time="At__c")
    assert item.time.isoformat() == "2026-02-01T07:00:00+00:00"


# --- whose message it is ------------------------------------------------------------------------


@each(
    ("organization_id", "expected"),
    [
        (OURS, True),
        (OURS[:15], True),
        ("00D00000000000TAAA", False),
        ("00d00000000000saaa", False),
        ("00D", False),
        ("", False),
    ],
)
def test_the_organization_is_known_by_the_short_form_of_its_id_too(
    organization_id: str, expected: bool
) -> None:
    assert is_of(sample("lead"), organization_id) is expected
    short = message({}, OrganizationId=OURS[:15])
    assert is_of(short, organization_id) is expected


@each("given", [None, "", 7, [OURS], {"Id": OURS}])
def test_a_message_that_names_no_organization_is_of_none(given: Any) -> None:
    assert not is_of(message({}, OrganizationId=given), OURS)


@each("content", [None, [], {}, "text", {"Envelope": {"Body": "text"}}, {"lead": {}}])
def test_what_is_no_message_is_of_no_organization(content: Any) -> None:
    assert not is_of(content, OURS)


def test_an_empty_message_is_of_every_organization() -> None:
    assert is_of(sample("no_notifications"), OURS)


# --- the answer ---------------------------------------------------------------------------------


def test_the_answer_is_the_one_that_salesforce_counts_as_received() -> None:
    assert (KIND.reply.status, KIND.reply.media_type) == (200, "text/xml")
    assert KIND.reply.body == ACK
    assert read_xml(ACK.encode()) == {
        "Envelope": {"Body": {"notificationsResponse": {"Ack": "true"}}}
    }
    assert KIND.full_status == 503
