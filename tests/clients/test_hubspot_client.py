"""HubSpot's own client reads from the stand-in, and writes to it: `make clients`.

Version 12 of it uses the paths without a date (/crm/v3/).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hubspot import HubSpot
from hubspot.crm import contacts, deals
from hubspot.crm.objects import calls
from urllib3.util.retry import Retry

from simulator import Simulator

# What the client gives by itself besides the properties that were asked for.
USUAL = {"createdate", "hs_object_id", "lastmodifieddate"}


@pytest.fixture
def client(simulator: Simulator) -> HubSpot:
    simulator.state.put_record("hubspot", "contacts", "7", {"phone": "+919876543210"})
    return client_of(simulator)


def client_of(simulator: Simulator, **more: Any) -> HubSpot:
    return HubSpot(access_token="a-token", host=simulator.url, **more)


def question(*ids: str, history: tuple[str, ...] = ()) -> Any:
    return contacts.BatchReadInputSimplePublicObjectId(
        inputs=[contacts.SimplePublicObjectId(id=record_id) for record_id in ids],
        properties=["phone", "mobilephone"],
        properties_with_history=[*history],
    )


def read(client: HubSpot, *ids: str, **more: Any) -> Any:
    return client.crm.contacts.batch_api.read(question(*ids, **more))


def test_it_reads_records(client: HubSpot) -> None:
    answer = read(client, "7")

    assert type(answer) is contacts.BatchResponseSimplePublicObject
    assert answer.status == "COMPLETE"
    [record] = answer.results
    assert (record.id, record.archived) == ("7", False)
    assert record.properties.keys() == USUAL | {"phone", "mobilephone"}
    assert (record.properties["phone"], record.properties["mobilephone"]) == (
        "+919876543210",
        None,
    )
    assert record.created_at.tzinfo is not None


def test_it_reads_the_history_that_it_asked_for(client: HubSpot) -> None:
    [record] = read(client, "7", history=("phone",)).results

    [kept] = record.properties_with_history["phone"]
    assert (kept.value, kept.source_type) == ("+919876543210", "API")


@pytest.mark.parametrize(("ids", "found"), [(("7", "404"), ["7"]), (("404", "405"), [])])
def test_it_learns_which_records_are_gone(
    client: HubSpot, ids: tuple[str, ...], found: list[str]
) -> None:
    answer = read(client, *ids)

    assert type(answer) is contacts.BatchResponseSimplePublicObjectWithErrors
    assert [record.id for record in answer.results] == found
    [error] = answer.errors
    assert error.category == "OBJECT_NOT_FOUND"
    assert error.context["ids"] == [record_id for record_id in ids if record_id != "7"]
    assert answer.num_errors == 1


def test_it_reads_one_record(client: HubSpot) -> None:
    record = client.crm.contacts.basic_api.get_by_id("7", properties=["phone", "mobilephone"])

    assert record.id == "7"
    assert record.properties.keys() == USUAL | {"phone", "mobilephone"}
    assert record.properties["phone"] == "+919876543210"


@pytest.mark.parametrize("record_id", ["404", "no-number"])
def test_a_record_that_is_not_there_is_404(client: HubSpot, record_id: str) -> None:
    with pytest.raises(contacts.ApiException) as raised:
        client.crm.contacts.basic_api.get_by_id(record_id)

    assert raised.value.status == 404
    assert "OBJECT_NOT_FOUND" in raised.value.body


def test_a_deal_is_not_a_contact(client: HubSpot) -> None:
    with pytest.raises(deals.ApiException) as raised:
        client.crm.deals.basic_api.get_by_id("7")

    assert raised.value.status == 404


@pytest.mark.parametrize("times", [1, 3])
def test_it_waits_and_tries_again_after_a_429(simulator: Simulator, times: int) -> None:
    simulator.state.put_record("hubspot", "contacts", "7", {"phone": "+919876543210"})
    simulator.state.behave(429, times=times, retry_after="0")
    retry = Retry(total=times, status_forcelist=(429,), allowed_methods=None)

    answer = read(client_of(simulator, retry=retry), "7")

    assert [record.id for record in answer.results] == ["7"]
    statuses = [request.status for request in simulator.state.requests]
    assert statuses == [429] * times + [200]


@pytest.mark.parametrize(
    ("spoil", "status", "category"),
    [
        (lambda state: state.behave(429, retry_after="1"), 429, "TEN_SECONDLY_ROLLING"),
        (lambda state: state.behave(400), 400, "VALIDATION_ERROR"),
        (lambda state: state.behave(403), 403, "MISSING_SCOPES"),
        (lambda state: setattr(state, "hubspot_token", "another"), 401, "INVALID_AUTHENTICATION"),
    ],
)
def test_a_refusal_is_its_exception(
    simulator: Simulator,
    client: HubSpot,
    spoil: Callable[[Any], object],
    status: int,
    category: str,
) -> None:
    spoil(simulator.state)

    with pytest.raises(contacts.ApiException) as raised:
        read(client, "7")

    assert raised.value.status == status
    assert category in raised.value.body


@pytest.mark.parametrize("ids", [(), tuple(str(number) for number in range(101))])
def test_a_batch_that_breaks_a_rule_is_400(client: HubSpot, ids: tuple[str, ...]) -> None:
    with pytest.raises(contacts.ApiException) as raised:
        read(client, *ids)

    assert raised.value.status == 400


def test_it_writes_a_call(simulator: Simulator, client: HubSpot) -> None:
    association = {
        "to": {"id": "7"},
        "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 194}],
    }
    properties = {"hs_timestamp": "2026-01-01T00:00:00Z", "hs_call_title": "Call back"}
    body = calls.SimplePublicObjectInputForCreate(properties=properties, associations=[association])

    answer = client.crm.objects.calls.basic_api.create(body)

    [written] = simulator.state.written
    assert (written.object, written.id) == ("calls", answer.id)
    assert written.body == {"properties": properties, "associations": [association]}
    assert answer.properties["hs_call_title"] == "Call back"


@pytest.mark.parametrize("properties", [{"hs_call_title": "Call back"}, {}])
def test_a_call_without_its_time_is_400(
    simulator: Simulator, client: HubSpot, properties: dict[str, str]
) -> None:
    body = calls.SimplePublicObjectInputForCreate(properties=properties, associations=[])

    with pytest.raises(calls.ApiException) as raised:
        client.crm.objects.calls.basic_api.create(body)

    assert raised.value.status == 400
    assert simulator.state.written == []
