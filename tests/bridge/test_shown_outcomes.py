"""What the API shows of an outcome, of the person and of links; the filter `outcome=`; totals."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support import API_TOKEN, CALL_BACK, Web, each, lead, notification, route

from schemas.settings import Settings
from store import Store

MakeSettings = Callable[..., Settings]
RunDrain = Callable[..., Any]
TOKEN = "a-callback-token"
NUMBER = "+919876543210"
BEARER = {"Authorization": f"Bearer {API_TOKEN}"}
HUBSPOT = route("call contacts", source="hubspot", event="contact.created")
COMMENT = {"value": "no", "comment": "Said not now, call 98765 43210."}


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(CALL_BACK + HUBSPOT, callkaro_webhook_tokens=(TOKEN,))


def tell(web: Web, delivery: str, sid: str, **data: object) -> None:
    data = {"callSid": sid, "call_metadata": {"bridge_delivery_id": delivery}, **data}
    body = json.dumps({"event": "call_ended", "data": {"try_count": 0, **data}})
    headers = {"Content-Type": "application/json"}
    answer = web.client.post(f"/callbacks/callkaro/{TOKEN}", data=body, headers=headers)
    assert answer.status_code == 200


def listed(web: Web, query: str = "") -> Any:
    answer = web.get(f"/api/deliveries{query}")
    assert answer.status_code == 200, answer.text
    return answer.json


@pytest.fixture
def sent(web: Web, settings: Settings, run_drain: RunDrain) -> list[str]:
    """Four calls: connected, not reached with a redial to come, silent; and one that is skipped."""
    leads = [
        lead(NUMBER, name="Meera Nair"),
        lead("+919876543211", full_name="Asha", last_name="unused"),
        lead("+919876543212"),
        lead("12", name="Dev 98765 43210"),
    ]
    ids = [web.send("website", one)[0] for one in leads]
    run_drain(settings)
    tell(
        web,
        ids[0],
        "CA1",
        hangup_reason="CLIENT_INITIATED",
        call_duration=299,
        time="2026-01-05 12:00:00",
        conversion_status=False,
        disposition_reason="asked to call 98765 43210",
        recordingUrl="https://recordings.example/1.mp3",
        call_link="https://callkaro.ai/dashboard/call-history?call_id=1",
        post_call_detail={"interested": COMMENT},
        versionId="v7",
    )
    tell(web, ids[1], "CA2", hangup_reason="USER_REJECTED", next_call_scheduled=True)
    return ids


def test_a_row_says_who_it_is_and_how_the_call_ended(web: Web, sent: list[str]) -> None:
    rows = {one["id"]: one for one in listed(web)["items"]}
    first = rows[sent[0]]
    assert first["name"] == "Meera Nair"
    assert first["phone"] == "+91••••••3210"
    assert first["outcome"] == {
        "result": "connected",
        "talked_s": 299,
        "converted": False,
        "disposition": "asked to call ••••••3210",
        "at": "2026-01-05T06:30:00.000Z",
        "is_final": True,
        "tries": 1,
        "recording_url": "https://recordings.example/1.mp3",
        "call_link": "https://callkaro.ai/dashboard/call-history?call_id=1",
    }
    assert first["links"] == {
        "record": None,
        "campaign": None,
        "call": "https://callkaro.ai/dashboard/call-history?call_id=1",
    }
    second = rows[sent[1]]
    assert (second["name"], second["outcome"]["result"]) == ("Asha", "not_reached")
    assert (second["outcome"]["is_final"], second["outcome"]["talked_s"]) == (False, None)
    assert second["outcome"]["at"] is not None  # when it was received
    assert (rows[sent[2]]["outcome"], rows[sent[2]]["name"]) == (None, None)
    skipped = rows[sent[3]]
    assert (skipped["status"], skipped["phone"]) == ("skipped", None)
    assert skipped["name"] == "Dev ••••••3210"  # a number in a name is masked, too


def test_the_detail_has_what_the_row_has_and_the_agents_reasons(web: Web, sent: list[str]) -> None:
    for row in listed(web)["items"]:
        detail = web.get(f"/api/deliveries/{row['id']}").json
        assert {name: detail[name] for name in row} == row
    detail = web.get(f"/api/deliveries/{sent[0]}?reveal=true").json
    assert detail["phone"] == NUMBER
    [outcome] = detail["outcomes"]
    assert outcome["post_call_detail"] == {"interested": COMMENT}
    assert outcome["version_id"] == "v7"


@each(
    ("query", "which"),
    [
        ("?outcome=connected", [0]),
        ("?outcome=not_reached", [1]),
        ("?outcome=none", [2]),
        ("?outcome=none,connected", [2, 0]),
        ("?outcome=connected&outcome=not_reached", [1, 0]),
        ("?outcome=voicemail", []),
        ("?outcome=connected,not_reached&status=delivered", [1, 0]),
        ("?outcome=connected&status=skipped", []),
        ("?outcome=connected,none&source=website&limit=1", [2]),
        ("?outcome=none&phone=%2B919876543212", [2]),
    ],
)
def test_a_list_filters_by_outcome(web: Web, sent: list[str], query: str, which: list[int]) -> None:
    assert [one["id"] for one in listed(web, query)["items"]] == [sent[one] for one in which]


@each("query", ["outcome=connect", "outcome=None", "outcome=connected,unknown"])
def test_a_result_that_does_not_exist_is_refused(web: Web, query: str) -> None:
    answer = web.get(f"/api/deliveries?{query}")
    assert (answer.status_code, answer.json["error"]) == (400, "bad_query")
    assert "not_reached" in answer.json["message"]


def test_a_total_is_exact_or_null(web: Web, sent: list[str], store: Store) -> None:
    assert listed(web)["total"] == 4
    assert listed(web, "?limit=1")["total"] == 4
    assert listed(web, "?status=delivered,skipped")["total"] == 4
    assert listed(web, "?status=skipped")["total"] == 1
    assert listed(web, "?phone=%2B919876543210")["total"] == 1
    assert listed(web, "?status=skipped&source=website")["total"] is None
    assert listed(web, "?until=2020-01-01")["total"] == 0
    assert listed(web, "?outcome=none")["total"] is None  # the audit has not ended its first round
    assert web.get("/api/status").json["indexing"] == {"done": 0, "of": 4}
    place, _ = store.audit((0, 0), lease_s=60)
    while place != (0, 0):
        place, _ = store.audit(place, lease_s=60)
    assert web.get("/api/status").json["indexing"] is None
    assert listed(web, "?outcome=none")["total"] == 1
    assert listed(web, "?outcome=none,connected")["total"] == 2


def test_many_are_chosen_by_outcome(web: Web, sent: list[str]) -> None:
    chosen = {"outcome": "not_reached,voicemail", "status": "delivered"}
    body = {**chosen, "call_again": True, "dry_run": True}
    answer = web.client.post("/api/deliveries/retry", json=body, headers=BEARER)
    assert (answer.status_code, answer.json["matched"]) == (200, 1)


def test_an_erased_person_has_no_name_number_or_recording(
    web: Web, sent: list[str], store: Store
) -> None:
    store.erase_deliveries(sent)
    for row in listed(web)["items"]:
        assert (row["name"], row["phone"]) == (None, None)
        assert row["links"] == {"record": None, "campaign": None, "call": None}
    detail = web.get(f"/api/deliveries/{sent[0]}").json
    known = {name: value for name, value in detail["outcome"].items() if value is not None}
    assert known.keys() == {"result", "at", "is_final", "tries"}
    kept = " ".join(
        text for key in store.redis.keys("bridge:delivery:*") for text in store.redis.hvals(key)
    )
    for personal in ("Meera", "Asha", "Dev", "9876543210", "recordings.example"):
        assert personal not in kept


def test_a_record_of_hubspot_is_linked(
    open_web: Callable[[Settings], Web], settings: Settings
) -> None:
    variables = {"hubspot": {"APP_URL": "https://app.example"}}
    web = open_web(replace(settings, variables=variables))
    [delivery] = web.send("hubspot", notification("501"))
    row = web.get(f"/api/deliveries/{delivery}").json
    assert row["links"]["record"] == "https://app.example/contacts/62515/record/0-1/501"


# --- links with a number --------------------------------------------------------------------------

RECORDING = "https://recordings.example/%2B919876543210/1.mp3"
CALL = "https://callkaro.ai/c?to=91-98765-43210"


@pytest.fixture
def numbered(web: Web, settings: Settings, run_drain: RunDrain) -> str:
    """A call whose links and version have the number of its person."""
    [delivery_id] = web.send("website", lead(NUMBER, name="Meera Nair"))
    run_drain(settings)
    said = {"hangup_reason": "CLIENT_INITIATED", "recordingUrl": RECORDING, "call_link": CALL}
    tell(web, delivery_id, "CA1", versionId="for 919876543210", **said)
    return delivery_id


def test_links_with_the_number_are_null_while_numbers_are_masked(web: Web, numbered: str) -> None:
    [row] = listed(web)["items"]
    detail = web.get(f"/api/deliveries/{numbered}").json
    for one in (row, detail):
        assert (one["outcome"]["recording_url"], one["outcome"]["call_link"]) == (None, None)
        assert one["links"]["call"] is None
    [outcome] = detail["outcomes"]
    assert (outcome["recording_url"], outcome["call_link"]) == (None, None)
    assert outcome["version_id"] == "for ••••••••3210"
    assert "43210" not in web.get("/api/deliveries.csv").text
    assert "43210" not in web.get("/api/stats?by=version").text


def test_links_with_the_number_are_there_for_those_who_see_it(web: Web, numbered: str) -> None:
    detail = web.get(f"/api/deliveries/{numbered}?reveal=true").json
    assert detail["outcome"]["recording_url"] == RECORDING
    assert detail["links"]["call"] == detail["outcomes"][0]["call_link"] == CALL
    assert RECORDING in web.get("/api/deliveries.csv?reveal=true").text


def test_the_page_says_why_a_link_is_not_there(web: Web, numbered: str) -> None:
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302
    page = web.client.get(f"/deliveries/{numbered}")
    assert "43210" not in page.text
    assert "media-src" not in page.headers["Content-Security-Policy"]
    assert "A link to the recording or to the call has the person" in page.text
    page = web.client.get(f"/deliveries/{numbered}?reveal=1")
    assert RECORDING in page.text
    assert "A link to the recording or to the call" not in page.text
    assert "43210" not in web.client.get("/reports").text
