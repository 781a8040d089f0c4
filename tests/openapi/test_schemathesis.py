"""schemathesis asks the web process what its description allows, and much that it forbids.

No answer is a 5xx, and each is as it is described. In the suite it is short, and the same each
time; `make api-fuzz` goes on for minutes, from a seed that it names (SEED=7 make api-fuzz).
"""

import copy
import itertools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks
from support import API_TOKEN, CALL_BACK, Web, lead

from bridge.api import views as api
from bridge.api.openapi import make_spec
from bridge.app import create_app
from schemas.crm import kinds
from schemas.routes_toml import load_routes
from schemas.settings import Settings
from simulator import Simulator
from store import Store

MakeSettings = Callable[..., Settings]
RunDrain = Callable[..., Any]

SEED = int(os.environ.get("API_FUZZ_SEED") or 20260131)
SECONDS = float(os.environ.get("API_FUZZ_S") or 0)  # of each part; 0: one round
EXAMPLES = 40 if SECONDS else 5  # of each operation, in a round
PARTS = 4  # so that pytest-xdist can share them out
BEARER = {"Authorization": f"Bearer {API_TOKEN}"}
ONE, OTHER = "+919876543210", "+919812345678"
TOKEN = "a-callback-token"
CHECKED = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


def described() -> dict[str, Any]:
    """Return the description, strict: no answer may say what stands in no schema."""
    routes = load_routes(CALL_BACK, file="routes.toml", kinds=kinds())
    made = Settings(redis_url="redis://x", api_tokens=("x",), callkaro_api_key="x", routes=routes)
    spec = copy.deepcopy(make_spec(create_app(made)))
    for shape in spec["components"]["schemas"].values():
        if "properties" in shape:
            shape["additionalProperties"] = False
    for answer in spec["components"]["responses"].values():
        # allOf does not see the properties beside it.
        content = answer["content"]["application/json"]["schema"]
        content["allOf"] = copy.deepcopy(content["allOf"])
    return spec


SPEC = described()
OPERATIONS = [
    (method, path) for path, methods in sorted(SPEC["paths"].items()) for method in methods
]


@pytest.fixture
def bridge(
    make_settings: MakeSettings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """A web process with work in every state, so that requests find something."""
    monkeypatch.setattr(api, "MOST_WAITING", 0)  # there is no place to wait in, so nothing waits
    made = make_settings(CALL_BACK, callkaro_webhook_tokens=(TOKEN,))
    app = create_app(made)
    web = Web(app.test_client())
    made_at = {"created_at": "2026-01-31T09:00:00+00:00"}
    store.keep_campaign("v2/Leads", "batch-1", {"name": "Leads", **made_at})
    for behaviour in ({"status": 400}, {"cut": "after"}, {}):
        if behaviour:
            simulator.state.behave(path="/call/outbound", times=1, **behaviour)
        web.send("website", lead(ONE))
        run_drain(made)
    web.send("website", lead("none"))
    run_drain(made)
    web.send("website", lead(ONE))
    web.client.put(f"/api/suppressions/{OTHER}", json={}, headers=BEARER)
    web.client.put("/api/pauses/route:call back", json={}, headers=BEARER)
    return app


def known(app: Any) -> dict[str, list[str]]:
    """Return what is there to be asked for, by the name that it has in paths."""
    web = Web(app.test_client())
    deliveries = web.get("/api/deliveries").json["items"]
    return {
        "delivery_id": [one["id"] for one in deliveries],
        "event_id": [one["event_id"] for one in deliveries],
        "batch_id": [one["batch_id"] for one in web.get("/api/campaigns").json["items"]],
        "phone": [ONE, OTHER],
        "scope": ["all", "callkaro", "route:call back", "source:website", "campaign:batch-1"],
        "name": ["call back"],
        "token": [TOKEN],
        "source": ["website"],
    }


def rounds() -> Iterator[int]:
    """Yield the seed of each round: one, or as many as fit into SECONDS."""
    yield SEED
    ends = time.monotonic() + SECONDS
    for number in itertools.count(1):
        if time.monotonic() > ends:
            return
        yield SEED + number


@pytest.mark.parametrize("part", range(PARTS))
def test_no_answer_is_outside_its_description(bridge: Any, part: int) -> None:
    schema = schemathesis.openapi.from_dict(copy.deepcopy(SPEC))
    schema.app = bridge
    there = known(bridge)
    for number in rounds():
        print(f"SEED={number}")  # noqa: T201  (pytest shows it with a failure)
        for method, path in OPERATIONS[part::PARTS]:
            probe(schema[path][method.upper()], there, number)


def probe(operation: Any, there: dict[str, list[str]], number: int) -> None:
    """Ask one operation, with what its description allows and with what it forbids."""
    cases = st.one_of(*map(operation.as_strategy, GenerationMode))
    real = st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(values) for name, values in there.items()}
    )

    @seed(number)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, real=real)
    def ask(case: Any, real: dict[str, str]) -> None:
        for name in case.path_parameters.keys() & real.keys():
            case.path_parameters[name] = real[name]
        case.call_and_validate(headers=BEARER, checks=CHECKED)

    ask()
