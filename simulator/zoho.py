"""Zoho's accounts server and its CRM API v8, as far as the bridge reads records.

https://www.zoho.com/crm/developer/docs/api/v8/get-records.html
https://www.zoho.com/crm/developer/docs/api/v8/refresh.html
Limits and error bodies are from common knowledge, not from a wire.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request

from simulator.state import ZOHO_TOKEN_LIFE_S, State

MAX_IDS = 100
MAX_FIELDS = 50
PAGE = 200

MODULES = frozenset({"Accounts", "Calls", "Contacts", "Deals", "Leads", "Tasks"})


def views(state: State) -> Blueprint:
    """Build Zoho's endpoints over this state."""
    blueprint = Blueprint("zoho", __name__)

    @blueprint.post("/oauth/v2/token")
    def refresh() -> tuple[Response, int]:
        # Zoho reads them from the query as well as from the form, and answers these errors
        # with 200: only the body shows the error.
        given = request.values
        if given.get("grant_type") != "refresh_token":
            return jsonify(error="unsupported_grant_type"), 200
        if not given.get("client_id") or not given.get("client_secret"):
            return jsonify(error="invalid_client"), 200
        refresh_token = given.get("refresh_token", "")
        if not refresh_token or refresh_token in state.revoked_refresh_tokens:
            return jsonify(error="invalid_code"), 200
        token = state.new_zoho_token(refresh_token)
        if token is None:
            return jsonify(
                error="Access Denied",
                error_description="You have made too many requests continuously. "
                "Please try again after some time.",
                status="failure",
            ), 400
        return jsonify(
            {
                "access_token": token,
                "api_domain": request.host_url.rstrip("/"),
                "token_type": "Bearer",
                "expires_in": int(ZOHO_TOKEN_LIFE_S),
            }
        ), 200

    @blueprint.get("/crm/v8/<module>")
    def read(module: str) -> tuple[Response, int] | tuple[str, int]:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Zoho-oauthtoken" or not state.is_zoho_token(token):
            return refusal("INVALID_TOKEN", "invalid oauth token", 401)
        if module not in MODULES and ("zoho", module) not in state.records:
            return refusal("INVALID_MODULE", "the module name given seems to be invalid", 400)
        fields = _list(request.args.get("fields"))
        if not fields:
            return refusal(
                "REQUIRED_PARAM_MISSING",
                "One of the expected parameter is missing",
                400,
                param_name="fields",
            )
        if len(fields) > MAX_FIELDS:
            return refusal("LIMIT_EXCEEDED", "too many fields", 400, limit=MAX_FIELDS)
        ids = _list(request.args.get("ids"))
        if len(ids) > MAX_IDS:
            return refusal("LIMIT_EXCEEDED", "too many ids", 400, limit=MAX_IDS)
        records = state.find_records("zoho", module)
        found = [record_id for record_id in dict.fromkeys(ids or records) if record_id in records]
        if not found:
            return "", 204
        page = found[:PAGE]
        return jsonify(
            data=[
                # A field without a value is there, and null.
                {"id": record_id, **{name: records[record_id].get(name) for name in fields}}
                | {"id": record_id}
                for record_id in page
            ],
            info={
                "per_page": PAGE,
                "count": len(page),
                "page": 1,
                "more_records": len(found) > PAGE,
            },
        ), 200

    return blueprint


def refusal(code: str, message: str, status: int, **details: Any) -> tuple[Response, int]:
    """Answer an error as Zoho does."""
    return jsonify(code=code, details=details, message=message, status="error"), status


def _list(value: str | None) -> list[str]:
    return [part.strip() for part in (value or "").split(",") if part.strip()]
