"""One trace from a webhook to its call and its write-back, which tells of nobody."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support import (
    SECRETS,
    WEBSITE,
    Bridge,
    Web,
    as_bytes,
    free_port,
    lead,
    make_due,
    notification,
    route,
    signed,
    until,
)
from support.draining import MakeSettings, OpenWeb, RunDrain, found
from support.receiver import Receiver, serving
from support.telling import ends

from schemas.settings import Settings
from simulator import Simulator
from store import Store
from store.records import erased, read_event

StartBridge = Callable[..., Bridge]
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{SPAN}-01"
NAME, DIGITS, SAID = "Zebulonika", "98123405", "Qworblefax"
PHONE = f"+91{DIGITS}11"
HUBSPOT = (
    route(
        "call contacts",
        source="hubspot",
        event="contact.created",
        request={"to_number": '"properties.phone"', "agent_id": '{ value = "a" }'},
    )
    + '[route.write_back]\non = ["outcome"]\n'
)


def texts_of(spans: Iterable[ReadableSpan]) -> str:
    """Return all that spans say: names, attributes, events, links, status and resource."""
    return "\n".join(span.to_json() for span in spans)


def found_in(text: str) -> list[str]:
    """Return each mark of a person, and each secret, that a text has."""
    marks = (NAME, DIGITS, SAID, "a-key", "a-token", "a-callback-token", *SECRETS.values())
    return [mark for mark in marks if mark in text]


def tree_of(spans: Sequence[ReadableSpan]) -> list[tuple[str, str | None]]:
    """Return the name of each span with that of its parent; `sender`: it came in the header."""
    names = {f"{span.context.span_id:016x}": span.name for span in spans}
    names[SPAN] = "sender"
    return [
        (span.name, names[f"{span.parent.span_id:016x}"] if span.parent else None) for span in spans
    ]


@pytest.fixture
def hubspot(make_settings: MakeSettings, simulator: Simulator, store: Store) -> Settings:
    """Settings whose only route hydrates, and tells HubSpot of outcomes."""
    login = {"ACCESS_TOKEN": "a-token", "API_URL": simulator.url, "API_VERSION": "2026-03"}
    store.note_write_back_routes({"call contacts": ["outcome"]})
    record = {"phone": PHONE, "firstname": NAME, "email": f"{NAME}@example.com"}
    simulator.state.put_record("hubspot", "contacts", "101", record)
    return make_settings(
        HUBSPOT,
        variables={"hubspot": login},
        secrets={"hubspot": (SECRETS["hubspot"],)},
        crm_rates={"hubspot": 90},
    )


def post(web: Web, source: str, body: object, **headers: str) -> Any:
    """Post a webhook with more headers than its source's own."""
    raw, path = as_bytes(body), f"/webhooks/{source}"
    own = signed(source, raw, f"http://localhost{path}")
    return web.client.post(path, data=raw, headers={**own, **headers})


def test_one_trace_goes_from_the_webhook_to_the_call_and_its_write_back(
    hubspot: Settings,
    open_web: OpenWeb,
    store: Store,
    run_drain: RunDrain,
    exporter: InMemorySpanExporter,
) -> None:
    web = open_web(hubspot)
    answer = post(web, "hubspot", [notification("101")], traceparent=HEADER)
    (event,) = answer.json["events"]
    (delivery,) = event["deliveries"]
    run_drain(hubspot)
    written = ends(store, found(store, delivery["id"]))
    run_drain(hubspot)
    assert found(store, written.id).status == "delivered"

    spans = exporter.get_finished_spans()
    assert {f"{span.context.trace_id:032x}" for span in spans} == {TRACE}
    assert sorted(tree_of(spans)) == [
        ("accept", "webhook"),
        ("claim", "webhook"),
        ("claim", "webhook"),
        ("hydrate", "claim"),
        ("send", "claim"),
        ("settle", "claim"),
        ("settle", "claim"),
        ("webhook", "sender"),
        ("write-back", "claim"),
    ]
    said = {span.name: dict(span.attributes or {}) for span in spans}
    assert said["webhook"].keys() == {"bridge.source", "bridge.request_id"}
    assert (said["accept"]["bridge.event"], said["accept"]["bridge.status"]) == (
        event["id"],
        "routed",
    )
    assert said["send"] == {
        "bridge.source": "hubspot",
        "bridge.event": event["id"],
        "bridge.delivery": delivery["id"],
        "bridge.route": "call contacts",
        "bridge.attempt": 1,
        "bridge.status": "accepted",
        "http.response.status_code": 200,
    }
    assert said["write-back"]["bridge.delivery"] == written.id
    assert found_in(texts_of(spans)) == []


def test_a_trace_goes_on_with_each_attempt_and_says_why_it_failed(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    exporter: InMemorySpanExporter,
) -> None:
    settings = make_settings()
    body = lead(PHONE, name=NAME, said=SAID)
    answer = post(open_web(settings), "website", body, traceparent=HEADER)
    (delivery,) = answer.json["events"][0]["deliveries"]
    simulator.state.behave(503, path="/call/outbound", times=1, body=f"{NAME} {PHONE} {SAID}")
    run_drain(settings)
    make_due(store, delivery["id"])
    simulator.state.behave(path="/call/outbound", times=1, cut="after")
    run_drain(settings)
    assert found(store, delivery["id"]).status == "unknown"

    spans = exporter.get_finished_spans()
    assert {f"{span.context.trace_id:032x}" for span in spans} == {TRACE}
    said = [dict(span.attributes or {}) for span in spans if span.name in ("send", "settle")]
    assert [(one["bridge.attempt"], one["bridge.status"]) for one in said] == [
        (1, "again"),
        (1, "retrying"),
        (2, "unknown"),
        (2, "unknown"),
    ]
    assert "error.type" in said[2]
    assert all(not span.events and span.status.description is None for span in spans)
    assert found_in(texts_of(spans)) == []


def test_an_event_without_a_trace_begins_its_own(
    open_web: OpenWeb, settings: Settings, run_drain: RunDrain, exporter: InMemorySpanExporter
) -> None:
    post(open_web(settings), "website", lead(PHONE), traceparent="not-a-trace")
    run_drain(settings)
    spans = exporter.get_finished_spans()
    assert len({span.context.trace_id for span in spans}) == 1
    assert ("webhook", None) in tree_of(spans)
    assert ("claim", "webhook") in tree_of(spans)


def test_a_forged_webhook_names_no_trace(
    open_web: OpenWeb, settings: Settings, exporter: InMemorySpanExporter
) -> None:
    web = open_web(settings)
    headers = {"X-Signature": "sha256=00", "traceparent": HEADER, "X-Request-Id": "a-forged-one"}
    assert (
        web.client.post("/webhooks/website", json=lead(PHONE), headers=headers).status_code == 401
    )
    assert exporter.get_finished_spans() == ()


def test_a_webhook_that_can_not_be_stored_says_so(
    open_web: OpenWeb, make_settings: MakeSettings, exporter: InMemorySpanExporter
) -> None:
    web = open_web(make_settings(redis_url=f"redis://127.0.0.1:{free_port()}"))
    assert post(web, "website", lead(PHONE), traceparent=HEADER).status_code == 503
    (span,) = exporter.get_finished_spans()
    assert dict(span.attributes or {})["error.type"] == "StoreUnavailable"


def test_the_erasure_of_a_person_takes_the_trace_from_the_event(
    open_web: OpenWeb, settings: Settings, store: Store, exporter: InMemorySpanExporter
) -> None:
    answer = post(open_web(settings), "website", lead(PHONE), traceparent=HEADER)
    (event,) = answer.json["events"]
    record = store.redis.hget(f"bridge:event:{event['id']}", "record")
    kept = read_event(record)
    (webhook,) = [one for one in exporter.get_finished_spans() if one.name == "webhook"]
    assert kept.traceparent == f"00-{TRACE}-{webhook.context.span_id:016x}-01"
    assert erased(kept).traceparent is None


# --- real processes -------------------------------------------------------------------------------


def spans_of(collector: Receiver) -> list[tuple[str, str, Any]]:
    """Return (process, service, span) of each span that has arrived."""
    arrived = []
    for _, body in list(collector.got):
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {one.key: one.value.string_value for one in resource.resource.attributes}
            arrived += [
                (about["bridge.process"], about["service.name"], span)
                for scope in resource.scope_spans
                for span in scope.spans
            ]
    return arrived


@pytest.mark.slow
def test_web_and_worker_send_one_trace(
    start_bridge: StartBridge, simulator: Simulator, with_packages: dict[str, str]
) -> None:
    with serving() as collector:
        bridge = start_bridge(
            WEBSITE + route(),
            own_web=True,
            web_processes=1,
            **with_packages,
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=collector.url,
            OTEL_BSP_SCHEDULE_DELAY="3600000",  # so only the end of each process sends its spans
        )
        raw = as_bytes(lead(PHONE, name=NAME, said=SAID))
        url = f"{bridge.url}/webhooks/website?token=a-token"
        headers = {**signed("website", raw, url), "traceparent": HEADER}
        answer = bridge.session.post(url, data=raw, headers=headers)
        assert answer.status_code == 202, answer.text
        until(lambda: spans_of(collector), what="the spans of the drain")
        bridge.stop()
        arrived = spans_of(collector)
    assert {span.trace_id.hex() for _, _, span in arrived} == {TRACE}
    assert {(process, span.name) for process, _, span in arrived} == {
        ("web", "webhook"),
        ("web", "accept"),
        ("worker", "claim"),
        ("worker", "send"),
        ("worker", "settle"),
    }
    (call,) = simulator.state.calls
    (sent,) = [span for _, _, span in arrived if span.name == "send"]
    said = {one.key: one.value.string_value for one in sent.attributes}
    assert said["bridge.delivery"] == call.metadata["bridge_delivery_id"]
    bodies = b"".join(body for _, body in collector.got).decode("latin-1")
    assert "bridge.delivery" in bodies
    assert found_in(bodies) == []
