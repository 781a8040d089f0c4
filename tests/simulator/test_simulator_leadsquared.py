"""LeadSquared's activities and leads, as its documentation has them."""

from __future__ import annotations

import pytest

LEADS, ACTIVITIES = "/v2/LeadManagement.svc", "/v2/ProspectActivity.svc"
KEYS = {"x-LSQ-AccessKey": "a", "x-LSQ-SecretKey": "s"}
ACTIVITY = {
    "RelatedProspectId": "lead-1",
    "ActivityEvent": 201,
    "ActivityNote": "Call: connected",
    "ActivityDateTime": "2026-01-01 07:00:00",
}


@pytest.fixture
def ask(client, state):
    state.put_record("leadsquared", "leads", "lead-1", {"ProspectStage": "Prospect"})

    def ask(path, body=None, headers=KEYS):
        return client.call("POST", path, json=body, headers=headers)

    return ask


def exception(answer):
    assert answer.json()["Status"] == "Error"
    return answer.status_code, answer.json()["ExceptionType"]


def test_an_activity_is_posted_changed_and_read(client, ask):
    posted = ask(f"{ACTIVITIES}/Create", ACTIVITY).json()
    assert posted["Status"] == "Success"
    change = {"ProspectActivityId": posted["Message"]["Id"], "ActivityEvent": 201}
    change["ActivityNote"] = "Call: not reached"
    assert ask(f"{ACTIVITIES}/CustomActivity/Update", change).json() == posted
    body = {"Parameter": {"ActivityEvent": 201}, "Paging": {"Offset": "0", "RowCount": "1"}}
    read = ask(f"{ACTIVITIES}/Retrieve?leadId=lead-1", body).json()
    assert read["RecordCount"] == 1
    (activity,) = read["ProspectActivities"]
    assert activity["Id"] == posted["Message"]["Id"]
    assert activity["Data"] == [{"Key": "NotableEventDescription", "Value": "Call: not reached"}]
    other = {"Parameter": {"ActivityEvent": 202}}
    assert ask(f"{ACTIVITIES}/Retrieve?leadId=lead-1", other).json()["ProspectActivities"] == []

    stage = [{"Attribute": "ProspectStage", "Value": "Interested"}]
    answer = ask(f"{LEADS}/Lead.Update?leadId=lead-1", stage)
    assert answer.json() == {"Status": "Success", "Message": {"AffectedRows": 1}}

    told = client.get("/simulator/told").json()["items"]
    assert [(one["what"], one["object"], one["record_id"]) for one in told] == [
        ("call created", "leads", "lead-1"),
        ("call changed", "leads", "lead-1"),
        ("record changed", "leads", "lead-1"),
    ]
    assert told[0]["call_id"] == told[1]["call_id"] == posted["Message"]["Id"]
    assert told[0]["fields"] == {
        name: value for name, value in ACTIVITY.items() if name != "RelatedProspectId"
    }
    assert told[2]["fields"] == {"ProspectStage": "Interested"}


@pytest.mark.parametrize(
    "headers",
    [{}, {"x-LSQ-AccessKey": "a"}, {"x-LSQ-SecretKey": "s"}, {**KEYS, "x-LSQ-SecretKey": ""}],
)
def test_both_keys_are_wanted(ask, headers):
    answer = ask(f"{ACTIVITIES}/Create", ACTIVITY, headers)
    assert exception(answer) == (401, "MXUnAuthorizedAccessException")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"ActivityEvent": ""}, "MXInvalidActivityException"),
        ({"ActivityEvent": "201"}, "MXInvalidActivityException"),
        ({"ActivityEvent": 22}, "MXInvalidActivityException"),
        ({"RelatedProspectId": "lead-2"}, "MXInvalidEntityReferenceException"),
        ({"ActivityDateTime": "2026-01-01T07:00:00Z"}, "MXInvalidInputException"),
        ({"ActivityDateTime": "2026-13-01 07:00:00"}, "MXInvalidInputException"),
        ({"ActivityNote": None}, "MXInvalidInputException"),
        ({"Note": "x"}, "MXInvalidInputException"),
    ],
)
def test_what_leadsquared_refuses_is_a_500_with_an_exception(ask, change, expected):
    assert exception(ask(f"{ACTIVITIES}/Create", {**ACTIVITY, **change})) == (500, expected)


@pytest.mark.parametrize(
    ("lead", "body", "expected"),
    [
        ("", [], (500, "MXMandatoryAttributeMissingException")),
        ("lead-2", [], (500, "MXInvalidEntityReferenceException")),
        ("lead-1", {"Attribute": "a", "Value": "b"}, (400, "MXInvalidInputException")),
        ("lead-1", [{"Attribute": "mx_No", "Value": "b"}], (500, "MXUnknownAttributeException")),
    ],
)
def test_a_lead_or_a_field_that_does_not_exist_is_refused(ask, state, lead, body, expected):
    state.set_field("leadsquared", "leads", "mx_No", "missing")
    assert exception(ask(f"{LEADS}/Lead.Update?leadId={lead}", body)) == expected


def test_an_unknown_path_is_not_found(ask):
    assert ask(f"{ACTIVITIES}/CustomActivity/Create", ACTIVITY).status_code == 404


def test_the_fields_of_a_lead_can_be_asked_for(client, ask):
    answer = client.call("GET", f"{LEADS}/LeadsMetaData.Get?excludeOptionSets=1", headers=KEYS)
    assert {"ProspectID", "Phone", "ProspectStage"} <= {one["SchemaName"] for one in answer.json()}
