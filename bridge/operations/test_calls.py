"""A test call: one real call by a route, to a number that a person names."""

import secrets
from datetime import UTC, datetime
from typing import Any

from bridge.access import current_name, note_act
from bridge.operations.base import Base
from config import log
from schemas.access import Action
from schemas.delivery import WAITING, Delivery, Reason, Status
from schemas.errors import Unconfirmed
from schemas.event import CALL_ME, CALL_ME_ID, Event, derive_id
from schemas.records import Move, NewDelivery

logger = log.get(__name__)


class TestCallOperations(Base):
    """Operations that make test calls."""

    __slots__ = ()

    def call_me(self, route_name: str, number: str, record: Any) -> Delivery:
        """Make one test call by a route to a number (E.164) that a person named.

        The call is an event of its own, and `record` is its CRM record. The route's match, when,
        consent and again_after and the cap of the number do not apply; the other guards do. Raises
        NotFound.
        """
        route = self.calling_route(route_name)
        now, event_id = datetime.now(UTC), secrets.token_hex(13)
        event = Event(
            id=event_id,
            source=route.source,
            source_event_id=f"{CALL_ME_ID}{event_id}",
            fingerprint=event_id,
            remember_s=self.settings.dedupe_days * 86_400,
            type=CALL_ME,
            subject=None,
            time=now,
            received_at=now,
            data={"to_number": number, "record": record},
        )
        delivery_id = derive_id("delivery", event_id, route.name)
        made = NewDelivery(
            id=delivery_id, route=route.name, to="call", wait_s=0, actor=current_name()
        )
        try:
            needs_drain, _ = self.store.accept(
                [(event, [made])], routes=self.settings.routes.digest
            )
        except Unconfirmed:
            # Whoever asks again asks for another call. So this one must not ring later, too.
            needs_drain = False
            if self.store.move([_unmade(delivery_id)]) == ["ok"]:
                raise
        if needs_drain:
            self._request_drain()
        logger.info("operation.call_me", delivery=delivery_id)
        note_act(Action.CALL_ME, "delivery", delivery_id)
        return self._delivery(delivery_id)


def _unmade(delivery_id: str) -> Move:
    return Move(
        id=delivery_id,
        to=Status.CANCELLED,
        from_statuses=WAITING,
        reason=Reason.BY_PERSON,
        message="Too few replicas of Redis confirmed this test call, so it is not made.",
        actor=current_name(),
    )
