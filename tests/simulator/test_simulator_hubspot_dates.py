"""HubSpot's paths with a date, and the old ones without."""

from __future__ import annotations

from support import each

BEARER = {"Authorization": "Bearer a-token"}
LEGACY = "/crm/v3/objects"


def read(client, objects):
    body = {"properties": ["phone"], "inputs": [{"id": "101"}]}
    return client.post(f"{objects}/contacts/batch/read", body, headers=BEARER)


@each("objects", ["/crm/objects/2025-09", "/crm/objects/2026-03", "/crm/objects/2031-12", LEGACY])
def test_any_date_has_the_same_objects(client, objects):
    answer = read(client, objects)
    assert [result["id"] for result in answer.json()["results"]] == ["101"]
    assert client.get(f"{objects}/contacts/101", headers=BEARER).json()["id"] == "101"
    call = {"properties": {"hs_timestamp": "2026-01-01T00:00:00Z"}}
    assert client.post(f"{objects}/calls", call, headers=BEARER).status_code == 201


@each("version", ["v3", "2026-3", "2026-13", "2026-00", "2026-03-01", "latest", "26-03"])
def test_what_is_no_date_is_not_there(client, version):
    answer = read(client, f"/crm/objects/{version}")
    assert (answer.status_code, answer.json()["category"]) == (404, "OBJECT_NOT_FOUND")


def test_the_old_paths_go_when_they_are_switched_off(client, state):
    assert read(client, LEGACY).status_code == 200

    state.has_legacy_hubspot = False

    assert read(client, LEGACY).status_code == 404
    assert client.get(f"{LEGACY}/contacts/101", headers=BEARER).status_code == 404
    assert read(client, "/crm/objects/2026-03").status_code == 200


@each("path", ["/crm/objects/2026-03/contacts/1", "/crm/v3/objects/contacts/1"])
def test_an_error_that_is_asked_for_is_in_hubspots_words(client, state, path):
    state.behave(403, times=1)
    assert client.get(path, headers=BEARER).json()["category"] == "MISSING_SCOPES"
