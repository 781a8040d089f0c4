"""The files of a HubSpot app: their documented form, and that what then arrives finds its route."""

from typing import Any

import jsonschema
import pytest
from support import each
from support.makers import AGENT, load
from support.samples import items

from schemas.crm.hubspot import KIND, OBJECT_TYPES
from schemas.crm.hubspot_app import (
    APP_FILE,
    PROJECT_FILE,
    WEBHOOKS_FILE,
    HubSpotApp,
    HubSpotAppError,
    app_for,
)

URL = "https://bridge.example"
UID = {"type": "string", "pattern": r"^[A-Za-z0-9_.-]{1,64}$"}


def closed(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """Return the schema of an object that has these keys and no others."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def listed(item: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": item, "uniqueItems": True, **more}


# Written from HubSpot's pages on app configuration, webhooks and versions, and from its templates;
# the addresses stand in schemas/crm/hubspot_app.py.
TEXT = {"type": "string", "minLength": 1}
HAPPENED = ("creation", "deletion", "merge", "restore", "propertyChange")
CRM_OBJECT = {
    **closed(
        {
            "subscriptionType": {"enum": [f"object.{word}" for word in HAPPENED]},
            "objectType": {"enum": ["call", "company", "contact", "deal", "lead", "ticket"]},
            "active": {"type": "boolean"},
        },
        propertyName=TEXT,
    ),
    "if": {"properties": {"subscriptionType": {"const": "object.propertyChange"}}},
    "then": {"required": ["propertyName"]},
    "else": {"not": {"required": ["propertyName"]}},
}
FORMS = {
    PROJECT_FILE: closed(
        {"name": TEXT, "srcDir": {"const": "src"}, "platformVersion": {"const": "2026.03"}}
    ),
    APP_FILE: closed(
        {
            "uid": UID,
            "type": {"const": "app"},
            "config": closed(
                {
                    "name": {"type": "string", "pattern": r"^\S(.*\S)?$", "maxLength": 200},
                    "description": {**TEXT, "maxLength": 8192},
                    "distribution": {"const": "private"},
                    # "Apps configured with static auth can only define required scopes."
                    "auth": closed(
                        {"type": {"const": "static"}, "requiredScopes": listed(TEXT, minItems=1)}
                    ),
                    "permittedUrls": closed(
                        {name: listed(TEXT) for name in ("fetch", "iframe", "img")}
                    ),
                }
            ),
        }
    ),
    WEBHOOKS_FILE: closed(
        {
            "uid": UID,
            "type": {"const": "webhooks"},
            "config": closed(
                {
                    "settings": closed(
                        {
                            "targetUrl": {"type": "string", "pattern": "^https://"},
                            "maxConcurrentRequests": {"type": "integer", "exclusiveMinimum": 5},
                        }
                    ),
                    "subscriptions": closed(
                        {
                            "crmObjects": listed(CRM_OBJECT, maxItems=1000),
                            "hubEvents": listed(
                                closed(
                                    {
                                        "subscriptionType": {"const": "contact.privacyDeletion"},
                                        "active": {"const": True},
                                    }
                                )
                            ),
                        }
                    ),
                }
            ),
        }
    ),
}


def route(event: str, keys: str = "", *, name: str = "a route", source: str = "hubspot") -> str:
    return f"""
[[route]]
name   = "{name}"
source = "{source}"
event  = "{event}"
to     = "call"
{keys}
[route.request]
to_number = "properties.phone"
agent_id  = {{ value = "{AGENT}" }}
"""


def app(
    text: str, *, url: str = URL, name: str = "CallKaro Bridge", source: str = "hubspot"
) -> Any:
    routes = load(text)
    return app_for(routes, routes.sources[source], url=url, name=name)


def told(text: str, **more: str) -> list[str]:
    with pytest.raises(HubSpotAppError) as caught:
        app(text, **more)
    return caught.value.problems


def subscribed(made: HubSpotApp) -> list[str]:
    """Return what an app subscribes to: `contact.creation`, `contact.propertyChange:phone`."""
    return [
        f"{one.object_type}.{one.happened}" + (f":{one.property_name}" * bool(one.property_name))
        for one in made.subscriptions
    ]


STAGE = "match = \"propertyName == 'lifecyclestage' && propertyValue == 'lead'\""
OPT_OUT = """
[[source]]
name    = "hubspot"
opt_out = "properties.dnc == 'true' || (propertyName == 'dnc' && propertyValue == 'true')"
"""
CAMPAIGN = """
[[route]]
name   = "campaigns"
source = "hubspot"
event  = "contact.*"
to     = "campaign"
[route.request]
name = "properties.name"
"""
ANY = "contact.creation"
WANTED: dict[str, tuple[str, list[str], set[str]]] = {
    "created": (route("contact.created"), [ANY], {"crm.objects.contacts.read"}),
    "updated": (
        route("contact.updated", STAGE),
        ["contact.propertyChange:lifecyclestage"],
        {"crm.objects.contacts.read"},
    ),
    "one of several properties": (
        route("deal.updated", "match = \"contains(['dealstage', 'amount'], propertyName)\""),
        ["deal.propertyChange:amount", "deal.propertyChange:dealstage"],
        {"crm.objects.contacts.read", "crm.objects.deals.read"},
    ),
    "a glob": (
        route("contact.*", STAGE),
        [ANY, "contact.propertyChange:lifecyclestage", "contact.restore"],
        {"crm.objects.contacts.read"},
    ),
    "a glob of campaigns": (
        CAMPAIGN,
        [ANY, "contact.deletion", "contact.merge", "contact.restore"],
        {"crm.objects.contacts.read"},
    ),
    "a deletion": (
        route("contact.deleted"),
        ["contact.deletion"],
        {"crm.objects.contacts.read"},
    ),
    "several routes and an opt-out": (
        OPT_OUT
        + route("contact.created")
        + route("ticket.created", name="tickets")
        + route("contact.created", "match = \"changeSource == 'CRM_UI'\"", name="again"),
        [ANY, "contact.propertyChange:dnc", "ticket.creation"],
        {"crm.objects.contacts.read", "tickets"},
    ),
    "a workflow alone": (route("workflow.triggered"), [], {"crm.objects.contacts.read"}),
    "a privacy deletion": (route("contact.privacy_deleted"), [], {"crm.objects.contacts.read"}),
    "the routes of others": (
        route("contact.created") + route("Leads.created", source="zoho", name="zoho"),
        [ANY],
        {"crm.objects.contacts.read"},
    ),
}


@each("wanted", list(WANTED))
def test_the_files_have_the_documented_form_and_what_the_routes_need(wanted: str) -> None:
    text, subscriptions, scopes = WANTED[wanted]
    made = app(text)
    files = made.files()
    assert files.keys() == FORMS.keys()
    for path, form in FORMS.items():
        jsonschema.validate(files[path], form)
    assert subscribed(made) == subscriptions
    assert set(made.scopes) == {"oauth", *scopes}
    assert files[APP_FILE]["config"]["auth"]["requiredScopes"] == list(made.scopes)
    assert files[WEBHOOKS_FILE]["config"]["settings"]["targetUrl"] == f"{URL}/webhooks/hubspot"
    assert len({files[path]["uid"] for path in (APP_FILE, WEBHOOKS_FILE)}) == 2


@each("wanted", [name for name, (_, found, _) in WANTED.items() if found])
def test_what_hubspot_then_sends_has_the_type_that_a_route_or_the_opt_out_names(
    wanted: str,
) -> None:
    routes = load(WANTED[wanted][0])
    type_ids = {name: type_id for type_id, name in OBJECT_TYPES.items()}
    for number, entry in enumerate(
        app(WANTED[wanted][0]).files()[WEBHOOKS_FILE]["config"]["subscriptions"]["crmObjects"]
    ):
        notification = {
            **{"eventId": number, "subscriptionId": 2, "portalId": 3, "objectId": 4},
            **{"occurredAt": 1767250800000, "attemptNumber": 0},
            "subscriptionType": entry["subscriptionType"],
            "objectTypeId": type_ids[entry["objectType"]],
            "propertyName": entry.get("propertyName"),
            "propertyValue": "true",
        }
        [item] = items(KIND, [notification])
        opt_out = routes.sources["hubspot"].opt_out
        assert routes.for_event("hubspot", item.type) or (opt_out and opt_out.holds(item.data))


def test_what_is_subscribed_to_no_longer_stays_in_the_file_and_sends_nothing() -> None:
    first = app(route("contact.created") + route("deal.updated", STAGE, name="deals"))
    before = first.files()[WEBHOOKS_FILE]
    file = app(route("contact.created")).files(before=before)[WEBHOOKS_FILE]
    jsonschema.validate(file, FORMS[WEBHOOKS_FILE])
    [kept, left_out] = file["config"]["subscriptions"]["crmObjects"]
    assert (kept["objectType"], kept["active"]) == ("contact", True)
    assert (left_out["objectType"], left_out["active"]) == ("deal", False)
    assert first.files(before=file)[WEBHOOKS_FILE] == before


@each("before", [None, [], {"config": 1}, {"config": {"subscriptions": {"crmObjects": [1, None]}}}])
def test_an_earlier_file_of_any_content_does_no_harm(before: Any) -> None:
    made = app(route("contact.created"))
    assert made.files(before=before) == made.files()


def test_a_second_portal_has_its_own_url_and_its_own_routes() -> None:
    text = '[[source]]\nname = "hubspot-uk"\nkind = "hubspot"\n'
    text += route("contact.created", source="hubspot-uk")
    text += route("deal.created", name="of the first portal")
    made = app(text, source="hubspot-uk", name="Bridge UK")
    assert made.target_url == f"{URL}/webhooks/hubspot-uk"
    assert subscribed(made) == [ANY]
    assert made.files()[PROJECT_FILE]["name"] == "bridge-uk"


@each(
    "url",
    [f"{URL}/", f"{URL}/webhooks/hubspot", f"{URL}/webhooks/hubspot/"],
)
def test_the_url_may_be_the_target_itself(url: str) -> None:
    assert app(route("contact.created"), url=url).target_url == f"{URL}/webhooks/hubspot"


@each("url", ["http://bridge.example", "bridge.example", f"{URL}?token=x", "https://", ""])
def test_another_url_than_https_is_refused(url: str) -> None:
    [problem] = told(route("contact.created"), url=url)
    assert problem.startswith("--url: write the https address of the bridge")


@each("name", ["", " ", " Bridge", "x" * 201])
def test_a_name_that_hubspot_refuses_is_refused(name: str) -> None:
    [problem] = told(route("contact.created"), name=name)
    assert problem.startswith("--name: write 1 to 200 characters")


def test_a_name_in_another_script_is_kept_and_the_project_still_has_one() -> None:
    files = app(route("contact.created"), name="कॉल").files()
    assert files[APP_FILE]["config"]["name"] == "कॉल"
    assert files[PROJECT_FILE]["name"] == "callkaro-bridge"


@each("event", ["product.created", "object.created", "contact.association_changed", "lead"])
def test_an_event_that_no_app_can_send_is_refused_with_what_to_write(event: str) -> None:
    [problem] = told(route(event))
    assert problem == (
        f"route 'a route': event '{event}' is none that an app can send. Write one of call, "
        "company, contact, deal, lead, ticket, a dot, and one of created, updated, deleted, "
        "merged, restored"
    )


def test_a_glob_over_several_objects_is_refused() -> None:
    [problem] = told(route("*.created"))
    assert problem == (
        "route 'a route': event '*.created' covers call, company, contact, deal, lead, ticket: "
        "write a route for each object that you want, such as call.created"
    )


def test_changes_of_no_named_property_are_refused_and_of_a_glob_noted() -> None:
    [problem] = told(route("contact.updated", "match = \"changeSource != 'IMPORT'\""))
    assert "Name them in `match`: propertyName == 'lifecyclestage'" in problem
    made = app(route("contact.*"))
    assert subscribed(made) == [ANY, "contact.restore"]
    assert len(made.notes) == 1


def test_an_opt_out_that_reads_only_the_record_is_noted() -> None:
    opt_out = OPT_OUT.partition(" ||")[0] + '"\n'
    made = app(opt_out + route("contact.created"))
    assert subscribed(made) == [ANY]
    assert [note.partition(",")[0] for note in made.notes] == ["opt_out reads no notification"]


def test_every_problem_is_told_at_once() -> None:
    text = route("product.created") + route("*.created", name="another")
    assert len(told(text, url="http://bridge.example", name="")) == 4
