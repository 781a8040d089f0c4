"""/metrics: what a scrape shows of all processes, and that it shows nobody."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support import API_TOKEN, CALL_BACK, Web, lead, route, until

from config.settings import MAX_BODY_BYTES
from schemas.errors import StoreUnavailable
from schemas.settings import Settings
from simulator import Simulator
from store import Store

MakeSettings = Callable[..., Settings]
RunDrain = Callable[..., Any]

PREFIX = "callkaro_bridge_"
OpenWeb = Callable[[Settings], Web]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def redis_url(redis_url: str) -> str:
    """A database apart: the web process of other tests may still tell what it counted for them."""
    return redis_url.removesuffix("/0") + "/1"


def tell(web: Web) -> None:
    web.client.application.extensions["meter"].flush()


def scraped(web: Web) -> Samples:
    """Return every sample of a scrape, by its name and labels."""
    tell(web)
    answer = web.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name.removeprefix(PREFIX), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def test_a_scrape_tells_of_a_webhook_its_delivery_and_its_call(
    web: Web, settings: Settings, run_drain: RunDrain
) -> None:
    web.send("website", lead())
    run_drain(settings)
    samples = scraped(web)
    route = {"route": "call back"}
    assert value(samples, "webhooks_total", source="website", code="202") == 1
    assert value(samples, "events_total", source="website", answer="accepted") == 1
    assert value(samples, "attempts_total", result="200") == 1
    assert value(samples, "delivery_moves_total", status="delivered", **route) == 1
    assert value(samples, "deliveries", status="delivered", **route) == 1
    assert value(samples, "deliveries", status="queued", **route) == 0
    assert value(samples, "deliveries", status="sending", **route) == 0
    assert value(samples, "intake_seconds_count", source="website") == 1
    assert value(samples, "webhook_to_call_seconds_count", **route) == 1
    assert value(samples, "callkaro_seconds_count") == 1
    assert value(samples, "due") == 0
    assert value(samples, "oldest_waiting_seconds") == 0
    assert value(samples, "workers") == 0
    assert (value(samples, "redis_memory_bytes") or 0) > 0
    assert value(samples, "redis_memory_ratio") is None  # no limit is set


def test_what_may_happen_is_zero_before_it_happens(
    web: Web, settings: Settings, run_drain: RunDrain
) -> None:
    """Otherwise increase() misses the first failure."""
    before = scraped(web)
    assert value(before, "webhooks_total", source="website", code="202") == 0
    assert value(before, "webhooks_total", source="hubspot", code="503") == 0
    refused = {"code": "401", "cause": "bad_signature"}
    assert value(before, "webhooks_refused_total", source="zoho", **refused) == 0
    full = {"cause": "store_unavailable", "source": "gohighlevel"}
    assert value(before, "webhooks_refused_total", code="429", **full) == 0
    assert value(before, "events_total", source="website", answer="unreadable") == 0
    assert value(before, "attempts_total", result="503") == 0
    assert value(before, "delivery_moves_total", route="call back", status="failed") == 0
    assert value(before, "intake_seconds_bucket", source="website", le="0.05") == 0
    assert value(before, "webhook_to_call_seconds_count", route="call back") == 0
    assert value(before, "callkaro_seconds_sum") == 0

    web.send("website", lead())
    run_drain(settings)
    assert web.post("website", lead(), secret="wrong").status_code == 401
    assert web.client.post("/webhooks/made-up", data=b"{}").status_code == 404
    after = scraped(web)

    born = {key for key in after if key not in before}
    assert {name for name, _ in born} <= {"deliveries"}
    for (name, labels), count in before.items():
        if name.endswith(("_total", "_bucket", "_count", "_sum")):
            assert after[name, labels] >= count
    for le in ("0.05", "10.0", "86400.0", "+Inf"):
        assert value(after, "webhook_to_call_seconds_bucket", route="call back", le=le) is not None


def test_a_second_process_shows_what_the_first_one_counted(
    open_web: OpenWeb, settings: Settings
) -> None:
    first, second = open_web(settings), open_web(settings)
    first.send("website", lead())
    tell(first)
    second.send("website", lead())
    assert value(scraped(second), "webhooks_total", source="website", code="202") == 2


def test_refused_requests_are_counted_by_cause_and_made_up_names_are_one(
    web: Web, store: Store
) -> None:
    assert web.post("website", lead(), secret="wrong").status_code == 401
    assert web.post("website", lead(), secret="wrong").status_code == 401
    assert web.post("website", b"x" * (MAX_BODY_BYTES + 1)).status_code == 413
    for made_up in ("first", "second"):
        assert web.client.post(f"/webhooks/{made_up}", data=b"{}").status_code == 404
    samples = scraped(web)
    refused = "webhooks_refused_total"
    assert value(samples, refused, source="website", code="401", cause="bad_signature") == 2
    assert value(samples, refused, source="website", code="413", cause="too_large") == 1
    assert value(samples, refused, source="", code="404", cause="unknown_source") == 2
    listed = [(one.source, one.status_code, one.cause, one.count) for one in store.refusals()]
    assert listed == [
        ("website", 401, "bad_signature", 2),
        (None, 404, "unknown_source", 2),
        ("website", 413, "too_large", 1),
    ]
    age = datetime.now(UTC) - store.refusals()[0].latest
    assert timedelta(0) <= age < timedelta(minutes=1)


def test_what_only_asks_is_no_webhook(make_settings: MakeSettings, open_web: OpenWeb) -> None:
    web = open_web(
        make_settings(
            route(source="meta", request={"to_number": '"lead.phone"', "agent_id": '"a"'}),
            secrets={"meta": ("an-app-secret",)},
            variables={"meta": {"VERIFY_TOKEN": "a-verify-token"}},
        )
    )
    path, asked = "/webhooks/meta", {"hub.mode": "subscribe", "hub.challenge": "1"}
    right = {**asked, "hub.verify_token": "a-verify-token"}
    for method, query, status in (
        ("GET", right, 200),
        ("GET", {}, 405),
        ("PUT", {}, 405),
        ("OPTIONS", {}, 200),
        ("HEAD", {}, 200),
    ):
        got = web.client.open(path, method=method, query_string=query)
        assert got.status_code == status, method
    assert web.client.head("/webhooks/nobody").status_code == 404
    samples = scraped(web)
    told = {key: n for key, n in samples.items() if key[0].startswith(("webhooks_", "intake_"))}
    assert {key for key, n in told.items() if n} == set()

    assert web.client.get(path, query_string=asked).status_code == 401
    refused = {"source": "meta", "code": "401", "cause": "bad_signature"}
    assert value(scraped(web), "webhooks_refused_total", **refused) == 1


def test_measures_wait_in_the_process_until_redis_is_back(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = web.client.application.extensions["meter"]
    with monkeypatch.context() as away:

        def refuse(*_: Any) -> None:
            raise StoreUnavailable("away")

        away.setattr(meter._store, "measure", refuse)
        web.send("website", lead())
        meter.flush()
    web.send("website", lead())
    assert value(scraped(web), "webhooks_total", source="website", code="202") == 2


def test_no_figure_changes_the_answer_to_what_is_stored(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:

        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        full.setattr(threading.Timer, "start", refuse)
        assert web.post("website", lead()).status_code == 202
    web.send("website", lead())
    assert value(scraped(web), "webhooks_total", source="website", code="202") == 2


def test_measures_are_written_in_the_background(web: Web, store: Store) -> None:
    web.send("website", lead())
    until(lambda: store.measured().totals.get("webhook 202 website") == "1")


def test_pauses_bulk_and_retries_show(
    open_web: OpenWeb,
    make_settings: MakeSettings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(CALL_BACK)
    web = open_web(settings)
    simulator.state.behave(503)
    web.send("website", lead())
    run_drain(settings)
    store.pause("route:call back", reason="person", message="of Asha")
    samples = scraped(web)
    assert value(samples, "attempts_total", result="503") == 1
    assert value(samples, "deliveries", route="call back", status="retrying") == 1
    assert value(samples, "due") == 1
    assert value(samples, "paused", scope="route:call back", reason="person") == 1
    assert value(samples, "breaker_open") == 0
    assert value(samples, "oldest_waiting_seconds") == 0  # its route is paused


def test_a_scrape_needs_the_token(web: Web) -> None:
    assert web.client.get("/metrics").status_code == 401
    wrong = {"Authorization": "Bearer nobody"}
    assert web.client.get("/metrics", headers=wrong).status_code == 401
    basic = {"Authorization": f"Basic {API_TOKEN}"}
    assert web.client.get("/metrics", headers=basic).status_code == 401


def test_a_scrape_is_503_while_redis_is_away(
    open_web: OpenWeb, make_settings: MakeSettings
) -> None:
    web = open_web(make_settings(redis_url="redis://127.0.0.1:1/0"))
    assert web.get("/metrics").status_code == 503
    assert web.get("/metrics").json["error"] == "store_unavailable"


def test_a_scrape_names_nobody(web: Web, settings: Settings, run_drain: RunDrain) -> None:
    person = lead("+919876501234", name="Zubeida Marked", note="marked-note")
    [delivery] = web.send("website", person)
    run_drain(settings)
    tell(web)
    shown = web.get("/metrics").text
    for marked in ("Zubeida", "9876501234", "marked-note", delivery, "http://"):
        assert marked not in shown
