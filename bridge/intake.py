"""The intake: verify, parse, match, store, wake. Nothing here calls any other service.

A request that is not authentic, or not JSON or a form, is answered 4xx and leaves no trace.
Everything else is stored before it is answered 202, even what no route wants or no schema fits:
its sender can't mend that, we can.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bridge.http.body import read_body
from config import log
from rules.matching import as_event, deliveries_of
from schemas.errors import RequestError, StoreUnavailable, TooLarge, UnknownSource
from schemas.event import Event
from schemas.records import Accepted
from schemas.settings import Settings
from schemas.signatures import verify
from schemas.source import Incoming, Source
from store import Store
from store.queue import Wakeup
from store.suppression import side_effect_of

logger = log.get(__name__)

# HubSpot sends 100 at the most. All of a request's items are one transaction, and Redis serves
# nobody else while it lasts.
MAX_ITEMS = 1000


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
        side_effects = {event.id: side_effect_of(event, source, self.store) for event in events}
        woke, accepted = self.store.accept(
            matched, routes=self.settings.routes.digest, side_effects=side_effects
        )
        if woke:
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
            self.wakeup.request_drain()
        except StoreUnavailable:
            logger.warning("bell.lost")
