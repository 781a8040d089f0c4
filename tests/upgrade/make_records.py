"""Write a store full of records with the code of an earlier release, for test_upgrade.py.

    git worktree add ../old <commit or tag>
    python tests/upgrade/make_records.py ../old tests/upgrade/records-<commit or tag>.json
    git worktree remove ../old

All that runs is the old checkout's: its web process, its workers, its stand-in for CallKaro. Only
this script and routes.toml are of today. This script calls the code as it is today: run it on the
last commit before a change of stored names, or adapt its imports to that checkout. (The files of
2451990 and f65eebe were written by the script as it was at those commits.)

The file has every key as {type, ttl_ms, value}, which any Redis can take, and what was made: the
deliveries and events by a name for each, and the webhooks' bodies, to be sent again.
"""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

OLD, FILE = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
sys.path[:0] = [str(OLD), str(OLD / "tests")]

import redis  # noqa: E402
from support import API_TOKEN, SECRETS, Valkey, Web, until  # noqa: E402

from bridge.app import create_app  # noqa: E402
from schemas.crm import kinds  # noqa: E402
from schemas.hours import ALWAYS, parse_window  # noqa: E402
from schemas.routes_toml import load_routes  # noqa: E402
from schemas.settings import Settings  # noqa: E402
from simulator import Simulator  # noqa: E402
from simulator.outcomes import call_ended  # noqa: E402
from store import Store, connect  # noqa: E402
from workers.callkaro import CallKaro  # noqa: E402
from workers.crm import CrmClient  # noqa: E402
from workers.drain import Drain  # noqa: E402
from workers.http import HttpClient  # noqa: E402

ROUTES = (Path(__file__).parent / "routes.toml").read_text("utf-8")
CALL = "/call/outbound"
CALLBACK_TOKEN = "a-callback-token"
INDIA = ZoneInfo("Asia/Kolkata")


class Maker:
    """An old bridge in this process: its web, its drain, and CallKaro's stand-in."""

    def __init__(self, url: str, simulator: Simulator) -> None:
        self.url = url
        self.simulator = simulator
        self.store = Store(connect(url))
        self.web = Web(create_app(self.settings()).test_client())
        self.deliveries: dict[str, str] = {}
        self.events: dict[str, str] = {}
        self.posted: dict[str, dict[str, str]] = {}
        self.numbers: dict[str, str] = {}

    def settings(self, *, without: str = "", **more: Any) -> Settings:
        """Return settings; without: the name of a route that is not there."""
        entries = [one for one in ROUTES.split("\n\n") if not without or f'"{without}"' not in one]
        usual: dict[str, Any] = {
            "redis_url": self.url,
            "api_tokens": (API_TOKEN,),
            "callkaro_api_key": "a-key",
            "callkaro_base_url": self.simulator.url,
            "callkaro_webhook_tokens": (CALLBACK_TOKEN,),
            "log_level": "ERROR",
            "worker_threads": 8,
            "calling_hours": ALWAYS,
            "secrets": {name: (secret,) for name, secret in SECRETS.items()},
            "variables": {
                "hubspot": {
                    "ACCESS_TOKEN": "a-token",
                    "API_URL": self.simulator.url,
                    "API_VERSION": "2026-03",
                }
            },
        }
        routes = load_routes("\n\n".join(entries), file="routes.toml", kinds=kinds())
        return Settings(routes=routes, **{**usual, **more})

    # --- what others do -----------------------------------------------------------------------

    def post(self, source: str, body: object, *names: str) -> None:
        """Post a webhook; names are of what it brings, deliveries or events, in order."""
        raw = json.dumps(body)
        answer = self.web.post(source, raw.encode())
        assert answer.status_code == 202, answer.text
        for name, event in zip(names, answer.json["events"], strict=False):
            self.events[name] = event["id"]
            for one in event["deliveries"]:
                self.deliveries[name] = one["id"]
        if names:
            self.posted[names[0]] = {"source": source, "body": raw}

    def lead(self, name: str, kind: str = "form.submitted", **more: Any) -> str:
        """Post a form with a number of its own, named for its delivery; return the number."""
        number = f"+9198765{len(self.numbers) + 1:05}"
        self.numbers[name] = number
        form = {"submission_id": f"form {name}", "event_type": kind, "phone": number}
        self.post("website", {**form, "name": "Sample Lead", "agreed": True, **more}, name)
        return number

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask the API."""
        headers = {"Authorization": f"Bearer {API_TOKEN}"}
        answer = self.web.client.open(path, method=method, json=body or {}, headers=headers)
        assert answer.status_code < 300, answer.text
        return answer.json

    def tell(self, body: object) -> None:
        """Post what CallKaro tells of a call."""
        answer = self.web.client.post(f"/callbacks/callkaro/{CALLBACK_TOKEN}", json=body)
        assert answer.status_code == 200, answer.text

    def misbehave(self, number: str, **how: Any) -> None:
        """Let CallKaro misbehave for a number."""
        self.simulator.state.behave(path=CALL, to_number=number, **how)

    # --- what the worker does -----------------------------------------------------------------

    def drain(
        self,
        settings: Settings | None = None,
        *,
        jitter: float = 0.0,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        """Drain what is due."""
        settings = settings or self.settings()
        callkaro = CallKaro(
            HttpClient(timeout_s=10.0),
            base_url=self.simulator.url,
            api_key=settings.callkaro_api_key,
        )
        with connect(self.url) as client:
            store = Store(client)
            crm_client = CrmClient(HttpClient(timeout_s=10.0), store, settings)
            stop = should_stop or (lambda: self.is_idle(store))
            Drain(
                store, settings, callkaro, crm_client, jitter=lambda: jitter, should_stop=stop
            ).run()

    def is_idle(self, store: Store) -> bool:
        """Tell whether nothing is due now, and nothing in hand."""
        due_s = store.next_due_s()
        return (due_s is None or due_s > 0) and not store.redis.zcard("bridge:leased")

    def status(self, name: str) -> str:
        """Return where a delivery stands."""
        found = self.store.delivery(self.deliveries[name])
        return found.status if found else "gone"

    # --- everything ---------------------------------------------------------------------------

    def make(self) -> dict[str, Any]:
        """Make one of everything, and return the file's content."""
        self.settle()
        self.hold()
        self.fruitless()
        return self.with_some_under_way()

    def settle(self) -> None:
        """Make what has ended, in every way; and what may have rung."""
        self.misbehave(self.lead("delivered"), status=503, times=1)
        self.lead("called recently", phone=self.numbers["delivered"])
        self.lead("skipped", phone="none")
        self.misbehave(self.lead("failed"), status=400, times=1)
        self.misbehave(self.lead("failed, to be replayed"), status=400, times=1)
        for name in ("unknown", "unknown, told of later", "unknown, not called"):
            self.misbehave(self.lead(name), cut="after", times=1)
        tomorrow = datetime.now(INDIA) + timedelta(days=1)
        self.lead("to be dropped", "appointment.made", at=f"{tomorrow:%Y-%m-%dT%H:%M:%S}")
        self.simulator.state.put_record(
            "hubspot", "contacts", "101", {"phone": "+919876599101", "firstname": "Sample"}
        )
        self.post("hubspot", [contact("101")], "hubspot")
        self.lead("call later", "callback.wanted")
        self.lead("cancelled", "callback.wanted")
        self.drain()
        [call] = self.simulator.state.calls_to(self.numbers["delivered"])
        self.tell(call_ended(call))
        self.tell({"event": "call_ended", "data": {"callSid": "of-nobody", "try_count": 0}})
        self.ask("POST", f"/api/deliveries/{self.deliveries['cancelled']}/cancel")
        self.ask("PUT", "/api/suppressions/%2B919876599999", {"message": "asked by mail"})
        self.lead("suppressed", phone="+919876599999")
        self.drain()

    def hold(self) -> None:
        """Make what waits, for each reason."""
        self.ask("PUT", "/api/pauses/route%3Acall%20in%20pauses", {"message": "holiday"})
        self.lead("paused", "pause.tried")
        self.lead("in a flood", "flood.tried")
        self.lead("bulk", "flood.tried")
        self.lead("route missing", "missing.tried")
        self.lead("awaiting campaign", "campaign.joined", campaign="7")
        self.drain(self.settings(without="call what was missing"))
        closed = "03:00-04:00" if datetime.now(INDIA).hour >= 5 else "12:00-13:00"
        self.lead("outside hours")
        self.drain(self.settings(calling_hours=parse_window(closed)))

    def fruitless(self) -> None:
        """Make events that lead to nothing, and one that is known by its bytes alone."""
        form = {"submission_id": "form unrouted", "event_type": "mended.later"}
        self.numbers["unrouted"] = "+919876598001"
        self.post("website", {**form, "phone": self.numbers["unrouted"]}, "unrouted")
        self.post("website", ["no object", "nor this"], "unreadable", "unreadable too")

    def with_some_under_way(self) -> dict[str, Any]:
        """Make what is due and what workers are at, and return it all as it is at that moment."""
        stopped = threading.Event()
        names = ("sending", "sending, suppressed")
        for name in names:
            self.misbehave(self.lead(name), latency_ms=4000, times=1)
        self.misbehave(self.lead("retrying"), status=503)
        drain = threading.Thread(
            target=self.drain, kwargs={"jitter": 0.99, "should_stop": stopped.is_set}
        )
        drain.start()
        until(lambda: all(self.status(name) == "sending" for name in names))
        until(lambda: self.status("retrying") == "retrying")
        stopped.set()
        number = self.numbers["sending, suppressed"].replace("+", "%2B")
        self.ask("PUT", f"/api/suppressions/{number}")
        self.lead("leased")
        self.store.claim(1, lease_s=60)
        self.ask("POST", f"/api/deliveries/{self.deliveries['to be dropped']}/cancel")
        self.lead("queued")
        self.lead("known by its bytes", submission_id=None)
        self.post("website", {"event_type": "stop.asked", "stop": True, "phone": "+919876598002"})
        self.post("hubspot", [contact("202", "contact.privacyDeletion")])
        content = self.content()
        drain.join()
        return content

    def content(self) -> dict[str, Any]:
        """Return what there is now, by key; and what was made of it."""
        found = {}
        with redis.Redis.from_url(self.url, decode_responses=True) as client:
            for key in sorted(client.scan_iter("bridge:*")):
                kind = client.type(key)
                value: Any = {
                    "string": lambda key: client.get(key),
                    "hash": lambda key: client.hgetall(key),
                    "set": lambda key: sorted(client.smembers(key)),
                    "zset": lambda key: [
                        [member, f"{score:.0f}"]
                        for member, score in client.zrange(key, 0, -1, withscores=True)
                    ],
                }[kind](key)
                found[key] = {"type": kind, "ttl_ms": client.pttl(key), "value": value}
        made = {}
        for name, delivery_id in self.deliveries.items():
            kept = self.store.delivery(delivery_id)
            assert kept is not None
            made[name] = {"id": delivery_id, "status": kept.status, "reason": kept.reason}
        return {
            "made_at_ms": int(time.time() * 1000),
            "deliveries": made,
            "events": self.events,
            "numbers": self.numbers,
            "posted": self.posted,
            "keys": found,
        }


def contact(contact_id: str, what: str = "contact.creation") -> dict[str, Any]:
    """Return a notification of HubSpot's."""
    return {
        "portalId": 62515,
        "subscriptionId": 3001,
        "eventId": int(contact_id) + 1000,
        "objectId": int(contact_id),
        "occurredAt": int(time.time() * 1000),
        "subscriptionType": what,
        "changeSource": "CRM_UI",
        "attemptNumber": 0,
    }


def main() -> None:
    """Make the file."""
    with tempfile.TemporaryDirectory() as folder, Simulator() as simulator:
        valkey = Valkey(Path(folder)).start()
        try:
            content = Maker(valkey.url, simulator).make()
        finally:
            valkey.stop()
    FILE.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", "utf-8")
    for name, one in content["deliveries"].items():
        sys.stdout.write(f"{name}: {one['status']} {one['reason'] or ''}\n")
    sys.stdout.write(f"{len(content['keys'])} keys\n")


if __name__ == "__main__":
    main()
