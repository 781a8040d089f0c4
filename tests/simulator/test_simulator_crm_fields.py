"""The stand-ins tell which fields records have and which scopes a login has; both can be set."""

import pytest

from simulator.state import State

BEARER = {"Authorization": "Bearer a-token"}
TOKEN_INFO = "/oauth/v2/private-apps/get/access-token-info"
PROPERTIES = "/crm/properties/2026-03/contacts"


def put(client, path: str, body: object) -> int:
    answer: int = client.call("PUT", f"/simulator/{path}", json=body).status_code
    return answer


def properties(client) -> dict[str, bool]:
    found = client.get(PROPERTIES, headers=BEARER).json()["results"]
    return {one["name"]: one["modificationMetadata"]["readOnlyValue"] for one in found}


def test_hubspots_properties_can_be_missing_or_read_only(client, state: State) -> None:
    usual = properties(client)
    assert (usual["hs_lead_status"], usual["createdate"]) == (False, True)
    for name, found in (("hs_lead_status", "missing"), ("city", "read_only")):
        answer = put(client, f"fields/hubspot/contacts/{name}", {"is": found})
        assert answer == 204
    changed = properties(client)
    assert "hs_lead_status" not in changed
    assert changed["city"] is True
    for name in ("hs_lead_status", "city"):
        answer = client.call(
            "PATCH",
            "/crm/objects/2026-03/contacts/101",
            json={"properties": {name: "x"}},
            headers=BEARER,
        )
        assert answer.status_code == 400
        assert name in answer.json()["message"]


@pytest.mark.parametrize("body", [{"is": "nonsense"}, {}, {"is": "missing", "more": 1}])
def test_a_field_is_nothing_else(client, body) -> None:
    answer = put(client, "fields/hubspot/contacts/city", body)
    assert answer == 400


def test_a_token_tells_its_scopes(client) -> None:
    def scopes() -> list[str]:
        found: list[str] = client.call(
            "POST", TOKEN_INFO, json={"tokenKey": "a-token"}, headers=BEARER
        ).json()["scopes"]
        return found

    assert "crm.objects.contacts.write" in scopes()
    assert put(client, "scopes/hubspot", {"scopes": ["oauth"]}) == 204
    assert scopes() == ["oauth"]
    other = client.call("POST", TOKEN_INFO, json={"tokenKey": "other"}, headers=BEARER)
    assert other.status_code == 401
