"""The only module that talks to CRMs' APIs. schemas/crm has the requests.

All requests to one CRM share its rate, over all workers: see CrmClient._ask().
"""

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import orjson

from config import log
from schemas.crm_api import Api, CrmRequest, Hydration, ReadAlone, RefreshLogin, RefusedFor
from schemas.depth import MAX_DEPTH, is_shallow
from schemas.errors import RequestError, StoreUnavailable
from schemas.http_result import HttpResult
from schemas.json_body import read_json
from schemas.settings import Settings
from schemas.source import Source
from store import Store
from workers.http import HttpClient, SendDeadline

logger = log.get(__name__)

Answer = TypeVar("Answer")

TOKEN_S = 3600  # how long an access token is valid, if its CRM does not say so
SHORTEST_TOKEN_S, LONGEST_TOKEN_S = 60, 86_400
TOKEN_SLACK_S = 120  # an access token is renewed this long before its CRM forgets it
REFRESH_WAIT_S = 10  # how long to wait for the worker that is refreshing the token
# Of one answer: 100 records of 500 fields, each with its history of ten values.
MOST_VALUES = 500_000
# Of a whole answer. Each record in it is checked, so that a deep one costs no other.
DEEPEST = 1000
# What a batch read left out is asked for one id at a time: at most for this time, and until so many
# answers in a row were failures. The rest is asked for later.
ALONE_S = 10.0
ALONE_FAILURES = 3
ALONE_AGAIN_S = 5.0
TURN_S = 5.0  # how long a question waits for its turn under the CRM's rate
WRITE_TURN_S = 12.0  # of a write-back, whose earlier requests were made
WRITE_TURN_AHEAD_S = 1.0  # the turn that it may reserve: a later one would hold up reads until then
LONGEST_PAUSE_S = 60.0
ANSWERED = (200, 201, 202, 207)
NO_BODY = (204, 304)
_WORD = re.compile(r"[A-Z_]{1,60}")
REFUSED_TOKEN_S = 60  # until the next try; Zoho allows ten tries in ten minutes


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchFailed:
    """A CRM could not be read now."""

    message: str  # for people
    retry_after_s: float | None = None  # what the CRM asked for
    is_account: bool = False  # the CRM does not accept our login, so the lead is not at fault
    is_about_ids: bool = False  # the CRM refused these ids; it may accept some of them alone
    is_broken: bool = False  # this record can't be used, now or later
    crash: Exception | None = None  # the error that the bridge itself raised


@dataclass(frozen=True, slots=True)
class Found:
    """The record that the CRM has for an id."""

    id: str  # the record's own: another one than was asked for if the CRM merged the records
    record: Mapping[str, Any]


# By the id that was asked for. The CRM has no record of an id that is missing.
Records = Mapping[str, Found | FetchFailed]
# By the record's own id, as a batch read answers.
_Batch = Mapping[str, Mapping[str, Any] | FetchFailed]


@dataclass(frozen=True, slots=True)
class _Access:
    """The headers that let us in, and the address that they are for.

    token: the access token in them, if it was bought; "": it was not.
    """

    headers: Mapping[str, str]
    api_url: str
    token: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Turn:
    """When a request may go.

    most: requests in 10 s if its kind of question may be asked less often than others; None: as
    often. begin_until: of a write-back: it must not begin later; monotonic. is_taken: its turn was
    reserved before. is_ending: says whether a write-back waits no longer for its turn.
    """

    most: int | None = None
    begin_until: float | None = None
    is_taken: bool = False
    is_ending: Callable[[], bool] = lambda: False

    @property
    def is_write(self) -> bool:
        return self.begin_until is not None


class CrmClient:
    """The APIs of the CRMs, by source."""

    def __init__(self, http: HttpClient, store: Store, settings: Settings) -> None:
        self.http = http
        self._store = store
        self._settings = settings

    def fetch(
        self,
        source: Source,
        crm_object: str,
        ids: Sequence[str],
        wanted: Sequence[str],
        may_ask_alone: Callable[[], bool] = lambda: True,
    ) -> Records:
        """Fetch the wanted fields of records of one object, by id. Never raises.

        may_ask_alone: is called before each request for one id that the batch read left out.
        """
        batch = self._fetch_many(source, crm_object, ids, wanted)
        records = {
            one: answer if isinstance(answer, FetchFailed) else Found(one, answer)
            for one in ids
            if (answer := batch.get(one)) is not None
        }
        left_out = [one for one in ids if one not in records]
        hydration = source.kind.hydration
        if not left_out or hydration is None or hydration.alone is None:
            return records
        ends, failures = time.monotonic() + ALONE_S, 0
        for one in left_out:
            if time.monotonic() > ends or failures >= ALONE_FAILURES or not may_ask_alone():
                message = f"{source.kind.title} left the record out of its answer. The bridge "
                message += "asks for it again."
                records[one] = FetchFailed(message=message, retry_after_s=ALONE_AGAIN_S)
                continue
            found = self._fetch_alone(source, hydration, hydration.alone, crm_object, one, wanted)
            failures = failures + 1 if _is_about_crm(found) else 0
            if found is not None:
                records[one] = found
        return records

    def _fetch_alone(
        self,
        source: Source,
        hydration: Hydration,
        alone: ReadAlone,
        crm_object: str,
        record_id: str,
        wanted: Sequence[str],
    ) -> Found | FetchFailed | None:
        """Fetch the record that an id has now, which may be another one; None: there is none."""

        def read(answer: Any) -> Found:
            found = alone.record(answer)
            if found is None:
                raise ValueError("no record")
            return Found(*found)

        def fetch() -> Found | FetchFailed | None:
            request = alone.request(crm_object, record_id, wanted)
            if request is None:
                return None
            result = self._fetch(source, hydration, request)
            if isinstance(result, FetchFailed):
                return result
            # The batch read was answered, so the address is right, and the record is gone.
            if result.status_code == 404:
                return None
            found = self._read(source, result, read)
            if isinstance(found, Found) and not is_shallow(found.record):
                return _too_deep(source)
            return found

        return self._safely(source, fetch)

    def ask(self, source: Source, request: CrmRequest, *, rate: int | None = None) -> Any:
        """Ask a question that is about no lead. Return the parsed answer; None: it has no body.

        rate: requests in 10 s over all workers, if fewer than the CRM's own; None: as many. Returns
        FetchFailed if the CRM can't be asked now, or refuses. Never raises.
        """
        return self._safely(source, partial(self._ask_in_turn, source, request, rate))

    def _ask_in_turn(self, source: Source, request: CrmRequest, rate: int | None) -> Any:
        api = source.kind.api
        if api is None:
            return FetchFailed(message=f"{source.kind.title} can't be asked.")
        result = self._fetch(source, api, request, _Turn(most=rate))
        if isinstance(result, FetchFailed):
            return result
        code = result.status_code
        if code in NO_BODY:
            return None
        if code not in ANSWERED:
            said = f"answered {code}{_why(result)}" if code else f"did not answer ({result.error})"
            return FetchFailed(
                message=f"{source.kind.title} {said}.",
                retry_after_s=result.retry_after_s,
                is_account=code in (401, 403),
                is_broken=not _is_for_now(result),
            )
        answer = parsed(result.body)
        if answer is None:
            return FetchFailed(message=f"{source.kind.title}'s answer can't be read.")
        return answer

    def request(self, source: Source, request: CrmRequest) -> HttpResult | FetchFailed:
        """Make a request that is about no lead, and return its answer as it is. Never raises.

        FetchFailed: nothing was sent, or nothing came back.
        """

        def ask() -> HttpResult | FetchFailed:
            api = source.kind.api
            if api is None:
                return FetchFailed(message=f"{source.kind.title} can't be asked.")
            result = self._fetch(source, api, request)
            if isinstance(result, HttpResult) and result.status_code is None:
                message = f"{source.kind.title} did not answer ({result.error})."
                return FetchFailed(message=message)
            return result

        return self._safely(source, ask)

    def token_scopes(self, source: Source, *, is_new: bool) -> frozenset[str] | FetchFailed | None:
        """Return the scopes that came with the access token. Never raises.

        is_new: with a token that is bought now, for the one that is kept may be from before a
        change of the scopes. None: its CRM did not say them, or the token is none that is bought.
        """

        def read() -> frozenset[str] | FetchFailed | None:
            api = source.kind.api
            if api is None or not isinstance(api.login, RefreshLogin):
                return None
            if is_new and (old := self._store.token(source.name)):
                self._store.drop_token(source.name, old["token"])
            access = self._access(source, api)
            if isinstance(access, FetchFailed):
                return access
            kept = self._store.token(source.name) or {}
            return frozenset(kept["scope"].split()) if kept.get("scope") else None

        return self._safely(source, read)

    def own_user(self, source: Source) -> str | FetchFailed | None:
        """Return the CRM's id of the user whose login we have, asked once a token. Never raises.

        None: the CRM does not say, or the login may not ask; then no change counts as our own.
        FetchFailed: it can't be asked now.
        """
        return self._safely(source, partial(self._own_user, source))

    def _own_user(self, source: Source) -> str | FetchFailed | None:
        hydration = source.kind.hydration
        own = hydration.own_user if hydration else None
        if hydration is None or own is None:
            return None
        kept_as = self._user_kept_as(source, hydration)
        kept = self._store.token_user(kept_as)
        if kept is not None:
            return kept or None
        access = self._access(source, hydration)
        if isinstance(access, FetchFailed):
            return access
        result = self._ask(source, access, own.request, _Turn())
        if isinstance(result, FetchFailed):
            return result
        answer, code = parsed(result.body), result.status_code
        # A login that has no scopes may always ask: then a 403 is about all that it asks now.
        is_shut_out = code == 403 and not own.scope
        if (_is_for_now(result) or is_shut_out) and not own.is_out_of_scope(answer):
            return FetchFailed(
                message=f"{source.kind.title} did not say whose login the bridge has "
                f"({code or result.error}).",
                retry_after_s=result.retry_after_s,
                is_account=code in (401, 403),
            )
        user = own.read(answer) if code == 200 else None
        if user is None:
            logger.warning(
                "own_user.unknown",
                source=source.name,
                status_code=code,
                scope=own.scope,
            )
        self._store.put_token_user(kept_as, user or "", for_s=TOKEN_S)
        return user

    def _user_kept_as(self, source: Source, hydration: Hydration) -> str:
        """Return the name under which the user of our login is kept.

        A new token that is bought forgets the user; a token that is set has a name of its own.
        """
        if isinstance(hydration.login, RefreshLogin):
            return source.name
        variables = self._settings.variables.get(source.name, {})
        login = "\0".join(variables.get(one, "") for one in hydration.login.needs)
        return f"{source.name}:{hashlib.sha256(login.encode()).hexdigest()[:16]}"

    def _fetch_many(
        self, source: Source, crm_object: str, ids: Sequence[str], wanted: Sequence[str]
    ) -> _Batch:
        """Fetch records by batch reads.

        One id that a CRM refuses must not cost the others. So a batch that is refused as a whole is
        fetched in halves, unless its first and last id are refused alone, too: then the ids are not
        the cause.
        """
        answer = self._fetch_batch(source, crm_object, ids, wanted)
        if not isinstance(answer, FetchFailed):
            return answer
        if not answer.is_about_ids or len(ids) == 1:
            return dict.fromkeys(ids, answer)
        ends = [self._fetch_batch(source, crm_object, [end], wanted) for end in (ids[0], ids[-1])]
        if all(isinstance(end, FetchFailed) for end in ends):
            return dict.fromkeys(ids, answer)
        return self._fetch_halves(source, crm_object, ids, wanted)

    def _fetch_halves(
        self, source: Source, crm_object: str, ids: Sequence[str], wanted: Sequence[str]
    ) -> _Batch:
        found: dict[str, Mapping[str, Any] | FetchFailed] = {}
        middle = len(ids) // 2
        for half in (ids[:middle], ids[middle:]):
            answer = self._fetch_batch(source, crm_object, half, wanted)
            if not isinstance(answer, FetchFailed):
                found |= answer
            elif answer.is_about_ids and len(half) > 1:
                found |= self._fetch_halves(source, crm_object, half, wanted)
            else:
                found |= dict.fromkeys(half, answer)
        return found

    def _fetch_batch(
        self, source: Source, crm_object: str, ids: Sequence[str], wanted: Sequence[str]
    ) -> _Batch | FetchFailed:
        hydration = source.kind.hydration
        if hydration is None:
            return FetchFailed(message=f"{source.kind.title} records can't be fetched.")

        def fetch() -> _Batch | FetchFailed:
            request = hydration.request(crm_object, ids, wanted)
            result = self._fetch(source, hydration, request)
            if isinstance(result, FetchFailed):
                return result
            if result.status_code in hydration.none_statuses:
                return {}
            found = self._read(source, result, hydration.records)
            if isinstance(found, FetchFailed):
                return found
            return {
                key: record if is_shallow(record) else _too_deep(source)
                for key, record in found.items()
            }

        return self._safely(source, fetch)

    def _safely(
        self, source: Source, fetch: Callable[[], Answer | FetchFailed]
    ) -> Answer | FetchFailed:
        try:
            return fetch()
        except StoreUnavailable:
            return FetchFailed(message="Redis did not answer, so the access token is not known.")
        except Exception as error:
            # A bug in a CRM module costs a wait, not the drain.
            logger.error("hydration.crashed", source=source.name, exc_info=error)
            return FetchFailed(
                message=f"{source.kind.title}'s answer caused an error in the bridge. The worker's "
                "log has the details (hydration.crashed).",
                is_about_ids=True,
                crash=error,
            )

    def _fetch(
        self,
        source: Source,
        api: Api,
        request: CrmRequest,
        turn: "_Turn | None" = None,
    ) -> HttpResult | FetchFailed:
        turn = turn or _Turn()
        access = self._access(source, api, *request.json_needs)
        if isinstance(access, FetchFailed):
            return access
        result = self._ask(source, access, request, turn)
        is_refused = isinstance(result, HttpResult) and result.status_code == 401
        if is_refused and isinstance(api.login, RefreshLogin):
            # The token was revoked, or ran out early: get a new token and ask once more.
            self._store.drop_token(source.name, access.token)
            access = self._access(source, api)
            if isinstance(access, FetchFailed):
                return access
            result = self._ask(source, access, request, replace(turn, is_taken=False))
        return result

    def write(
        self,
        source: Source,
        request: CrmRequest,
        *,
        begin_until: float,
        has_turn: bool,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> HttpResult | FetchFailed:
        """Make a request of a write-back.

        begin_until: it must not begin later; monotonic. has_turn: its turn was reserved before.
        is_ending: says whether it waits no longer for its turn. FetchFailed: nothing was sent.
        Raises StoreUnavailable.
        """
        api = source.kind.api
        if api is None:
            return FetchFailed(message=f"{source.kind.title} has no login.", is_account=True)
        turn = _Turn(begin_until=begin_until, is_taken=has_turn, is_ending=is_ending)
        return self._fetch(source, api, request, turn)

    def _ask(
        self, source: Source, access: _Access, request: CrmRequest, turn: "_Turn"
    ) -> HttpResult | FetchFailed:
        """Make a request in its turn. FetchFailed: its turn does not come soon enough."""
        if not turn.is_taken and (failed := self._wait_for(source, turn)):
            return failed
        variables = self._settings.variables.get(source.name, {})
        path = request.path_with(variables, prefix=source.variable_prefix)
        until = turn.begin_until
        result = self.http.request(
            request.method,
            access.api_url + path,
            headers={**access.headers, **request.headers},
            params=request.params,
            json=request.json_with(variables, prefix=source.variable_prefix),
            send_deadline=None if until is None else SendDeadline(until),
        )
        result = _as_meant(source, result)
        self._note_rate(source, result)
        return result

    def _wait_for(self, source: Source, turn: "_Turn") -> FetchFailed | None:
        """Wait for a turn at the CRM. Return None when it has come."""
        rate = self._settings.crm_rates.get(source.name)
        if rate is None:
            return None
        rate = min(rate, turn.most or rate)
        if turn.is_write:
            wait_s = self._write_turn_in_s(source, turn, rate)
        else:
            wait_s = self._store.may_ask_crm(source.name, rate=rate, patience_s=TURN_S)
        if wait_s is None:
            message = f"{source.kind.title} is asked as often as it may be."
            return FetchFailed(message=message, retry_after_s=TURN_S)
        time.sleep(wait_s)
        return None

    def _write_turn_in_s(self, source: Source, turn: "_Turn", rate: int) -> float | None:
        """Ask for the turn of a write-back until it is near; None: that takes too long."""
        until = time.monotonic() + WRITE_TURN_S
        while True:
            wait_s = self._store.may_ask_crm(
                source.name, rate=rate, patience_s=WRITE_TURN_AHEAD_S, is_write=True
            )
            if wait_s is not None or time.monotonic() > until or turn.is_ending():
                return wait_s
            time.sleep(WRITE_TURN_AHEAD_S / 2)

    def _note_rate(self, source: Source, result: HttpResult) -> None:
        """Let all workers pause at a CRM that says that it is asked too often."""
        for_s = 0.0
        if result.status_code == 429:
            for_s = result.retry_after_s or 0.0
        names = source.kind.api.rate_headers if source.kind.api else None
        if names is not None and (result.headers or {}).get(names[0]) == "0":
            interval_ms = (result.headers or {}).get(names[1], "")
            for_s = max(for_s, int(interval_ms) / 1000 if interval_ms.isdecimal() else 1.0)
        if for_s:
            with suppress(StoreUnavailable):  # the answer counts for more
                self._store.slow_crm(source.name, for_s=min(for_s, LONGEST_PAUSE_S))

    def _read(
        self, source: Source, result: HttpResult, read: Callable[[Any], Answer]
    ) -> Answer | FetchFailed:
        title, code = source.kind.title, result.status_code
        if code is None:
            return FetchFailed(message=f"{title} did not answer ({result.error}).")
        if code not in (200, 207):
            refused_for = _refused_for(source, result)
            why = " It does not accept the login." if refused_for == "login" else ""
            return FetchFailed(
                message=f"{title} answered {code} when asked for the record.{why}",
                retry_after_s=result.retry_after_s,
                is_account=refused_for == "login",
                is_about_ids=refused_for == "ids",
            )
        try:
            return read(read_json(result.body, most_values=MOST_VALUES, most_levels=DEEPEST))
        except (RequestError, ValueError, KeyError, TypeError, AttributeError):
            # The answer may be too long for us; the answer for half of the ids may not be.
            return FetchFailed(message=f"{title}'s answer can't be read.", is_about_ids=True)

    # --- tokens -------------------------------------------------------------------------------

    def _access(self, source: Source, api: Api, *besides: str) -> _Access | FetchFailed:
        """Return how to log in. besides: suffixes of other variables that must be set."""
        login = api.login
        variables = self._settings.variables.get(source.name, {})
        missing = [
            source.variable_prefix + suffix
            for suffix in (*api.needs, *besides)
            if not variables.get(suffix)
        ]
        if missing:
            lack = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set"
            return FetchFailed(
                message=f"{lack}, so {source.kind.title} can't be asked.", is_account=True
            )
        if isinstance(login, RefreshLogin):
            return self._shared_token(source, api, login, variables)
        return _Access(login.headers(variables), variables[api.api_url])

    def _shared_token(
        self,
        source: Source,
        api: Api,
        login: RefreshLogin,
        variables: Mapping[str, str],
    ) -> _Access | FetchFailed:
        """Return the token that all workers share; one worker refreshes it when it has run out.

        Zoho allows 10 access tokens in 10 minutes for a refresh token, so the workers take turns.
        """
        until = time.monotonic() + REFRESH_WAIT_S
        while True:
            kept = self._store.token(source.name)
            if kept:
                api_url = variables.get(api.api_url) or kept["api_url"]
                headers = {"Authorization": f"{login.scheme} {kept['token']}"}
                return _Access(headers, api_url.rstrip("/"), kept["token"])
            if self._store.may_refresh_token(source.name):
                try:
                    failed = self._refresh(source, login, variables)
                finally:
                    self._store.done_refreshing(source.name)
                if failed:
                    return failed
            elif time.monotonic() > until:
                return FetchFailed(
                    message=f"{source.kind.title}'s access token is being refreshed."
                )
            else:
                time.sleep(0.1)  # another worker refreshes it; Redis has no cheap event to wait for

    def _refresh(
        self, source: Source, login: RefreshLogin, variables: Mapping[str, str]
    ) -> FetchFailed | None:
        """Get an access token and keep it for all workers. Returns None if that worked."""
        if self._store.token(source.name):
            return None  # another worker refreshed it before we got the lock
        result = self.http.request(
            "POST",
            variables[login.accounts_url] + login.path,
            headers={},
            data={
                "grant_type": "refresh_token",
                "client_id": variables[login.client_id],
                "client_secret": variables[login.client_secret],
                "refresh_token": variables[login.refresh_token],
            },
        )
        title = source.kind.title
        try:
            answer = orjson.loads(result.body) if result.status_code else {}
            token = answer.get("access_token")
        except (ValueError, AttributeError):
            token = None
        if not token or not isinstance(token, str):
            logger.warning(
                "token.refused",
                source=source.name,
                status_code=result.status_code,
                error=result.error,
            )
            return FetchFailed(
                message=f"{title} gave no access token; check the client, the refresh token and "
                f"the data centre ({source.variable_prefix}{login.accounts_url}).",
                retry_after_s=result.retry_after_s or REFUSED_TOKEN_S,
                is_account=_is_about_login(result, login),
            )
        lifetime_s = _lifetime_s(answer.get("expires_in"))
        api_url, scope = answer.get("api_domain"), answer.get("scope")
        self._store.put_token(
            source.name,
            {
                "token": token,
                "api_url": api_url if isinstance(api_url, str) else "",
                "scope": scope.replace(",", " ") if isinstance(scope, str) else "",
            },
            for_s=max(lifetime_s - TOKEN_SLACK_S, lifetime_s // 2),
        )
        logger.info("token.refreshed", source=source.name)
        return None


def _as_meant(source: Source, result: HttpResult) -> HttpResult:
    """Return an answer with the status that its body means, if its API's own does not say that."""
    api, code = source.kind.api, result.status_code
    if api is None or api.status_of is None or code is None:
        return result
    return replace(result, status_code=api.status_of(code, parsed(result.body)))


def _refused_for(source: Source, result: HttpResult) -> RefusedFor:
    """Return why a CRM refused to give records, by its answer or else by the status."""
    hydration, code = source.kind.hydration, result.status_code
    if hydration and hydration.refused_for:
        told = hydration.refused_for(parsed(result.body))
        if told:
            return told
    if code in (401, 403):
        return "login"
    # A 404 is none of these: for a whole batch it means a wrong address, not missing records.
    return "ids" if code == 400 else "busy"


def _is_for_now(result: HttpResult) -> bool:
    """Say whether the same question may be answered later."""
    code = result.status_code
    return code is None or code in (401, 423, 429) or code >= 500


def _is_about_login(result: HttpResult, login: RefreshLogin) -> bool:
    """Say whether an answer without a token refuses our login; else it may give one later."""
    code, answer = result.status_code, parsed(result.body)
    error = answer.get("error") if isinstance(answer, dict) else None
    is_too_often = code == 429 or (login.too_often != "" and error == login.too_often)
    return code is not None and code < 500 and not is_too_often


def _why(result: HttpResult) -> str:
    """Return a CRM's own word for an error, as in " (INVALID_MODULE)"; "": it has none.

    Its sentence is left out: it may name a person.
    """
    answer = parsed(result.body)
    words = (answer.get("code"), answer.get("category")) if isinstance(answer, dict) else ()
    found = next((one for one in words if isinstance(one, str) and _WORD.fullmatch(one)), None)
    return f" ({found})" if found else ""


def parsed(body: bytes) -> Any:
    """Return an answer as far as it is JSON; None: it is not."""
    try:
        return read_json(body, most_values=MOST_VALUES, most_levels=DEEPEST)
    except (RequestError, ValueError):
        return None


def _lifetime_s(raw: Any) -> int:
    """Return for how long a token is valid. What can't be so is no mistake of a lead."""
    try:
        return min(max(int(raw or TOKEN_S), SHORTEST_TOKEN_S), LONGEST_TOKEN_S)
    except (ValueError, TypeError, OverflowError):
        return TOKEN_S


def _is_about_crm(found: Found | FetchFailed | None) -> bool:
    """Say whether the next id would fail, too, because the CRM is away or busy."""
    return isinstance(found, FetchFailed) and not (found.is_broken or found.is_about_ids)


def _too_deep(source: Source) -> FetchFailed:
    message = f"{source.kind.title}'s record is nested more than {MAX_DEPTH} levels deep."
    return FetchFailed(message=message, is_broken=True)
