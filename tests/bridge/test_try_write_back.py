"""Try a body shows what the CRM would be told of the call, too."""

import json
import re

from support import API_TOKEN, notification, route
from support.draining import MakeSettings, OpenWeb

ROUTE = route("call contacts", source="hubspot", event="contact.created")
FIELDS = '{ hs_lead_status = "outcome.result" }'


def tried(make_settings: MakeSettings, open_web: OpenWeb, on: str) -> str:
    write_back = f'[route.write_back]\non = ["{on}"]\nfields = {FIELDS}\n'
    client = open_web(make_settings(ROUTE + write_back)).client
    assert client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302
    csrf = re.search(r'name="csrf" value="([^"]+)"', client.get("/routes").text)
    assert csrf
    form = {
        "csrf": csrf[1],
        "source": "hubspot",
        "body": json.dumps([notification("101")]),
        "record": json.dumps({"phone": "+919876543210"}),
    }
    answer = client.post("/routes/try", data=form, headers={"Origin": "http://localhost"})
    assert answer.status_code == 200, answer.text
    text: str = answer.text
    return text


def test_the_requests_of_a_sample_outcome_are_shown(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    shown = tried(make_settings, open_web, "outcome")
    assert "Written back at the moment <code>outcome</code></p>" in shown
    assert "/crm/objects/2026-03/calls/batch/create" in shown
    assert "&#34;hs_lead_status&#34;: &#34;connected&#34;" in shown


def test_why_nothing_is_written_is_shown(make_settings: MakeSettings, open_web: OpenWeb) -> None:
    shown = tried(make_settings, open_web, "failed")
    assert "nothing. The route writes nothing back at this moment" in shown
