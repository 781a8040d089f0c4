"""Meta's Graph API, as far as the bridge reads leads: one by its id, or several by `ids`.

https://developers.facebook.com/docs/marketing-api/guides/lead-ads/retrieving
https://developers.facebook.com/docs/graph-api/guides/error-handling
That a read has at most 50 ids, that one id that is not there costs all, and that an expired token
is answered 400 is from public code. Of the documented ways to send the token, only a header is
taken: a query is remembered, and a token must not be.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

from flask import Blueprint, Response, jsonify, request

from simulator.state import State

MAX_IDS = 50
VERSIONS = ("v23.0", "v24.0", "v25.0", "v26.0")
PATHS = tuple(f"/{version}/" for version in VERSIONS)
NODE = f"/<any({', '.join(repr(version) for version in VERSIONS)}):_>/"

# In the answer if no field is asked for.
USUAL = ("created_time", "id", "field_data")
FIELDS = (
    *(*USUAL, "ad_id", "ad_name", "adset_id", "adset_name", "campaign_id", "campaign_name"),
    *("custom_disclaimer_responses", "form_id", "home_listing", "is_organic", "partner_name"),
    *("platform", "post", "retailer_item_id", "vehicle"),
)
_ID = re.compile(r"[0-9]{1,32}", re.ASCII)
# Errors that are asked for: (message, type, code).
SIMULATED = {
    400: ("Invalid parameter", "OAuthException", 100),
    401: ("Invalid OAuth access token.", "OAuthException", 190),
    403: ("(#200) Requires leads_retrieval permission", "OAuthException", 200),
    404: ("Unknown path components", "OAuthException", 2500),
    429: ("(#4) Application request limit reached", "OAuthException", 4),
}
OTHER = ("An unexpected error has occurred. Please retry your request later.", "OAuthException", 2)


def views(state: State) -> Blueprint:
    """Build the Graph API's endpoints over this state."""
    blueprint = Blueprint("meta", __name__)

    @blueprint.before_request
    def check_token() -> tuple[Response, int] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            message = "An access token is required to request this resource."
            return refusal(message, "OAuthException", 104)
        if token in state.expired_meta_tokens:
            message = "Error validating access token: Session has expired."
            return refusal(message, "OAuthException", 190, subcode=463)
        return None

    @blueprint.get(NODE)
    def read_several(_: str) -> tuple[Response, int]:
        ids = _names(request.args.get("ids", ""))
        if not ids:
            return refusal("The parameter ids is required", "OAuthException", 100)
        if len(ids) > MAX_IDS:
            message = f"(#100) Too many IDs. Maximum: {MAX_IDS}. Provided: {len(ids)}."
            return refusal(message, "OAuthException", 100)
        found = {lead_id: state.find_record("meta", "leads", lead_id) for lead_id in ids}
        return answer(found, lambda leads: leads)

    @blueprint.get(f"{NODE}<lead_id>")
    def read_one(_: str, lead_id: str) -> tuple[Response, int]:
        found = {lead_id: state.find_record("meta", "leads", lead_id)}
        return answer(found, lambda leads: leads[lead_id])

    def answer(found: dict[str, dict[str, Any] | None], shape: Any) -> tuple[Response, int]:
        names = _names(request.args.get("fields", ""))
        for lead_id, lead in found.items():
            if lead is None:
                return unknown(lead_id)
        if unheard := next((name for name in names if name not in FIELDS), None):
            message = f"(#100) Tried accessing nonexisting field ({unheard}) on node type "
            return refusal(f"{message}(UserLeadGenInfo)", "OAuthException", 100)
        return jsonify(
            shape({lead_id: _shown(state, lead_id, lead, names) for lead_id, lead in found.items()})
        ), 200

    return blueprint


def refusal(
    message: str, error_type: str, code: int, *, subcode: int | None = None, status: int = 400
) -> tuple[Response, int]:
    """Answer an error as the Graph API does."""
    error: dict[str, Any] = {"message": message, "type": error_type, "code": code}
    if subcode is not None:
        error["error_subcode"] = subcode
    return jsonify(error={**error, "fbtrace_id": secrets.token_hex(8)}), status


def simulated(status: int) -> tuple[Response, int]:
    """Answer an error that was asked for, in the Graph API's words."""
    return refusal(*SIMULATED.get(status, OTHER), status=status)


def unknown(lead_id: str) -> tuple[Response, int]:
    """Answer that there is no such lead, or that the token may not see it: Meta does not say."""
    if not _ID.fullmatch(lead_id):
        message = f"(#803) Some of the aliases you requested do not exist: {lead_id}"
        return refusal(message, "OAuthException", 803)
    return refusal(
        f"Unsupported get request. Object with ID '{lead_id}' does not exist, cannot be loaded due "
        "to missing permissions, or does not support this operation.",
        "GraphMethodException",
        100,
        subcode=33,
    )


def _names(listed: str) -> list[str]:
    return list(dict.fromkeys(name for one in listed.split(",") if (name := one.strip())))


def _shown(
    state: State, lead_id: str, lead: dict[str, Any] | None, names: list[str]
) -> dict[str, Any]:
    """Return a lead with the fields that were asked for, and its id, which is always there."""
    made = state.started_at.strftime("%Y-%m-%dT%H:%M:%S+0000")
    known = {"created_time": made, **(lead or {}), "id": lead_id}
    return {name: known[name] for name in dict.fromkeys([*(names or USUAL), "id"]) if name in known}
