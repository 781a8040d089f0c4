"""Records that are changed by HubSpot's API."""

from __future__ import annotations

from support import each

from simulator.state import HubSpotApp

BEARER = {"Authorization": "Bearer a-token"}
OBJECTS = "/crm/objects/2026-03"


def change(client, path, body):
    return client.call("PATCH", f"{OBJECTS}/{path}", json=body, headers=BEARER)


@each("name", ["contacts", "0-1"])
def test_a_change_is_in_the_record(client, name):
    answer = change(client, f"{name}/101", {"properties": {"city": "Pune"}})
    assert (answer.status_code, answer.json()["properties"]["city"]) == (200, "Pune")
    read = client.get(f"{OBJECTS}/contacts/101?properties=city,phone", headers=BEARER).json()
    assert read["properties"]["city"] == "Pune"
    assert read["properties"]["phone"], "the other properties stay"


@each(
    ("path", "body", "status"),
    [
        ("contacts/404", {"properties": {"city": "Pune"}}, 404),
        ("nonsense/101", {"properties": {"city": "Pune"}}, 400),
        ("contacts/101", {"properties": {}}, 400),
        ("contacts/101", {"properties": ["city"]}, 400),
        ("contacts/101", {}, 400),
        ("contacts/101", [], 400),
    ],
)
def test_what_is_no_change_is_refused(client, path, body, status):
    assert change(client, path, body).status_code == status


@each("url", ["http://example.com/hook", "http://127.0.0.1:1/hook"])
def test_nothing_is_sent_elsewhere_and_an_absent_receiver_costs_nothing(client, state, url):
    state.hubspot_app = HubSpotApp(target_url=url, client_secret="made-up")
    assert change(client, "contacts/101", {"properties": {"city": "Pune"}}).status_code == 200
