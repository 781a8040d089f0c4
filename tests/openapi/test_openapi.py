"""/openapi.json says what the web process does, all of it and nothing else."""

import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
from support import API_TOKEN, CALL_BACK, Web, lead

from bridge.api.describe import description_of
from bridge.api.openapi import PAGES, make_spec, path_of, rules
from bridge.api.reference import sample
from config.settings import MAX_BODY_BYTES
from schemas.delivery import Status
from schemas.settings import Settings
from simulator import Simulator
from store import Store

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
RunDrain = Callable[..., Any]
BEARER = {"Authorization": f"Bearer {API_TOKEN}"}
ONE = "+919876543210"


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(CALL_BACK, callkaro_webhook_tokens=("a-callback-token",))


@pytest.fixture
def spec(web: Web) -> dict[str, Any]:
    answer = web.get("/openapi.json")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    found: dict[str, Any] = answer.json
    return found


def operations(spec: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): one
        for path, methods in spec["paths"].items()
        for method, one in methods.items()
    }


def fits(
    spec: dict[str, Any], schema: dict[str, Any], value: object, *, whole: bool = True
) -> None:
    """Check a value against a schema of the description; whole: it may say nothing besides."""
    shapes = spec["components"]["schemas"]
    if whole:
        shapes = {
            name: {**shape, "additionalProperties": False} if "properties" in shape else shape
            for name, shape in shapes.items()
        }
    schema = {**schema, "components": {"schemas": shapes}}
    jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(value)


def answer_of(spec: dict[str, Any], method: str, path: str, status: int = 200) -> dict[str, Any]:
    responses = operations(spec)[method, path]["responses"]
    schema: dict[str, Any] = responses[str(status)]["content"]["application/json"]["schema"]
    return schema


# --- the description and what is there ------------------------------------------------------------


def test_every_route_is_described_and_nothing_else_is(web: Web, spec: dict[str, Any]) -> None:
    there = {(method, path_of(rule)) for rule, method in rules(web.client.application)}
    assert there == set(operations(spec))
    assert {path for _, path in there} >= {
        "/webhooks/{source}",
        "/callbacks/callkaro/{token}",
        "/api/status",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/docs",
    }


def test_a_route_without_a_description_is_missed(web: Web) -> None:
    web.client.application._got_first_request = False  # Flask adds no route to what has served
    web.client.application.add_url_rule("/api/new", view_func=lambda: {}, endpoint="api.new")
    there = {(method, path_of(rule)) for rule, method in rules(web.client.application)}
    assert there - set(operations(make_spec(web.client.application))) == {("GET", "/api/new")}


def test_only_pages_for_people_are_left_out(web: Web) -> None:
    undescribed = {
        rule.endpoint.partition(".")[0]
        for rule in web.client.application.url_map.iter_rules()
        if description_of(web.client.application.view_functions[rule.endpoint]) is None
    }
    assert undescribed <= PAGES


def test_it_is_valid_openapi(spec: dict[str, Any]) -> None:
    assert spec["openapi"] == "3.1.0"
    for shape in spec["components"]["schemas"].values():
        jsonschema_rs.meta.validate({**shape, "components": spec["components"]})
    ids = [one["operationId"] for one in operations(spec).values()]
    assert len(ids) == len(set(ids))


def test_it_is_made_once_a_process(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    first = web.get("/openapi.json").data
    monkeypatch.setattr("bridge.api.openapi.make_spec", None)
    assert web.get("/openapi.json").data == first
    assert web.client.get("/docs").status_code == 200


def test_what_is_said_to_need_the_token_does(web: Web, spec: dict[str, Any]) -> None:
    for (method, path), one in operations(spec).items():
        answer = web.client.open(path.replace("{", "").replace("}", ""), method=method)
        is_refused = answer.status_code == 401 and answer.json["error"] == "unauthorized"
        assert is_refused == bool(one["security"]), path
        assert ("401" in one["responses"]) == (bool(one["security"]) or "webhooks" in path)


def test_every_example_fits_its_schema(spec: dict[str, Any]) -> None:
    shapes = spec["components"]["schemas"]
    examples = 0
    for one in operations(spec).values():
        for media in one.get("requestBody", {}).get("content", {}).values():
            if "example" in media:
                examples += 1
                fits(spec, media["schema"], media["example"])
    assert examples >= 12
    for name, shape in shapes.items():
        fits(spec, {"$ref": f"#/components/schemas/{name}"}, sample(shape, shapes))
    for error in spec["components"]["responses"].values():
        content = error["content"]["application/json"]
        fits(spec, content["schema"], content["example"])


def test_it_knows_nothing_of_this_installation(web: Web, settings: Settings) -> None:
    told = web.get("/openapi.json").text + web.client.get("/docs").text
    secret = [*settings.api_tokens, settings.redis_url, "a-callback-token", "website", "localhost"]
    assert [one for one in secret if one in told] == []


# --- the page -------------------------------------------------------------------------------------


def test_the_page_shows_every_request_and_shape_and_loads_nothing(
    web: Web, spec: dict[str, Any]
) -> None:
    answer = web.client.get("/docs")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    page = answer.text
    assert all(f"<code>{path}</code>" in page for _, path in operations(spec))
    assert all(f'id="shape-{name}"' in page for name in spec["components"]["schemas"])
    assert [
        word for word in ("<script", "http://", "https://", "src=", "@import") if word in page
    ] == []


# --- the answers, which say no more and no less than is described --------------------------------


def test_answers_are_as_described(
    web: Web,
    store: Store,
    settings: Settings,
    simulator: Simulator,
    run_drain: RunDrain,
    spec: dict[str, Any],
) -> None:
    """That of a delivery which waits lacks what has not come yet."""
    web.send("website", lead())
    simulator.state.behave(path="/call/outbound", times=1, status=400)
    run_drain(settings)
    [delivered] = web.send("website", lead(ONE))
    run_drain(settings)
    web.send("website", lead("none"))
    run_drain(settings)
    posted = web.post("website", lead())
    said = {"callSid": "c1", "call_metadata": {"bridge_delivery_id": delivered}}
    told = {"event": "call_ended", "data": said}
    kept = web.client.post("/callbacks/callkaro/a-callback-token", json=told)
    web.client.put("/api/pauses/all", json={}, headers=BEARER)
    suppressed = web.client.put(f"/api/suppressions/{ONE}", json={}, headers=BEARER)

    fits(spec, answer_of(spec, "POST", "/webhooks/{source}", 202), posted.json)
    fits(spec, answer_of(spec, "POST", "/callbacks/callkaro/{token}"), kept.json)
    fits(spec, answer_of(spec, "PUT", "/api/suppressions/{phone}"), suppressed.json)
    for path in ("/status", "/events", "/deliveries", "/suppressions", "/pauses", "/campaigns"):
        fits(spec, answer_of(spec, "GET", f"/api{path}"), web.get(f"/api{path}").json)
    shown = [one["id"] for one in web.get("/api/deliveries").json["items"]]
    found = [web.get(f"/api/deliveries/{one}").json for one in shown]
    for one in found:
        fits(spec, answer_of(spec, "GET", "/api/deliveries/{delivery_id}"), one)
        event = web.get(f"/api/events/{one['event_id']}").json
        fits(spec, answer_of(spec, "GET", "/api/events/{event_id}"), event)
    assert {one["status"] for one in found} >= {Status.FAILED, Status.DELIVERED, Status.SKIPPED}
    assert any(one["outcomes"] for one in found)


def test_an_error_of_every_kind_has_the_one_shape(web: Web, spec: dict[str, Any]) -> None:
    asked = [
        ("GET", "/api/no-such-thing", None, 404),
        ("GET", "/no-such-thing", None, 404),
        ("PATCH", "/api/deliveries", None, 405),
        ("POST", "/api/deliveries/retry", b"{", 400),
        ("POST", "/api/deliveries/retry", b"[]", 400),
        ("POST", "/api/deliveries/retry", b'{"no_such": 1}', 400),
        ("GET", "/api/deliveries?no_such=1", None, 400),
        ("GET", "/api/deliveries/none?wait=26", None, 400),
        ("GET", "/api/deliveries/none", None, 404),
        ("POST", "/api/erasures", b" " * (MAX_BODY_BYTES + 1), 413),
    ]
    for method, path, body, status in asked:
        answer = web.client.open(path, method=method, data=body, headers=BEARER)
        assert (answer.status_code, answer.mimetype) == (status, "application/json"), path
        assert set(answer.json) == {"error", "message"}
        if f"Error{status}" in spec["components"]["responses"]:
            said = spec["components"]["responses"][f"Error{status}"]["content"]
            fits(spec, said["application/json"]["schema"], answer.json, whole=False)


# --- what linters of descriptions ask for (the recommended rules of spectral and redocly) ---------
# `make lint-api` runs these linters themselves. It needs Node.js; this needs nothing.


def lint(spec: dict[str, Any]) -> set[str]:
    """Return what is wrong, as "<rule> <place>"."""
    found = set()
    declared = {tag["name"]: tag.get("description") for tag in spec.get("tags", [])}
    if len(declared) != len(spec.get("tags", [])):
        found.add("tags-unique")
    found |= {f"tag-description {name}" for name, text in declared.items() if not text}
    license_of = spec["info"].get("license", {})
    if not (license_of.get("name") and (license_of.get("identifier") or license_of.get("url"))):
        found.add("info-license")
    if not spec["info"].get("description"):
        found.add("info-description")
    if not spec.get("servers"):
        found.add("no-empty-servers")
    ids, used_tags, shapes = [], set(), set()
    for (method, path), one in operations(spec).items():
        place = f"{method} {path}"
        ids.append(one["operationId"])
        used_tags |= {*one["tags"]}
        if {*one["tags"]} - declared.keys():
            found.add(f"tag-declared {place}")
        found |= {
            f"operation-{key} {place}" for key in ("summary", "description") if not one.get(key)
        }
        for kind in "24":
            if not any(status.startswith(kind) for status in one["responses"]):
                found.add(f"operation-{kind}xx-response {place}")
        if "security" not in one and "security" not in spec:
            found.add(f"security-defined {place}")
        shape = re.sub(r"{[^}]*}", "{}", path)
        if (method, shape) in shapes or (path != path.rstrip("/") and path != "/"):
            found.add(f"no-ambiguous-paths {place}")
        shapes.add((method, shape))
        in_path = {each["name"] for each in one["parameters"] if each["in"] == "path"}
        if in_path != {*re.findall(r"{([^}]*)}", path)}:
            found.add(f"path-parameters-defined {place}")
        names = [(each["in"], each["name"]) for each in one["parameters"]]
        if len(names) != len({*names}):
            found.add(f"parameters-unique {place}")
    if len(ids) != len({*ids}):
        found.add("operation-operationId-unique")
    found |= {f"tag-unused {name}" for name in declared.keys() - used_tags}
    text = json.dumps(spec)
    for group, components in spec["components"].items():
        if group == "securitySchemes":
            continue
        for name in components:
            if f'"#/components/{group}/{name}"' not in text:
                found.add(f"no-unused-components {group}/{name}")
    return found


def test_linters_of_descriptions_find_nothing(spec: dict[str, Any]) -> None:
    assert lint(spec) == set()


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (lambda spec: spec.pop("tags"), "tag-declared GET /healthz"),
        (lambda spec: spec["tags"].pop(0), "tag-declared GET /api/status"),
        (lambda spec: spec["tags"].append({"name": "New"}), "tag-description New"),
        (lambda spec: spec["info"].pop("license"), "info-license"),
        (lambda spec: spec["info"]["license"].pop("identifier"), "info-license"),
        (
            lambda spec: spec["paths"]["/healthz"]["get"].pop("description"),
            "operation-description GET /healthz",
        ),
        (
            lambda spec: spec["paths"]["/healthz"]["get"]["responses"].pop("408"),
            "operation-4xx-response GET /healthz",
        ),
        (
            lambda spec: spec["paths"]["/api/events/{event_id}"]["get"]["parameters"].clear(),
            "path-parameters-defined GET /api/events/{event_id}",
        ),
    ],
)
def test_the_lint_finds_what_is_wrong(
    spec: dict[str, Any], wrong: Callable[[dict[str, Any]], object], rule: str
) -> None:
    wrong(spec)
    assert rule in lint(spec)
