"""Write-backs by a CRM's API, several at once: the records of their calls, then fields of records.

    read what is known of the calls' records ► find those in doubt ► create ► update ► set fields

Before a request creates records, that is noted: if its answer is lost, the next attempt looks for
the record first. The CRM's id of a record is kept, so that redials update it.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from config import log
from rules import write_back as rules
from rules.plan import Ready
from rules.transitions import CRASHED
from rules.verdict import Meaning, Verdict
from schemas.crm_api import CrmRequest, Refused, Told, UnwritableError, WriteBack, Written
from schemas.errors import StoreUnavailable
from schemas.http_result import HttpResult
from schemas.settings import Settings
from schemas.source import Source
from schemas.write_back import CallKey
from store import Store
from workers.crm import CrmClient, FetchFailed, parsed

logger = log.get(__name__)

# Of one write-back: the last answer, and what it means.
Answer = tuple[HttpResult, Verdict]

NOTHING_SENT: Final = HttpResult(sent=False, duration_ms=0)
LOOK_S: Final = 8.0  # of an attempt, for records that may exist; what remains is for writing


class _StopError(Exception):
    """The CRM must not be asked more now. What is not written yet is written later."""

    def __init__(self, result: HttpResult, meant: Verdict) -> None:
        super().__init__(meant.message)
        self.answer = (result, meant)
        surely_not = result.status_code == 429 or meant.meaning is Meaning.PAUSE
        self.was_written = result.sent and not surely_not  # it may be


@dataclass(frozen=True, kw_only=True, slots=True)
class CrmWriting:
    """Writes to CRMs by their APIs, in threads of the pool."""

    crm: CrmClient
    store: Store
    settings: Settings
    is_ending: Callable[[], bool] = lambda: False  # whether no further request begins

    def write(self, batch: Sequence[Ready], begin_until: float) -> dict[str, Answer]:
        """Tell a CRM of write-backs of one source, at most one of each record.

        The turn of the first request was reserved. begin_until: no request begins later; monotonic.
        Returns the answer to each, by its id.
        """
        source = self.settings.routes.sources[batch[0].delivery.source]
        writing = _Writing(self, source, batch, begin_until)
        try:
            writing.run()
        except _StopError as stop:
            return writing.answers(stop.answer)
        except StoreUnavailable:
            # What may have been written is looked for by the next attempt.
            away = replace(NOTHING_SENT, error="store_away")
            return writing.answers((away, rules.later("Redis did not answer.")))
        return writing.answers((NOTHING_SENT, rules.later("The CRM did not say what it wrote.")))


@dataclass(frozen=True, slots=True)
class _Step:
    """A kind of request that writes, and the ids of the write-backs that still need it."""

    build: Callable[[Sequence[Told]], CrmRequest]
    needed_by: set[str]
    creates: bool = False


class _Writing:
    """The requests of some write-backs of one source."""

    def __init__(
        self, of: CrmWriting, source: Source, batch: Sequence[Ready], begin_until: float
    ) -> None:
        assert source.kind.write_back is not None  # noqa: S101  (Settings.writes_by_api())
        self._store, self._crm, self._source = of.store, of.crm, source
        self._is_ending = of.is_ending
        self._writer: WriteBack = source.kind.write_back
        self._begin_until = begin_until
        self._has_turn = True
        self._ready = {one.delivery.id: one for one in batch}
        self._told = {id_: rules.told(one) for id_, one in self._ready.items()}
        self._create = _Step(self._writer.create_calls, set(), creates=True)
        self._update = _Step(self._writer.update_calls, set())
        self._set_fields = _Step(
            self._writer.set_fields, {id_ for id_, one in self._told.items() if one.fields}
        )
        self._steps = (self._create, self._update, self._set_fields)
        self._last: dict[str, HttpResult] = {}
        self._ended: dict[str, Answer] = {}  # refused, or not to be told any more

    def run(self) -> None:
        """Write calls, then fields. Raises _StopError, StoreUnavailable."""
        self._look_for(self._doubtful())
        for step in self._steps:
            for some in self._batches(step):
                self._write(step, some)

    def answers(self, of_the_rest: Answer) -> dict[str, Answer]:
        """Return the answer to each write-back. of_the_rest: to those that are not written yet."""
        needed = set().union(*(step.needed_by for step in self._steps))
        found = {}
        for id_ in self._ready:
            if id_ in self._last:
                done = self._last[id_], rules.verdict(self._last[id_], self._source.kind.title)
            else:
                done = NOTHING_SENT, rules.nothing_to_write()
            result, meant = self._ended.get(id_) or (of_the_rest if id_ in needed else done)
            if len(self._ready) > 1:  # its body may be about others, too
                result = replace(result, body=b"")
            found[id_] = result, meant
        return found

    # --- the calls' records -----------------------------------------------------------------------

    def _doubtful(self) -> list[Told]:
        """Read what is known of the calls' records. Return those that must be looked for."""
        ids, doubtful = list(self._ready), []
        for id_, known in zip(ids, self._store.crm_calls(list(map(self._key, ids))), strict=True):
            ready, told = self._ready[id_], self._told[id_]
            said = ready.route.write_back
            if known is None:
                self._end(id_, *_gone())
            elif said is None or not said.call or not self._writer.keeps_call(told):
                continue
            elif known.id is not None:
                self._knows(told, known.id)
            else:
                self._create.needed_by.add(id_)
                if known.may_exist or ready.delivery.was_lost:
                    doubtful.append(told)
        return doubtful

    def _look_for(self, doubtful: Sequence[Told]) -> None:
        """Look for the records of calls, as many as there is time for; the others wait.

        Each needs requests of its own. What was looked for is written by the same attempt.
        """
        until = time.monotonic() + LOOK_S
        for n, told in enumerate(doubtful):
            if n and time.monotonic() > until:
                message = "The bridge has to look first whether the CRM has this call."
                self._end(told.id, NOTHING_SENT, rules.later(message))
            else:
                self._find(told)

    def _find(self, told: Told) -> None:
        """Look for the record of a call that an earlier request may have created."""
        finding = self._writer.find_call(told)
        try:
            request = next(finding)
            while True:
                result = self._ask(request)
                if result.status_code != 404 and self._meaning(result) is Meaning.REFUSED:
                    self._end(told.id, *self._refused(result, self._sentence(result, told)))
                    return
                request = self._next(finding, result)
        except StopIteration as found:
            call_id = found.value
        if call_id:
            self._store.keep_crm_calls({self._key(told.id): call_id})
            self._knows(told, call_id)

    def _sentence(self, result: HttpResult, told: Told) -> str:
        """Return the sentence of a refusal, as the CRM's module reads it, or else as any is."""
        said = self._writer.read(_object(result), [told]).get(told.id)
        return said.sentence if isinstance(said, Refused) else rules.sentence(result.body)

    def _next(
        self, finding: Generator[CrmRequest, Any, str | None], result: HttpResult
    ) -> CrmRequest:
        """Return what is asked after an answer to a look. Raises StopIteration at its end.

        An answer that can't be read does not say that there is no record.
        """
        is_none = result.status_code in (204, 404)
        answer = {} if is_none else _object(result)
        try:
            if not answer and not is_none:
                raise ValueError("no object")
            return finding.send(answer)
        except ValueError:
            raise _StopError(result, rules.later("The CRM's answer can't be read.")) from None

    def _knows(self, told: Told, call_id: str) -> None:
        self._create.needed_by.discard(told.id)
        self._update.needed_by.add(told.id)
        self._told[told.id] = replace(told, call_id=call_id)

    def _key(self, id_: str) -> CallKey:
        delivery = self._ready[id_].delivery
        return delivery.of or "", delivery.call_sid or ""

    # --- a request that writes --------------------------------------------------------------------

    def _batches(self, step: _Step) -> Iterator[list[Told]]:
        """Yield what a step has to write, as much as one request may have, of one type."""
        by_type: dict[str, list[Told]] = {}
        for id_ in sorted(step.needed_by):
            told = self._told[id_]
            by_type.setdefault(told.subject_type, []).append(told)
        for some in by_type.values():
            for start in range(0, len(some), self._writer.batch):
                yield some[start : start + self._writer.batch]

    def _write(self, step: _Step, wanted: Sequence[Told]) -> None:
        """Make a request of a step; what is refused as a whole is written in halves."""
        told = self._still_there(step, wanted)
        if not told:
            return
        request = self._built(step, told)
        if request is None:
            return
        try:
            result = self._ask(request)
        except _StopError as stop:
            if not stop.was_written:
                self._none_created(step, told)
            raise
        answers = dict(self._writer.read(_object(result), told))
        is_refused = self._meaning(result) is Meaning.REFUSED
        if is_refused and not answers and len(told) == 1:
            answers = {told[0].id: Refused(rules.sentence(result.body))}
        if step.creates:
            self._keep(told, answers)
        for one in told:
            self._take_answer(step, one.id, answers.get(one.id), result)
        if is_refused:
            self._write_rest(step, told, answers)

    def _built(self, step: _Step, told: Sequence[Told]) -> CrmRequest | None:
        """Return the request of a step. None: one raises an error; the others were written."""
        try:
            return step.build(told)
        except Exception as error:
            if len(told) == 1:
                self._end(told[0].id, *self._unbuilt(told[0], error))
                self._none_created(step, told)
            else:
                self._write_rest(step, told, {})
            return None

    def _unbuilt(self, told: Told, error: Exception) -> Answer:
        if isinstance(error, UnwritableError):
            return NOTHING_SENT, rules.unwritable(str(error))
        logger.error("write_back.crashed", delivery=told.id, exc_info=error)
        return NOTHING_SENT, rules.later(CRASHED)

    def _write_rest(
        self, step: _Step, told: Sequence[Told], answers: Mapping[str, Written | Refused | None]
    ) -> None:
        """Write those that a refusal did not name, for which it wrote nothing.

        If it named none, they are written in halves, to find the one that is refused.
        """
        rest = [one for one in told if one.id not in answers]
        self._none_created(step, rest)
        middle = 0 if answers else len(rest) // 2
        for some in (rest[:middle], rest[middle:]):
            if some:
                self._write(step, some)

    def _none_created(self, step: _Step, told: Sequence[Told]) -> None:
        if step.creates:
            self._store.keep_crm_calls({self._key(one.id): None for one in told})

    def _still_there(self, step: _Step, told: Sequence[Told]) -> list[Told]:
        """Return those that may be told of still; no person of the others is known any more."""
        keys = [self._key(one.id) for one in told]
        known = self._store.begin_crm_calls(keys) if step.creates else self._store.crm_calls(keys)
        for one, found in zip(told, known, strict=True):
            if found is None:
                self._end(one.id, *_gone())
        return [one for one, found in zip(told, known, strict=True) if found is not None]

    def _keep(self, told: Sequence[Told], answers: Mapping[str, Written | Refused | None]) -> None:
        """Keep the ids of new records."""
        ids: dict[CallKey, str | None] = {}
        for one in told:
            match answers.get(one.id):
                case Written(str(call_id)):
                    ids[self._key(one.id)] = call_id
                case Refused():
                    ids[self._key(one.id)] = None
        self._store.keep_crm_calls(ids)

    def _take_answer(
        self, step: _Step, id_: str, answer: Written | Refused | None, result: HttpResult
    ) -> None:
        match answer:
            case Written():
                self._last[id_] = result
                step.needed_by.discard(id_)
            case Refused(sentence):
                step.needed_by.discard(id_)
                self._ended[id_] = self._refused(result, sentence)

    def _end(self, id_: str, result: HttpResult, meant: Verdict) -> None:
        """Write nothing more of a write-back."""
        self._ended[id_] = result, meant
        for step in self._steps:
            step.needed_by.discard(id_)

    # --- any request ------------------------------------------------------------------------------

    def _ask(self, request: CrmRequest) -> HttpResult:
        """Make one request. Raises _StopError after an answer that is about no write-back."""
        if self._is_ending():
            raise _StopError(NOTHING_SENT, rules.later("The worker ended before it was written."))
        result = self._crm.write(
            self._source,
            request,
            begin_until=self._begin_until,
            has_turn=self._has_turn,
            is_ending=self._is_ending,
        )
        self._has_turn = False
        if isinstance(result, FetchFailed):
            again_s = result.retry_after_s
            headers = {} if again_s is None else {"Retry-After": str(int(again_s))}
            nothing = replace(NOTHING_SENT, error="no_access", headers=headers)
            meant = rules.no_access if result.is_account else rules.later
            raise _StopError(nothing, meant(result.message))
        if self._meaning(result) in (Meaning.AGAIN, Meaning.PAUSE):
            raise _StopError(result, rules.verdict(result, self._source.kind.title))
        return result

    def _meaning(self, result: HttpResult) -> Meaning:
        return rules.verdict(result, self._source.kind.title).meaning

    def _refused(self, result: HttpResult, sentence: str) -> Answer:
        return result, rules.refused(self._source.kind.title, sentence)


def _gone() -> Answer:
    message = "The call is gone, or its person was erased: nothing more is written."
    return NOTHING_SENT, rules.later(message)


def _object(result: HttpResult) -> Any:
    """Return an answer that is a JSON object; {}: it is none."""
    answer = parsed(result.body)
    return answer if isinstance(answer, Mapping) else {}
