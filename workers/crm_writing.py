"""One write-back by a CRM's API: the record of the call, then the fields of the CRM's record.

The bridge looks for the record of the call before it creates one: an earlier request may have
arrived though nobody read its answer. It keeps the record's id, so that redials update it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from rules import write_back as rules
from rules.plan import Ready
from rules.verdict import Verdict
from schemas.errors import StoreUnavailable
from schemas.http_result import HttpResult
from schemas.settings import Settings
from schemas.source import CrmRequest, Source, Told, WriteBack
from store import Store
from workers.crm import CrmClient, FetchFailed
from workers.http import SendDeadline

PATIENCE_S: Final = 2.0  # how long a request waits for its turn under the CRM's rate


class _StopError(Exception):
    """The write-back ends here, with this answer."""

    def __init__(self, result: HttpResult, meant: Verdict) -> None:
        super().__init__(meant.message)
        self.result = result
        self.meant = meant


@dataclass(frozen=True, kw_only=True, slots=True)
class CrmWriting:
    """Writes to CRMs by their APIs, in threads of the pool."""

    crm: CrmClient
    store: Store
    settings: Settings

    def write(self, ready: Ready, begin_until: float) -> tuple[HttpResult, Verdict]:
        """Make the requests of a write-back; returns the last answer and what it means.

        begin_until: no request begins later; monotonic.
        """
        source = self.settings.routes.sources[ready.delivery.source]
        writer = source.kind.write_back
        assert writer is not None  # noqa: S101  (the settings name only such sources)
        writing = _Writing(self, source, writer, begin_until)
        try:
            result = writing.run(ready)
        except _StopError as stop:
            return stop.result, stop.meant
        except StoreUnavailable:
            # What was written is found by the next attempt.
            result = HttpResult(duration_ms=0, sent=True, error="store_away")
        return result, rules.verdict(result)


class _Writing:
    """The requests of one write-back."""

    def __init__(
        self, of: CrmWriting, source: Source, writer: WriteBack, begin_until: float
    ) -> None:
        self._of = of
        self._source = source
        self._writer = writer
        self._begin_until = begin_until
        self._asked = 0  # requests; the turn of the first one was reserved before

    def run(self, ready: Ready) -> HttpResult:
        told = rules.told(ready)
        route_write_back = ready.route.write_back
        result = None
        if route_write_back and route_write_back.call and self._writer.call(told) is not None:
            result = self._write_call(ready, told)
        if told.fields:
            result = self._ask(self._writer.update(told))
        # Nothing to write is no failure.
        return result or HttpResult(sent=False, duration_ms=0, status_code=204)

    def _write_call(self, ready: Ready, told: Told) -> HttpResult:
        parent, call_sid = ready.delivery.of or "", ready.delivery.call_sid
        call_id = self._of.store.crm_call(parent, call_sid)
        if call_id is None:
            call_id = self._find(told)
            if call_id is not None:
                self._of.store.keep_crm_call(parent, call_sid, call_id)
        request = self._writer.call(replace(told, call_id=call_id))
        assert request is not None  # noqa: S101  (run() asked)
        result = self._ask(request)
        if call_id is None and (new := self._writer.call_id(_parsed(result))):
            self._of.store.keep_crm_call(parent, call_sid, new)
        return result

    def _find(self, told: Told) -> str | None:
        finding = self._writer.find(told)
        try:
            request = next(finding)
            while True:
                request = finding.send(_parsed(self._ask(request, may_miss=True)))
        except StopIteration as found:
            return found.value if isinstance(found.value, str) else None

    def _ask(self, request: CrmRequest, *, may_miss: bool = False) -> HttpResult:
        """Make one request. may_miss: 404 is an answer, too. Raises _StopError."""
        self._wait_for_turn()
        deadline = SendDeadline(self._begin_until)
        result = self._of.crm.write(self._source, request, deadline)
        if isinstance(result, FetchFailed):
            again = result.retry_after_s
            headers = {} if again is None else {"Retry-After": str(int(again))}
            raise _StopError(
                HttpResult(duration_ms=0, sent=False, error="no_access", headers=headers),
                rules.not_reached(result.message, is_account=result.is_account),
            )
        if may_miss and result.status_code == 404:
            return replace(result, body=b"")
        if result.status_code is None or not 200 <= result.status_code < 300:
            raise _StopError(result, rules.verdict(result))
        if sentence := self._writer.refusal(_parsed(result)):
            raise _StopError(result, rules.refused(sentence))
        return result

    def _wait_for_turn(self) -> None:
        self._asked += 1
        if self._asked == 1:
            return
        name = self._source.name
        rate = self._of.settings.crm_rates[name]
        wait_s = self._of.store.may_ask_crm(name, rate=rate, patience_s=PATIENCE_S)
        if wait_s is None:
            raise _StopError(
                HttpResult(duration_ms=0, sent=False, error="no_turn"),
                rules.not_reached("The CRM's rate is used up for now.", is_account=False),
            )
        time.sleep(wait_s)


def _parsed(result: HttpResult) -> Any:
    """Return an answer as JSON; {}: it is none."""
    try:
        answer: Any = orjson.loads(result.body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, Mapping) else {}
