"""How HubSpot and Zoho are asked for what was created or changed, and what their answers say."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.crm import hubspot, kinds, zoho
from schemas.crm_api import ChangedRecord, Reconcile, RecordSearch
from simulator.hubspot import search_page

SINCE = datetime(2026, 1, 31, 4, 0, 0, 123_000, tzinfo=UTC)
SINCE_MS = "1769832000123"


def how(name: str) -> Reconcile:
    found = kinds()[name].reconcile
    assert found is not None
    return found


def search(crm_object: str = "contacts", **more: Any) -> RecordSearch:
    return RecordSearch(crm_object=crm_object, since=SINCE, **{"with_changed": False, **more})


def contact(at: datetime) -> dict[str, Any]:
    return {"id": "101", "properties": {}, "createdAt": at.isoformat(), "updatedAt": at.isoformat()}


def test_hubspot_is_asked_by_the_time_that_the_object_has() -> None:
    for crm_object, with_changed, name in (
        ("contacts", False, "createdate"),
        ("contacts", True, "lastmodifieddate"),
        ("deals", False, "createdate"),
        ("deals", True, "hs_lastmodifieddate"),
        ("leads", False, "hs_createdate"),
    ):
        request = how("hubspot").search(search(crm_object, with_changed=with_changed))
        assert (request.method, request.path) == (
            "POST",
            f"/crm/objects/{{API_VERSION}}/{crm_object}/search",
        )
        (group,) = request.json["filterGroups"]
        assert group["filters"] == [{"propertyName": name, "operator": "GTE", "value": SINCE_MS}]
        by_id = [{"propertyName": "hs_object_id", "direction": "ASCENDING"}]
        assert request.json["sorts"] == by_id


def test_hubspots_next_page_begins_after_the_last_id() -> None:
    more = {"paging": {"next": {"after": "200"}}}
    records = [contact(SINCE) | {"id": one} for one in ("99", "101")]
    cursor = how("hubspot").page({"results": records, **more}, search()).cursor
    following = how("hubspot").search(search(cursor=cursor)).json
    assert "after" not in following, "a place moves if a record is changed meanwhile"
    (since, beyond) = following["filterGroups"][0]["filters"]
    assert since["value"] == SINCE_MS
    assert beyond == {"propertyName": "hs_object_id", "operator": "GT", "value": "101"}
    assert how("hubspot").page({"results": records}, search(cursor=cursor)).cursor is None
    assert how("hubspot").page({"results": [], **more}, search(cursor=cursor)).cursor is None


def test_a_record_that_is_changed_meanwhile_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubspot, "SEARCH_PAGE", 2)
    records = {str(one): {"lastmodifieddate": SINCE.isoformat()} for one in range(98, 103)}
    found: list[str] = []
    cursor = None
    while True:
        asked = search(with_changed=True, cursor=cursor)
        body = how("hubspot").search(asked).json
        page = how("hubspot").page(search_page(body, records, SINCE.isoformat()), asked)
        found += [one.id for one in page.records]
        # A person changes the first record after each page.
        records["98"]["lastmodifieddate"] = (SINCE + timedelta(hours=len(found))).isoformat()
        cursor = page.cursor
        if cursor is None:
            break
    assert found == ["98", "99", "100", "101", "102"]


def test_a_record_that_hubspot_merged_was_not_created() -> None:
    merged = contact(SINCE) | {"properties": {"hs_merged_object_ids": "7;8"}}
    (found,) = how("hubspot").page({"results": [merged]}, search()).records
    assert (found.created_at, found.changed_at) == (None, SINCE)


def test_zoho_is_asked_without_milliseconds() -> None:
    request = how("zoho").search(search("Leads"))
    assert request.headers == {"If-Modified-Since": "2026-01-31T04:00:00+00:00"}
    assert "page_token" not in request.params
    assert how("zoho").search(search("Leads", cursor="abc")).params["page_token"] == "abc"


def test_zoho_says_what_follows_and_may_answer_nothing() -> None:
    assert how("zoho").page(None, search("Leads")).records == ()
    record = {
        "id": "1",
        "Created_Time": "2026-01-31T09:30:00+05:30",
        "Modified_Time": "2026-01-31T09:45:00+05:30",
    }
    info = {"more_records": True, "next_page_token": "abc"}
    page = how("zoho").page({"data": [record], "info": info}, search("Leads"))
    assert page.cursor == "abc"
    (found,) = page.records
    assert (found.id, found.created_at) == ("1", datetime(2026, 1, 31, 4, 0, tzinfo=UTC))
    last = how("zoho").page({"data": [record], "info": {"more_records": False}}, search("Leads"))
    assert last.cursor is None
    # Without a token it is no end.
    info = {"more_records": True, "page": 1}
    cursor = how("zoho").page({"data": [record], "info": info}, search("Leads")).cursor
    following = how("zoho").search(search("Leads", cursor=cursor)).params
    assert following["page"] == "2"
    assert "page_token" not in following


def test_each_change_of_a_record_is_an_event_of_its_own_and_its_creation_one() -> None:
    for name, module, crm_object in (("hubspot", hubspot, "contacts"), ("zoho", zoho, "Contacts")):
        of = {
            word: {
                module.KIND.reconcile.item(  # type: ignore[attr-defined]
                    f"contact.{word}",
                    crm_object,
                    ChangedRecord(id="1", created_at=SINCE, changed_at=SINCE + later, data={}),
                    "62515",
                ).source_event_id
                for later in (timedelta(0), timedelta(hours=1))
            }
            for word in ("created", "updated")
        }
        assert (len(of["created"]), len(of["updated"])) == (1, 2), name
