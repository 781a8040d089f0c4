"""`python -m bench.many`: how long lists, details and figures take over 200,000 deliveries.

A few deliveries of each status and result go through the store's own scripts. Their records are
then copied with new ids, times, numbers and names, and added to the indexes. The audit counts them.
"""

import argparse
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlencode

import orjson
from rich.console import Console
from rich.table import Table

from bench.printing import show
from bench.processes import BenchError, Valkey, stopped_by_sigterm
from bench.setting import AGENT
from bridge.app import create_app
from config.settings import load_settings
from rules.search import endings, fold, words_of
from schemas.delivery import Reason, Status
from schemas.event import Event, derive_id
from schemas.outcome import Outcome, Result
from schemas.records import NO_OUTCOME, Move, NewDelivery
from schemas.search import TERM, FoundBy
from schemas.settings import Settings
from store import Store, connect
from store.counters import Measures

TOKEN = "bench"  # noqa: S105  (of a store that is gone a minute later)
DAYS = 30
PEOPLE = 5  # deliveries a number and a CRM record, on average
SIZES = (20_000, 200_000)
ROUNDS = 40
AT_ONCE = 1000
# (source, route, share): one that is nearly all, one that is rare.
ROUTES = (
    ("hubspot", "call new leads", 0.55),
    ("zoho", "call zoho leads", 0.25),
    ("website", "call back", 0.12),
    ("website", "call late", 0.05),
    ("partner", "call partners", 0.028),
    ("partner", "call rarely", 0.002),
)
STATUSES = {
    Status.DELIVERED: 0.80,
    Status.SKIPPED: 0.12,
    Status.FAILED: 0.03,
    Status.CANCELLED: 0.02,
    Status.HELD: 0.015,
    Status.UNKNOWN: 0.005,
    Status.RETRYING: 0.005,
    Status.QUEUED: 0.005,
}
# How the delivered ones ended: 60 % of all deliveries have an outcome.
RESULTS = {None: 0.25, Result.CONNECTED: 0.35, Result.NOT_REACHED: 0.3, Result.VOICEMAIL: 0.1}
FIRST_NAMES = [
    "Asha",
    "Ravi",
    "Meera",
    "Sunil",
    "Priya",
    "Anil",
    "Kavita",
    "Rahul",
    "Neha",
    "Vijay",
    "Divya",
    "Arun",
]
LAST_NAMES = [
    "Rao",
    "Sharma",
    "Iyer",
    "Patel",
    "Nair",
    "Singh",
    "Gupta",
    "Reddy",
    "Das",
    "Kumar",
    "Joshi",
]
REASONS = {
    Status.SKIPPED: Reason.NO_NUMBER,
    Status.FAILED: Reason.REFUSED,
    Status.CANCELLED: Reason.BY_PERSON,
    Status.HELD: Reason.OUTSIDE_HOURS,
    Status.UNKNOWN: Reason.NO_ANSWER,
    Status.RETRYING: Reason.BUSY,
}
DATA = {
    "properties": {
        **{f"hs_field_{i}": f"value of field {i}" for i in range(12)},
        **{"firstname": "Asha", "lifecyclestage": "lead", "city": "Bengaluru"},
    },
    "objectId": 30_000_000_000,
    "changeSource": "CRM_UI",
}


# (source, route, status, result of the outcome; None: it has none)
Place = tuple[str, str, Status, Result | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """What the scripts wrote for a delivery of one status and result on one route."""

    id: str
    delivery: dict[str, str]
    event: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Took:
    """Server times of one query, in ms, and how many rows its page had."""

    median_ms: float
    p95_ms: float
    rows: int | None


@dataclass(slots=True)
class Batch:
    """One write: the members of indexes by key, and all hashes."""

    indexes: dict[str, dict[str | int, int]] = field(default_factory=lambda: defaultdict(dict))
    hashes: dict[str, dict[str, str]] = field(default_factory=dict)
    strings: dict[str, str] = field(default_factory=dict)

    def write(self, client: Any) -> None:
        """Write the batch."""
        pipe = client.pipeline(transaction=False)
        for key, members in self.indexes.items():
            pipe.zadd(key, members)
        for key, fields in self.hashes.items():
            pipe.hset(key, mapping=fields)
        for key, value in self.strings.items():
            pipe.set(key, value, ex=DAYS * 86_400)
        pipe.execute()


class Filler:
    """Fills a store with deliveries that are spread over statuses, routes, sources and days."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.ids: list[str] = []
        self.phone = "+919800000007"
        self.subject = "7"
        self.name, self.email = _person(7)
        self._jitter = random.Random(7)  # noqa: S311  (the same spread in each run)
        self._patterns = self._made()
        store.redis.flushall()
        self.store = Store(store.redis)  # what the first one knows of numbers' hashes is gone
        self.store.is_migrated()  # an empty store is marked as one of this release

    def fill(self, count: int, *, is_audited: bool = True) -> None:
        """Write that many deliveries, the oldest first; is_audited: count them in the figures."""
        first = int((datetime.now(UTC) - timedelta(days=DAYS)).timestamp() * 1e6)
        step = DAYS * 86_400 * 1_000_000 // count
        status_counts: Counter[str] = Counter()
        for start in range(0, count, AT_ONCE):
            batch = Batch()
            for number in range(start, min(start + AT_ONCE, count)):
                place = self._drawn()
                status_counts[f"{place[2]} {place[1]}"] += 1
                self._add(batch, number, count, first + number * step, place)
            batch.write(self.store.redis)
        self.store.redis.hset(
            "bridge:status_counts", mapping={name: str(n) for name, n in status_counts.items()}
        )
        self.store.redis.set("bridge:order", first + count * step)
        self.store.measure(_measured(count))
        if is_audited:
            self._audit()

    def _audit(self) -> None:
        """Let the audit count the copies, as it counts what an older release stored."""
        at, _ = self.store.audit((0, 0), lease_s=60)
        while at != (0, 0):
            at, _ = self.store.audit(at, lease_s=60)

    def _drawn(self) -> Place:
        source, route, _ = self._jitter.choices(ROUTES, [share for *_, share in ROUTES])[0]
        status = self._jitter.choices(list(STATUSES), list(STATUSES.values()))[0]
        result = self._jitter.choices(list(RESULTS), list(RESULTS.values()))[0]
        return source, route, status, result if status is Status.DELIVERED else None

    def _add(self, batch: Batch, number: int, count: int, order: int, place: Place) -> None:
        source, route, status, result = place
        pattern = self._patterns[route, status, result]
        event_id = derive_id("event", "many", str(number))
        delivery_id = derive_id("delivery", event_id, route)
        person = number % max(count // PEOPLE, 1)
        phone, subject = self.store.phone_key(f"+9198{person:08d}"), str(person)
        self.ids.append(delivery_id)
        # The id is in the call_sid, too.
        fields = {
            name.replace(pattern.id, delivery_id): value.replace(pattern.id, delivery_id)
            for name, value in pattern.delivery.items()
        }
        later_ms = order // 1000 - int(fields["created_ms"])
        fields["timeline"] = re.sub(
            "(?m)^[0-9]+", lambda ms: str(int(ms[0]) + later_ms), fields["timeline"]
        )
        terms = self.store.terms_of(_found_by(person, f"{90_000_000 + number}"))
        fields |= {"event": event_id, "order": str(order), "subject": subject, "terms": terms}
        fields |= {"created_ms": str(order // 1000), "name": _person(person)[0]}
        indexed, _, _ = terms.partition(" ")
        for start in range(0, len(indexed), TERM):
            batch.indexes[f"bridge:find:{indexed[start : start + 3]}"][order] = order
        names = ["deliveries", f"deliveries:status:{status}", f"deliveries:route:{route}"]
        names += [f"deliveries:source:{source}", f"deliveries:subject:{subject}"]
        if "phone" in fields:
            fields["phone"], fields["number"] = phone, f"+9198{person:08d}"
            names.append(f"deliveries:phone:{phone}")
        if "call_sid" in fields:
            batch.strings[f"bridge:call:{fields['call_sid']}"] = delivery_id
            names.append(f"deliveries:outcome:{result or NO_OUTCOME}")
        for name in names:
            batch.indexes[f"bridge:{name}"][delivery_id] = order
        if status in (Status.QUEUED, Status.HELD):
            batch.indexes["bridge:due"][delivery_id] = int(time.time() * 1000) + 86_400_000
        elif status is Status.RETRYING:
            batch.indexes["bridge:due:retry"][delivery_id] = int(time.time() * 1000) + 86_400_000
        batch.hashes[f"bridge:delivery:{delivery_id}"] = fields
        record = {**orjson.loads(pattern.event["record"]), "id": event_id, "subject": subject}
        batch.hashes[f"bridge:event:{event_id}"] = {
            **pattern.event,
            "record": orjson.dumps(record).decode(),
            "deliveries": f"{delivery_id} {route}\n",
        }
        batch.indexes["bridge:events"][event_id] = order
        batch.strings[f"bridge:seen:{event_id}"] = event_id

    # --- patterns, by the store's own scripts ----------------------------------------------------

    def _made(self) -> dict[tuple[str, Status, Result | None], Pattern]:
        made = {}
        for source, route, _ in ROUTES:
            for status in STATUSES:
                for result in RESULTS if status is Status.DELIVERED else (None,):
                    delivery_id = self._make(source, route, status, result)
                    kept = self._hash(f"delivery:{delivery_id}")
                    event = self._hash(f"event:{kept['event']}")
                    kept.pop("figures", None)  # the audit counts the copies
                    made[route, status, result] = Pattern(
                        id=delivery_id, delivery=kept, event=event
                    )
        return made

    def _hash(self, name: str) -> dict[str, str]:
        found: dict[str, str] = self.store.redis.hgetall(f"bridge:{name}")  # type: ignore[assignment]
        return found

    def _make(self, source: str, route: str, status: Status, result: Result | None) -> str:
        """Take one delivery through its life. Returns its id. Raises BenchError if it does not."""
        event_id = derive_id("event", source, route, status, result or "")
        delivery_id = derive_id("delivery", event_id, route)
        new = NewDelivery(
            id=delivery_id,
            route=route,
            to="call",
            wait_s=0,
            record_page="contacts/62515/record/0-1/" if source == "hubspot" else None,
        )
        self.store.accept([(_event(event_id, source), [new])], routes="bench")
        if status is Status.QUEUED:
            return delivery_id
        claims = {one.delivery.id: one for one in self.store.claim(100, lease_s=60).claims}
        claim = claims[delivery_id]
        last = Move(
            id=delivery_id,
            to=status,
            lease=claim.delivery.lease,
            reason=REASONS.get(status),
            message="A sentence of about this length says what happened to the call.",
        )
        moves = [last]
        if status not in (Status.SKIPPED, Status.HELD, Status.CANCELLED):
            moves = [self._sending(last), self._settled(last)]
        answers = [self.store.move([move])[0] for move in moves]
        if answers != ["ok"] * len(moves):
            raise BenchError(f"A delivery did not become {status}: {answers}")
        if result:
            self.store.keep_outcome(_outcome(delivery_id, result))
        return delivery_id

    def _sending(self, last: Move) -> Move:
        body: dict[str, Any] = {"to_number": self.phone, "agent_id": AGENT, "batch_id": "batch-1"}
        body |= {"metadata": {"name": "Asha", "city": "Bengaluru", "bridge_delivery_id": last.id}}
        return replace(
            last,
            to=Status.SENDING,
            reason=None,
            message=None,
            fields={"request": orjson.dumps(body).decode(), "spent": 1},
            attempt=(1, {"number": 1, "at": "2026-01-01T00:00:00.000Z"}),
            phone=self.store.phone_key(self.phone),
        )

    def _settled(self, last: Move) -> Move:
        answer = '{"status":"success","message":"Call queued","data":{"call_sid":"sid-0000000"}}'
        attempt = {"number": 1, "at": "2026-01-01T00:00:00.000Z", "duration_ms": 104}
        attempt |= {"status_code": 200, "error": None, "answer": answer}
        fields = {"call_sid": f"sid-{last.id}"} if last.to is Status.DELIVERED else {}
        return replace(last, attempt=(1, attempt), fields=fields)


def _event(event_id: str, source: str) -> Event:
    now = datetime.now(UTC)
    return Event(
        id=event_id,
        source=source,
        source_event_id=f"62515-{event_id}",
        fingerprint=event_id,
        remember_s=3600,
        type="contact.created",
        subject="30000000000",
        time=now,
        received_at=now,
        data=DATA,
    )


def _person(number: int) -> tuple[str, str]:
    """Return a person's name and e-mail."""
    first = FIRST_NAMES[number % len(FIRST_NAMES)]
    last = LAST_NAMES[number // len(FIRST_NAMES) % len(LAST_NAMES)]
    return f"{first} {last}", f"{first}.{last}.{number}@example.com".lower()


def _found_by(person: int, crm_event_id: str) -> FoundBy:
    name, email = _person(person)
    number = endings(f"+9198{person:08d}")
    words = words_of(fold(name))
    return FoundBy(
        indexed=(*words, email, *number.indexed, str(person), crm_event_id),
        compared=number.compared,
    )


def _outcome(delivery_id: str, result: Result) -> Outcome:
    return Outcome(
        call_sid=f"sid-{delivery_id}",
        delivery_id=delivery_id,
        result=result,
        duration_s=64 if result is Result.CONNECTED else None,
        conversion_status=result is Result.CONNECTED,
        version_id="v1",
        ended_at=datetime.now(UTC),
        post_call={"interested": "yes", "budget": "50 lakh"},
        call_link="https://example.com/calls/sid-0000000",
    )


def _measured(count: int) -> Measures:
    measures = Measures()
    for source, route, share in ROUTES:
        for took_s in (0.004, 0.03, 0.4, 7.0, 100.0):
            measures.webhook(source, 202, took_s / 100)
            measures.accepted(route, took_s)
        measures.events(source, {"accepted": int(count * share)})
    return measures


# --- queries --------------------------------------------------------------------------------------


def queries(filler: Filler) -> Iterator[tuple[str, str]]:
    """Yield each query: its name in the table, and its path."""
    far = datetime.now(UTC) - timedelta(days=11)
    hour = {"since": f"{far:%Y-%m-%dT%H:00:00Z}", "until": f"{far:%Y-%m-%dT%H:59:59Z}"}
    filters: list[dict[str, str]] = [
        {},
        {"limit": "200"},
        {"status": "delivered"},
        {"status": "failed"},
        {"status": "unknown,retrying"},
        {"reason": "no_number"},
        {"reason": "day_cap"},
        {"route": "call new leads"},
        {"route": "call rarely"},
        {"source": "partner"},
        {"subject": filler.subject},
        {"phone": filler.phone},
        hour,
        {"status": "failed", "route": "call rarely"},
        {"status": "failed", "route": "call new leads", "source": "hubspot"},
        {"status": "failed", "reason": "gave_up", "source": "zoho"},
        {"status": "delivered", "route": "call partners", "source": "partner"},
        {"status": "skipped", "route": "call new leads", "reason": "day_cap"},
        {"source": "zoho", "route": "call new leads"},
        {"status": "delivered", "route": "call rarely", **hour},
        {"phone": filler.phone, "status": "failed"},
        {"outcome": "connected"},
        {"outcome": "voicemail,none"},
        {"outcome": "voicemail", "route": "call rarely"},
        {"outcome": "not_reached", "source": "zoho", **hour},
        {"q": filler.name},
        {"q": filler.name, "outcome": "voicemail"},
        {"q": filler.email},
        {"q": filler.phone[-4:]},
        {"q": filler.phone},
        {"q": filler.subject},
        {"q": filler.ids[len(filler.ids) // 2]},
        {"q": "nobody"},
    ]
    for one in filters:
        is_id = one.get("q") in filler.ids
        name = "q=(a delivery id)" if is_id else _said(one) or "(no filter)"
        yield f"list {name}", "/api/deliveries?" + urlencode(one)
    for one in ({}, {"source": "partner"}, {"status": "unrouted"}, hour):
        yield "events " + (_said(one) or "(no filter)"), "/api/events?" + urlencode(one)
    yield "one delivery", f"/api/deliveries/{filler.ids[len(filler.ids) // 2]}"
    yield "status", "/api/status"
    yield "metrics", "/metrics"
    yield "page: overview", "/"
    yield "page: deliveries", "/deliveries"
    yield (
        "page: deliveries status=failed route=call rarely",
        "/deliveries?" + urlencode(filters[13]),
    )
    yield "page: one delivery", f"/deliveries/{filler.ids[len(filler.ids) // 2]}"
    yield "page: events", "/events"
    yield "page: deliveries outcome=connected", "/deliveries?outcome=connected"
    days = {"since": f"{datetime.now(UTC) - timedelta(days=DAYS):%Y-%m-%dT%H:%M:%SZ}"}
    for by in ("hour", "weekday_hour", "day", "route"):
        yield f"stats by {by}, {DAYS} days", "/api/stats?" + urlencode({"by": by, **days})
    yield f"page: reports, {DAYS} days", f"/reports?period={DAYS}"


def _said(filters: dict[str, str]) -> str:
    return " ".join(
        "since…until" if name == "since" else f"{name}={value}"
        for name, value in filters.items()
        if name != "until"
    )


def asked(client: Any, path: str) -> Took:
    """Return how long this query takes. Raises BenchError unless the answer is 200."""
    times, answer = [], None
    for number in range(ROUNDS + 3):
        began = time.perf_counter()
        answer = client.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
        if answer.status_code != 200:
            raise BenchError(f"{path}: {answer.status_code} {answer.text[:200]}")
        if number >= 3:  # what is done once is done
            times.append((time.perf_counter() - began) * 1000)
    rows = answer.json.get("items") if answer is not None and answer.is_json else None
    return Took(
        median_ms=median(times),
        p95_ms=quantiles(times, n=20)[-1],
        rows=None if rows is None else len(rows),
    )


def settings_of(valkey: Valkey) -> Settings:
    """Return the settings of the web process that answers the queries."""
    routes = "".join(
        f'[[route]]\nname = "{route}"\nsource = "{source}"\nevent = "contact.created"\n'
        f'to = "call"\n[route.request]\nto_number = "phone"\nagent_id = {{ value = "{AGENT}" }}\n'
        for source, route, _ in ROUTES
    )
    for name in ("website", "partner"):
        routes += f'[[source]]\nname = "{name}"\nkind = "generic"\nauth = "token"\n'
    os.environ.update(
        {
            "REDIS_URL": valkey.url,
            "ROUTES_TOML": routes,
            "API_TOKEN": TOKEN,
            "CALLKARO_API_KEY": TOKEN,
            "LOG_LEVEL": "ERROR",
        }
    )
    return load_settings()


def measured(valkey: Valkey, count: int, progress: Console) -> tuple[dict[str, Took], float]:
    """Return the time of each query over that many deliveries, and Redis' bytes for each."""
    store = Store(connect(valkey.url, timeout_s=60))
    filler = Filler(store)
    before = store.persistence().used_bytes or 0
    progress.print(f"{count:,} deliveries …")
    filler.fill(count)
    used = (store.persistence().used_bytes or 0) - before
    client = create_app(settings_of(valkey)).test_client()
    client.post("/sign-in", data={"token": TOKEN})  # for the pages
    found = {name: asked(client, path) for name, path in queries(filler)}
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        store.series(24, 144)
        times.append((time.perf_counter() - began) * 1000)
    found["series of 24 h"] = Took(
        median_ms=median(times), p95_ms=quantiles(times, n=20)[-1], rows=None
    )
    return found, used / count


def table_of(found: dict[int, dict[str, Took]]) -> Table:
    """Return all figures, with one column for each size."""
    table = Table(title="Server time, ms: median / p95; rows of the page")
    table.add_column("", no_wrap=True)
    for count in found:
        table.add_column(f"{count:,}", justify="right", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    for name in next(iter(found.values())):
        row = [by_name[name] for by_name in found.values()]
        rows = "" if row[-1].rows is None else str(row[-1].rows)
        table.add_row(name, *(f"{took.median_ms:.1f} / {took.p95_ms:.1f}" for took in row), rows)
    return table


def main() -> int:
    """Fill the store, run the queries, print. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.many", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    options = parser.parse_args()
    progress = Console(stderr=True)
    found, memory = {}, {}
    try:
        with (
            stopped_by_sigterm(),
            tempfile.TemporaryDirectory(prefix="bench-") as home,
            Valkey(Path(home)) as valkey,
        ):
            valkey.wait_for_port(valkey.port)
            valkey.client.config_set("appendonly", "no")  # reads are measured, not the disk
            for count in options.sizes:
                found[count], memory[count] = measured(valkey, count, progress)
    except BenchError as error:
        progress.print(f"The benchmark failed: {error}", markup=False, highlight=False)
        return 1
    show(
        table_of(found),
        *(
            f"Redis' memory, its event and what lists both included: {each / 1000:.2f} kB a "
            f"delivery (of {count:,})."
            for count, each in memory.items()
        ),
        f"Median and p95 of {ROUNDS}, in a web process without HTTP around it; limit 50 but where "
        "said. A page that matches rarely may be short and go on with its cursor.",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
