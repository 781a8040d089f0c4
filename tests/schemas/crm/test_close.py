"""What is Close's own: the hex key, whom an event is about, and how its record is read."""

import hashlib
import hmac
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import each, examples
from support.samples import NOW, incoming, items

from schemas.crm.close import KIND
from schemas.crm_api import BasicLogin
from schemas.errors import BadSignature
from schemas.event import is_guarded_type
from schemas.signatures import check_secret, verify

HYDRATION = KIND.hydration
assert HYDRATION is not None
KEY = "00112233445566778899aabbccddeeff" * 2


def phones(data: Any) -> Any:
    assert KIND.phones
    return KIND.phones.search(data)


def name_of(data: Any) -> Any:
    assert KIND.names
    return KIND.names.search(data)


def event(object_type: Any = "opportunity", action: Any = "created", **more: Any) -> Any:
    known = {"id": "ev_1", "object_type": object_type, "action": action, "object_id": "oppo_1"}
    return {"subscription_id": "whsub_1", "event": {**known, "lead_id": None, "data": {}, **more}}


def request(body: bytes, key: bytes, *, late_s: int = 0) -> Any:
    at = str(int((NOW - timedelta(seconds=late_s)).timestamp()))
    digest = hmac.new(key, at.encode() + body, hashlib.sha256).hexdigest()
    return incoming(body, headers={"close-sig-hash": digest, "close-sig-timestamp": at})


def test_the_key_is_decoded_from_hex() -> None:
    body = b'{"event": {}}'
    verify(KIND.auth, [KEY], request(body, bytes.fromhex(KEY)), now=NOW)
    for key in (KEY.encode(), bytes.fromhex(KEY[2:])):
        with pytest.raises(BadSignature):
            verify(KIND.auth, [KEY], request(body, key), now=NOW)
    with pytest.raises(BadSignature):
        verify(KIND.auth, [KEY], request(body, bytes.fromhex(KEY), late_s=301), now=NOW)
    assert check_secret(KIND.auth, "no hex digits")


@each(
    ("body", "subject", "hydrate"),
    [
        (event("contact", object_id="cont_1", data={"phones": []}), ("contact", "cont_1"), None),
        (event("contact", object_id="cont_1", data=None), ("contact", "cont_1"), "contact"),
        (event("lead", object_id="lead_1", data={}), ("lead", "lead_1"), "lead"),
        (event("lead", object_id="lead_1", data={"contacts": []}), ("lead", "lead_1"), None),
        (event(data={"contact_id": "cont_2"}, lead_id="lead_1"), ("contact", "cont_2"), "contact"),
        (event(data={"contact_id": None}, lead_id="lead_1"), ("lead", "lead_1"), "lead"),
        (event(data={"contact_id": "a/b"}, lead_id="lead_1"), ("lead", "lead_1"), "lead"),
        (event(data={"contact_id": "../x"}, lead_id="x?y"), ("opportunity", "oppo_1"), None),
        (event(data="text"), ("opportunity", "oppo_1"), None),
        (event("activity.call", lead_id="lead_1"), ("lead", "lead_1"), "lead"),
        (event("contact", "deleted", object_id="cont_1"), ("contact", "cont_1"), None),
        (event("lead", "merged", object_id="lead_1"), ("lead", "lead_1"), None),
        (event("group", lead_id="lead_1"), ("group", "oppo_1"), None),
    ],
)
def test_whom_an_event_is_about(body: Any, subject: Any, hydrate: str | None) -> None:
    [item] = items(KIND, body)
    assert ((item.subject_type, item.subject), item.hydrate) == (subject, hydrate)
    assert (item.source_event_id, item.problem) == ("ev_1", None)


def test_an_updated_contact_is_fetched_for_only_then_our_own_changes_are_told() -> None:
    [item] = items(KIND, event("contact", "updated", object_id="cont_1", data={"phones": []}))
    assert ((item.subject_type, item.subject), item.hydrate) == (("contact", "cont_1"), "contact")


@each("object_id", ["../x", "a/b", "x?y", "", "x" * 101])
def test_an_id_that_can_be_no_part_of_a_path_is_a_problem(object_id: str) -> None:
    [item] = items(KIND, event("contact", object_id=object_id))
    assert item.problem
    assert item.subject is None


@each("action", ["deleted", "merged"])
def test_what_is_gone_is_a_type_that_no_glob_calls_for(action: str) -> None:
    [item] = items(KIND, event("lead", action))
    assert is_guarded_type(item.type)


@each("object_type", ["user", "group", "membership", "phone_number"])
def test_an_event_about_colleagues_or_own_numbers_calls_nobody(object_type: str) -> None:
    [item] = items(KIND, event(object_type, data={"phones": [{"phone": "+911234500009"}]}))
    assert item.is_test
    assert not phones(item.data)


def test_a_record_is_asked_for_alone_and_put_beside_the_event() -> None:
    assert HYDRATION
    assert HYDRATION.request("lead", ["lead_1"], []).path == "/api/v1/lead/lead_1/"
    assert 404 in HYDRATION.none_statuses
    assert HYDRATION.batch == 1
    contact = {"id": "cont_2", "name": "Sample Lead", "phones": [{"phone": "+911234500001"}]}
    lead = {"id": "lead_1", "contacts": [contact]}
    body = event()
    for record, name in ((contact, "contact"), (lead, "lead")):
        assert HYDRATION.records(record) == {record["id"]: record}
        merged = HYDRATION.merge(body, record)
        assert merged == {**body, name: record}
        assert phones(merged) == ["+911234500001"]
        assert name_of(merged) == "Sample Lead"


def test_the_key_of_the_api_is_a_user_without_a_password() -> None:
    login = BasicLogin(user="API_KEY")
    # The example of Close's page on authentication.
    assert login.headers({"API_KEY": "yourapikey"}) == {"Authorization": "Basic eW91cmFwaWtleTo="}
    assert login.needs == ("API_KEY",)


JSON = (
    st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()) | st.just({"a": 1})
)


@examples(200)
@given(keys=st.dictionaries(st.sampled_from([*event()["event"]]), JSON))
def test_any_event_is_one_item(keys: Any) -> None:
    body = event(**keys)
    [item] = items(KIND, body)
    assert item.data == body
    assert (item.problem is None) is (item.source_event_id is not None)
