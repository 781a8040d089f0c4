"""Records that are changed by Zoho's API, and the notifications of it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from support import each

from simulator.zoho import USER

LEADS = ("5725767000000411001", "5725767000000411002")


@pytest.fixture
def zoho(client, state):
    """Return headers with an access token."""
    return {"Authorization": f"Zoho-oauthtoken {state.new_zoho_token('r')}"}


@pytest.fixture
def received():
    """Take in notifications; return (where they go, what came)."""
    bodies = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", bodies
    server.shutdown()
    thread.join()
    server.server_close()


def watch(client, zoho, url, *events):
    channel = {"channel_id": "7", "events": events, "notify_url": url, "token": "t"}
    return client.call("POST", "/crm/v8/actions/watch", json={"watch": [channel]}, headers=zoho)


def change(client, zoho, *records, module="Leads"):
    return client.call("PUT", f"/crm/v8/{module}", json={"data": list(records)}, headers=zoho)


def test_a_changed_record_names_our_user_and_each_channel_hears_of_it(client, zoho, received):
    url, bodies = received
    assert watch(client, zoho, url, "Leads.edit").json()["watch"][0]["code"] == "SUCCESS"

    answer = change(client, zoho, *({"id": lead, "City": "Pune"} for lead in LEADS))

    assert [one["status"] for one in answer.json()["data"]] == ["success", "success"]
    fields = "City,Modified_By,Modified_Time"
    read = client.get(f"/crm/v8/Leads?ids={LEADS[0]}&fields={fields}", headers=zoho).json()
    [record] = read["data"]
    assert (record["City"], record["Modified_By"]["id"]) == ("Pune", USER["id"])
    assert [body["ids"] for body in bodies] == [[lead] for lead in LEADS]
    assert {(body["operation"], body["token"], body["module"]) for body in bodies} == {
        ("update", "t", "Leads")
    }
    assert bodies[0]["affected_fields"] == [{LEADS[0]: ["City"]}]


@each("event", ["Leads.create", "Contacts.edit"])
def test_a_channel_hears_only_what_it_watches(client, zoho, received, event):
    url, bodies = received
    watch(client, zoho, url, event)
    change(client, zoho, {"id": LEADS[0], "City": "Pune"})
    assert bodies == []


def test_nothing_is_sent_elsewhere_and_an_absent_receiver_costs_nothing(client, zoho, received):
    watch(client, zoho, "http://example.com/hook", "Leads.edit")
    assert change(client, zoho, {"id": LEADS[0], "City": "Pune"}).status_code == 200
    watch(client, zoho, "http://127.0.0.1:1/hook", "Leads.edit")
    assert change(client, zoho, {"id": LEADS[0], "City": "Pune"}).status_code == 200


def test_each_record_has_an_answer_of_its_own(client, zoho):
    answer = change(client, zoho, {"id": "404"}, {"id": LEADS[0], "City": "Pune"})
    assert [one["code"] for one in answer.json()["data"]] == ["INVALID_DATA", "SUCCESS"]


@each("body", [None, [], {}, {"data": []}, {"data": [1]}, {"data": "x"}])
def test_what_is_no_change_is_refused(client, zoho, body):
    answer = client.call("PUT", "/crm/v8/Leads", json=body, headers=zoho)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_DATA")


def test_a_module_that_is_not_there_is_refused(client, zoho):
    answer = change(client, zoho, {"id": "1"}, module="Nonsense")
    assert answer.json()["code"] == "INVALID_MODULE"


def test_a_channel_needs_an_id_and_an_address(client, zoho):
    assert watch(client, zoho, None, "Leads.edit").status_code == 400
