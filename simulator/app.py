"""The simulator's WSGI app: the stand-in APIs, behind one place that makes them fail on request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from simulator import (
    callkaro,
    close,
    control,
    gohighlevel,
    hubspot,
    leadsquared,
    meta,
    pipedrive,
    told,
    zoho,
)
from simulator.state import Behaviour, Received, State, without_secrets

# The APIs with errors of their own shape below paths of their own.
CRMS = (close, gohighlevel, leadsquared, meta, pipedrive)
# Where the app tells the server how to send the answer.
MANNER = "simulator.manner"

# No secret may be remembered. Here, body and query consist of secrets.
UNKEPT_PATHS = "/oauth/"

# Status -> CallKaro's documented words, else plain words. The CRMs have words of their own.
MESSAGES = {
    401: "Unauthorized",
    402: "Payment required",
    403: "Missing or invalid API key",
    404: "Agent does not exist",
    409: "Conflict",
    422: "Unprocessable",
    429: "Too many requests",
    500: "Internal server error",
    503: "Service unavailable",
}
# A gateway in front of an API answers with its own page.
GATEWAY_STATUSES = frozenset({502, 504})
GATEWAY_PAGE = (
    "<html>\r\n<head><title>{status}</title></head>\r\n"
    "<body>\r\n<center><h1>{status}</h1></center>\r\n<hr><center>gateway</center>\r\n"
    "</body>\r\n</html>\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How the server sends an answer."""

    wait_s: float = 0.0
    cut: bool = False
    drip_s: float = 0.0


def is_control(path: str) -> bool:
    """Return whether a path belongs to the simulator itself, and not to a stand-in API."""
    return path == control.PREFIX or path.startswith(f"{control.PREFIX}/")


def create_app(state: State) -> Flask:
    """Build the app over this state."""
    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.register_blueprint(control.views(state))
    app.register_blueprint(callkaro.views(state))
    objects = hubspot.views(state)
    app.register_blueprint(objects, url_prefix=hubspot.DATED)
    app.register_blueprint(objects, url_prefix=hubspot.LEGACY, name="hubspot-legacy")
    app.register_blueprint(hubspot.account_views(state))
    app.register_blueprint(zoho.views(state))
    for crm in CRMS:
        app.register_blueprint(crm.views(state))
    app.register_blueprint(told.views())

    @app.before_request
    def misbehave() -> Response | None:
        if is_control(request.path):
            return None
        # Parsing a form consumes the stream, so the bytes are kept first.
        g.at = datetime.now(UTC)
        g.raw = request.get_data(cache=True)
        g.behaviour = state.take_behaviour(request.path, to_number_in(g.raw))
        if g.behaviour.handles:
            return None
        return simulated_answer(g.behaviour, request.path)

    @app.after_request
    def remember(response: Response) -> Response:
        if is_control(request.path):
            return response
        behaviour: Behaviour = g.behaviour
        accepted = behaviour.handles and response.status_code < 300
        if behaviour.handles and behaviour.replaces_answer:
            response = simulated_answer(behaviour, request.path)
        secret = request.path.startswith(UNKEPT_PATHS)
        state.remember(
            Received(
                at=g.at,
                method=request.method,
                path=request.path,
                query="" if secret else request.query_string.decode(errors="replace"),
                headers=without_secrets(request.headers.items()),
                raw=b"" if secret else g.raw,
                status=None if behaviour.cut else response.status_code,
                accepted=accepted,
                cut=behaviour.cut,
            )
        )
        latency_ms = behaviour.latency_ms
        request.environ[MANNER] = Manner(
            wait_s=(state.latency_ms if latency_ms is None else latency_ms) / 1000,
            cut=behaviour.cut is not None,
            drip_s=behaviour.drip_s,
        )
        return response

    @app.errorhandler(HTTPException)
    def answer_error(error: HTTPException) -> tuple[Response, int]:
        status = error.code or 500
        if status == 404 and request.path.startswith("/crm/"):
            return error_answer(status, request.path), status
        return jsonify(status="error", message=error.name), status

    return app


def to_number_in(raw: bytes) -> object:
    """Return the number that a body names; None if there is none."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return body.get("to_number") if isinstance(body, dict) else None


def simulated_answer(behaviour: Behaviour, path: str) -> Response:
    """Return the answer that a behaviour asks for, in the words of the API at this path."""
    status = behaviour.status or 200
    if behaviour.body is not None:
        response = Response(behaviour.body, status, content_type=behaviour.content_type)
    elif behaviour.html or status in GATEWAY_STATUSES:
        response = Response(GATEWAY_PAGE.format(status=status), status, content_type="text/html")
    elif status < 400:
        response = Response(b"", status)
    else:
        response = error_answer(status, path)
    if behaviour.retry_after is not None:
        response.headers["Retry-After"] = behaviour.retry_after
    response.headers.update(behaviour.headers)
    return response


def error_answer(status: int, path: str) -> Response:
    """Return an error with this status, in the words of the API at this path."""
    if path.startswith(hubspot.PATHS):
        response, _ = hubspot.simulated(status)
    elif path.startswith("/crm/"):
        response, _ = zoho.simulated(status)
    elif crm := next((one for one in CRMS if path.startswith(one.PATHS)), None):
        response, _ = crm.simulated(status)
    elif path.startswith(UNKEPT_PATHS):
        response = jsonify(error="general_error")
    else:
        response, _ = callkaro.refusal(MESSAGES.get(status, "Error"), status)
    response.status_code = status
    return response
