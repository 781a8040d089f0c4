"""The spans of config/tracing.py, made with OpenTelemetry's SDK. Only that module imports this one.

It sets no global tracer provider. So a library that is instrumented by itself, whose spans have
URLs, finds nobody here who would send them.
"""

import logging
from collections.abc import Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from config import log
from config.tracing import Facts, Parent, SpanName

logger = log.get(__name__)

SERVICE: Final = "callkaro-bridge"  # unless OTEL_SERVICE_NAME says otherwise
KINDS: Final[dict[SpanName, SpanKind]] = {
    "webhook": SpanKind.SERVER,
    "accept": SpanKind.PRODUCER,
    "claim": SpanKind.CONSUMER,
    "hydrate": SpanKind.CLIENT,
    "send": SpanKind.CLIENT,
    "write-back": SpanKind.CLIENT,
    "settle": SpanKind.INTERNAL,
}


class Tracing:
    """Makes the spans of one process, and sends them."""

    def __init__(self, process: str, exporter: SpanExporter | None) -> None:
        # Its lines have the endpoint's URL, which may have a login. _Exporter logs in their place.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
        # Of what OpenTelemetry finds out by itself only the environment's names: others find the
        # command line, too.
        ours = Resource({"service.name": SERVICE, "bridge.process": process})
        self._provider = TracerProvider(
            resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False
        )
        self._provider.add_span_processor(
            SimpleSpanProcessor(exporter)
            if exporter is not None
            else BatchSpanProcessor(_Exporter(OTLPSpanExporter()))
        )
        self._tracer = self._provider.get_tracer(SERVICE)

    def begin(
        self, name: SpanName, parent: Parent | None, began_ns: int
    ) -> tuple[Span, str | None]:
        """Begin a span. Returns it with its `traceparent`; None: OTEL_SDK_DISABLED is set."""
        span = self._tracer.start_span(
            name, context=_context_of(parent), kind=KINDS[name], start_time=began_ns
        )
        made = span.get_span_context()
        if not made.is_valid:
            return span, None
        flags = made.trace_flags & TraceFlags.SAMPLED
        return span, f"00-{made.trace_id:032x}-{made.span_id:016x}-{flags:02x}"

    def end(self, span: Span, facts: Facts) -> None:
        """End a span with its facts."""
        span.set_attributes(facts.attributes())
        if facts.error is not None:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def close(self) -> None:
        """Send what is left, and end."""
        self._provider.shutdown()


class _Exporter(SpanExporter):
    """Sends spans to the endpoint, and logs once if that does not work."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._has_failed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans. Those that can't be sent are lost."""
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS and not self._has_failed:
            logger.warning("traces.lost", spans=len(spans))
        self._has_failed = result is not SpanExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        """Make no further request."""
        self._exporter.shutdown()


def _context_of(parent: Parent | None) -> Context:
    """Return what a span begins in. Never the thread's own: what is in there is not ours."""
    if parent is None:
        return Context()
    found = SpanContext(
        trace_id=parent.trace_id,
        span_id=parent.span_id,
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED if parent.is_sampled else TraceFlags.DEFAULT),
    )
    return set_span_in_context(NonRecordingSpan(found), Context())
