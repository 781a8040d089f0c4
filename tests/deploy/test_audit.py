"""What the audit of dependencies makes of pip-audit's answers."""

import json
from typing import Any

import pytest
from audit import judge

FLAWLESS = {"name": "flask", "version": "3.1.3", "vulns": []}
FLAWED = {
    "name": "jinja2",
    "version": "3.1.0",
    "vulns": [
        {"id": "PYSEC-1", "fix_versions": ["3.1.6", "3.2"], "aliases": [], "description": "…"},
        {"id": "PYSEC-2", "fix_versions": [], "aliases": [], "description": "…"},
    ],
}
UNKNOWN = {"name": "rq", "skip_reason": "Dependency not found on PyPI and could not be audited"}


def said(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


@pytest.mark.parametrize(
    ("packages", "strict", "lenient"),
    [
        ([FLAWLESS], 0, 0),
        ([FLAWLESS, FLAWED], 1, 1),
        ([UNKNOWN, FLAWED], 1, 1),
        ([UNKNOWN, FLAWLESS], 2, 0),
        ([UNKNOWN], 2, 0),
        ([], 2, 0),
    ],
)
def test_a_flaw_always_fails_and_what_is_unknown_only_if_all_is_asked_for(
    packages: list[dict[str, Any]], strict: int, lenient: int
) -> None:
    verdict = judge(said(*packages), "")
    assert verdict.exit_code(where_possible=False) == strict
    assert verdict.exit_code(where_possible=True) == lenient


def test_a_flaw_is_told_with_its_mended_versions_and_what_is_unknown_in_one_line() -> None:
    assert judge(said(FLAWED, UNKNOWN), "").text().splitlines() == [
        "jinja2 3.1.0: PYSEC-1 (fixed in: 3.1.6, 3.2)",
        "jinja2 3.1.0: PYSEC-2 (fixed in: no version yet)",
        "Not audited, for PyPI does not know them here: 1 of 2 (rq).",
    ]
    assert judge(said(UNKNOWN), "").text().count("\n") == 0
    assert judge(said(FLAWLESS), "").text() == "No known flaw in what requirements.txt pins."


@pytest.mark.parametrize(
    "errors",
    [
        "Traceback …\nrequests.exceptions.ProxyError: HTTPSConnectionPool(host='pypi.org')",
        "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed\n"
        "ERROR:pip_audit._cli:Tip: your network may be blocking this service. Try another",
        "Traceback …\npip_audit._service.interface.ServiceError",
    ],
)
def test_a_service_that_is_away_is_unknown(errors: str) -> None:
    verdict = judge("", errors)
    assert verdict.text() == "Not audited: the list of known flaws could not be reached."
    assert verdict.exit_code(where_possible=True) == 0
    assert verdict.exit_code(where_possible=False) == 2


@pytest.mark.parametrize("errors", ["", "ERROR:pip_audit._cli:invalid requirements input: x"])
def test_a_pip_audit_that_breaks_is_a_failure_and_not_a_pass(errors: str) -> None:
    verdict = judge("", errors)
    assert verdict.exit_code(where_possible=True) == 1
    assert verdict.text().startswith("pip-audit failed: ")
