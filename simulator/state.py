"""What the simulator remembers, and how it must behave.

Everything here may be read and changed from any thread, while requests are being served.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from simulator.people import demo_records

# Raw bodies are kept, not parsed ones: 200,000 calls and their requests were measured at 154 MB.
KEPT = 200_000

ZOHO_TOKEN_LIFE_S = 3600.0
# Zoho gives at most 10 access tokens in 10 minutes for one refresh token.
ZOHO_REFRESHES = 10
ZOHO_REFRESH_WINDOW_S = 600.0

# The key under which the bridge sends its own id with a call.
DELIVERY_KEY = "bridge_delivery_id"

# Never remembered, so that no page and no test report shows a secret.
SECRET_HEADERS = frozenset(
    {
        *("authorization", "cookie", "proxy-authorization", "x-api-key", "x-api-token"),
        *("x-lsq-accesskey", "x-lsq-secretkey"),
    }
)

Cut = Literal["before", "after"]
Item = TypeVar("Item")
# What a field may be besides usual: the CRM does not have it, or only the CRM sets it.
FieldState = Literal["missing", "read_only"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How some requests are answered. Raises ValueError for a value that makes no sense.

    Without `status`, `body`, `html` and `cut="before"`, the request is handled normally, and only
    its answer is delayed, slow or cut. Otherwise it is not handled, unless `accept` is set: this
    is a gateway that gives up, while the phone rings all the same.
    """

    path: str = "/"  # a prefix: "/call" is all of CallKaro, "/" is everything
    to_number: str | None = None  # only requests whose body names this number
    times: int | None = None  # requests; None: until cleared
    latency_ms: float | None = None  # None: the simulator's own; waited after the call is accepted
    status: int | None = None
    retry_after: str | None = None  # the header's value, which may be nonsense
    html: bool = False  # answer with a gateway's page; 502 and 504 always do
    body: str | None = None  # instead of the usual body of this status
    content_type: str = "application/json"  # of `body`
    headers: Mapping[str, str] = field(default_factory=dict)  # added ones, such as Location
    accept: bool = False  # handle and remember the request, then answer as set here
    cut: Cut | None = None  # close the connection unanswered, before or after accepting
    drip_s: float = 0.0  # send the bytes of the answer over this many seconds

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise ValueError("path must start with /")
        if self.times is not None and self.times < 1:
            raise ValueError("times must be 1 or more, or absent")
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError("status must be 200 to 599")
        if self.cut not in (None, "before", "after"):
            raise ValueError("cut must be 'before' or 'after'")
        if self.drip_s < 0 or (self.latency_ms or 0) < 0:
            raise ValueError("latency_ms and drip_s must not be negative")

    @property
    def replaces_answer(self) -> bool:
        """Whether the answer is this behaviour's own."""
        return self.status is not None or self.body is not None or self.html

    @property
    def handles(self) -> bool:
        """Whether the request reaches the API behind it."""
        if self.cut is not None:
            return self.cut == "after"
        return self.accept or not self.replaces_answer

    def matches(self, path: str, to_number: object) -> bool:
        """Return whether this applies to a request to this path, for this number if any."""
        if not path.startswith(self.path):
            return False
        return self.to_number is None or self.to_number == to_number


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request to an API, and how it was answered."""

    at: datetime
    method: str
    path: str
    query: str
    headers: Mapping[str, str]  # names in small letters, secrets left out
    raw: bytes
    status: int | None  # None: the connection was cut
    accepted: bool  # the API accepted it (2xx), whatever the answer was
    cut: Cut | None

    @property
    def body(self) -> Any:
        """The JSON that was sent, or the text if it is not JSON."""
        try:
            return json.loads(self.raw)
        except ValueError:
            return self.raw.decode(errors="replace")

    def shown(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "at": self.at.isoformat(),
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": dict(self.headers),
            "body": self.body,
            "status": self.status,
            "accepted": self.accepted,
            "cut": self.cut,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One accepted call: a phone that would ring."""

    call_sid: str
    at: datetime
    to_number: str
    agent_id: str
    batch_id: str | None
    schedule_at: str | None
    delivery_id: str | None  # the bridge's own id, if the metadata had it
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The request as it was sent."""
        body: dict[str, Any] = json.loads(self.raw)
        return body

    @property
    def metadata(self) -> dict[str, Any]:
        """What CallKaro would send back as `call_metadata`."""
        metadata: dict[str, Any] = self.body.get("metadata", {})
        return metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """One campaign that was created here."""

    batch_id: str
    at: datetime
    name: str
    agent_id: str | None  # None: v2, where each call brings its own agent

    def shown(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "batch_id": self.batch_id,
            "at": self.at.isoformat(),
            "version": 1 if self.agent_id else 2,
            "name": self.name,
            "agent_id": self.agent_id,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSpotApp:
    """An app with its webhooks: one subscription to every property of every object."""

    target_url: str
    client_secret: str = field(repr=False)
    app_id: int = 50780459
    portal_id: int = 62515
    subscription_id: int = 3002


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseWebhook:
    """A subscription to everything that the API changes."""

    url: str
    signature_key: str = field(repr=False)  # hex digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What became of a record that was merged into another one."""

    into: str
    in_batch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One record that was written to a CRM."""

    crm: str
    object: str
    id: str
    at: datetime
    body: dict[str, Any]

    def shown(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "crm": self.crm,
            "object": self.object,
            "id": self.id,
            "at": self.at.isoformat(),
            "body": self.body,
        }


class State:
    """Everything the simulator knows.

    api_key is the only key CallKaro takes; None: any that is not empty. So it is with
    hubspot_token. has_legacy_hubspot: whether HubSpot's paths without a date are there. clock gives
    seconds; tests move it by hand.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        hubspot_token: str | None = None,
        has_legacy_hubspot: bool = True,
        latency_ms: float = 0.0,
        unknown_agents: Iterable[str] = (),
        callback_hosts: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.api_key = api_key
        self.hubspot_token = hubspot_token
        self.has_legacy_hubspot = has_legacy_hubspot
        self.latency_ms = latency_ms
        self.unknown_agents = set(unknown_agents)
        self.revoked_refresh_tokens: set[str] = set()
        self.expired_meta_tokens: set[str] = set()
        # The app that hears of changes, and makes those that come by the API; None: there is none.
        self.hubspot_app: HubSpotApp | None = None
        self.close_webhook: CloseWebhook | None = None
        # By channel_id: what POST /actions/watch was given.
        self.zoho_channels: dict[str, dict[str, Any]] = {}
        # Hosts besides the loopback that outcomes may be sent to, such as a compose service.
        self.callback_hosts = frozenset(callback_hosts)
        self.started_at = datetime.now(UTC)
        self.records: defaultdict[tuple[str, str], dict[str, dict[str, Any]]]
        self.records = defaultdict(dict)
        self._clock = clock
        self._changed = threading.Condition(threading.RLock())
        self._visible_at_s: dict[tuple[str, str, str], float] = {}
        # By (CRM, object): the record that a merged id became.
        # (CRM, object, field) -> the words in which it is refused
        self._refused_fields: dict[tuple[str, str, str], str] = {}
        self._fields: dict[tuple[str, str, str], FieldState] = {}
        self._scopes: dict[str, tuple[str, ...]] = {}
        self._merged: defaultdict[tuple[str, str], dict[str, Merged]] = defaultdict(dict)
        self._zoho_tokens: dict[str, float] = {}
        self._zoho_refreshes: defaultdict[str, deque[float]] = defaultdict(deque)
        self._once: list[tuple[Behaviour, int]] = []
        self._until_cleared: list[Behaviour] = []
        self._in_flight = 0
        self._forget()
        for (crm, object_name), records in demo_records().items():
            for record_id, fields in records.items():
                self.put_record(crm, object_name, record_id, fields)

    # What it remembers -------------------------------------------------------------------------

    def _forget(self) -> None:
        self._requests: deque[Received] = deque(maxlen=KEPT)
        self._calls: deque[Call] = deque()
        self._campaigns: dict[str, Campaign] = {}
        self._written: deque[Written] = deque(maxlen=KEPT)
        self._call_by_sid: dict[str, Call] = {}
        self._call_by_delivery: dict[str, Call] = {}
        self._calls_of_delivery: Counter[str] = Counter()
        self._deleted: set[str] = set()
        self._zoho_refreshed = 0
        self._totals: Counter[str] = Counter()
        self._max_concurrency = self._in_flight

    def forget(self) -> None:
        """Forget all requests, calls and campaigns; keep records, tokens and behaviours."""
        with self._changed:
            self._forget()

    @property
    def requests(self) -> list[Received]:
        """Every request to an API, oldest first."""
        with self._changed:
            return list(self._requests)

    @property
    def calls(self) -> list[Call]:
        """Every accepted call, oldest first, the ones deleted later too."""
        with self._changed:
            return list(self._calls)

    @property
    def campaigns(self) -> list[Campaign]:
        """Every campaign that was created, oldest first."""
        with self._changed:
            return list(self._campaigns.values())

    @property
    def written(self) -> list[Written]:
        """Every record that was written to a CRM, oldest first."""
        with self._changed:
            return list(self._written)

    @property
    def deleted(self) -> set[str]:
        """The call_sids of scheduled calls that were deleted."""
        with self._changed:
            return set(self._deleted)

    @property
    def doubled(self) -> dict[str, int]:
        """Delivery ids for which more than one call was accepted, with the number of calls."""
        with self._changed:
            return {key: count for key, count in self._calls_of_delivery.items() if count > 1}

    @property
    def max_concurrency(self) -> int:
        """The most API requests that were ever in the simulator at the same time."""
        with self._changed:
            return self._max_concurrency

    @property
    def zoho_refreshed(self) -> int:
        """How many Zoho access tokens were issued."""
        with self._changed:
            return self._zoho_refreshed

    def requests_to(self, path: str) -> list[Received]:
        """Return the requests whose path starts so, oldest first."""
        return [request for request in self.requests if request.path.startswith(path)]

    def calls_to(self, to_number: str) -> list[Call]:
        """Return the accepted calls to one number, oldest first."""
        return [call for call in self.calls if call.to_number == to_number]

    def last_requests(self, count: int) -> list[Received]:
        """Return the last requests, newest first."""
        with self._changed:
            return _last(self._requests, count)

    def last_calls(self, count: int) -> list[Call]:
        """Return the last accepted calls, newest first."""
        with self._changed:
            return _last(self._calls, count)

    def shown_call(self, call: Call) -> dict[str, Any]:
        """Return a call as JSON can hold it, with what became of it."""
        return {
            "call_sid": call.call_sid,
            "at": call.at.isoformat(),
            "to_number": call.to_number,
            "agent_id": call.agent_id,
            "batch_id": call.batch_id,
            "delivery_id": call.delivery_id,
            "deleted": call.call_sid in self._deleted,
            "body": call.body,
        }

    def totals(self) -> dict[str, Any]:
        """Return the counts since the start or forget(); cheap enough to poll."""
        with self._changed:
            return {
                "requests": self._totals["requests"],
                "calls": self._totals["calls"],
                "campaigns": self._totals["campaigns"],
                "written": self._totals["written"],
                "doubled": sum(count > 1 for count in self._calls_of_delivery.values()),
                "in_flight": self._in_flight,
                "max_concurrency": self._max_concurrency,
                "zoho_refreshed": self._zoho_refreshed,
            }

    def wait_until(self, true_of: Callable[[State], object], *, timeout_s: float = 10.0) -> bool:
        """Wait until something is true of what is remembered; return whether it became true."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(true_of(self)), timeout_s)

    def wait_for_calls(self, count: int, *, timeout_s: float = 10.0) -> bool:
        """Wait until this many calls were accepted; return whether they were."""
        return self.wait_until(lambda state: state._totals["calls"] >= count, timeout_s=timeout_s)

    def remember(self, request: Received) -> None:
        """Remember a request."""
        with self._changed:
            self._requests.append(request)
            self._totals["requests"] += 1
            self._changed.notify_all()

    def entered(self) -> None:
        """Count a request that begins."""
        with self._changed:
            self._in_flight += 1
            self._max_concurrency = max(self._max_concurrency, self._in_flight)

    def left(self) -> None:
        """Count a request that ends."""
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()

    # How it must behave ------------------------------------------------------------------------

    def behave(
        self,
        status: int | None = None,
        *,
        path: str = "/",
        to_number: str | None = None,
        times: int | None = None,
        latency_ms: float | None = None,
        retry_after: str | None = None,
        html: bool = False,
        body: str | None = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        accept: bool = False,
        cut: Cut | None = None,
        drip_s: float = 0.0,
    ) -> Behaviour:
        """Set how the next requests are answered; see Behaviour for the fields.

        Behaviours that hold for some `times` are used first, in the order given; so a sequence
        is a row of them. Of those that hold until cleared, the newest that matches counts.
        """
        behaviour = Behaviour(
            path=path,
            to_number=to_number,
            times=times,
            latency_ms=latency_ms,
            status=status,
            retry_after=retry_after,
            html=html,
            body=body,
            content_type=content_type,
            headers=headers or {},
            accept=accept,
            cut=cut,
            drip_s=drip_s,
        )
        self.follow(behaviour)
        return behaviour

    def follow(self, behaviour: Behaviour) -> None:
        """Add a behaviour."""
        with self._changed:
            if behaviour.times is None:
                self._until_cleared.append(behaviour)
            else:
                self._once.append((behaviour, behaviour.times))

    def behave_normally(self) -> None:
        """Drop every behaviour."""
        with self._changed:
            self._once.clear()
            self._until_cleared.clear()

    @property
    def behaviours(self) -> list[tuple[Behaviour, int | None]]:
        """The active behaviours, each with the number of requests that it still applies to."""
        with self._changed:
            return [*self._once, *((behaviour, None) for behaviour in self._until_cleared)]

    def take_behaviour(self, path: str, to_number: object) -> Behaviour:
        """Return how to answer this request, and count it for that behaviour."""
        with self._changed:
            for place, (behaviour, left) in enumerate(self._once):
                if not behaviour.matches(path, to_number):
                    continue
                if left == 1:
                    del self._once[place]
                else:
                    self._once[place] = (behaviour, left - 1)
                return behaviour
            for behaviour in reversed(self._until_cleared):
                if behaviour.matches(path, to_number):
                    return behaviour
        return NORMAL

    # CallKaro ----------------------------------------------------------------------------------

    def add_campaign(self, name: str, agent_id: str | None) -> Campaign:
        """Create a campaign; without an agent it is a v2 one."""
        campaign = Campaign(
            batch_id=secrets.token_hex(12), at=datetime.now(UTC), name=name, agent_id=agent_id
        )
        with self._changed:
            self._campaigns[campaign.batch_id] = campaign
            self._totals["campaigns"] += 1
            self._changed.notify_all()
        return campaign

    def campaign(self, batch_id: str) -> Campaign | None:
        """Return a campaign that was created here."""
        with self._changed:
            return self._campaigns.get(batch_id)

    def add_call(self, body: Mapping[str, Any], raw: bytes) -> Call:
        """Accept a call whose body follows the rules."""
        delivery_id = body.get("metadata", {}).get(DELIVERY_KEY)
        call = Call(
            call_sid=f"SIM{secrets.token_hex(12)}",
            at=datetime.now(UTC),
            to_number=body["to_number"],
            agent_id=body["agent_id"],
            batch_id=body.get("batch_id"),
            schedule_at=body.get("schedule_at"),
            delivery_id=delivery_id if isinstance(delivery_id, str) else None,
            raw=raw,
        )
        with self._changed:
            if len(self._calls) == KEPT:
                self._drop_oldest_call()
            self._calls.append(call)
            self._call_by_sid[call.call_sid] = call
            if call.delivery_id is not None:
                self._call_by_delivery[call.delivery_id] = call
                self._calls_of_delivery[call.delivery_id] += 1
            self._totals["calls"] += 1
            self._changed.notify_all()
        return call

    def _drop_oldest_call(self) -> None:
        oldest = self._calls.popleft()
        self._call_by_sid.pop(oldest.call_sid, None)
        self._deleted.discard(oldest.call_sid)
        if oldest.delivery_id is None:
            return
        if self._call_by_delivery.get(oldest.delivery_id) is oldest:
            del self._call_by_delivery[oldest.delivery_id]
        # A delivery with two calls stays counted, so that it is always noticed.
        if self._calls_of_delivery[oldest.delivery_id] == 1:
            del self._calls_of_delivery[oldest.delivery_id]

    def find_call(
        self, *, call_sid: str | None = None, delivery_id: str | None = None
    ) -> Call | None:
        """Return the call with this call_sid, else the last one of this delivery."""
        with self._changed:
            if call_sid is not None:
                return self._call_by_sid.get(call_sid)
            return self._call_by_delivery.get(delivery_id) if delivery_id else None

    def delete_scheduled(self, agent_id: str, to_number: str) -> list[str]:
        """Delete every scheduled call of this agent to this number; return their call_sids.

        The zone of schedule_at is not documented, so no scheduled call counts as past.
        """
        with self._changed:
            found = [
                call.call_sid
                for call in self._calls
                if call.to_number == to_number
                and call.agent_id == agent_id
                and call.schedule_at is not None
                and call.call_sid not in self._deleted
            ]
            self._deleted.update(found)
            self._changed.notify_all()
        return found

    # CRMs --------------------------------------------------------------------------------------

    def put_record(
        self,
        crm: str,
        object_name: str,
        record_id: str,
        fields: Mapping[str, Any],
        visible_after_s: float = 0.0,
    ) -> None:
        """Store a record that can be found only visible_after_s from now.

        A CRM announces a record before every one of its servers can read it.
        """
        with self._changed:
            self.records[crm, object_name][record_id] = dict(fields)
            self._merged[crm, object_name].pop(record_id, None)
            self._visible_at_s[crm, object_name, record_id] = self._clock() + visible_after_s

    def drop_record(self, crm: str, object_name: str, record_id: str) -> None:
        """Delete a record, if there is one."""
        with self._changed:
            self.records[crm, object_name].pop(record_id, None)

    def merge_record(
        self, crm: str, object_name: str, record_id: str, into: str, *, in_batch: bool = True
    ) -> None:
        """Merge a record into another one, which must exist: the id is then another name of it.

        in_batch: whether a batch read answers the merged id with the other record. If not, the
        batch read leaves the id out.
        """
        with self._changed:
            if into not in self.records[crm, object_name] or into == record_id:
                raise ValueError(f"there is no record {into} to merge into")
            self.records[crm, object_name].pop(record_id, None)
            self._merged[crm, object_name][record_id] = Merged(into=into, in_batch=in_batch)

    def merged_id(
        self, crm: str, object_name: str, record_id: str, *, in_batch: bool = False
    ) -> str:
        """Return the id that a record has now. in_batch: as a batch read sees it."""
        with self._changed:
            merged = self._merged[crm, object_name]
            while (found := merged.get(record_id)) and (found.in_batch or not in_batch):
                record_id = found.into
            return record_id

    def merged_from(self, crm: str, object_name: str, record_id: str) -> list[str]:
        """Return the ids that were merged into a record, the earliest merge first."""
        with self._changed:
            merged = self._merged[crm, object_name]
            return [one for one in merged if self.merged_id(crm, object_name, one) == record_id]

    def find_records(self, crm: str, object_name: str) -> dict[str, dict[str, Any]]:
        """Return the records of one kind that are visible now, by id."""
        with self._changed:
            if (crm, object_name) not in self.records:
                return {}
            now_s = self._clock()
            return {
                record_id: fields
                for record_id, fields in self.records[crm, object_name].items()
                if self._visible_at_s.get((crm, object_name, record_id), now_s) <= now_s
            }

    def find_record(self, crm: str, object_name: str, record_id: str) -> dict[str, Any] | None:
        """Return a record if it exists and is visible now."""
        with self._changed:
            fields = self.records.get((crm, object_name), {}).get(record_id)
            now_s = self._clock()
            if self._visible_at_s.get((crm, object_name, record_id), now_s) > now_s:
                return None
            return fields

    def add_written(
        self, crm: str, object_name: str, body: dict[str, Any], *, prefix: str = ""
    ) -> Written:
        """Store a record that was written to a CRM, under a new id with this prefix."""
        written = Written(
            crm=crm,
            object=object_name,
            id=f"{prefix}{10**11 + secrets.randbelow(10**11)}",
            at=datetime.now(UTC),
            body=body,
        )
        with self._changed:
            self._written.append(written)
            self._totals["written"] += 1
            self._changed.notify_all()
        return written

    def hubspot_calls_of(self, record_id: str) -> list[str]:
        """Return the ids of the calls that were written to a record, the earliest first."""
        with self._changed:
            return [
                one.id
                for one in self._written
                if (one.crm, one.object) == ("hubspot", "calls")
                and any(to["to"]["id"] == record_id for to in one.body.get("associations", ()))
            ]

    def refuse_field(self, crm: str, object_name: str, field: str, message: str) -> None:
        """Refuse each write of this field of records from now on, in these words."""
        with self._changed:
            self._refused_fields[crm, object_name, field] = message

    def accept_all_fields(self) -> None:
        """Refuse no field any more."""
        with self._changed:
            self._refused_fields.clear()

    def refused_field(self, crm: str, object_name: str, field: str) -> str | None:
        """Return the words in which a field is refused; None: it can be written."""
        with self._changed:
            return self._refused_fields.get((crm, object_name, field))

    def set_field(
        self, crm: str, object_name: str, field: str, state: FieldState | None = None
    ) -> None:
        """Make a field of records missing or read-only from now on; None: a usual one."""
        with self._changed:
            self._fields.pop((crm, object_name, field), None)
            if state is not None:
                self._fields[crm, object_name, field] = state

    def fields_of(
        self, crm: str, object_name: str, usual: Iterable[str]
    ) -> dict[str, FieldState | None]:
        """Return the fields of records that a CRM has: the usual ones, and those in its records."""
        with self._changed:
            records = self.records.get((crm, object_name), {}).values()
            names = sorted({*usual, *(name for record in records for name in record)})
            found = {name: self._fields.get((crm, object_name, name)) for name in names}
            return {name: state for name, state in found.items() if state != "missing"}

    def field_state(self, crm: str, object_name: str, field: str) -> FieldState | None:
        """Return what a field is; None: a usual one, or one that nobody named."""
        with self._changed:
            return self._fields.get((crm, object_name, field))

    def set_scopes(self, crm: str, scopes: Iterable[str]) -> None:
        """Give the login of a CRM these scopes from now on."""
        with self._changed:
            self._scopes[crm] = tuple(scopes)

    def scopes(self, crm: str, usual: Sequence[str]) -> Sequence[str]:
        """Return the scopes of the login of a CRM."""
        with self._changed:
            return self._scopes.get(crm, usual)

    def new_zoho_token(self, refresh_token: str) -> str | None:
        """Return a new Zoho access token; None if there were too many requests for one."""
        with self._changed:
            now_s = self._clock()
            times = self._zoho_refreshes[refresh_token]
            while times and times[0] <= now_s - ZOHO_REFRESH_WINDOW_S:
                times.popleft()
            if len(times) >= ZOHO_REFRESHES:
                return None
            times.append(now_s)
            token = f"1000.{secrets.token_hex(16)}.{secrets.token_hex(16)}"
            self._zoho_tokens[token] = now_s + ZOHO_TOKEN_LIFE_S
            self._zoho_refreshed += 1
            return token

    def is_zoho_token(self, token: str) -> bool:
        """Return whether an access token was issued here and has not expired."""
        with self._changed:
            return self._zoho_tokens.get(token, float("-inf")) > self._clock()

    def expire_zoho_tokens(self) -> None:
        """Make every Zoho access token expire now."""
        with self._changed:
            self._zoho_tokens.clear()


NORMAL = Behaviour()


def _last(items: deque[Item], count: int) -> list[Item]:
    return list(islice(reversed(items), count))


def without_secrets(headers: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Return the headers by name in small letters, without the secret ones."""
    return _shared(
        tuple(
            (name.lower(), value) for name, value in headers if name.lower() not in SECRET_HEADERS
        )
    )


@lru_cache(maxsize=1024)
def _shared(headers: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    # A client sends the same headers every time: equal ones are kept once.
    return MappingProxyType(dict(headers))
