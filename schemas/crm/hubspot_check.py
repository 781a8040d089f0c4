"""What HubSpot is asked before a call is told: its properties, and the scopes of our token.

https://developers.hubspot.com/docs/api-reference/2026-03/crm/properties/get-properties
https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/scopes
https://developers.hubspot.com/docs/api/private-apps (token information; read on 2026-11-29)

The page on private apps has the question for a token's scopes. That HubSpot answers it for an app
with static auth, too, is unconfirmed; if it does not, `check` says that the scopes are not known.
So is which scope the properties need; without it `check` says that they are not checked.
"""

from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

from schemas.crm_api import CrmRequest, FromVariable, WriteCheck

# The scope that reads an object, and receives its events. HubSpot's own static app has `oauth`.
SCOPES: Final = {
    "call": "crm.objects.contacts.read",
    "company": "crm.objects.companies.read",
    "contact": "crm.objects.contacts.read",
    "deal": "crm.objects.deals.read",
    "lead": "crm.objects.leads.read",
    "ticket": "tickets",
}
BASIC_SCOPE: Final = "oauth"
TOKEN_INFO: Final = "/oauth/v2/private-apps/get/access-token-info"


def scopes_of(read: Set[str], written: Set[str]) -> frozenset[str]:
    """Return the scopes that read and write objects of these types; an unknown type needs none."""
    scopes = {SCOPES[name] for name in read | written if name in SCOPES}
    of_written = (SCOPES[name] for name in written if name in SCOPES)
    # A scope without a dot, as that of tickets, is for both.
    return frozenset(
        scopes | {one.removesuffix(".read") + ".write" for one in of_written if "." in one}
    )


def _scopes(read: Set[str], written: Set[str]) -> Sequence[Sequence[str]]:
    return [(scope,) for scope in sorted(scopes_of(read, written))]


def _read_fields(answer: Any) -> Mapping[str, bool] | None:
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list):
        return None
    properties = (one for one in results if isinstance(one, dict))
    return {
        one["name"]: _is_writable(one) for one in properties if isinstance(one.get("name"), str)
    }


def _is_writable(one: Mapping[str, Any]) -> bool:
    limits = one.get("modificationMetadata")
    is_read_only = isinstance(limits, dict) and limits.get("readOnlyValue") is True
    return not is_read_only and one.get("calculated") is not True


def _granted(answer: Any) -> frozenset[str] | None:
    scopes = answer.get("scopes") if isinstance(answer, dict) else None
    return frozenset(map(str, scopes)) if isinstance(scopes, list) else None


def _missing(answer: Any) -> Sequence[str]:
    """Return the scopes that a 403 names: {"category": "MISSING_SCOPES", "errors": […]}."""
    if not isinstance(answer, dict) or answer.get("category") != "MISSING_SCOPES":
        return ()
    errors = answer.get("errors")
    contexts = (
        one["context"]
        for one in (errors if isinstance(errors, list) else ())
        if isinstance(one, dict) and isinstance(one.get("context"), dict)
    )
    named = (
        context.get(name)
        for context in contexts
        for name in ("requiredGranularScopes", "requiredScopes")
    )
    found = [scope for scopes in named if isinstance(scopes, list) for scope in scopes]
    return [one for one in found if isinstance(one, str)] or ["that HubSpot does not name"]


def check_of(names: Mapping[str, str]) -> WriteCheck:
    """Return how HubSpot is asked. names: our word for a type of record -> its name in paths."""
    token_info = CrmRequest(
        method="POST", path=TOKEN_INFO, json={"tokenKey": FromVariable("ACCESS_TOKEN")}
    )
    return WriteCheck(
        field_word="property",
        fields=lambda subject_type: CrmRequest(
            method="GET", path=f"/crm/properties/{{API_VERSION}}/{names[subject_type]}"
        ),
        read_fields=_read_fields,
        scopes=_scopes,
        missing=_missing,
        granted=(token_info, _granted),
    )
