"""`python -m workers.crm_check`: asks each CRM whether it would accept what routes write back.

`python -m bridge check` starts it, since only workers talk to CRMs. It prints one JSON object with
`problems` and `warnings`, without secrets and without people's data.
"""

import sys
from collections.abc import Sequence
from typing import Final, NoReturn, TypeVar

import orjson

from rules.crm_check import (
    CrmFindings,
    checked_sources,
    field_problems,
    lacking,
    needed_of,
    scope_problem,
)
from schemas.crm_api import CrmRequest, WriteBack, WriteCheck
from schemas.http_result import HttpResult
from schemas.route import Route
from schemas.settings import Settings
from schemas.source import Source
from store import Store, connect
from workers import jobs
from workers.crm import CrmClient, FetchFailed, parsed
from workers.http import HttpClient

TIMEOUT_S: Final = 5.0  # of one request

Answer = TypeVar("Answer")


def look(settings: Settings, crm_client: CrmClient) -> CrmFindings:
    """Ask each CRM that a route writes back to. Never raises for what a CRM answers."""
    findings = CrmFindings()
    for source, writer, check in checked_sources(settings):
        _Check(settings, crm_client, source, check, findings).run(writer)
    return findings


class _CannotAskError(Exception):
    """The CRM can't be asked more; why it can't is among the findings."""


class _Check:
    """The questions to the CRM of one source."""

    def __init__(
        self,
        settings: Settings,
        crm_client: CrmClient,
        source: Source,
        check: WriteCheck,
        findings: CrmFindings,
    ) -> None:
        self._settings, self._crm_client = settings, crm_client
        self._source, self._check, self._findings = source, check, findings
        self._granted: frozenset[str] | None = None  # the login's scopes; None: not known

    def run(self, writer: WriteBack) -> None:
        """Ask for the scopes, then for the fields of each type of record that is written."""
        needed = needed_of(self._settings, self._source, writer, self._findings)
        try:
            needs = self._check.scopes(needed.read, needed.written)
            self._look_at_scopes(needs)
            for subject_type, routes in needed.fields.items():
                self._look_at_fields(subject_type, routes, needs)
        except _CannotAskError:
            return

    def _look_at_scopes(self, needs: Sequence[Sequence[str]]) -> None:
        if not needs:
            return
        self._granted = self._ask_for_scopes(is_new=False)
        is_bought = self._check.granted is None
        if self._granted is not None and is_bought and lacking(needs, self._granted):
            self._granted = self._ask_for_scopes(is_new=True)
        if self._granted is None:
            self._warn(f"{self._source.kind.title} does not say which scopes the access has")
        elif scopes := lacking(needs, self._granted):
            self._findings.problems.append(scope_problem(self._source, scopes))

    def _ask_for_scopes(self, *, is_new: bool) -> frozenset[str] | None:
        """Return the scopes of our login; None: the CRM does not say. Raises _CannotAskError."""
        if self._check.granted is None:
            return self._answered(self._crm_client.token_scopes(self._source, is_new=is_new))
        request, read = self._check.granted
        result = self._asked(request)
        return read(parsed(result.body)) if result.status_code == 200 else None

    def _look_at_fields(
        self, subject_type: str, routes: Sequence[Route], needs: Sequence[Sequence[str]]
    ) -> None:
        request = self._check.fields(subject_type)
        if unset := request.unset(self._settings.variables.get(self._source.name, {})):
            self._warn_unchecked(
                subject_type, f"{self._source.variable_prefix}{unset[0]} is not set"
            )
            return
        result = self._asked(request)
        answer = parsed(result.body)
        known = self._check.read_fields(answer) if result.status_code == 200 else None
        if known is not None:
            self._findings.problems.extend(
                field_problems(self._source, self._check, subject_type, routes, known)
            )
            return
        missing = self._check.missing(answer)
        if self._granted is None and any(scope in need for need in needs for scope in missing):
            self._findings.problems.append(scope_problem(self._source, missing))
            return
        why = f"{self._source.kind.title} answered {result.status_code}"
        if missing:
            why = f"the access lacks the scope {', '.join(missing)}"
        self._warn_unchecked(subject_type, why)

    def _warn_unchecked(self, subject_type: str, why: str) -> None:
        self._warn(f"the fields of {subject_type} records are not checked: {why}")

    def _asked(self, request: CrmRequest) -> HttpResult:
        """Return the answer to a question. Raises _CannotAskError."""
        result = self._answered(self._crm_client.request(self._source, request))
        if result.status_code == 401 and not self._check.missing(parsed(result.body)):
            self._refuse(f"{self._source.kind.title} does not accept the access token (401)")
        return result

    def _answered(self, answer: Answer | FetchFailed) -> Answer:
        """Return an answer. Raises _CannotAskError if there is none."""
        if not isinstance(answer, FetchFailed):
            return answer
        message = answer.message.rstrip(".")
        if answer.is_account:
            self._refuse(message)
        self._warn(f"what routes write back is not checked: {message}")
        raise _CannotAskError

    def _refuse(self, message: str) -> NoReturn:
        self._findings.problems.append(f"source {self._source.name!r}: {message}")
        raise _CannotAskError

    def _warn(self, message: str) -> None:
        self._findings.warnings.append(f"source {self._source.name!r}: {message}")


def main() -> int:
    """Ask, and print what was found as the last line; what stands above it is the log."""
    settings = jobs.settings()
    store = Store(connect(settings.redis_url, timeout_s=jobs.REDIS_TIMEOUT_S))
    crm_client = CrmClient(HttpClient(timeout_s=TIMEOUT_S), store, settings)
    found = look(settings, crm_client)
    sys.stdout.write(
        orjson.dumps({"problems": found.problems, "warnings": found.warnings}).decode()
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
