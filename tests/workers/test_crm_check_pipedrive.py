"""`check` of Pipedrive: the fields of the person whom a deal or a lead leads to."""

from collections.abc import Callable

import pytest
from support import each, route
from support.draining import MakeSettings
from support.pipedrive import SECRET, put_person

from rules.crm_check import CrmFindings
from simulator import Simulator
from store import Store
from workers.crm import CrmClient
from workers.crm_check import look
from workers.http import HttpClient

STATUS = "0123456789abcdef0123456789abcdef01234567"
Ask = Callable[[str, str], CrmFindings]
WRITE_BACK = '[route.write_back]\non = ["outcome"]\n[route.write_back.fields]\n{} = "delivery.id"\n'


@pytest.fixture
def check(make_settings: MakeSettings, simulator: Simulator, store: Store) -> Ask:
    """Ask Pipedrive about one route of an event that sets one field."""
    put_person(simulator, "501", custom_fields={STATUS: "open"})

    def ask(event: str, field: str) -> CrmFindings:
        routes = route("call", source="pipedrive", event=event) + WRITE_BACK.format(field)
        login = {"API_TOKEN": "a-token", "API_URL": simulator.url}
        settings = make_settings(
            routes, secrets={"pipedrive": (SECRET,)}, variables={"pipedrive": login}
        )
        return look(settings, CrmClient(HttpClient(timeout_s=5), store, settings))

    return ask


@each("event", ["lead.created", "deal.created", "person.updated"])
@each("field", [STATUS, "name", "phones"])
def test_a_field_of_the_person_is_in_order(check: Ask, event: str, field: str) -> None:
    assert check(event, field) == CrmFindings()


@each(
    ("event", "field", "said"),
    [
        ("lead.created", STATUS[:-1], "Pipedrive's person records have no field"),
        ("deal.created", "add_time", "does not let the API set the field 'add_time' of person"),
        ("organization.created", "name", "can't write to Pipedrive's organization records"),
    ],
)
def test_what_can_not_be_written_is_named(check: Ask, event: str, field: str, said: str) -> None:
    (problem,) = check(event, field).problems
    assert said in problem
