"""What the CRMs were told: who hears of it, and the judgement on all write-backs."""

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from faults.dials import Dial
from faults.load import CIRCLES, MOMENTS, OUTCOME, STATUS, TELLING, Webhook
from support import SECRETS, lead
from support.receiver import Receiver, is_signed

from schemas.delivery import Delivery, Status
from schemas.records import Filters
from simulator import State
from simulator.state import HubSpotApp
from store import Store

KEY = "whsec_" + base64.b64encode(b"a made-up key of write-backs").decode()
POSTED_BACK = 10  # one of so many signed webhooks comes back to us as a form
NOBODY = "+919000"  # what the numbers begin with that a form of ours would have us call
TOLD = {(Status.DELIVERED, None), (Status.SKIPPED, "superseded")}  # how a write-back may end
Calls = Mapping[str, Sequence[Dial]]  # by call_sid


def environment(receiver: Receiver) -> dict[str, str]:
    """Return the variables of a bridge that tells the website by signed webhooks."""
    rates = {f"{name.upper()}_API_RATE": "1000" for name in SECRETS}
    return {
        "WEBSITE_WRITE_BACK_URL": receiver.url,
        "WEBSITE_WRITE_BACK_SECRET": KEY,
        **rates,
    }


def listen(state: State, url: str) -> None:
    """Have HubSpot and Zoho post a webhook to the bridge at this URL for each change it makes."""
    state.hubspot_app = HubSpotApp(
        target_url=f"{url}/webhooks/hubspot", client_secret=SECRETS["hubspot"]
    )
    state.zoho_channels["1"] = {
        "channel_id": "1",
        "events": ["Leads.edit"],
        "notify_url": f"{url}/webhooks/zoho",
        "token": SECRETS["zoho"],
    }


class PostedBack:
    """Makes forms out of what the website's receiver got, as a form tool does that sends all on."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._seen = 0

    def webhooks(self) -> list[Webhook]:
        """Return the forms of what came since the last time, each with a number to call."""
        got = self._receiver.got[self._seen :]
        places = range(self._seen, self._seen + len(got))
        self._seen += len(got)
        return [
            Webhook(source="website", body={**json.loads(body), **lead(f"{NOBODY}{place:06}")})
            for place, (_, body) in zip(places, got, strict=True)
            if place % POSTED_BACK == 0
        ]


def of_circles(store: Store) -> list[Delivery]:
    """Return the deliveries that the CRMs' webhooks about our own changes became."""
    found: list[Delivery] = []
    for route in CIRCLES:
        before: int | None = None
        while True:
            page = store.deliveries(Filters(route=route), before=before, limit=200)
            found += page.items
            before = page.next_cursor
            if before is None:
                break
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Telling:
    """The promises about write-backs that were not kept, a line each: see Broken."""

    untold: tuple[str, ...]
    told_twice: tuple[str, ...]
    outdated: tuple[str, ...]
    circles: tuple[str, ...]


NOTHING_BROKEN = Telling(untold=(), told_twice=(), outdated=(), circles=())


class Judge:
    """Holds what the CRMs have against what the bridge was told by CallKaro.

    dials: those that the bridge answered for, by delivery and call.
    """

    def __init__(
        self,
        store: Store,
        state: State,
        receiver: Receiver,
        dials: Mapping[str, Calls],
    ) -> None:
        self._store = store
        self._state = state
        self._receiver = receiver
        self._dials = dials
        self._untold: list[str] = []
        self._told_twice: list[str] = []
        self._outdated: list[str] = []

    def judge(self, deliveries: Iterable[Delivery]) -> Telling:
        """Return what is broken of these deliveries, which are all there are."""
        known = list(deliveries)
        records: defaultdict[tuple[str, str], list[Delivery]] = defaultdict(list)
        for one in known:
            if one.route in TELLING:
                self._check_moments(one)
                records[one.source, one.subject or one.id].append(one)
        written = self._written()
        messages = self._messages()
        for (source, subject), of_record in records.items():
            if source == "website":
                self._check_messages(of_record[0], messages.get(subject, []))
            else:
                self._check_record(of_record, written.get((source, subject), []))
        return Telling(
            untold=tuple(self._untold),
            told_twice=tuple(self._told_twice),
            outdated=tuple(self._outdated),
            circles=tuple(self._circles(known)),
        )

    def _written(self) -> Mapping[tuple[str, str], list[Mapping[str, Any]]]:
        """Return what each record has of calls, as its CRM shows it now."""
        found: defaultdict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
        now = self._state.find_records("hubspot", "calls")
        for one in self._state.written:
            for to in one.body.get("associations", ()) if one.crm == "hubspot" else ():
                found["hubspot", to["to"]["id"]].append(now[one.id])
        for call in self._state.find_records("zoho", "Calls").values():
            found["zoho", call["What_Id"]["id"]].append(call)
        return found

    def _messages(self) -> Mapping[str, list[dict[str, Any]]]:
        """Return what the website was told of each delivery, in the order of its arrival."""
        found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for headers, raw in list(self._receiver.got):
            assert is_signed(headers, raw, KEY), "a write-back is not signed"
            body = {**json.loads(raw), "webhook_id": headers["webhook-id"]}
            found[body["delivery"]["id"]].append(body)
        return found

    def _check_record(
        self, deliveries: Sequence[Delivery], written: Sequence[Mapping[str, Any]]
    ) -> None:
        """Check a record: one record of each call, with its last dial, and the newest's fields."""
        calls = {sid: of for one in deliveries for sid, of in self._dials.get(one.id, {}).items()}
        first = deliveries[0]
        crm_object = "contacts" if first.source == "hubspot" else "Leads"
        fields = self._state.find_record(first.source, crm_object, str(first.subject)) or {}
        shown = f"{first.source} {first.subject}: {len(calls)} calls, {len(written)} written"
        if len(written) != len(calls):
            found = self._untold if len(written) < len(calls) else self._told_twice
            found.append(f"{shown}; {self._ways(deliveries)}")
        titles = [str(one.get("hs_call_title") or one.get("Subject")) for one in written]
        if not all("connected" in title for title in titles):
            self._outdated.append(f"{shown}: {titles}; {self._ways(deliveries)}")
        self._check_fields(deliveries, calls, fields)

    def _check_messages(self, delivery: Delivery, messages: Sequence[dict[str, Any]]) -> None:
        """Check what a receiver knows that reads each message and knows it by its id."""
        ids: defaultdict[str, set[str]] = defaultdict(set)
        fields: dict[str, Any] = {}
        for one in messages:
            tries = (one["outcome"] or {}).get("tries")
            ids[f"{one['moment']} {one['delivery']['call_sid']} {tries}"].add(one["webhook_id"])
            fields |= one["fields"]
        for moment, of_moment in ids.items():
            if len(of_moment) > 1:
                self._told_twice.append(f"{delivery.id}: {moment}: {sorted(of_moment)}")
        self._check_fields([delivery], self._dials.get(delivery.id, {}), fields)

    def _check_fields(
        self, deliveries: Sequence[Delivery], calls: Calls, fields: Mapping[str, Any]
    ) -> None:
        """Check that a record's fields tell of the newest call, and of its last dial."""
        told = fields.get(OUTCOME)
        newest = _newest(calls)
        if newest and told not in newest:
            found = self._outdated if told else self._untold
            found.append(f"the fields say {told}, not {newest}; {self._ways(deliveries)}")
        if len(deliveries) == 1 and _is_told(deliveries[0]):
            status = fields.get(STATUS)
            if status != deliveries[0].status:
                self._untold.append(f"the fields say {status}; {self._ways(deliveries)}")

    def _check_moments(self, delivery: Delivery) -> None:
        """Check that each moment was told, or a later one of the same call in its place."""
        wanted = {
            ("outcome", dial.call_sid, dial.try_count)
            for of_call in self._dials.get(delivery.id, {}).values()
            for dial in of_call
        }
        if delivery.status in MOMENTS and delivery.reason != "own_change":
            wanted.add((str(delivery.status), None, None))
        made = self._store.write_backs_of(delivery.id)
        known = {
            (one.moment, one.call_sid, one.try_count)
            if one.moment == "outcome"
            else (one.moment, None, None)
            for one in made
        }
        ends = {(one.status, one.reason) for one in made} - TOLD
        if wanted - known or ends:
            self._untold.append(f"{wanted - known} {ends}; {self._ways([delivery])}")

    def _circles(self, deliveries: Iterable[Delivery]) -> Iterator[str]:
        """Yield the calls that our own changes caused, and those not known as our own."""
        for call in self._state.calls:
            if call.to_number.startswith(NOBODY):
                yield f"a signed webhook that came back rang {call.to_number}"
        for one in deliveries:
            is_own = one.reason == "own_change"
            if (one.route in CIRCLES and not is_own) or (
                is_own and self._store.write_backs_of(one.id)
            ):
                yield f"{one.route}: {one.status} ({one.reason}); {self._ways([one])}"

    def _ways(self, deliveries: Iterable[Delivery]) -> str:
        """Return how the write-backs of these deliveries came to where they stand."""
        return "; ".join(f"{one.id} {one.status}: {self._way(one)}" for one in deliveries)

    def _way(self, delivery: Delivery) -> str:
        shown = []
        for one in self._store.write_backs_of(delivery.id):
            way = ">".join(f"{change.at:%M:%S.%f} {change.status}" for change in one.timeline)
            tries = [try_.get("status_code") or try_.get("error") for try_ in one.attempts]
            shown.append(f"{one.moment} {one.call_sid}/{one.try_count} {way} {one.reason} {tries}")
        return " | ".join(shown)


def _is_told(delivery: Delivery) -> bool:
    """Say whether a CRM is told where a delivery stands: it was accepted, or is at its end."""
    return delivery.status is not Status.CANCELLED and delivery.reason != "own_change"


def _newest(calls: Calls) -> list[str]:
    """Return what the fields may say: the last dial of the call that ended last.

    Two that ended within one second are equal.
    """
    last = [max(dials, key=lambda dial: dial.try_count) for dials in calls.values()]
    ended_at = max((dial.at for dial in last), default=None)
    return [f"{dial.call_sid}/{dial.try_count + 1}" for dial in last if dial.at == ended_at]


def counted(receiver: Receiver, state: State, store: Store) -> Counter[str]:
    """Return what the CRMs were told, and where the write-backs ended, in numbers."""
    found = Counter({"signed webhooks": len(receiver.got)})
    found.update(f"{one.crm} {one.object}" for one in state.written)
    found.update({status: count for status, count in store.write_back_counts().items() if count})
    return found
