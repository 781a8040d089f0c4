"""Traces: what the bridge tells OpenTelemetry of an event, from its webhook to its call.

Without an endpoint in the environment, or without the packages of requirements-traces.txt, nothing
here does anything, and config/open_telemetry.py, which does the work, is not imported.

    webhook ► accept                                     in the web process
       └──── claim ► hydrate, send, write-back, settle   in the worker, in the same trace

A span says what Facts can say, and no more. An error here is never the caller's: it would cost a
webhook or a call. The first one switches the traces of this process off.
"""

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal

from config import log

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from config.open_telemetry import Tracing

logger = log.get(__name__)

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
HEADER: Final = "traceparent"
# How long the end of a drain or of a web process waits for spans to leave. A collector that does
# not answer must not hold back the next drain.
FLUSH_S: Final = 2.0
# W3C Trace Context: version, trace id, span id, flags. A later version may have more behind it.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})"
    r"-(?!0{32})(?P<trace_id>[0-9a-f]{32})"
    r"-(?!0{16})(?P<span_id>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)

SpanName = Literal["webhook", "accept", "claim", "hydrate", "send", "write-back", "settle"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a span may say: our own ids and words. Nothing of a person, no secret, no URL."""

    source: str | None = None
    request_id: str | None = None
    event: str | None = None
    delivery: str | None = None
    route: str | None = None
    attempt: int | None = None  # the number of the attempt to come; the first is 1
    status: str | None = None  # of the event, the delivery or the answer
    reason: str | None = None
    is_duplicate: bool | None = None
    status_code: int | None = None  # of the answer, HTTP
    error: str | None = None  # the class of an error, never its text

    def attributes(self) -> dict[str, str | int | bool]:
        """Return what is known, under the names that spans have it by."""
        named = {
            _NAMES.get(one.name, f"bridge.{one.name}"): getattr(self, one.name)
            for one in fields(self)
        }
        return {name: value for name, value in named.items() if value is not None}


# Where OpenTelemetry has a name of its own.
_NAMES: Final = {"status_code": "http.response.status_code", "error": "error.type"}


@dataclass(frozen=True, slots=True)
class Parent:
    """A span of another process or another time, as the header `traceparent` names it."""

    trace_id: int
    span_id: int
    is_sampled: bool


class Span:
    """A span that has begun. Without traces it is nothing."""

    def __init__(self, began: Any = None, traceparent: str | None = None) -> None:
        self._began = began
        self.traceparent = traceparent  # what its children name; None: there are no traces

    def end(self, facts: Facts) -> None:
        """End it with these facts."""
        current = _tracing
        if self._began is not None and current is not None:
            with harmless():
                current.end(self._began, facts)


_NOTHING: Final = Span()
_tracing: "Tracing | None" = None


def is_on() -> bool:
    """Say whether this process makes spans."""
    return _tracing is not None


def is_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Say whether the environment names an endpoint for spans."""
    return any(environment.get(name, "").strip() for name in ENDPOINTS)


def warm_up() -> None:
    """Import OpenTelemetry before a fork, if it is wanted; log if it can't be imported."""
    if is_wanted() and _module() is None:
        logger.warning(
            "traces.off",
            message=f"{ENDPOINTS[1]} is set. Install requirements-traces.txt, or unset it.",
        )


def start(*, process: str, exporter: "SpanExporter | None" = None) -> None:
    """Make spans from now on, if they are wanted and can be made. Call this after a fork.

    process: web or worker. exporter: where the spans go, at once; None: to the endpoint of the
    environment, in batches, by a thread.
    """
    global _tracing
    if _tracing is not None or (exporter is None and not is_wanted()):
        return
    module = _module()
    if module is not None:
        with harmless():
            _tracing = module.Tracing(process, exporter)


def finish() -> None:
    """Send what is left, and make no more spans. This takes at most FLUSH_S."""
    global _tracing
    ending, _tracing = _tracing, None
    if ending is not None:
        with harmless():
            # A thread of its own: the exporter repeats a request for longer than we can wait.
            flush = threading.Thread(target=ending.close, daemon=True)
            flush.start()
            flush.join(FLUSH_S)
            if flush.is_alive():
                logger.warning("traces.lost", message=f"No answer within {FLUSH_S:g} s.")


@contextlib.contextmanager
def harmless() -> Iterator[None]:
    """Let no error out. The first one switches the traces of this process off."""
    global _tracing
    try:
        yield
    except Exception as error:
        _tracing = None
        logger.error("traces.crashed", exc_info=error)


def take_up(header: str | None) -> str | None:
    """Return the `traceparent` of a request; None: it has none that is valid, or we make no spans.

    Call this only for a request that proved its sender: whoever names the trace of a request may
    put it into a trace of others, and decides whether it is kept at all.
    """
    return header if header and is_on() and parent_of(header) else None


def parent_of(traceparent: str | None) -> Parent | None:
    """Return what a `traceparent` names; None: there is none, or it is not valid."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None or (found["version"] == "00" and found["more"]):
        return None
    return Parent(
        trace_id=int(found["trace_id"], 16),
        span_id=int(found["span_id"], 16),
        is_sampled=bool(int(found["flags"], 16) & 1),
    )


def begin(name: SpanName, *, parent: str | None) -> Span:
    """Begin a span. parent: a `traceparent`; None: it begins a trace of its own."""
    span, current = _NOTHING, _tracing
    if current is not None:
        with harmless():
            span = Span(*current.begin(name, parent_of(parent), time.time_ns()))
    return span


def note(name: SpanName, facts: Facts, *, parent: str | None, began_ns: int) -> str | None:
    """Make a span of what ends now. Returns its `traceparent`; None: there are no traces.

    parent: as in begin(). began_ns: as time.time_ns() says it.
    """
    traceparent, current = None, _tracing
    if current is not None:
        with harmless():
            began, traceparent = current.begin(name, parent_of(parent), began_ns)
            current.end(began, facts)
    return traceparent


def _module() -> ModuleType | None:
    # Packages that don't fit each other raise any error: protobuf raises its own.
    with harmless(), contextlib.suppress(ImportError):
        from config import open_telemetry

        return open_telemetry
    return None
