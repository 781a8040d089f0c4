"""The intake: verify, parse, match, store, wake. Nothing here calls any other service.

A request of an unknown source or without proof of its sender is refused, and nothing of it is
stored. One that proves its sender and can't be read as JSON or a form is refused, too, and its body
is kept for people to see (refused.py). Every other request is stored before the answer 202, also if
no route matches an event of it, or no schema fits it: the sender can't fix that, we can.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bridge.http.media import is_encoded, read_content
from bridge.refused import keep_refused
from bridge.wake import loss_is_logged
from config import tracing
from config.tracing import Facts
from rules.matching import deliveries_of, events_of
from schemas.errors import (
    BadSignature,
    RequestError,
    UnknownSource,
)
from schemas.event import Event
from schemas.records import Accepted, NewDelivery
from schemas.settings import Settings
from schemas.signatures import check_account, needs_content, verify
from schemas.source import Incoming, Source, Token, read_items
from store import Store
from store.queue import Wakeup
from store.suppression import side_effect_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Intake:
    """Takes webhook requests in."""

    settings: Settings
    store: Store
    wakeup: Wakeup

    def receive(
        self, name: str, request: Incoming, *, request_id: str | None = None
    ) -> list[Accepted]:
        """Verify, parse, match, store, wake. Return what became of each item, in order.

        request_id is stored with the events, for the log lines of their attempts. None: the events
        have no request id.

        Raises UnknownSource, BadSignature, UnsupportedMedia, BadPayload, TooLarge or
        StoreUnavailable. Then no event is stored, with one exception: after a StoreUnavailable some
        or all of them may be. The resend of those is a duplicate.
        """
        source, secrets = self.find(name)
        now = datetime.now(UTC)

        request, content = self.verify_request(source, secrets, request, now)
        check_account(source, content, self.settings.variables.get(name, {}))
        spanned = self.traced(source, request, request_id) if tracing.is_on() else nullcontext()
        with spanned as traceparent:
            try:
                events = self.parse(source, request, content, now, request_id, traceparent)
                matched = self.match(events)
                must_wake, accepted = self.store_all(source, matched, traceparent)
            except RequestError as error:
                keep_refused(self.settings, self.store, source, request, error)
                raise
            if must_wake:
                self.wake()
            elif any(delivery.wait_s for _, deliveries in matched for delivery in deliveries):
                self.tell_tickers()
        return accepted

    def find(self, name: str) -> tuple[Source, tuple[str, ...]]:
        """Return a source and its secrets. Raises UnknownSource, also if it has no secret."""
        source = self.settings.routes.sources.get(name)
        secrets = self.settings.secrets.get(name)
        if source is None or not secrets:
            raise UnknownSource(
                "There is no such source here, or its webhook secret is not set on this bridge."
            )
        return source, secrets

    def verify_request(
        self, source: Source, secrets: Sequence[str], request: Incoming, now: datetime
    ) -> tuple[Incoming, object]:
        """Return a request with its proof, and its content. Raises if it does not prove its sender.

        A body is parsed only after its proof, unless its CRM puts the token into the body. Then it
        must not be compressed: 4 kB of a stranger would become 4 MB to read.
        """
        variables = self.settings.variables.get(source.name, {})
        try:
            proof = verify(source.auth, secrets, request, now=now, variables=variables)
        except BadSignature as unproved:
            if not needs_content(source.auth) or is_encoded(request):
                raise
            try:
                content = self.read(source, request)
            except RequestError:
                # A sender that can't prove its identity learns nothing about our parser.
                raise unproved from None
            proof = verify(
                source.auth, secrets, request, now=now, content=content, variables=variables
            )
            return replace(request, proof=proof), content
        request = replace(request, proof=proof)
        try:
            return request, self.read(source, request)
        except RequestError as error:
            keep_refused(self.settings, self.store, source, request, error)
            raise

    @contextmanager
    def traced(
        self, source: Source, request: Incoming, request_id: str | None
    ) -> Iterator[str | None]:
        """Make a span of a request that has its proof; see Event.traceparent for what this yields.

        A request without its proof has no span: it may name the trace of somebody else.
        """
        parent = tracing.take_up(request.headers.get(tracing.HEADER))
        span = tracing.begin("webhook", parent=parent)
        facts = Facts(source=source.name, request_id=request_id)
        try:
            yield span.traceparent
        except Exception as error:
            facts = replace(facts, error=type(error).__name__)
            raise
        finally:
            span.end(facts)

    def read(self, source: Source, request: Incoming) -> object:
        """Return the content of a body. Raises UnsupportedMedia, BadPayload or TooLarge."""
        content: object = read_content(source.kind, request)
        if request.method == "GET" and isinstance(source.auth, Token) and isinstance(content, dict):
            return {key: value for key, value in content.items() if key != source.auth.query}
        return content

    def parse(
        self,
        source: Source,
        request: Incoming,
        content: object,
        now: datetime,
        request_id: str | None,
        traceparent: str | None,
    ) -> list[Event]:
        """Return the items of a request as events. Raises TooLarge."""
        items = read_items(source, content, request)
        dedupe_s = self.settings.dedupe_days * 86_400
        zone = self.settings.callkaro_timezone
        return events_of(
            items,
            source,
            request,
            now,
            dedupe_s,
            request_id,
            zone=zone,
            traceparent=traceparent,
        )

    def match(self, events: Sequence[Event]) -> list[tuple[Event, list[NewDelivery]]]:
        """Return each event with a delivery for each route that matches it."""
        return [(event, deliveries_of(event, self.settings.routes)) for event in events]

    def store_all(
        self,
        source: Source,
        matched: Sequence[tuple[Event, list[NewDelivery]]],
        traceparent: str | None,
    ) -> tuple[bool, list[Accepted]]:
        """Store each event whole, with its deliveries and its side effect.

        Returns whether a drain must be enqueued, and what became of each event.
        """
        side_effects = {event.id: side_effect_of(event, source, self.store) for event, _ in matched}
        routes = self.settings.routes.digest
        began_ns = time.time_ns()
        answer = self.store.accept(matched, routes=routes, side_effects=side_effects)
        if traceparent is not None:
            note_accepted(source, answer[1], traceparent, began_ns)
        return answer

    def wake(self) -> None:
        """Enqueue a drain. If this fails, nothing is lost: the ticker also asks for drains."""
        with loss_is_logged():
            self.wakeup.request_drain()

    def tell_tickers(self) -> None:
        """Let the tickers know that something falls due later. If this fails, it may be late."""
        with loss_is_logged():
            self.wakeup.tell_tickers()


def note_accepted(
    source: Source, accepted: Sequence[Accepted], traceparent: str, began_ns: int
) -> None:
    """Make a span of each event that was stored, or was a duplicate."""
    for one in accepted:
        facts = Facts(
            source=source.name,
            event=one.event_id,
            status=one.status,
            is_duplicate=one.duplicate,
        )
        tracing.note("accept", facts, parent=traceparent, began_ns=began_ns)
