"""`check` of the CRMs: a property or a scope that is missing is named before the first call."""

from collections.abc import Callable

import pytest
from support import each, route
from support.draining import MakeSettings

from rules.crm_check import CrmFindings
from schemas.crm.hubspot_app import app_for
from schemas.errors import StoreUnavailable
from schemas.settings import Settings
from simulator import Simulator
from simulator.hubspot import SCOPES
from simulator.state import FieldState
from store import Store
from workers.crm import CrmClient
from workers.crm_check import look
from workers.http import HttpClient

WRITE_BACK = (
    '[route.write_back]\non = ["outcome"]\n[route.write_back.fields]\n{} = "outcome.result"\n'
)
TOKEN_INFO = "/oauth/v2/private-apps/get/access-token-info"

Look = Callable[[str], CrmFindings]
LookAt = Callable[[Settings], CrmFindings]


def hubspot(field: str = "hs_lead_status", event: str = "contact.created") -> str:
    return route("call contacts", source="hubspot", event=event) + WRITE_BACK.format(field)


def zoho(field: str = "Lead_Status", event: str = "lead.created") -> str:
    return route("call leads", source="zoho", event=event) + WRITE_BACK.format(field)


@pytest.fixture
def look_at(store: Store) -> LookAt:
    """Ask the CRMs of these settings."""
    return lambda settings: look(settings, CrmClient(HttpClient(timeout_s=5), store, settings))


@pytest.fixture
def check(look_at: LookAt, make_settings: MakeSettings) -> Look:
    """Ask the CRMs of these routes."""
    return lambda routes: look_at(make_settings(routes))


def test_what_is_in_order_is_no_finding(check: Look) -> None:
    assert check(hubspot() + zoho()) == CrmFindings()


def test_a_source_that_writes_nothing_back_is_not_asked(check: Look, simulator: Simulator) -> None:
    assert check(route("call contacts", source="hubspot", event="contact.created")) == CrmFindings()
    assert simulator.state.requests == []


def test_a_source_that_is_switched_off_is_not_asked(
    look_at: LookAt, make_settings: MakeSettings, simulator: Simulator
) -> None:
    assert look_at(make_settings(hubspot(), secrets={})) == CrmFindings()
    assert simulator.state.requests == []


@each(
    "field, said",
    [
        ("hs_lead_statsu", "have no property 'hs_lead_statsu'. Did you mean 'hs_lead_status'?"),
        ("zzz", "have no property 'zzz'"),
        ("createdate", "set the property 'createdate' of contact records: it is read-only"),
    ],
)
def test_a_property_that_hubspot_does_not_take_is_named(check: Look, field: str, said: str) -> None:
    (problem,) = check(hubspot(field)).problems
    assert problem.startswith("route 'call contacts': HubSpot")
    assert said in problem


@each("state, said", [("missing", "have no field 'Lead_Status'"), ("read_only", "read-only")])
def test_a_field_that_zoho_does_not_take_is_named(
    check: Look, simulator: Simulator, state: FieldState, said: str
) -> None:
    simulator.state.set_field("zoho", "Leads", "Lead_Status", state)
    (problem,) = check(zoho()).problems
    assert problem.startswith("route 'call leads': Zoho CRM")
    assert said in problem


def test_a_scope_that_hubspots_token_lacks_is_named(check: Look, simulator: Simulator) -> None:
    simulator.state.set_scopes("hubspot", ["oauth", "crm.objects.contacts.read"])
    (problem,) = check(hubspot()).problems
    assert "source 'hubspot'" in problem
    assert "lacks the scope crm.objects.contacts.write." in problem


def test_without_the_tokens_scopes_a_refused_read_names_them(
    check: Look, simulator: Simulator
) -> None:
    simulator.state.behave(404, path=TOKEN_INFO)
    simulator.state.behave(
        403,
        path="/crm/properties/",
        body='{"category": "MISSING_SCOPES", "errors": [{"context": '
        '{"requiredGranularScopes": ["crm.objects.contacts.read"]}}]}',
    )
    found = check(hubspot())
    assert found.warnings == ["source 'hubspot': HubSpot does not say which scopes the access has"]
    (problem,) = found.problems
    assert "lacks the scope crm.objects.contacts.read." in problem


def test_a_scope_that_zohos_token_lacks_is_named(check: Look, simulator: Simulator) -> None:
    simulator.state.set_scopes(
        "zoho", ["ZohoCRM.modules.READ", "ZohoCRM.modules.leads.all", "ZohoCRM.users.ALL"]
    )
    found = check(zoho())
    (problem,) = found.problems
    for scope in ("ZohoCRM.modules.calls.CREATE", "ZohoCRM.modules.calls.UPDATE", "coql.READ"):
        assert scope in problem
    assert "leads" not in problem
    assert "users" not in problem
    # What only the check needs is a warning.
    (warning,) = found.warnings
    assert "the access lacks the scope ZohoCRM.settings.fields.READ" in warning


def test_scopes_that_were_added_count_though_an_older_token_is_kept(
    check: Look, simulator: Simulator
) -> None:
    simulator.state.set_scopes("zoho", ["ZohoCRM.settings.fields.READ"])
    assert check(zoho()).problems
    simulator.state.set_scopes("zoho", ["ZohoCRM.settings.fields.READ", "ZohoCRM.modules.ALL"])
    (problem,) = check(zoho()).problems
    assert "ZohoCRM.modules" not in problem


def test_a_token_that_is_refused_is_a_problem(check: Look, simulator: Simulator) -> None:
    simulator.state.behave(401, path="/crm/properties/")
    simulator.state.revoked_refresh_tokens.add("a-refresh-token")
    found = check(hubspot() + zoho())
    assert len(found.problems) == 2
    assert "HubSpot does not accept the access token (401)" in found.problems[0]
    assert "Zoho CRM gave no access token" in found.problems[1]


def test_a_crm_that_is_away_is_a_warning(
    look_at: LookAt, make_settings: MakeSettings, simulator: Simulator
) -> None:
    settings = make_settings(hubspot() + zoho())
    simulator.close()
    found = look_at(settings)
    assert found.problems == []
    assert len(found.warnings) == 2
    assert all("what routes write back is not checked" in one for one in found.warnings)


def test_a_redis_that_is_away_is_a_warning(
    look_at: LookAt, make_settings: MakeSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: str) -> None:
        raise StoreUnavailable("Redis does not answer.")

    monkeypatch.setattr(store, "token", away)
    found = look_at(make_settings(zoho()))
    assert found.problems == []
    (warning,) = found.warnings
    assert "Redis did not answer" in warning


def test_an_error_of_the_crm_is_a_warning(check: Look, simulator: Simulator) -> None:
    simulator.state.behave(500, path="/crm/properties/")
    found = check(hubspot())
    assert found.problems == []
    (warning,) = found.warnings
    assert "the fields of contact records are not checked: HubSpot answered 500" in warning


def test_records_that_can_not_be_written_are_named(check: Look) -> None:
    (problem,) = check(hubspot(event="lead.created")).problems
    assert "can't write to HubSpot's lead records" in problem
    found = check(hubspot(event="workflow.triggered"))
    assert found.problems == []
    (warning,) = found.warnings
    assert "names no type of record" in warning


def test_scopes_for_calls_are_checked_though_an_event_names_no_type(
    check: Look, simulator: Simulator
) -> None:
    simulator.state.set_scopes("zoho", ["ZohoCRM.modules.READ", "ZohoCRM.users.READ"])
    found = check(zoho(event="workflow.triggered"))
    (problem,) = found.problems
    for scope in ("ZohoCRM.modules.calls.CREATE", "ZohoCRM.coql.READ"):
        assert scope in problem
    (warning,) = found.warnings
    assert "the fields that it sets are not checked" in warning


def test_the_token_is_in_no_request_that_is_remembered(check: Look, simulator: Simulator) -> None:
    check(hubspot())
    assert b"a-token" not in b"".join(one.raw for one in simulator.state.requests)


def test_hubspots_app_has_every_scope_that_the_check_wants(make_settings: MakeSettings) -> None:
    routes = hubspot() + hubspot(event="deal.created").replace("call contacts", "call deals")
    settings = make_settings(routes)
    source = settings.routes.sources["hubspot"]
    app = app_for(settings.routes, source, url="https://bridge.example", name="Bridge")
    writer = source.kind.write_back
    assert writer is not None
    assert writer.check is not None
    types = frozenset({"contact", "deal"})
    needs = writer.check.scopes(types, types | {"call"})
    assert {scope for need in needs for scope in need} <= set(app.scopes) <= set(SCOPES)
