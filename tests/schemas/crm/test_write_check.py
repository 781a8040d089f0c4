"""How a CRM is asked whether it takes what is written back: any answer is read without an error."""

from typing import Any

from support import each

from schemas.crm import kinds
from schemas.crm_api import WriteBack, WriteCheck
from schemas.source import Kind

CHECKED: list[tuple[Kind, WriteBack, WriteCheck]] = [
    (kind, kind.write_back, kind.write_back.check)
    for kind in kinds().values()
    if kind.write_back and kind.write_back.check
]
CHECKS = {kind.name: check for kind, _, check in CHECKED}
JUNK: tuple[Any, ...] = (
    *(None, 1, "x", [], {}, {"results": 1}, {"fields": {}}, {"scopes": "a"}),
    *({"results": [1, {}, {"name": 5}]}, {"fields": [None, {"api_name": []}]}),
    *({"category": "MISSING_SCOPES"}, {"category": "MISSING_SCOPES", "errors": [{"context": 1}]}),
    {"category": "MISSING_SCOPES", "errors": [{"context": {"requiredScopes": [1, {}]}}]},
    {"code": ["OAUTH_SCOPE_MISMATCH"]},
    *({"customFields": 1}, {"message": 1}, {"message": ["x"]}),
)


def test_these_can_be_asked() -> None:
    assert {"close", "gohighlevel", "hubspot", "leadsquared", "zoho"} <= CHECKS.keys()


@each("junk", JUNK)
def test_junk_names_no_field_and_no_scope(junk: Any) -> None:
    for check in CHECKS.values():
        usual = check.read_fields({"fields": []}) or {}  # those that no account lacks
        assert (check.read_fields(junk) or {}).keys() <= usual.keys()
        assert all(isinstance(one, str) for one in check.missing(junk))
        if check.granted is not None:
            assert check.granted[1](junk) is None


def test_each_type_of_record_that_can_be_written_can_be_asked_for() -> None:
    for kind, writer, check in CHECKED:
        asked = [check.fields(one) for one in sorted(writer.subject_types)]
        assert {one.method for one in asked} == {"GET"}
        assert len({(one.path, *one.params.values()) for one in asked}) == len(asked), kind.name
        needs = check.scopes(frozenset(), writer.subject_types | {"call"})
        assert all(needs), kind.name


def test_what_a_crm_computes_can_not_be_set() -> None:
    hubspot, zoho = CHECKS["hubspot"], CHECKS["zoho"]
    calculated = {"name": "score", "calculated": True}
    read_only = {"name": "made", "modificationMetadata": {"readOnlyValue": True}}
    found = hubspot.read_fields({"results": [calculated, read_only, {"name": "free"}]})
    assert found == {"score": False, "made": False, "free": True}
    fields = [
        {"api_name": "Formula_1", "data_type": "formula"},
        {"api_name": "Locked", "field_read_only": True},
        {"api_name": "Webonly", "operation_type": {"api_update": False}},
        {"api_name": "Free", "data_type": "text", "operation_type": {"api_update": True}},
    ]
    found = zoho.read_fields({"fields": fields})
    assert found == {"Formula_1": False, "Locked": False, "Webonly": False, "Free": True}


def test_a_variable_in_the_body_is_named_and_nothing_else_is_replaced() -> None:
    granted = CHECKS["hubspot"].granted
    assert granted is not None
    request = granted[0]
    assert request.json_with({"ACCESS_TOKEN": "t"}, prefix="HUBSPOT_") == {"tokenKey": "t"}
