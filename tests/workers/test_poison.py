"""One broken item costs itself alone, in every step of the drain and of the background tasks."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support import AGENT, CALL_BACK, LONGEST_S, WEBSITE, lead, make_due, notification, route
from support.draining import CALLS, MakeSettings, OpenWeb, RunDrain, found

import store.leases
import workers.callkaro
import workers.campaigns
import workers.cancellation
import workers.drain
import workers.hydration
import workers.preparation
import workers.sending
from rules.plan import Ready
from schemas.delivery import Delivery
from schemas.errors import StoreUnavailable
from schemas.http_result import HttpResult
from schemas.records import BackgroundTask, Claim, Move
from simulator import Simulator
from store import Store
from store.suppressions import SuppressionStore
from workers.background_tasks import BackgroundTasks
from workers.drain import Drain
from workers.http import HttpClient

HUBSPOT = route(
    "call new leads",
    source="hubspot",
    event="contact.created",
    fetch='["deep"]',
    consent='"properties.deep != null"',
)
GOOD, POISON = "+919876543210", "+919876543211"


class Broken(Exception):
    """An error that no code expects."""


def ids_in(value: Any) -> set[str]:
    """Return the ids of the deliveries that an argument is about."""
    if isinstance(value, Delivery | Move):
        return {value.id}
    return {value.delivery.id} if isinstance(value, Claim | Ready) else set()


@pytest.fixture
def break_for(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a function raise whenever one of its arguments is about this delivery."""

    def break_it(
        owner: Any, name: str, poison: str, error: Exception, *, times: int = 1000
    ) -> None:
        usual, left = getattr(owner, name), [times]

        def raising(*args: Any, **kwargs: Any) -> Any:
            about = set().union(*map(ids_in, [*args, *kwargs.values()]))
            is_after = any(getattr(one, "is_after_crash", False) for one in args)
            if poison in about and left[0] and not is_after:
                left[0] -= 1
                raise error
            return usual(*args, **kwargs)

        monkeypatch.setattr(owner, name, raising)

    return break_it


ERRORS = [Broken(), RecursionError("maximum recursion depth exceeded"), OverflowError()]
BEFORE = [
    (workers.preparation, "prepare"),
    (workers.preparation.Preparation, "_findable"),
    (workers.sending, "start_sending"),
    (workers.sending, "history_check"),
    (store.leases, "written"),
]


@pytest.mark.parametrize(
    ("owner", "name"), BEFORE, ids=lambda one: one if isinstance(one, str) else ""
)
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_an_error_before_the_request_costs_one_item_which_fails_the_second_time(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    break_for: Callable[..., None],
    owner: Any,
    name: str,
    error: Exception,
) -> None:
    settings = make_settings(CALL_BACK)
    web = open_web(settings)
    # `_findable` sees only what is not sent: a number that no plan has.
    bad_number = "12" if name == "_findable" else POISON
    [first] = web.send("website", lead(GOOD))
    [poison] = web.send("website", lead(bad_number))
    [last] = web.send("website", lead("+919876543212"))
    break_for(owner, name, poison, error)

    run_drain(settings)

    assert [found(store, one).status for one in (first, last)] == ["delivered"] * 2
    kept = found(store, poison)
    assert (kept.status, kept.crashes) in (("queued", 1), ("retrying", 1))
    assert kept.next_attempt_at is not None

    make_due(store, poison)
    run_drain(settings)

    kept = found(store, poison)
    assert (kept.status, kept.reason) == ("failed", "bad_request")
    assert "caused an error in the bridge" in str(kept.message)
    assert len(simulator.state.calls) == 2
    assert store.redis.zcard("bridge:leased") == 0


def test_an_item_that_raised_once_is_called_the_second_time(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    break_for: Callable[..., None],
) -> None:
    settings = make_settings(CALL_BACK)
    [poison] = open_web(settings).send("website", lead())
    break_for(workers.preparation, "prepare", poison, Broken(), times=1)

    run_drain(settings)
    make_due(store, poison)
    run_drain(settings)

    assert found(store, poison).status == "delivered"
    assert len(simulator.state.calls) == 1


def raise_on_answer(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    """Let the reading of the answer to a call of this number raise an error."""
    here = threading.local()
    request, verdict = HttpClient.request, workers.callkaro.verdict

    def noting(self: HttpClient, *args: Any, **kwargs: Any) -> HttpResult:
        here.number = (kwargs.get("json") or {}).get("to_number")
        return request(self, *args, **kwargs)

    def raising(*args: Any, **kwargs: Any) -> Any:
        if here.number == number:
            raise Broken
        return verdict(*args, **kwargs)

    monkeypatch.setattr(HttpClient, "request", noting)
    monkeypatch.setattr(workers.callkaro, "verdict", raising)


@pytest.mark.parametrize("step", ["answer", "settle", "written", "post"])
@pytest.mark.parametrize("on_unknown", ["hold", "call_again"])
@pytest.mark.parametrize("status_code", [200, 400, 500])
def test_an_error_after_the_first_byte_makes_a_call_unknown_and_nothing_else(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    break_for: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    on_unknown: str,
    status_code: int,
) -> None:
    settings = make_settings(WEBSITE + route(on_unknown=f'"{on_unknown}"'))
    web = open_web(settings)
    [first] = web.send("website", lead(GOOD))
    [poison] = web.send("website", lead(POISON))
    if status_code != 200:
        simulator.state.behave(path=CALLS, status=status_code)
    match step:
        case "answer":
            raise_on_answer(monkeypatch, POISON)
        case "settle":
            break_for(workers.sending, "settle", poison, Broken())
        case "written":
            usual = store_written()

            def raising(move: Move) -> Any:
                is_settling = move.attempt and move.to != "sending"
                if move.id == poison and is_settling and not move.is_after_crash:
                    raise Broken
                return usual(move)

            monkeypatch.setattr("store.leases.written", raising)
        case "post":
            post = workers.callkaro.CallKaro.post

            def crashing(self: Any, to: Any, body: Any, **more: Any) -> Any:
                answer = post(self, to, body, **more)
                if body["to_number"] == POISON:
                    raise Broken
                return answer

            monkeypatch.setattr(workers.callkaro.CallKaro, "post", crashing)

    run_drain(settings)

    kept = found(store, poison)
    assert (kept.status, kept.reason) == ("unknown", "no_answer")
    assert [attempt["number"] for attempt in kept.attempts] == [1]
    usual_end = {200: "delivered", 400: "failed", 500: "retrying"}[status_code]
    assert found(store, first).status == usual_end
    assert len(simulator.state.requests_to(CALLS)) == 2


def store_written() -> Callable[[Move], Any]:
    return store.leases.written


def nested(depth: int) -> Any:
    value: Any = "yes"
    for _ in range(depth):
        value = {"d": value}
    return value


@pytest.mark.parametrize("depth", [65, 300, 900])
def test_a_record_nested_too_deep_fails_alone(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
    depth: int,
) -> None:
    settings = make_settings(HUBSPOT)
    for contact, deep in (("101", "yes"), ("102", "DEEP"), ("103", "yes")):
        fields = {"phone": f"+919876543{contact}", "deep": deep}
        simulator.state.put_record("hubspot", "contacts", contact, fields)
    request = HttpClient.request

    def deepening(self: HttpClient, *args: Any, **kwargs: Any) -> HttpResult:
        result = request(self, *args, **kwargs)
        body = result.body.replace(b'"DEEP"', json.dumps(nested(depth)).encode())
        return replace(result, body=body)

    monkeypatch.setattr(HttpClient, "request", deepening)
    sent = [notification("101"), notification("102"), notification("103")]
    ids = open_web(settings).send("hubspot", sent)

    run_drain(settings)

    kept = [found(store, one) for one in ids]
    assert [one.status for one in kept] == ["delivered", "failed", "delivered"]
    assert kept[1].reason == "bad_request"
    assert kept[1].message == "HubSpot's record is nested more than 64 levels deep."
    assert len(simulator.state.calls) == 2


@pytest.mark.parametrize("step", ["screen", "merge", "fetch", "fields", "records"])
def test_an_error_while_records_are_fetched_costs_one_item(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    break_for: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    settings = make_settings(HUBSPOT)
    for contact in ("101", "102", "103"):
        fields = {"phone": f"+919876543{contact}", "deep": "yes"}
        simulator.state.put_record("hubspot", "contacts", contact, fields)
    sent = [notification("101"), notification("102"), notification("103")]
    ids = open_web(settings).send("hubspot", sent)
    match step:
        case "screen":
            break_for(workers.hydration, "screen", ids[1], Broken())
        case "merge":
            break_for(workers.hydration.Hydration, "_take_record", ids[1], Broken())
        case "fetch" | "records":
            name = "fetch" if step == "fetch" else "_fetch"
            usual = getattr(workers.hydration.CrmClient, name)

            def fetching(self: Any, *args: Any) -> Any:
                if "102" in str(args[-1] if step == "records" else args[2]):
                    raise Broken
                return usual(self, *args)

            monkeypatch.setattr(workers.hydration.CrmClient, name, fetching)
        case "fields":
            fields_of = workers.hydration.Hydration._fields

            def reading(self: Any, source: Any, hydration: Any, batch: Any) -> Any:
                if any(claim.delivery.id == ids[1] for claim in batch):
                    raise Broken
                return fields_of(self, source, hydration, batch)

            monkeypatch.setattr(workers.hydration.Hydration, "_fields", reading)

    run_drain(settings)

    assert [found(store, one).status for one in ids] == ["delivered", "queued", "delivered"]
    make_due(store, ids[1])
    run_drain(settings)
    kept = found(store, ids[1])
    assert (kept.status, kept.reason) == ("failed", "bad_request")


def test_a_record_in_redis_that_breaks_a_script_costs_itself_alone(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(CALL_BACK)
    web = open_web(settings)
    ids = [web.send("website", lead(f"+91987654321{n}"))[0] for n in range(5)]
    store.redis.hset(f"bridge:delivery:{ids[1]}", "number_claim", "{broken")
    store.redis.hset(f"bridge:delivery:{ids[2]}", "lease", "many")
    store.redis.delete(f"bridge:delivery:{ids[3]}")
    store.redis.set(f"bridge:delivery:{ids[3]}", "no hash")

    run_drain(settings, slice_s=LONGEST_S)  # one drain: what is broken stays due

    assert [found(store, ids[n]).status for n in (0, 4)] == ["delivered"] * 2
    assert len(simulator.state.calls) >= 2
    store.redis.delete(f"bridge:delivery:{ids[3]}")


# --- campaigns, cancellations, DRY_RUN ------------------------------------------------------------

IN_CAMPAIGN = WEBSITE + "".join(
    route(name, match=f"\"kind == '{name}'\"", campaign=f'{{ name = "{name}" }}')
    for name in ("good", "poison")
)
KEYED = (
    WEBSITE
    + route(
        "make campaign",
        event="campaign.started",
        to="campaign",
        campaign='{ key = "campaign" }',
        request={"name": '"title"'},
    )
    + route(campaign='{ key = "campaign" }')
)


def raise_for(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, word: str, error: Exception
) -> None:
    """Let a method raise whenever this word is in one of its arguments."""
    usual = getattr(owner, name)

    def raising(*args: Any, **kwargs: Any) -> Any:
        if word in repr(args) + repr(kwargs):
            raise error
        return usual(*args, **kwargs)

    monkeypatch.setattr(owner, name, raising)


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Store, "may_create_campaign"),
        (Store, "may_ask_callkaro"),
        (Store, "keep_campaign"),
        (workers.campaigns.Campaigns, "_create"),
        (workers.campaigns.Campaigns, "_note_result"),
        (workers.campaigns.Campaigns, "_use"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_an_error_while_a_campaign_is_made_costs_the_calls_of_that_campaign(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    error: Exception,
) -> None:
    settings = make_settings(IN_CAMPAIGN)
    web = open_web(settings)
    ids = [
        web.send("website", lead(f"+91987654321{n}", kind=kind))[0]
        for n, kind in enumerate(["good", "poison", "good"])
    ]
    raise_for(monkeypatch, owner, name, "poison", error)

    run_drain(settings)

    assert [found(store, one).status for one in ids] == ["delivered", "queued", "delivered"]
    assert found(store, ids[1]).crashes == 1
    store.redis.delete(*store.redis.keys("bridge:campaign-lock:*") or ["-"])
    make_due(store, ids[1])
    run_drain(settings)
    kept = found(store, ids[1])
    if name == "_note_result":  # the campaign was kept before
        assert kept.status == "delivered"
    else:
        assert (kept.status, kept.reason) == ("failed", "bad_request")
    assert len(simulator.state.calls) == 2 + (kept.status == "delivered")


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("name", ["history_check", "skip_dry_run"])
def test_an_error_while_a_dry_run_is_written_costs_one_item(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    break_for: Callable[..., None],
    name: str,
    error: Exception,
) -> None:
    settings = make_settings(CALL_BACK, dry_run=True)
    web = open_web(settings)
    ids = [web.send("website", lead(f"+91987654321{n}"))[0] for n in range(3)]
    break_for(workers.preparation, name, ids[1], error)

    run_drain(settings)

    assert [found(store, one).reason for one in (ids[0], ids[2])] == ["dry_run"] * 2
    assert (found(store, ids[1]).status, found(store, ids[1]).crashes) == ("queued", 1)
    make_due(store, ids[1])
    run_drain(settings)
    kept = found(store, ids[1])
    assert (kept.status, kept.reason) == ("failed", "bad_request")
    assert simulator.state.calls == []


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Store, "may_ask_callkaro"),
        (workers.cancellation.Cancellation, "_delete"),
        (workers.cancellation, "settle_cancellation"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_an_error_in_a_cancellation_costs_one_item_which_is_never_given_up(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    error: Exception,
) -> None:
    scheduled = {
        "to_number": '"phone"',
        "agent_id": f'{{ value = "{AGENT}" }}',
        "schedule_at": '"at"',
    }
    settings = make_settings(WEBSITE + route(request=scheduled))
    web = open_web(settings)
    at = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%dT%H:%M:%S}"
    ids = [web.send("website", lead(f"+91987654321{n}", at=at))[0] for n in range(3)]
    run_drain(settings)
    headers = {"Authorization": f"Bearer {settings.api_tokens[0]}"}
    for one in ids:
        assert web.client.post(f"/api/deliveries/{one}/cancel", headers=headers).status_code == 200
    with monkeypatch.context() as patched:
        raise_for(patched, owner, name, ids[1], error)
        for _ in range(3):
            run_drain(settings)
            assert [found(store, one).status for one in ids] == [
                "cancelled",
                "delivered",
                "cancelled",
            ]
            make_due(store, ids[1])

    run_drain(settings)

    assert found(store, ids[1]).status == "cancelled"


def test_a_campaign_whose_record_is_broken_costs_its_own_calls(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(KEYED)
    web = open_web(settings)
    for key in ("poison", "good"):
        started = {"event_type": "campaign.started", "campaign": key, "title": key}
        web.send("website", {**started, "submission_id": key})
    run_drain(settings)
    for n, record in enumerate(("{broken", "7", "[]")):
        store.redis.hset("bridge:campaign:key/poison", "record", record)
        [poison] = web.send("website", lead(f"+91987654321{n}", campaign="poison"))
        [good] = web.send("website", lead(f"+91987654322{n}", campaign="good"))
        run_drain(settings)
        assert found(store, good).status == "delivered"
        assert (found(store, poison).status, found(store, poison).crashes) == ("queued", 1)


def test_an_error_while_background_tasks_are_claimed_stops_no_call(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def raising(*args: Any) -> Any:
        raise Broken

    settings = make_settings(CALL_BACK)
    [delivery] = open_web(settings).send("website", lead())
    monkeypatch.setattr(Store, "claim_background_tasks", raising)
    run_drain(settings)
    assert found(store, delivery).status == "delivered"


# --- background tasks -----------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["opt_out", "erase", "call_off"])
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_background_task_that_raises_is_tried_again_for_ever_and_is_shown(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
    what: Any,
    error: Exception,
) -> None:
    settings = make_settings(CALL_BACK)
    web = open_web(settings)
    [delivery] = web.send("website", lead())
    store.put_background_task(BackgroundTask(id="t", what=what, event_id="e", key="k"))
    usual = BackgroundTasks.do

    def raising(self: BackgroundTasks, task: BackgroundTask) -> None:
        raise error

    monkeypatch.setattr(BackgroundTasks, "do", raising)
    waits = []
    for _ in range(9):
        store.redis.zadd("bridge:due:background_task", {"t": 1})
        run_drain(settings)
        due_ms = store.redis.zscore("bridge:due:background_task", "t")
        assert due_ms is not None
        seconds, _ = store.redis.time()
        waits.append(round(due_ms / 1000 - seconds))

    assert found(store, delivery).status == "delivered"
    for wait, right in zip(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600], strict=True):
        assert right - 30 <= wait <= right + 1
    [warning] = [one for one in web.get("/api/status").json["warnings"] if "background" in one]
    assert f"({what}: 1)" in warning

    monkeypatch.setattr(BackgroundTasks, "do", usual)
    monkeypatch.setattr(SuppressionStore, "event", lambda self, id: None, raising=False)
    store.redis.zadd("bridge:due:background_task", {"t": 1})
    run_drain(settings)
    assert store.failing_background_tasks() == {}


# --- Retry-After ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
        "Mon, 01 Jan 2024 00:00:00 -9999",
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "99999999999999999999999999",
        "-5",
        "1e9",
        "nan",
        "1, 2, 3",
        "",
        ", ; ,",
        "Mon, 99 Foo 2024 99:99:99 GMT",
    ],
)
def test_no_retry_after_makes_a_sure_refusal_doubtful(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    value: str,
) -> None:
    settings = make_settings(CALL_BACK)
    simulator.state.behave(path=CALLS, status=429, headers={"Retry-After": value})
    [delivery] = open_web(settings).send("website", lead())

    run_drain(settings)

    kept = found(store, delivery)
    assert (kept.status, kept.reason) == ("retrying", "busy")
    assert kept.next_attempt_at is not None


@pytest.mark.parametrize(
    "value", ["٣٠", "1\x000", "²", "\ud800", "Mon, 01 Jan 2024 00:00:00 +٩٩٩٩"]
)
def test_a_retry_after_that_no_number_is_in_is_ignored(value: str) -> None:
    result = HttpResult(sent=True, duration_ms=1, status_code=429, headers={"Retry-After": value})
    assert result.retry_after_s is None


@pytest.mark.parametrize("answer", ["late", "stale", "gone", "refused cancelled"])
def test_a_drain_forgets_what_it_lost(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
) -> None:
    drains: list[Drain] = []
    init = Drain.__init__

    def keeping(self: Drain, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        drains.append(self)

    settings = make_settings(CALL_BACK)
    open_web(settings).send("website", lead())
    monkeypatch.setattr(Drain, "__init__", keeping)
    monkeypatch.setattr(workers.sending, "move_each", lambda _, moves: [answer] * len(moves))

    run_drain(settings, slice_s=0.5)

    assert drains
    assert [drain._taken for drain in drains] == [{}] * len(drains)
    assert [drain._claimed for drain in drains] == [0] * len(drains)


@pytest.mark.parametrize("made", [1, 2])
def test_moves_that_redis_did_not_make_are_made_later_and_nobody_is_called_twice(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
    made: int,
) -> None:
    settings = make_settings(CALL_BACK)
    web = open_web(settings)
    ids = [web.send("website", lead(f"+91987654321{n}"))[0] for n in range(4)]
    usual, refusals = Store.move, [0]

    def refusing(self: Store, moves: Any) -> list[str]:
        if len(moves) <= made or refusals[0] >= 3:
            return usual(self, moves)
        refusals[0] += 1
        return usual(self, moves[:made]) + ["unmade"] * (len(moves) - made)

    monkeypatch.setattr(Store, "move", refusing)

    run_drain(settings)
    for one in ids:
        if found(store, one).status in ("queued", "retrying"):
            make_due(store, one)
    run_drain(settings)

    assert refusals[0] > 0
    assert [found(store, one).status for one in ids] == ["delivered"] * 4
    assert len(simulator.state.calls) == 4
    assert simulator.state.doubled == {}
    assert store.redis.zcard("bridge:leased") == 0


@pytest.mark.parametrize("failures", [30, 1100, 10**6])
def test_a_drain_outlasts_any_number_of_failures_of_redis(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
    failures: int,
) -> None:
    settings = make_settings(CALL_BACK)
    [delivery] = open_web(settings).send("website", lead())
    usual, left = Drain._step, [1]

    def away_for_long(self: Drain, is_ending: bool) -> None:
        if left[0]:
            left[0] -= 1
            self._store_failures = failures
            raise StoreUnavailable("Redis does not answer")
        usual(self, is_ending)

    monkeypatch.setattr(Drain, "_step", away_for_long)
    monkeypatch.setattr(workers.drain, "STORE_AWAY_S", 0.01)
    run_drain(settings)
    assert found(store, delivery).status == "delivered"
