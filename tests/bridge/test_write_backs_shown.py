"""What the CRM was told of a call: in the API, on the call's page, and for commands on many."""

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from support import API_TOKEN, WEBSITE, Web, route
from support.storing import claim, put

from schemas.delivery import Delivery, Reason, Status
from schemas.records import Move
from schemas.settings import Settings
from store import Store

BEARER = {"Authorization": f"Bearer {API_TOKEN}"}
SENTENCE = "The CRM refused it: <b>Property values</b> were not valid."


@pytest.fixture
def web(open_web: Callable[[Settings], Web], make_settings: Callable[..., Settings]) -> Web:
    found = open_web(make_settings(WEBSITE + route("call back")))
    assert found.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302
    return found


@pytest.fixture
def told(store: Store) -> Delivery:
    """A call that failed, and the write-back that the CRM refused."""
    store.note_write_back_routes({"call back": ["failed"]})
    put(store, "d1", subject="101", subject_type="contact")
    store.move([Move(id="d1", to=Status.FAILED, lease=claim(store)["d1"])])
    [found] = store.claim_write_backs(1, {}, lease_s=60)
    one = found.delivery
    moves = [
        Move(id=one.id, to=Status.SENDING, lease=one.lease, attempt=(1, {"number": 1})),
        Move(
            id=one.id,
            to=Status.FAILED,
            lease=one.lease,
            reason=Reason.REFUSED,
            message=SENTENCE,
            attempt=(1, {"number": 1, "at": datetime.now(UTC).isoformat(), "status_code": 422}),
        ),
    ]
    assert store.move(moves) == ["ok", "ok"]
    return one


def test_the_call_shows_what_its_crm_was_told(web: Web, told: Delivery) -> None:
    [shown] = web.get("/api/deliveries/d1").json["write_backs"]
    assert shown.pop("at").endswith("Z")
    assert shown == {
        "id": told.id,
        "moment": "failed",
        "status": "failed",
        "reason": "refused",
        "message": SENTENCE,
    }
    page = web.client.get("/deliveries/d1").text
    assert "What the CRM was told" in page
    assert "&lt;b&gt;Property values" in page
    assert f"/deliveries/{told.id}" in page


def test_a_write_back_has_a_page_and_leads_to_its_call(web: Web, told: Delivery) -> None:
    found = web.get(f"/api/deliveries/{told.id}").json
    assert (found["to"], found["of"], found["moment"]) == ("write_back", "d1", "failed")
    assert found["write_backs"] == []
    page = web.client.get(f"/deliveries/{told.id}").text
    assert "/deliveries/d1" in page
    assert "What it tells the CRM" in page
    assert "Suppress the number" not in page


def test_lists_have_it_only_where_they_are_asked(web: Web, told: Delivery) -> None:
    def ids(**query: str) -> list[str]:
        answer = web.client.get("/api/deliveries", query_string=query, headers=BEARER)
        return [one["id"] for one in answer.json["items"]]

    assert ids() == ids(to="call") == ids(to="call,campaign") == ["d1"]
    assert ids(to="campaign") == []
    assert ids(to="write_back") == ids(of="d1") == ids(of="d1", status="failed") == [told.id]
    assert ids(to="write_back,call") == [told.id, "d1"]
    assert ids(of="d1", status="delivered") == ids(of="d1", to="call") == ids(of="d2") == []
    wrong = web.client.get("/api/deliveries?to=write-back", headers=BEARER)
    assert wrong.status_code == 400
    assert "write_back" in wrong.json["message"]


def test_the_overview_leads_to_those_that_failed(web: Web, told: Delivery) -> None:
    overview = web.client.get("/").text
    [address] = re.findall(r'<a href="([^"]*to=write_back[^"]*)">1 failed</a>', overview)
    page = web.client.get(html.unescape(address)).text
    assert f'id="row-{told.id}"' in page
    assert 'id="row-d1"' not in page
    assert "Only what CRMs were told is shown." in page
    assert '<input type="hidden" name="to" value="write_back">' in page, "also after Filter"
    [address] = re.findall(r'<a class="button" href="([^"]*do=retry[^"]*)">', page)
    many = web.client.get(html.unescape(address)).text
    assert '<input type="hidden" name="to" value="write_back">' in many, "or calls are retried"
    assert "Phones may ring" not in many
    assert "CRMs were told" in overview
    assert 'id="row-d1"' in web.client.get("/deliveries?status=failed").text


def test_the_state_counts_write_backs_apart(web: Web, told: Delivery) -> None:
    found = web.get("/api/status").json
    assert found["deliveries"]["failed"] == 1
    assert {name: count for name, count in found["write_backs"].items() if count} == {"failed": 1}
    event = web.get(f"/api/events/{told.event_id}").json
    assert [one["id"] for one in event["deliveries"]] == ["d1"]


def test_commands_on_many_leave_it_out_unless_they_name_it(
    web: Web, store: Store, told: Delivery
) -> None:
    def retry(**body: object) -> int:
        answer = web.client.post("/api/deliveries/retry", json=body, headers=BEARER)
        return int(answer.json["retried"])

    assert retry(status="failed", dry_run=True) == 1
    assert retry(status="failed", to="write_back", dry_run=True) == 1
    assert retry(of="d1") == 1
    found = store.delivery(told.id)
    assert found is not None
    assert (found.status, found.reason, found.call_sid) == ("queued", "by_person", told.call_sid)
    call = store.delivery("d1")
    assert call is not None
    assert call.status is Status.FAILED


def test_a_person_retries_one_that_was_written_and_cancels_one_that_waits(
    web: Web, store: Store, told: Delivery
) -> None:
    delivered = Move(id=told.id, to=Status.DELIVERED, from_statuses=frozenset({Status.FAILED}))
    assert store.move([delivered]) == ["ok"]
    again = web.client.post(f"/api/deliveries/{told.id}/retry", headers=BEARER)
    assert again.json["status"] == "queued"
    [claimed] = store.claim_write_backs(1, {}, lease_s=60)
    assert claimed.delivery.id == told.id
    cancelled = web.client.post(f"/api/deliveries/{told.id}/cancel", headers=BEARER)
    assert cancelled.json["status"] == "cancelled"
