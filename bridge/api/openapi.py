"""/openapi.json and /docs: what the web process accepts and answers, for programs and for people.

Nothing is written twice. Paths and methods come from Flask's own map, shapes from the marshmallow
schemas, error words from schemas/errors.py, and the rest from the description beside each view
(describe.py).
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import orjson
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Blueprint, Flask, Response, current_app, make_response, render_template
from marshmallow import Schema, fields
from werkzeug.routing import Rule

from bridge.access import role_of
from bridge.api.access import check_token
from bridge.api.describe import JSON, Description, description_of, operation
from bridge.api.reference import pages_of
from bridge.api.shared_words import name_words
from bridge.http.security import asks_for_host
from schemas.access import Role
from schemas.errors import Forbidden, RequestError, StoreUnavailable, UnknownHost
from schemas.responses import OPTIONAL, ErrorResponse, ResponseSchema
from schemas.settings import Settings

# Pages for people, which are not described here.
PAGES = frozenset({"dashboard", "static"})
ABOUT = (
    "CRM webhooks become CallKaro phone calls: never lost, never twice. Times are ISO 8601 in UTC. "
    "Phone numbers are masked unless `reveal=true` is given, and each such look is logged. Lists "
    "come newest first, in pages: ask again with `next_cursor` as `cursor` until it is null. "
    "Programs should ignore keys and words that they do not know."
)
# The parameters of paths. A name that is missing here stops the making of the description.
IN_PATHS = {
    "source": "The name of a source in routes.toml.",
    "token": "CALLKARO_WEBHOOK_TOKEN.",
    "event_id": "The id of an event.",
    "refused_id": "The id of a refused request.",
    "delivery_id": "The id of a delivery.",
    "batch_id": "CallKaro's id of a campaign.",
    "phone": "A number in full (+ is %2B), or the id that the list of suppressions shows.",
    "name": 'The name of a route with to = "call".',
    "scope": "`all`, `callkaro`, `source:<name>`, `route:<name>`, `campaign:<batch_id>` or "
    "`crm:<source>` (write-backs alone).",
}
# The groups of the reference, in its order. A group that is missing here stops the making, too.
TAGS = {
    "Status": "The state of the bridge.",
    "Events": "What the sources sent.",
    "Deliveries": "What became of each event, and what a person can do about it.",
    "Campaigns": "CallKaro's batches, as the bridge made them.",
    "Suppressions": "Numbers and records that must not be called.",
    "Pauses": "What is not sent now.",
    "Routes": "Test calls by a route.",
    "Webhooks": "What CRMs and CallKaro post.",
    "Health": "For monitors.",
    "Description": "This description.",
}
METHODS = ("GET", "POST", "PUT", "DELETE")


def views(settings: Settings) -> Blueprint:
    """Return the routes of /openapi.json and /docs."""
    pages = Blueprint("openapi", __name__)

    @cache  # made at the first request, so that the start does not wait for it
    def spec() -> dict[str, Any]:
        return make_spec(current_app)

    @cache
    def as_json() -> bytes:
        return orjson.dumps(spec())

    @cache
    def as_page() -> str:
        return render_template("api_docs.html", **pages_of(spec()))

    @pages.get("/openapi.json")
    @operation(
        "This description, for programs",
        tag="Description",
        description="OpenAPI 3.1.",
        answers={200: JSON},
    )
    def openapi_json() -> Response:
        check_token(settings)
        return Response(as_json(), content_type=JSON)

    # This page has nothing but what is in the source, and nothing of this installation. A browser
    # can't send the token by itself.
    @pages.get("/docs")
    @operation(
        "This description, for people",
        tag="Description",
        description="A page that says nothing of this installation, so it needs no token.",
        answers={200: "text/html"},
        needs_token=False,
    )
    def docs() -> Response:
        return make_response(as_page())

    return pages


def make_spec(app: Flask) -> dict[str, Any]:
    """Return the OpenAPI description of every view of this app that is described."""
    schemas: dict[str, type[Schema]] = {}

    def named(schema: Any) -> str:
        kind: type[Schema] = schema if isinstance(schema, type) else type(schema)
        name = kind.__name__.removesuffix("Response")
        schemas[name] = kind
        return name

    marshmallow = MarshmallowPlugin(schema_name_resolver=named)
    spec = APISpec(
        title="CallKaro Bridge",
        version="1",
        openapi_version="3.1.0",
        plugins=[marshmallow],
        info={"description": ABOUT, "license": {"name": "MIT", "identifier": "MIT"}},
        servers=[{"url": "/"}],
    )
    for name, text in TAGS.items():
        spec.tag({"name": name, "description": text})
    spec_of: Any = marshmallow.converter
    spec_of.add_attribute_function(_own_fields)
    spec.components.security_scheme("token", {"type": "http", "scheme": "bearer"})
    described_views = sorted(_described(app), key=lambda one: (one[0].rule, one[1]))
    refusals = {code for rule, _, one in described_views for code in _refusals(rule, one)}
    for status in sorted(refusals):
        spec.components.response(f"Error{status}", _error(status))
    for rule, method, description in described_views:
        operation = _operation(rule, method, description)
        spec.path(path=path_of(rule), operations={method.lower(): operation})
    made = spec.to_dict()
    _complete(made["components"]["schemas"], schemas)
    name_words(made)
    return made


def rules(app: Flask) -> Iterator[tuple[Rule, str]]:
    """Yield each rule that is to be described, with each of its methods."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint.partition(".")[0] in PAGES:
            continue
        for method in METHODS:
            if method in (rule.methods or ()):
                yield rule, method


def path_of(rule: Rule) -> str:
    """Return a rule's path as OpenAPI writes it."""
    return re.sub(r"<(?:[a-z]+:)?([a-z_]+)>", r"{\1}", rule.rule)


# --- helpers ------------------------------------------------------------------------------------


def _described(app: Flask) -> Iterator[tuple[Rule, str, Description]]:
    for rule, method in rules(app):
        description = description_of(app.view_functions[rule.endpoint])
        if description is not None:
            yield rule, method, description


def _operation(rule: Rule, method: str, description: Description) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": operation_id(rule, method, description),
        "tags": [_declared(description.tag)],
        "summary": description.summary,
        "parameters": [_in_path(name) for name in sorted(rule.arguments)],
        "responses": {
            **{
                str(status): _answer(status, what, description)
                for status, what in description.answers.items()
            },
            **{str(status): f"Error{status}" for status in _refusals(rule, description)},
        },
        "security": [{"token": []}] if description.needs_token else [],
    }
    if not any(status.startswith("4") for status in operation["responses"]):
        # The web process answers this itself, before any view is called.
        operation["responses"]["408"] = {"description": "The request did not arrive whole in 30 s."}
    text = _with_role(rule, description)
    if text:
        operation["description"] = text
    if description.query:
        operation["parameters"] += [{"in": "query", "schema": description.query}]
    if 304 in description.answers:
        operation["parameters"] += [_if_none_match()]
    if description.body or description.takes:
        operation["requestBody"] = _body(description)
    return operation


def operation_id(rule: Rule, method: str, description: Description) -> str:
    """Return the name of an operation, which is that of a client's function: `list_events`."""
    name: str = rule.endpoint.rpartition(".")[2].removeprefix("one_")
    if method != "GET":
        return name
    if not rule.rule.startswith("/api/"):
        name = re.sub(r"\W.*", "", rule.rule.strip("/"))
    answer = description.answers.get(200)
    is_list = isinstance(answer, type) and "items" in answer().fields
    return f"{'list' if is_list else 'get'}_{name}"


def _with_role(rule: Rule, description: Description) -> str:
    """Return the text of an operation, with the role that it needs if a viewer has not got it."""
    role = role_of(rule.endpoint)
    if not description.needs_token or role is Role.VIEWER:
        return description.description
    return f"{description.description} Needs the role {role}.".strip()


def _declared(tag: str) -> str:
    if tag not in TAGS:
        raise LookupError(f"the tag {tag} has no description in bridge/api/openapi.py")
    return tag


def _refusals(rule: Rule, description: Description) -> list[int]:
    found = {*description.refusals, *([401] if description.needs_token else [])}
    reveals = description.query is not None and "reveal" in description.query().fields
    if description.needs_token and (reveals or role_of(rule.endpoint) is not Role.VIEWER):
        found.add(Forbidden.status_code)
    return sorted(found | ({UnknownHost.status_code} if asks_for_host(rule.rule) else set()))


def _in_path(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": IN_PATHS[name],
        "schema": {"type": "string", "minLength": 1},
    }


def _if_none_match() -> dict[str, Any]:
    return {
        "name": "If-None-Match",
        "in": "header",
        "description": "The ETag of an earlier answer; the answer is 304 while nothing is new.",
        "schema": {"type": "string"},
    }


def _body(description: Description) -> dict[str, Any]:
    if description.body is None:
        # Its sender decides its shape. Every shape is accepted, and shown where it is unreadable.
        return {"required": True, "content": {media: {"schema": {}} for media in description.takes}}
    content: dict[str, Any] = {"schema": description.body}
    if description.example is not None:
        content["example"] = dict(description.example)
    is_required = any(field.required for field in description.body().fields.values())
    return {"required": is_required, "content": {JSON: content}}


def _answer(
    status: int, what: type[Schema] | str | None, description: Description
) -> dict[str, Any]:
    if what is None:
        return {"description": "Nothing is new since that ETag."}
    answer: dict[str, Any] = {"description": description.summary}
    if isinstance(what, str):
        kind = "object" if what == JSON else "string"
        answer["content"] = {what: {"schema": {"type": kind}}}
    else:
        answer["content"] = {JSON: {"schema": what}}
        answer["description"] = _first_line(what)
    if description.headers and status == 200:
        answer["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in description.headers.items()
        }
    return answer


def _error(status: int) -> dict[str, Any]:
    """Return the errors of this status, by the words that schemas/errors.py has for them."""
    found = {one.word: one.__doc__ or "" for one in _errors(status)}
    return {
        "description": " ".join(f"`{word}`: {text}" for word, text in found.items()),
        "content": {
            JSON: {
                "schema": {
                    "allOf": [ErrorResponse],
                    "properties": {"error": {"enum": sorted(found)}},
                },
                "example": {
                    "error": [*found][-1],
                    "message": "One sentence that says what is wrong.",
                },
            }
        },
    }


def _errors(status: int) -> list[type[RequestError] | type[StoreUnavailable]]:
    if status == 429:  # for sources that send again after nothing else; too_many is for pages
        return [StoreUnavailable]
    refused: list[type[RequestError]] = [RequestError, *RequestError.__subclasses__()]
    known: list[type[RequestError] | type[StoreUnavailable]] = [*refused, StoreUnavailable]
    return [one for one in known if one.status_code == status]


def _own_fields(self: Any, field: fields.Field[Any], **kwargs: Any) -> dict[str, Any]:
    """Return the JSON schema of our own field classes; apispec knows only marshmallow's."""
    found = dict(getattr(field, "json_schema", {}))
    if field.allow_none and "type" in found:
        found["type"] = [found["type"], "null"]
    if field.allow_none and None not in (words := kwargs["ret"].get("enum", [None])):
        found["enum"] = [*words, None]
    return found


def _complete(shapes: dict[str, Any], schemas: dict[str, type[Schema]]) -> None:
    """Add what apispec does not know: what a shape is, and that an answer has all of its keys."""
    for name, shape in shapes.items():
        shape["description"] = _first_line(schemas[name])
        if issubclass(schemas[name], ResponseSchema):
            shape["required"] = [
                name for name, one in shape["properties"].items() if not one.pop(OPTIONAL, False)
            ]
            del shape["additionalProperties"]  # a later release may have more keys


def _first_line(described: Callable[..., Any]) -> str:
    return (described.__doc__ or "").partition("\n")[0]
