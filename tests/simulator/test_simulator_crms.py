"""HubSpot and Zoho as far as the bridge needs them."""

from __future__ import annotations

import phonenumbers
import pytest
from support import each

from simulator.people import demo_records

BATCH = "/crm/objects/2026-03/contacts/batch/read"
BEARER = {"Authorization": "Bearer a-token"}
FORM = {
    "grant_type": "refresh_token",
    "client_id": "c",
    "client_secret": "s",
    "refresh_token": "r",
}


def read(client, ids, properties=("phone",), path=BATCH):
    body = {"properties": list(properties), "inputs": [{"id": i} for i in ids]}
    return client.post(path, body, headers=BEARER)


@pytest.fixture
def zoho(client):
    """Return headers with a fresh access token."""
    token = client.call("POST", "/oauth/v2/token", data=FORM).json()["access_token"]
    return {"Authorization": f"Zoho-oauthtoken {token}"}


def test_hubspot_gives_the_asked_properties_and_null_for_empty_ones(client, state):
    state.put_record("hubspot", "contacts", "1", {"phone": "+919876543210", "city": "Pune"})

    answer = read(client, ["1"], ["phone", "mobilephone"])

    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "COMPLETE"
    assert "errors" not in body
    [result] = body["results"]
    at = result["createdAt"]
    assert result == {
        "id": "1",
        "properties": {
            "createdate": at,
            "hs_object_id": "1",
            "lastmodifieddate": at,
            "phone": "+919876543210",
            "mobilephone": None,
        },
        "createdAt": at,
        "updatedAt": at,
        "archived": False,
    }


def test_hubspot_answers_207_and_names_the_ids_that_are_missing(client):
    answer = read(client, ["101", "998", "102", "999"])

    assert answer.status_code == 207
    body = answer.json()
    assert [result["id"] for result in body["results"]] == ["101", "102"]
    assert body["numErrors"] == 1
    assert body["errors"][0]["category"] == "OBJECT_NOT_FOUND"
    assert body["errors"][0]["context"] == {"ids": ["998", "999"]}


def test_hubspot_takes_an_objects_type_id_and_answers_a_doubled_id_once(client):
    answer = read(client, ["101", "101"], path="/crm/objects/2026-03/0-1/batch/read")

    assert [result["id"] for result in answer.json()["results"]] == ["101"]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer "}, {"X-API-KEY": "k"}])
def test_hubspot_wants_a_bearer_token(client, headers):
    answer = client.post(BATCH, {"inputs": [{"id": "101"}]}, headers=headers)

    assert answer.status_code == 401
    assert answer.json()["category"] == "INVALID_AUTHENTICATION"


def test_hubspot_takes_only_the_configured_token_when_there_is_one(client, state):
    state.hubspot_token = "another"

    assert read(client, ["101"]).status_code == 401


@each(
    "body",
    [
        [],
        {},
        {"inputs": []},
        {"inputs": ["101"]},
        {"inputs": [{"id": 101}]},
        {"inputs": [{"id": str(i)} for i in range(101)]},
        {"inputs": [{"id": "101"}], "properties": "phone"},
        {"inputs": [{"id": "101"}], "idProperty": "email"},
        {"inputs": [{"id": "101"}], "propertiesWithHistory": "phone"},
        {"inputs": [{"id": "101"}], "propertiesWithHistory": [1]},
    ],
    ids=lambda body: str(body)[:50],
)
def test_hubspot_refuses_a_batch_read_that_breaks_a_rule(client, body):
    answer = client.post(BATCH, body, headers=BEARER)

    assert answer.status_code == 400
    assert answer.json()["status"] == "error"


@pytest.mark.parametrize("name", ["nonsense", "contactz", "0-9999"])
def test_hubspot_refuses_an_object_that_it_does_not_know(client, name):
    answer = read(client, ["1"], path=f"/crm/objects/2026-03/{name}/batch/read")

    assert answer.status_code == 400
    assert answer.json()["message"] == f"Unable to infer object type from: {name}"


@pytest.mark.parametrize("name", ["contacts", "0-3", "tickets"])
def test_hubspot_knows_its_own_objects_also_without_a_record(client, name):
    assert read(client, ["1"], path=f"/crm/objects/2026-03/{name}/batch/read").status_code == 207


@pytest.mark.parametrize(
    "query",
    [
        "properties=phone,city",
        "properties=phone&properties=city",  # as HubSpot's own client has it
        "properties=phone%2C%20city&propertiesWithHistory=phone",
    ],
)
def test_hubspot_reads_one_record(client, state, query):
    state.put_record("hubspot", "contacts", "1", {"phone": "+919876543210", "city": "Pune"})

    answer = client.get(f"/crm/objects/2026-03/contacts/1?{query}", headers=BEARER)

    found = answer.json()
    assert (answer.status_code, found["id"]) == (200, "1")
    assert (found["properties"]["phone"], found["properties"]["city"]) == ("+919876543210", "Pune")
    assert ("propertiesWithHistory" in found) == ("WithHistory" in query)


@pytest.mark.parametrize(
    ("path", "status", "category"),
    [
        ("contacts/999999", 404, "OBJECT_NOT_FOUND"),
        ("0-3/101", 404, "OBJECT_NOT_FOUND"),
        ("nonsense/101", 400, "VALIDATION_ERROR"),
        ("contacts/101/nonsense", 404, "OBJECT_NOT_FOUND"),
    ],
)
def test_hubspot_says_in_its_words_what_is_not_there(client, path, status, category):
    answer = client.get(f"/crm/objects/2026-03/{path}", headers=BEARER)

    assert (answer.status_code, answer.json()["category"]) == (status, category)


def test_hubspot_gives_the_history_that_was_asked_for(client, state):
    state.put_record("hubspot", "contacts", "1", {"phone": "+919876543210", "city": "Pune"})
    body = {
        "inputs": [{"id": "1"}],
        "properties": ["city"],
        "propertiesWithHistory": ["phone", "mobilephone"],
    }

    [result] = client.post(BATCH, body, headers=BEARER).json()["results"]

    assert set(result["propertiesWithHistory"]) == {"phone"}
    [kept] = result["propertiesWithHistory"]["phone"]
    assert (kept["value"], set(kept)) == ("+919876543210", {"value", "timestamp", "sourceType"})
    assert "phone" not in result["properties"]
    assert "propertiesWithHistory" not in read(client, ["1"]).json()["results"][0]


def test_hubspots_429_names_its_policy(client, state):
    """Its own client gives up without."""
    state.behave(429, retry_after="1")

    answer = read(client, ["101"])

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert answer.json()["errorType"] == "RATE_LIMIT"
    assert answer.json()["policyName"] == "TEN_SECONDLY_ROLLING"


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 418, 422, 423, 429, 500, 503])
def test_made_up_errors_are_in_the_words_of_the_api_that_was_asked(client, state, zoho, status):
    state.behave(status)

    hubspot = read(client, ["101"])
    of_zoho = client.get("/crm/v8/Leads?ids=1&fields=Phone", headers=zoho)
    token = client.call("POST", "/oauth/v2/token", data=FORM)

    for answer in (hubspot, of_zoho, token):
        assert answer.status_code == status
        for word in ("Agent", "API key", "SIMULATED"):
            assert word not in answer.text
    assert hubspot.json()["status"] == of_zoho.json()["status"] == "error"
    assert hubspot.json()["correlationId"]
    assert of_zoho.json()["code"].isupper()


def test_hubspot_reads_a_hundred_records_at_once(client, state):
    ids = [str(i) for i in range(100)]
    for record_id in ids:
        state.put_record("hubspot", "contacts", record_id, {"phone": "+919876543210"})

    assert [result["id"] for result in read(client, ids).json()["results"]] == ids


def test_a_record_can_only_be_read_once_it_is_visible(client, state, clock, zoho):
    state.put_record("hubspot", "contacts", "1", {"phone": "x"}, visible_after_s=30)
    state.put_record("zoho", "Leads", "2", {"Phone": "x"}, visible_after_s=30)

    assert read(client, ["1"]).status_code == 207
    assert client.get("/crm/v8/Leads?ids=2&fields=Phone", headers=zoho).status_code == 204
    clock.now_s += 30
    assert read(client, ["1"]).status_code == 200
    assert client.get("/crm/v8/Leads?ids=2&fields=Phone", headers=zoho).status_code == 200


def test_hubspot_remembers_a_call_that_is_written_back(client, state):
    body = {"properties": {"hs_timestamp": "2026-01-01T00:00:00Z"}, "associations": []}

    answer = client.post("/crm/objects/2026-03/calls", body, headers=BEARER)

    assert answer.status_code == 201
    [written] = state.written
    assert (written.crm, written.object, written.id) == ("hubspot", "calls", answer.json()["id"])
    assert written.body == body
    wrong = client.post("/crm/objects/2026-03/calls", {"properties": {}}, headers=BEARER)
    assert wrong.status_code == 400


def test_zoho_gives_a_token_and_its_own_address(client, simulator):
    answer = client.call("POST", "/oauth/v2/token", data=FORM).json()

    assert answer.pop("access_token")
    assert "ZohoCRM.modules.ALL" in answer.pop("scope").split()
    assert answer == {
        "api_domain": simulator.url,
        "token_type": "Bearer",
        "expires_in": 3600,
    }


def test_zoho_denies_the_eleventh_token_within_ten_minutes(client, state, clock):
    def refresh(**change):
        return client.call("POST", "/oauth/v2/token", params={**FORM, **change})

    assert [refresh().status_code for _ in range(10)] == [200] * 10
    denied = refresh()
    assert (denied.status_code, denied.json()["error"]) == (400, "Access Denied")
    assert refresh(refresh_token="other").status_code == 200
    clock.now_s += 600
    assert refresh().status_code == 200
    assert state.zoho_refreshed == 12


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_id": ""}, "invalid_client"),
        ({"client_secret": ""}, "invalid_client"),
        ({"refresh_token": ""}, "invalid_code"),
        ({"refresh_token": "revoked"}, "invalid_code"),
    ],
)
def test_zoho_gives_no_token_for_wrong_credentials(client, state, change, error):
    state.revoked_refresh_tokens.add("revoked")

    answer = client.call("POST", "/oauth/v2/token", data={**FORM, **change})

    assert answer.json() == {"error": error}


def test_zoho_gives_the_asked_fields_and_null_for_empty_ones(client, state, zoho):
    state.put_record("zoho", "Leads", "7", {"Phone": "+919876543210", "City": "Pune"})

    answer = client.get("/crm/v8/Leads?ids=7,404&fields=Phone,Mobile", headers=zoho)

    assert answer.status_code == 200
    assert answer.json()["data"] == [{"id": "7", "Phone": "+919876543210", "Mobile": None}]
    assert answer.json()["info"]["more_records"] is False


def test_zoho_answers_204_without_a_body_when_no_record_matches(client, zoho):
    answer = client.get("/crm/v8/Leads?ids=1,2&fields=Phone", headers=zoho)

    assert (answer.status_code, answer.content) == (204, b"")
    assert "Content-Type" not in answer.headers


def test_zoho_gives_pages(client, state, zoho):
    for number in range(5):
        state.put_record("zoho", "Deals", str(number), {"Deal_Name": f"d{number}"})

    def page(more):
        return client.get(f"/crm/v8/Deals?fields=Deal_Name{more}", headers=zoho)

    first = page("&per_page=2").json()
    assert [record["id"] for record in first["data"]] == ["0", "1"]
    shown = {"per_page": 2, "count": 2, "page": 1, "more_records": True, "next_page_token": "2"}
    assert first["info"] == shown
    assert page("&per_page=2&page_token=2").json()["data"][0]["id"] == "2"
    last = page("&per_page=2&page=3").json()
    assert [record["id"] for record in last["data"]] == ["4"]
    assert last["info"] == {"per_page": 2, "count": 1, "page": 3, "more_records": False}
    assert page("&per_page=2&page=4").status_code == 204
    for wrong in ("&page=0", "&page=x", "&per_page=201", "&per_page=-1", "&page="):
        assert (page(wrong).status_code, page(wrong).json()["code"]) == (400, "INVALID_DATA")


def test_zoho_describes_the_fields_of_a_module(client, state, zoho):
    state.put_record("zoho", "Leads", "7", {"Phone": "+919876543210", "Lead_Source": "Web"})

    answer = client.get("/crm/v8/settings/fields?module=Leads", headers=zoho).json()

    names = {field["api_name"]: field["field_label"] for field in answer["fields"]}
    assert names["Lead_Source"] == "Lead Source"
    assert {"id", "Phone"} <= names.keys()
    for path, code in (("?module=Nonsense", "INVALID_MODULE"), ("", "REQUIRED_PARAM_MISSING")):
        wrong = client.get(f"/crm/v8/settings/fields{path}", headers=zoho)
        assert (wrong.status_code, wrong.json()["code"]) == (400, code)


def test_zoho_tells_its_users(client, zoho):
    [user] = client.get("/crm/v8/users?type=CurrentUser", headers=zoho).json()["users"]
    assert (user["status"], user["full_name"]) == ("active", "Sona Example")


def test_zoho_tells_its_organisation(client, zoho):
    [organisation] = client.get("/crm/v8/org", headers=zoho).json()["org"]
    assert organisation["zgid"].isdigit()


@pytest.mark.parametrize("path", ["Leads/7/Nonsense", "settings/nonsense", "Leads/7"])
def test_zoho_says_in_its_words_that_a_path_is_not_there(client, zoho, path):
    answer = client.get(f"/crm/v8/{path}", headers=zoho)

    assert (answer.status_code, answer.json()["code"]) == (404, "INVALID_URL_PATTERN")


@pytest.mark.parametrize(
    "path", ["org", "users", "settings/fields?module=Leads", "Leads?fields=Phone"]
)
def test_zoho_wants_a_token_everywhere(client, path):
    assert client.get(f"/crm/v8/{path}").json()["code"] == "INVALID_TOKEN"


@pytest.mark.parametrize("kind", ["absent", "unknown", "bearer", "expired", "too old"])
def test_zoho_refuses_a_token_that_is_not_valid(client, state, clock, zoho, kind):
    token = zoho["Authorization"].split()[1]
    headers = {
        "absent": {},
        "unknown": {"Authorization": "Zoho-oauthtoken x"},
        "bearer": {"Authorization": f"Bearer {token}"},
    }.get(kind, zoho)
    if kind == "expired":
        state.expire_zoho_tokens()
    if kind == "too old":
        clock.now_s += 3600

    answer = client.get("/crm/v8/Leads?ids=1&fields=Phone", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (401, "INVALID_TOKEN")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/crm/v8/Nonsense?ids=1&fields=Phone", "INVALID_MODULE"),
        ("/crm/v8/Leads?ids=1", "REQUIRED_PARAM_MISSING"),
        (f"/crm/v8/Leads?fields=Phone&ids={','.join(map(str, range(101)))}", "LIMIT_EXCEEDED"),
        (f"/crm/v8/Leads?ids=1&fields={','.join(map(str, range(51)))}", "LIMIT_EXCEEDED"),
    ],
    ids=["module", "fields absent", "101 ids", "51 fields"],
)
def test_zoho_refuses_a_question_that_breaks_a_rule(client, zoho, path, code):
    answer = client.get(path, headers=zoho)

    assert (answer.status_code, answer.json()["code"]) == (400, code)


def texts(value):
    """Return every text in a record, also in its lists."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for one in inner for text in texts(one)]


def test_every_demo_number_is_valid_and_the_people_are_plainly_made_up():
    for records in demo_records().values():
        for fields in records.values():
            emails = [text for text in texts(fields) if "@" in text]
            assert all(email.endswith("@example.com") for email in emails)
            for text in texts(fields):
                if sum(map(str.isdecimal, text)) >= 8:
                    assert phonenumbers.is_valid_number(
                        phonenumbers.parse(text.removeprefix("p:"), "IN")
                    ), text


def merge(client, record_id, into, **more):
    path = f"/simulator/merges/hubspot/contacts/{record_id}"
    return client.call("PUT", path, json={"into": into, **more})


def test_hubspot_answers_a_merged_id_with_the_other_record_under_its_own_id(client, state):
    state.put_record("hubspot", "contacts", "1", {"phone": "+919876543210"})
    state.put_record("hubspot", "contacts", "2", {"phone": "+919876543211"})
    state.put_record("hubspot", "contacts", "3", {"phone": "+919876543212"})
    assert [merge(client, "1", "2").status_code, merge(client, "2", "3").status_code] == [204, 204]

    answer = read(client, ["1", "3", "2"]).json()
    alone = client.get(
        "/crm/objects/2026-03/contacts/1?properties=phone,hs_merged_object_ids", headers=BEARER
    ).json()

    assert [found["id"] for found in answer["results"]] == ["3"]
    assert "errors" not in answer
    assert (alone["id"], alone["properties"]["phone"]) == ("3", "+919876543212")
    assert alone["properties"]["hs_merged_object_ids"] == "1;2"


def test_hubspots_batch_read_may_leave_a_merged_id_out(client):
    assert merge(client, "101", "102", in_batch=False).status_code == 204

    answer = read(client, ["101", "102"])
    alone = client.get("/crm/objects/2026-03/contacts/101", headers=BEARER)

    assert answer.status_code == 207
    assert [found["id"] for found in answer.json()["results"]] == ["102"]
    assert answer.json()["errors"][0]["context"] == {"ids": ["101"]}
    assert (alone.status_code, alone.json()["id"]) == (200, "102")


def test_hubspot_has_no_record_of_an_id_that_is_gone(client, state):
    state.drop_record("hubspot", "contacts", "101")
    answer = client.get("/crm/objects/2026-03/contacts/101", headers=BEARER)
    assert (answer.status_code, answer.json()["category"]) == (404, "OBJECT_NOT_FOUND")


@each("body", [{}, {"into": "102", "when": "now"}, {"into": 102}, {"into": "101"}, {"into": "9"}])
def test_a_merge_that_makes_no_sense_is_refused(client, body):
    path = "/simulator/merges/hubspot/contacts/101"
    assert client.call("PUT", path, json=body).status_code == 400
