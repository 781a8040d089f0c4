"""/metrics in Prometheus' text format, and the counting of webhook requests.

A scrape reads the store, so any process answers for all of them. Figures that only the web process
knows are collected in it and written to the store in the background, at most once a second.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Any, Final

from flask import Blueprint, Response
from flask.globals import app_ctx, request_ctx
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from bridge.api.access import check_token
from bridge.api.describe import operation
from bridge.http import request_id
from config import log
from schemas.delivery import Status
from schemas.errors import (
    BadPayload,
    BadSignature,
    RequestError,
    StoreUnavailable,
    TooLarge,
    UnknownSource,
    UnsupportedMedia,
    WrongMethod,
)
from schemas.outcome import Result
from schemas.settings import Settings
from schemas.source import Source
from store import Store
from store.counters import Histogram, Measures, read_counts, read_histograms
from store.queue import Wakeup

logger = log.get(__name__)

PREFIX = "callkaro_bridge_"
FLUSH_S = 1.0
FLUSHER = "measures"  # the name of the thread that writes to the store


def views(store: Store, settings: Settings, wakeup: Wakeup) -> Blueprint:
    """Return the route of /metrics. It needs the API token, as /api does."""
    metrics = Blueprint("metrics", __name__)

    @metrics.get("/metrics")
    @operation(
        "Metrics",
        tag="Health",
        description="In Prometheus' text format.",
        answers={200: "text/plain"},
        refusals=(503,),
    )
    def scrape() -> Response:
        check_token(settings)
        registry = CollectorRegistry()
        registry.register(Snapshot(families(store, settings, wakeup)))
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return metrics


# --- counting webhook requests -------------------------------------------------------------------


class Meter:
    """Collects the measures of this process, and writes them to the store in a thread of its own.

    No answer waits for that. While Redis is away the measures are kept; a process that is killed
    loses those of its last second. Give it a store of its own, so that no webhook waits for it.
    """

    def __init__(self, store: Store, *, every_s: float = FLUSH_S) -> None:
        self._store = store
        self._every_s = every_s
        self._lock = threading.Lock()
        self._measures = Measures()
        self._timer: threading.Timer | None = None

    @contextmanager
    def measuring(self) -> Iterator[Measures]:
        """Yield the measures to add to; they are written soon."""
        with self._lock:
            yield self._measures
            if self._timer is None:
                self._timer = self._started()

    def _started(self) -> threading.Timer:
        """Start the timer. Raises where no thread can be started; the next call tries again."""
        # Not a daemon: a process that ends normally waits for the thread, and loses nothing.
        timer = threading.Timer(self._every_s, self.flush)
        timer.name = FLUSHER
        timer.start()
        return timer

    def flush(self) -> None:
        """Write to the store what was measured since the last time; without the store, keep it."""
        with self._lock:
            measures, self._measures = self._measures, Measures()
        try:
            self._store.measure(measures)
        except StoreUnavailable:
            with self._lock:
                self._measures.add(measures)
        except Exception as error:
            logger.error("metrics.lost", exc_info=error)
        finally:
            # Not earlier: while Redis hangs, one thread waits for it, and not a new one a second.
            with self._lock:
                self._timer = None


def count_webhooks(webhooks: Blueprint, meter: Meter, settings: Settings) -> None:
    """Count each request to this blueprint at its end, also a refused one."""

    @webhooks.after_request
    def end(response: Response) -> Response:
        try:
            count(response)
        except Exception as error:
            # The events are stored already. A figure that is lost must not change the answer.
            logger.error("metrics.lost", exc_info=error)
        return response

    def count(response: Response) -> None:
        if is_question(response):
            return
        took_s = request_id.taken_s()
        name = (request_ctx.request.view_args or {}).get("source")
        # Anybody can invent names; only those in routes.toml are counted by name.
        source = name if name in settings.routes.sources else None
        with meter.measuring() as measures:
            measures.webhook(source, response.status_code, took_s)
            if response.status_code >= 400:
                cause = (response.get_json(silent=True) or {}).get("error", "other")
                measures.refused(source, response.status_code, cause, datetime.now(UTC))
            elif source:
                measures.events(source, app_ctx.g.counted)


def is_question(response: Response) -> bool:
    """Say whether a request was no webhook: a HEAD, OPTIONS or another method, or a challenge that
    was answered. A challenge that was refused counts, for the person who connects the source."""
    status_code = response.status_code
    if request_ctx.request.method == "HEAD" or status_code == WrongMethod.status_code:
        return True
    return status_code < 400 and "counted" not in app_ctx.g


# --- what can be counted --------------------------------------------------------------------------

# A counter that appears with its first failure is 1 at once, and Prometheus' increase() sees
# nothing. So what may happen is shown as 0 before. Other results appear when they happen.
ATTEMPT_RESULTS: Final = (
    *("200", "400", "401", "402", "403", "404", "409", "422", "429", "500", "502", "503", "504"),
    *("ConnectionRefusedError", "ConnectionResetError", "RemoteDisconnected", "TimeoutError"),
    *("SSLCertVerificationError", "gaierror", "no_answer"),
)
ANSWERS: Final = ("accepted", "duplicates", "unrouted", "unreadable")
# Those that the scripts of the store count.
MOVES: Final = (
    *(Status.DELIVERED, Status.SKIPPED, Status.FAILED),
    *(Status.UNKNOWN, Status.CANCELLED, Status.HELD),
)
REFUSALS: Final[tuple[type[RequestError], ...]] = (
    *(BadPayload, BadSignature, TooLarge, UnknownSource, UnsupportedMedia),
)


@dataclass(frozen=True, slots=True)
class Known:
    """The labels that these settings allow."""

    sources: Mapping[str, Source]
    routes: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings) -> "Known":
        """Return those of sources and routes in routes.toml."""
        routes = settings.routes
        return cls(routes.sources, tuple(route.name for route in routes.routes))

    @property
    def refused(self) -> Iterator[tuple[str, str, str]]:
        """Yield (source, code, cause)."""
        yield "", str(UnknownSource.status_code), UnknownSource.word
        for name, source in self.sources.items():
            yield name, str(source.kind.full_status), StoreUnavailable.word
            yield from ((name, str(error.status_code), error.word) for error in REFUSALS)

    @property
    def webhooks(self) -> Iterator[tuple[str, str]]:
        """Yield (source, code)."""
        yield from (
            (name, str(source.answer or source.kind.reply.status))
            for name, source in self.sources.items()
        )
        yield from ((source, code) for source, code, _ in self.refused)

    @property
    def events(self) -> Iterator[tuple[str, str]]:
        """Yield (source, answer)."""
        return product(self.sources, ANSWERS)

    @property
    def moves(self) -> Iterator[tuple[str, str]]:
        """Yield (route, status)."""
        return product(self.routes, map(str, MOVES))

    @property
    def outcomes(self) -> Iterator[tuple[str, str]]:
        """Yield (route, result)."""
        return product(self.routes, map(str, Result))


# --- one scrape -----------------------------------------------------------------------------------


class Snapshot(Collector):
    """Metrics that have been read already: without a store, nothing has been sent yet."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = tuple(found)

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        return self._found


def families(store: Store, settings: Settings, wakeup: Wakeup) -> Iterator[Metric]:
    """Yield every metric. Raises StoreUnavailable."""
    kept = store.measured()
    totals = kept.totals
    known = Known.of(settings)
    yield _counter("webhooks", "Webhook requests by source and status code.", "source code").of(
        (((name, code), n) for (code, name), n in read_counts(totals, "webhook").items()),
        known.webhooks,
    )
    yield _counter(
        "webhooks_refused", "Webhook requests that were refused, by cause.", "source code cause"
    ).of(
        (
            ((name.partition(" ")[2], code, name.partition(" ")[0]), n)
            for (code, name), n in read_counts(totals, "refused").items()
        ),
        known.refused,
    )
    yield _counter(
        "events", "Events that were received, by the answer's count.", "source answer"
    ).of(
        (((name, word), n) for (word, name), n in read_counts(totals, "event").items()),
        known.events,
    )
    yield _counter("attempts", "Requests for deliveries, by status code or error.", "result").of(
        (((word,), n) for (word, _), n in read_counts(totals, "attempt").items()),
        ((word,) for word in ATTEMPT_RESULTS),
    )
    yield _counter(
        "delivery_moves", "How often a delivery moved to this status.", "route status"
    ).of(
        (((name, word), n) for (word, name), n in read_counts(totals, "to").items()),
        known.moves,
    )
    yield _counter("outcomes", "Dials that ended, by result.", "route result").of(
        (((name, word), n) for (word, name), n in read_counts(totals, "outcome").items()),
        known.outcomes,
    )
    yield _gauge("deliveries", "Deliveries that have this status now.", "route status").of(
        ((route, status), n) for (status, route), n in kept.status_counts.items()
    )
    yield _histogram(
        "intake_seconds",
        "From the arrival of a webhook to its answer.",
        read_histograms(totals, "intake", ("", *known.sources)),
        "source",
    )
    yield _histogram(
        "webhook_to_call_seconds",
        "From the receipt of an event to CallKaro's acceptance.",
        read_histograms(totals, "call", known.routes),
        "route",
    )
    yield _histogram(
        "callkaro_seconds", "How long attempts took.", read_histograms(totals, "callkaro", ("",))
    )
    yield from _status_counts(store, wakeup)
    yield from _redis(store)


def _status_counts(store: Store, wakeup: Wakeup) -> Iterator[Metric]:
    """Yield what waits, what is paused, and how many workers run."""
    yield _gauge("events_kept", "Events that led to nothing, by status.", "status").of(
        ((str(status),), count) for status, count in store.event_counts().items()
    )
    yield _single("due", "Deliveries that wait for their time.", store.due_count())
    yield _single(
        "oldest_waiting_seconds",
        "How late the oldest delivery is; 0: none waits that could go.",
        store.oldest_waiting_s() or 0.0,
    )
    yield _single(
        "bulk", "Deliveries that are held until a person releases them.", store.bulk_count()
    )
    yield _single("suppressions", "Suppressed numbers and records.", store.suppression_count())
    channels = store.channels().values()
    yield _gauge(
        "channel_expires_timestamp_seconds", "When a CRM's notification channel expires.", "source"
    ).of(((one.source,), one.expires_at.timestamp()) for one in channels if one.expires_at)
    yield _gauge(
        "channel_notified_timestamp_seconds",
        "When the latest webhook of a source with a notification channel came.",
        "source",
    ).of(((one.source,), one.notified_at.timestamp()) for one in channels if one.notified_at)
    yield _gauge(
        "channel_failures", "Failures in a row to renew a notification channel.", "source"
    ).of(((one.source,), one.failures) for one in channels)
    pauses = store.pauses()
    paused = [(pause.scope, pause.reason) for pause in pauses]
    if wakeup.is_suspended():
        paused.append(("workers", "suspended"))
    yield _gauge("paused", "What is paused, and why.", "scope reason").of(
        (labels, 1) for labels in paused
    )
    yield _gauge("route_failing", "1: the bridge paused it, as its calls failed.", "route").of(
        ((pause.scope.removeprefix("route:"),), 1) for pause in pauses if pause.reason == "failing"
    )
    is_open = any(pause.reason == "breaker" for pause in pauses)
    yield _single("breaker_open", "1: CallKaro's breaker is open.", int(is_open))
    yield _single("workers", "Running worker processes.", len(wakeup.workers()))


def _redis(store: Store) -> Iterator[Metric]:
    durable = store.persistence()
    if durable.used_bytes is None:  # our user may not ask
        return
    yield _single("redis_memory_bytes", "Memory that Redis uses.", durable.used_bytes)
    if durable.used_ratio is not None:
        limit = durable.used_bytes / durable.used_ratio if durable.used_ratio else 0
        yield _single("redis_memory_limit_bytes", "Redis' maxmemory.", round(limit))
        yield _single(
            "redis_memory_ratio", "Used memory, as a part of the limit.", durable.used_ratio
        )


# --- helpers --------------------------------------------------------------------------------------


class _Labelled:
    """A metric without its samples."""

    def __init__(self, metric: CounterMetricFamily | GaugeMetricFamily) -> None:
        self._metric = metric

    def of(
        self,
        samples: Iterable[tuple[tuple[str, ...], float]],
        known: Iterable[tuple[str, ...]] = (),
    ) -> Metric:
        """Add the samples, and a zero for each of the known labels that has none."""
        for labels, value in sorted({**dict.fromkeys(known, 0.0), **dict(samples)}.items()):
            self._metric.add_metric(labels, value)
        return self._metric


def _counter(name: str, text: str, labels: str) -> _Labelled:
    return _Labelled(CounterMetricFamily(PREFIX + name, text, labels=labels.split()))


def _gauge(name: str, text: str, labels: str) -> _Labelled:
    return _Labelled(GaugeMetricFamily(PREFIX + name, text, labels=labels.split()))


def _single(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _histogram(name: str, text: str, histograms: dict[str, Histogram], label: str = "") -> Metric:
    metric = HistogramMetricFamily(PREFIX + name, text, labels=[label] if label else [])
    for value, found in sorted(histograms.items()):
        given: list[Any] = [value] if label else []
        metric.add_metric(given, buckets=list(found.buckets), sum_value=found.total_s)
    return metric
