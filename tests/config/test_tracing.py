"""The switch of traces, the header that names one, and what happens where spans can't be made.

What needs OpenTelemetry's packages is in tests/traces.
"""

import importlib.abc
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
from support import LONGEST_S, as_bytes, lead, signed
from support.draining import OpenWeb

import config
from config import log, tracing
from config.tracing import Facts, Parent, parent_of
from schemas.settings import Settings
from store import Store

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{SPAN}-01"
PARENT = Parent(trace_id=int(TRACE, 16), span_id=int(SPAN, 16), is_sampled=True)


@pytest.fixture(autouse=True)
def _off(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in tracing.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    yield
    tracing.finish()


# --- the header -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (HEADER, PARENT),
        (f"00-{TRACE}-{SPAN}-00", Parent(PARENT.trace_id, PARENT.span_id, is_sampled=False)),
        (f"00-{TRACE}-{SPAN}-03", PARENT),  # a flag of a later time beside `sampled`
        (f"cc-{TRACE}-{SPAN}-01", PARENT),  # a later version
        (f"cc-{TRACE}-{SPAN}-01-what-comes-then", PARENT),
        (f"cc-{TRACE}-{SPAN}-01.what", None),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (HEADER.upper(), None),
        (f"00-{TRACE[1:]}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}-1", None),
        (f"{HEADER},{HEADER}", None),  # the header came twice
        (f" {HEADER}", None),
        (f"{HEADER}\n", None),
        ("", None),
        (None, None),
    ],
)
def test_a_valid_traceparent_names_a_span(header: str | None, found: Parent | None) -> None:
    assert parent_of(header) == found


def test_a_header_is_taken_up_only_while_spans_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracing.take_up(HEADER) is None
    with monkeypatch.context() as patch:
        patch.setattr(tracing, "_tracing", object())
        assert tracing.take_up(HEADER) == HEADER
        assert tracing.take_up("00-what-ever-01") is None


def test_facts_have_no_place_for_people_and_secrets() -> None:
    ours = {"source", "request_id", "event", "delivery", "route", "attempt", "status", "reason"}
    ours |= {"is_duplicate", "status_code", "error"}
    assert {one.name for one in fields(Facts)} == ours


# --- off ------------------------------------------------------------------------------------------


def test_without_an_endpoint_no_header_is_kept_and_nothing_is_said(
    open_web: OpenWeb, settings: Settings, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure(process="test")
    tracing.warm_up()
    tracing.start(process="web")
    assert not tracing.is_on()
    raw, path = as_bytes(lead("+919812340511")), "/webhooks/website"
    headers = {**signed("website", raw, path), "traceparent": HEADER}
    answer = open_web(settings).client.post(path, data=raw, headers=headers)
    (event,) = answer.json["events"]
    kept = store.redis.hgetall(f"bridge:event:{event['id']}")
    assert "record" in kept
    assert TRACE not in str(kept)
    assert "traces." not in capsys.readouterr().out


def test_without_the_packages_there_are_no_traces_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure(process="test")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9/a-token")
    monkeypatch.delattr(config, "open_telemetry", raising=False)
    monkeypatch.setitem(sys.modules, "config.open_telemetry", None)
    tracing.warm_up()
    tracing.start(process="worker")
    assert not tracing.is_on()
    said = capsys.readouterr().out
    assert said.count("\n") == said.count("traces.off") == said.count("requirements-traces") == 1
    assert "a-token" not in said


# --- what does not work ---------------------------------------------------------------------------


class Unfit(importlib.abc.MetaPathFinder):
    """Packages that raise an error while they are imported, as protobuf does over its version."""

    def find_spec(self, name: str, *given: Any) -> None:
        if name == "config.open_telemetry":
            raise TypeError("Descriptors cannot be created directly")


def test_packages_that_do_not_fit_stop_no_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure(process="test")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delattr(config, "open_telemetry", raising=False)
    monkeypatch.delitem(sys.modules, "config.open_telemetry", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Unfit(), *sys.meta_path])
    tracing.warm_up()
    tracing.start(process="worker")
    assert not tracing.is_on()
    assert "traces.crashed" in capsys.readouterr().out


class Broken:
    """Traces that raise an error at each step, or hang at the end."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def begin(self, *given: Any) -> Any:
        raise RuntimeError("+919876543210")

    def end(self, *given: Any) -> None:
        raise RuntimeError("+919876543210")

    def close(self) -> None:
        self.go_on.wait(LONGEST_S)


def test_an_error_switches_traces_off_and_reaches_nobody(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure(process="test")
    monkeypatch.setattr(tracing, "_tracing", Broken())
    assert tracing.note("send", Facts(), parent=None, began_ns=1) is None
    assert not tracing.is_on()
    monkeypatch.setattr(tracing, "_tracing", Broken())
    tracing.begin("webhook", parent=None).end(Facts())
    monkeypatch.setattr(tracing, "_tracing", Broken())
    tracing.Span(object(), HEADER).end(Facts())
    assert not tracing.is_on()
    said = capsys.readouterr().out
    assert said.count("traces.crashed") == 3
    assert "9876543210" not in said


def test_a_collector_that_hangs_does_not_hold_back_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure(process="test")
    broken = Broken()
    monkeypatch.setattr(tracing, "_tracing", broken)
    monkeypatch.setattr(tracing, "FLUSH_S", 0.01)
    tracing.finish()  # the test's own time limit would end it otherwise
    assert not tracing.is_on()
    assert capsys.readouterr().out.count("traces.lost") == 1
    broken.go_on.set()
