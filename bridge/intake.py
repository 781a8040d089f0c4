"""The intake: verify, parse, match, store, wake. Nothing here calls any other service.

A request that is not authentic, or not JSON or a form, is answered 4xx and leaves no trace.
Everything else is stored before it is answered 202, even what no route wants or no schema fits:
its sender can't mend that, we can.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import orjson

from bridge import log
from bridge.body import read_body
from bridge.errors import RequestError, StoreUnavailable, TooLarge, UnknownSource
from bridge.people import wish_of
from bridge.queue import Bell
from bridge.records import Accepted, NewDelivery
from bridge.settings import Settings
from bridge.store import Store
from bridge.verify import verify
from schemas.event import Event, Item, derive_id
from schemas.expression import ExpressionError
from schemas.route import Route, Routes
from schemas.source import Incoming, Source

logger = log.get(__name__)

# HubSpot sends 100 at the most. All of a request's items are one transaction, and Redis serves
# nobody else while it lasts.
MAX_ITEMS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Intake:
    """Takes webhook requests in."""

    settings: Settings
    store: Store
    bell: Bell

    def receive(
        self, name: str, request: Incoming, *, request_id: str | None = None
    ) -> list[Accepted]:
        """Verify, parse, match, store, wake. Return what became of each item, in order.

        request_id is kept with the events, for their attempts' log lines; None: there is none.

        Raises UnknownSource, BadSignature, UnsupportedMedia, BadPayload, TooLarge or
        StoreUnavailable; then nothing is stored, though after a StoreUnavailable Redis may have
        done it without being able to say so: the resend is then a duplicate.
        """
        now = datetime.now(UTC)
        source, secrets = self.find(name)
        content = self.authentic(source, secrets, request, now)
        found = self.events(source, request, content, now)
        events = [replace(event, request_id=request_id) for event in found]
        matched = [(event, deliveries_of(event, self.settings.routes)) for event in events]
        wishes = {event.id: wish_of(event, source, self.store) for event in events}
        rung, accepted = self.store.accept(
            matched, routes=self.settings.routes.digest, wishes=wishes
        )
        if rung:
            self.wake()
        return accepted

    def find(self, name: str) -> tuple[Source, tuple[str, ...]]:
        """Return a source and its secrets. Raises UnknownSource, also for one without a secret."""
        source = self.settings.routes.sources.get(name)
        secrets = self.settings.secrets.get(name)
        if source is None or not secrets:
            raise UnknownSource(
                "There is no such source here, or its webhook secret is not set on this bridge."
            )
        return source, secrets

    def authentic(
        self, source: Source, secrets: Sequence[str], request: Incoming, now: datetime
    ) -> object:
        """Return the parsed body of a request that its source surely sent."""
        try:
            content: object = read_body(request.body, request.headers.get("Content-Type") or "")
        except RequestError as unreadable:
            # Whoever can't prove who they are learns nothing of what we think of the body.
            verify(source.auth, secrets, request, now=now)
            raise unreadable from None
        verify(source.auth, secrets, request, now=now, content=content)
        return content

    def events(
        self, source: Source, request: Incoming, content: object, now: datetime
    ) -> list[Event]:
        """Return the request's items as events of ours."""
        items = source.kind.parse(content, request, source)
        if len(items) > MAX_ITEMS:
            raise TooLarge(f"The body holds more than {MAX_ITEMS} items; send them in parts.")
        dedupe_s = self.settings.dedupe_days * 86_400
        return [as_event(item, source, now, dedupe_s) for item in items]

    def wake(self) -> None:
        """Ask for a drain. What is stored is safe without it: the worker's tick asks again."""
        try:
            self.bell.ask_for_drain()
        except StoreUnavailable:
            logger.warning("bell.lost")


def as_event(item: Item, source: Source, now: datetime, dedupe_s: int) -> Event:
    """Give an item our own id, the same for each resend of it."""
    if item.source_event_id is not None:
        event_id = derive_id("event", source.name, item.source_event_id)
        source_event_id, fingerprint, remember_s = item.source_event_id, event_id, dedupe_s
    else:
        # No id of the CRM's: equal bytes within the window are one event, later ones a new one.
        digest = derive_id("bytes", source.name, item.type, _canonical(item.data))
        source_event_id = f"{digest}-{int(now.timestamp() * 1000)}"
        event_id = derive_id("event", source.name, source_event_id)
        fingerprint, remember_s = digest, source.id_window_s
    return Event(
        id=event_id,
        source=source.name,
        source_event_id=source_event_id,
        fingerprint=fingerprint,
        remember_s=remember_s,
        type=item.type,
        subject=item.subject,
        thing=item.thing,
        time=item.time,
        received_at=now,
        data=item.data,
        hydrate=item.hydrate,
        problem=item.problem,
    )


def deliveries_of(event: Event, routes: Routes) -> list[NewDelivery]:
    """Return a delivery for each route that wants the event."""
    if event.problem:
        return []
    return [
        NewDelivery(
            id=derive_id("delivery", event.id, route.name),
            route=route.name,
            to=route.to,
            wait_s=route.delay_s,
            bulk=_bulk(event, route, routes),
            flood=route.flood,
        )
        for route in matching(event, routes)
    ]


def _bulk(event: Event, route: Route, routes: Routes) -> str | None:
    """Return why a call waits until a person releases it: its CRM says that an import made it."""
    is_import = routes.sources[event.source].kind.is_import
    if route.to != "call" or is_import is None or not is_import(event.data):
        return None
    return "The CRM marks it as part of an import. Release or cancel them."


def matching(event: Event, routes: Routes) -> Iterator[Route]:
    """Yield the routes that want this event.

    `match` looks at the notification as it came. `when` looks at the whole record, so here only
    where the event is complete; a thin one is asked again in the worker, once it is hydrated.
    """
    for route in routes.for_event(event.source, event.type):
        try:
            if route.match and not route.match.holds(event.data):
                continue
            if route.when and event.hydrate is None and not route.when.holds(event.data):
                continue
        except ExpressionError:
            # The worker meets the same error and says so on the delivery, where it is seen.
            pass
        yield route


def _canonical(data: object) -> str:
    return orjson.dumps(data, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()
