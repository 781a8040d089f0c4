"""Spans of one process: what they say, and what happens to them."""

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support import LONGEST_S, ROOT
from support.receiver import serving

from config import log, tracing
from config.tracing import Facts

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{SPAN}-01"


def test_a_span_is_the_child_of_its_parent_and_has_its_facts(
    exporter: InMemorySpanExporter,
) -> None:
    span = tracing.begin("webhook", parent=HEADER)
    span.end(Facts(source="website", is_duplicate=False, status_code=202))
    (made,) = exporter.get_finished_spans()
    assert (made.name, made.parent and made.parent.span_id) == ("webhook", int(SPAN, 16))
    assert span.traceparent == f"00-{TRACE}-{made.context.span_id:016x}-01"
    assert dict(made.attributes or {}) == {
        "bridge.source": "website",
        "bridge.is_duplicate": False,
        "http.response.status_code": 202,
    }
    assert made.status.is_unset


def test_an_error_is_told_by_its_class_alone(exporter: InMemorySpanExporter) -> None:
    tracing.note("send", Facts(error="TimeoutError"), parent=None, began_ns=1_000)
    (made,) = exporter.get_finished_spans()
    assert (made.parent, made.start_time, made.events) == (None, 1_000, ())
    assert (made.status.is_ok, made.status.description) == (False, None)
    assert dict(made.attributes or {}) == {"error.type": "TimeoutError"}


def test_what_the_sender_does_not_sample_is_not_sent(exporter: InMemorySpanExporter) -> None:
    header = f"00-{TRACE}-{SPAN}-00"
    traceparent = tracing.note("claim", Facts(), parent=header, began_ns=1)
    assert exporter.get_finished_spans() == ()
    assert traceparent is not None  # the worker's spans are left out, too
    assert (traceparent[:36], traceparent[-3:]) == (header[:36], "-00")


def test_without_an_endpoint_no_code_of_traces_is_loaded() -> None:
    code = (
        "import sys, bridge.app, workers.jobs\n"
        "from config import tracing\n"
        "tracing.warm_up(); tracing.start(process='web'); tracing.finish()\n"
        "assert not tracing.is_on()\n"
        # redis-py imports some of OpenTelemetry's packages itself, if they are there.
        "print({'config.open_telemetry', 'opentelemetry.exporter'} & set(sys.modules))\n"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=LONGEST_S,
    )
    assert done.stdout == "set()\n"


def test_spans_that_are_refused_are_lost_and_the_line_has_no_url(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure(process="test")
    with serving() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.url)
        collector.answers = [400]
        tracing.start(process="worker")
        tracing.note("claim", Facts(), parent=None, began_ns=1)
        monkeypatch.setattr(tracing, "FLUSH_S", LONGEST_S)
        tracing.finish()
    assert len(collector.got) == 1
    said = capsys.readouterr().out
    assert said.count("traces.lost") == said.count("\n") == 1
    assert "a-token" not in said
