"""What makers of clients name after the description: functions and closed lists of words."""

import json
from collections import Counter
from typing import Any

import pytest
from support import CALL_BACK, Web, each

from bridge.api.shared_words import name_words
from schemas.delivery import Reason, Status
from schemas.settings import Settings


@pytest.fixture
def settings(make_settings: Any) -> Settings:
    found: Settings = make_settings(CALL_BACK)
    return found


@pytest.fixture
def spec(web: Web) -> dict[str, Any]:
    found: dict[str, Any] = web.get("/openapi.json").json
    return found


@each(
    ("method", "path", "name"),
    [
        ("get", "/api/deliveries", "list_deliveries"),
        ("get", "/api/deliveries/{delivery_id}", "get_delivery"),
        ("get", "/api/deliveries.csv", "get_deliveries_table"),
        ("post", "/api/deliveries/{delivery_id}/retry", "retry"),
        ("post", "/api/deliveries/retry", "retry_many"),
        ("get", "/api/campaigns", "list_campaigns"),
        ("get", "/api/campaigns/{batch_id}", "get_campaign"),
        ("get", "/api/pauses/{scope}", "get_pause"),
        ("put", "/api/pauses/{scope}", "pause"),
        ("get", "/api/version", "get_version"),
        ("get", "/metrics", "get_metrics"),
        ("get", "/openapi.json", "get_openapi"),
    ],
)
def test_an_operation_is_named_for_what_it_does(
    spec: dict[str, Any], method: str, path: str, name: str
) -> None:
    assert spec["paths"][path][method]["operationId"] == name


def test_all_names_can_be_names_of_functions(spec: dict[str, Any]) -> None:
    names = [one["operationId"] for path in spec["paths"].values() for one in path.values()]
    assert len(names) == len({*names})
    assert all(name.isidentifier() and name == name.lower() for name in names)
    for path, methods in spec["paths"].items():
        if path.startswith("/api/") and "get" in methods:
            assert methods["get"]["operationId"].startswith(("get_", "list_"))


def enums(value: Any, place: str = "") -> list[tuple[str, list[Any]]]:
    found = []
    if isinstance(value, dict):
        if "enum" in value:
            found.append((place, value["enum"]))
        value = value.items()
    elif isinstance(value, list):
        value = enumerate(value)
    else:
        return found
    return found + [one for key, part in value for one in enums(part, f"{place}/{key}")]


def test_a_list_of_words_that_is_used_twice_has_one_name(spec: dict[str, Any]) -> None:
    count = Counter(json.dumps([word for word in words if word]) for _, words in enums(spec))
    assert [words for words, times in count.items() if times > 1] == []
    for name, words in (("DeliveryStatus", Status), ("DeliveryReason", Reason)):
        shape = spec["components"]["schemas"][name]
        assert shape["enum"] == [*map(str, words)]
        assert shape["type"] == "string"
        assert all(word in shape["description"] for word in words)


def test_a_word_that_may_be_missing_is_a_word_or_null(spec: dict[str, Any]) -> None:
    shapes = spec["components"]["schemas"]
    assert shapes["DeliveryBrief"]["properties"]["reason"] == {
        "anyOf": [{"$ref": "#/components/schemas/DeliveryReason"}, {"type": "null"}],
        "description": "Why it has this status; null: there is nothing to explain.",
    }
    assert shapes["Change"]["properties"]["status"] == {
        "$ref": "#/components/schemas/DeliveryStatus"
    }


def test_other_lists_stay_where_they_are() -> None:
    spec = {"paths": {"a": {"enum": ["x"]}}, "components": {"schemas": {"b": {"enum": [None]}}}}
    name_words(spec)
    assert spec == {
        "paths": {"a": {"enum": ["x"]}},
        "components": {"schemas": {"b": {"enum": [None]}}},
    }
