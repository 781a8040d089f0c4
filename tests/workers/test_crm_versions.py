"""Two portals read their records by different versions of HubSpot's API."""

from collections.abc import Mapping

import pytest
from support import SECRETS, as_bytes, notification, route, signed
from support.draining import MakeSettings, OpenWeb, RunDrain, counts

from simulator import Simulator
from store import Store

EU = '[[source]]\nname = "hubspot-eu"\nkind = "hubspot"\n'
TO_NUMBER = {"to_number": '"properties.phone"', "agent_id": '{ value = "a" }'}
ROUTES = EU + "".join(
    route(name, source=name, event="contact.created", request=TO_NUMBER)
    for name in ("hubspot", "hubspot-eu")
)


@pytest.fixture
def variables(simulator: Simulator) -> Mapping[str, Mapping[str, str]]:
    login = {"ACCESS_TOKEN": "a-token", "API_URL": simulator.url}
    return {
        "hubspot": {**login, "API_VERSION": "2026-09"},
        "hubspot-eu": {**login, "API_VERSION": "2026-03"},
    }


def test_each_portal_is_read_by_its_own_version(
    make_settings: MakeSettings,
    variables: Mapping[str, Mapping[str, str]],
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    secrets = {name: (SECRETS["hubspot"],) for name in variables}
    settings = make_settings(ROUTES, variables=variables, secrets=secrets)
    simulator.state.has_legacy_hubspot = False
    # The second id was merged, and the batch read leaves it out: so it is read alone.
    for contact in ("1", "3"):
        simulator.state.put_record(
            "hubspot", "contacts", contact, {"phone": f"+91987654000{contact}"}
        )
    simulator.state.merge_record("hubspot", "contacts", "2", "3", in_batch=False)
    web = open_web(settings)
    for source, contact in (("hubspot", "1"), ("hubspot-eu", "2")):
        path, raw = f"/webhooks/{source}", as_bytes([notification(contact)])
        headers = signed("hubspot", raw, f"http://localhost{path}")
        assert web.client.post(path, data=raw, headers=headers).status_code == 202

    run_drain(settings)

    assert counts(store) == {"delivered": 2}
    paths = {request.path for request in simulator.state.requests_to("/crm/")}
    assert paths == {
        "/crm/objects/2026-09/contacts/batch/read",
        "/crm/objects/2026-03/contacts/batch/read",
        "/crm/objects/2026-03/contacts/2",
    }
