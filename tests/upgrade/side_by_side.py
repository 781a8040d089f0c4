"""Run two releases at once over one Redis, as in a rolling upgrade, and see that nothing is lost.

    git worktree add ../old <commit or tag of the other release>
    python tests/upgrade/side_by_side.py ../old
    git worktree remove ../old

Not for a release that changed stored names, as the changelog says: it can't run beside the one
before it.

Three rounds, with real processes: the old web with the new worker, the new web with the old worker,
and all four while webhooks come in, until the old ones have left. CallKaro's stand-in refuses,
hangs up and is busy now and then. Each round is judged: what was answered 202 is settled, no phone
rang twice, both releases read all that there is and do what a person asks, a resend to the other
one is a duplicate, no log has an error, and the figures are right in the end. Exit code 0: all of
it holds.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support import API_TOKEN, PYTHON_WARNINGS, Bridge, Valkey, until, variables_of  # noqa: E402

from simulator import Simulator  # noqa: E402

ROUTES = Path(__file__).parent / "routes.toml"
CALL = "/call/outbound"
LEADS = 60  # a round
WAITING = ("queued", "sending", "retrying", "held")
FIGURES_S = 60.0  # within which what stands where is counted anew, once the old ones have left


def has_all(new: Any, old: Any) -> bool:
    """Say whether an answer of the new release has all that the old one has. It may have more."""
    if isinstance(old, dict):
        return all(name in new and has_all(new[name], value) for name, value in old.items())
    if isinstance(old, list):
        return len(new) == len(old) and all(map(has_all, new, old))
    return bool(new == old)


class Release(Bridge):
    """The processes of one checkout."""

    def __init__(self, name: str, checkout: Path, folder: Path, variables: dict[str, str]) -> None:
        folder.mkdir(parents=True)
        super().__init__(folder, {"PYTHONWARNINGS": PYTHON_WARNINGS, **variables})
        self.name = name
        self.checkout = checkout

    def run(self, name: str, *module: str) -> "subprocess.Popen[bytes]":
        """Start `python -m` something of this checkout."""
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", *module],
                cwd=self.checkout,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask the API to do something."""
        headers = {"Authorization": f"Bearer {API_TOKEN}"}
        answer = self.session.request(method, self.url + path, json=body or {}, headers=headers)
        assert answer.status_code == 200, f"{self.name}: {method} {path}: {answer.text}"
        return answer.json()

    def all_of(self, path: str) -> dict[str, Any]:
        """Return the items of all pages of a list, by id."""
        found, cursor = {}, ""
        while cursor is not None:
            page = self.get(f"{path}{'&' if '?' in path else '?'}limit=50{cursor}")
            found.update({one["id"]: one for one in page["items"]})
            cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
        return found

    def errors(self) -> list[str]:
        """Return the log lines that tell of an error, and all that is none of ours."""
        found = []
        for log in sorted(self.folder.glob("*.log")):
            for line in log.read_text("utf-8").splitlines():
                try:
                    is_bad = json.loads(line).get("level") in ("error", "critical")
                except ValueError:
                    is_bad = "Error" in line or "Traceback" in line
                if is_bad:
                    found.append(f"{self.name} {log.name}: {line[:300]}")
        return found


class Round:
    """An empty Valkey, a stand-in for CallKaro, two releases that run nothing yet."""

    def __init__(self, valkey: Valkey, simulator: Simulator, folder: Path, old: Path) -> None:
        self.valkey, self.simulator = valkey, simulator
        variables = {
            **variables_of(simulator.url),
            "REDIS_URL": valkey.url,
            "ROUTES_FILE": str(ROUTES),
            "WORKER_THREADS": "8",
        }
        self.old = Release("old", old, folder / "old", variables)
        self.new = Release("new", ROOT, folder / "new", variables)
        self.sent: dict[str, tuple[str, object]] = {}  # by delivery: what brought it
        self.failures: list[str] = []

    def expect(self, holds: bool, what: str) -> None:
        """Note a failure unless something holds."""
        if not holds:
            self.failures.append(what)

    def send(self, release: Release, number: int) -> None:
        """Post a lead; every seventh is of HubSpot, and CallKaro does not take all of them."""
        phone = f"+9198765{number:05}"
        odd: dict[int, dict[str, Any]] = {
            1: {"status": 503},
            2: {"cut": "after"},
            3: {"status": 400},
        }
        if how := odd.get(number % 10):
            self.simulator.state.behave(path=CALL, to_number=phone, times=1, **how)
        if number % 7:
            form = {"submission_id": f"form-{number}", "event_type": "form.submitted"}
            body: object = {**form, "phone": phone, "agreed": True, "name": "Sample Lead"}
            source = "website"
        else:
            self.simulator.state.put_record("hubspot", "contacts", str(number), {"phone": phone})
            source, body = "hubspot", [contact(number)]
        for delivery in release.send(source, body):
            self.sent[delivery] = (source, body)

    def settle(self) -> None:
        """Wait until nothing is on its way."""
        reader = self.new if self.new.web else self.old

        def is_settled() -> bool:
            counts = reader.get("/api/status")["deliveries"]
            return not any(counts[status] for status in WAITING)

        until(is_settled, what="that all is settled", timeout_s=90)

    def judge(self) -> Counter[str]:
        """Look at everything with both releases, whichever of them wrote it."""
        for release in (self.old, self.new):
            if release.web is None:
                release.start_web()
        by_old = self.old.all_of("/api/deliveries")
        by_new = self.new.all_of("/api/deliveries")
        statuses = {one: found["status"] for one, found in by_new.items()}
        self.expect(by_old.keys() == by_new.keys() == self.sent.keys(), "a list misses some")
        self.expect({one: it["status"] for one, it in by_old.items()} == statuses, "they differ")
        for one in self.sent:
            kept, told = (
                self.old.get(f"/api/deliveries/{one}"),
                self.new.get(f"/api/deliveries/{one}"),
            )
            self.expect(has_all(told, kept), f"{one} reads differently")
        events = self.new.all_of("/api/events")
        self.expect(events.keys() == self.old.all_of("/api/events").keys(), "events are missing")
        for source in ("website", "hubspot"):
            found = self.new.all_of(f"/api/events?source={source}")
            of_source = {one for one, it in events.items() if it["source"] == source}
            self.expect(found.keys() == of_source, f"events of {source} are not found")
        counts = Counter(statuses.values())
        rang = Counter(call.delivery_id for call in self.simulator.state.calls)
        self.expect(self.simulator.state.doubled == {}, "a phone rang twice")
        may_have = {one for one, status in statuses.items() if status in ("delivered", "unknown")}
        self.expect(rang.keys() == may_have, "what rang and what is said of it differ")
        for release, other in ((self.old, self.new), (self.new, self.old)):
            self.resend(release)
            self.order(release, other, statuses)
        return counts

    def resend(self, release: Release) -> None:
        """Post everything once more: nothing of it is new."""
        for source, body in list(self.sent.values()):
            answer = release.post(source, body).json()
            self.expect(answer["accepted"] == 0, f"{release.name} took a resend for a new event")

    def order(self, release: Release, other: Release, statuses: dict[str, str]) -> None:
        """Have a release do what a person asks, to what there is; and the other one read it."""
        is_old = release is self.old
        unknown = [one for one, status in statuses.items() if status == "unknown"]
        resolved = unknown[0 if is_old else 1]
        release.ask("POST", f"/api/deliveries/{resolved}/resolve", {"as": "failed"})
        self.expect(other.status(resolved) == "failed", f"{other.name} does not see a resolve")
        scope = "source:website" if is_old else "source:hubspot"
        release.ask("PUT", f"/api/pauses/{scope}")
        paused = [one["scope"] for one in other.get("/api/pauses")["items"]]
        self.expect(paused == [scope], f"{other.name} sees no pause")
        other.ask("DELETE", f"/api/pauses/{scope}")
        number = "+919876590001" if is_old else "+919876590002"
        release.ask("PUT", f"/api/suppressions/{number.replace('+', '%2B')}")
        told = [one["phone"][-4:] for one in other.get("/api/suppressions")["items"]]
        self.expect(number[-4:] in told, f"{other.name} sees no suppression")

    def figures(self) -> None:
        """What an old release did not count is made good once only the new one runs."""
        self.old.stop()
        if self.new.worker is None:
            self.new.start_worker()

        def are_right() -> bool:
            headers = {"Authorization": f"Bearer {API_TOKEN}"}
            text = self.new.session.get(f"{self.new.url}/metrics", headers=headers).text
            told: Counter[str] = Counter()
            for line in text.splitlines():
                if line.startswith("callkaro_bridge_deliveries{"):
                    told[line.split('status="')[1].split('"')[0]] += int(float(line.split()[-1]))
            counts = self.new.get("/api/status")["deliveries"]
            return {name: n for name, n in told.items() if n} == {
                n: c for n, c in counts.items() if c
            }

        until(are_right, what="right figures", timeout_s=FIGURES_S)

    def stop(self) -> None:
        """End all processes, and look at what they logged."""
        self.old.stop()
        self.new.stop()
        self.failures += [*self.old.errors(), *self.new.errors()]


def contact(number: int) -> dict[str, Any]:
    """Return HubSpot's word of a new contact."""
    return {
        "portalId": 62515,
        "subscriptionId": 3001,
        "eventId": number,
        "objectId": number,
        "occurredAt": 1_795_000_000_000 + number,
        "subscriptionType": "contact.creation",
        "changeSource": "CRM_UI",
        "attemptNumber": 0,
    }


# --- the rounds -----------------------------------------------------------------------------


def old_web_new_worker(it: Round) -> None:
    """The worker was upgraded first."""
    it.old.start_web()
    it.new.start_worker()
    for number in range(1, LEADS + 1):
        it.send(it.old, number)


def new_web_old_worker(it: Round) -> None:
    """The web was upgraded first."""
    it.new.start_web()
    it.old.start_worker()
    for number in range(1, LEADS + 1):
        it.send(it.new, number)


def all_four(it: Round) -> None:
    """Both run both while webhooks come in; then the old ones leave in the midst of it."""
    it.old.start_web()
    it.old.start_worker()
    webs = [it.old]

    def post() -> None:
        for number in range(1, 3 * LEADS + 1):
            it.send(webs[number % len(webs)], number)
            time.sleep(0.05)

    def is_sent(count: int) -> Callable[[], bool]:
        return lambda: len(it.sent) >= count

    sender = threading.Thread(target=post)
    sender.start()
    until(is_sent(10), timeout_s=60)
    it.new.start()
    webs.append(it.new)
    until(is_sent(len(it.sent) + 40), timeout_s=60)
    assert it.old.worker is not None
    it.old.worker.terminate()
    webs.remove(it.old)
    sender.join()
    it.old.worker.wait(40)
    it.old.worker = None


@contextmanager
def a_round(old: Path) -> Iterator[Round]:
    """Yield a round of its own, and end all of it."""
    with tempfile.TemporaryDirectory(prefix="side-by-side-") as name, Simulator() as simulator:
        folder = Path(name)
        valkey = Valkey(folder).start()
        it = Round(valkey, simulator, folder, old)
        try:
            yield it
        finally:
            simulator.state.behave_normally()
            it.stop()
            valkey.stop()


def main() -> int:
    """Run the rounds, and say how each went."""
    old = Path(sys.argv[1]).resolve()
    failed = 0
    for run in (old_web_new_worker, new_web_old_worker, all_four):
        counts: Counter[str] = Counter()
        began = time.monotonic()
        with a_round(old) as it:
            try:
                run(it)
                it.settle()
                counts = it.judge()
                it.figures()
            except (AssertionError, redis.RedisError, KeyError) as error:
                it.failures.append(f"{type(error).__name__}: {error}")
        failed += bool(it.failures)
        told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        said = f"{'FAILED' if it.failures else 'ok'}; {len(it.sent)} deliveries: {told}"
        took_s = time.monotonic() - began
        sys.stdout.write(f"{run.__name__.replace('_', ' ')}: {said}; {took_s:.0f} s\n")
        sys.stdout.writelines(f"  {one}\n" for one in it.failures[:20])
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
