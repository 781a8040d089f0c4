"""What a person does to pauses: pause and resume."""

from dataclasses import dataclass
from datetime import UTC, datetime

from bridge.access import current_name, note_act
from bridge.campaigns import CAMPAIGN, NO_CAMPAIGN, is_campaign
from bridge.operations import bulk
from bridge.operations.base import Base
from config import log
from rules.candidate import Denied, candidate_of
from rules.guards import check_age
from schemas.access import Action
from schemas.delivery import CALLKARO, KINDS, WRITE_BACK, Delivery, Reason, Status
from schemas.errors import BadQuery, NotFound, Unconfirmed
from schemas.nearest import did_you_mean
from schemas.records import Claim, Filters
from schemas.requests import LONGEST_MESSAGE
from schemas.write_back import CRM

logger = log.get(__name__)

CRM_KIND = CRM.removesuffix(":")
# What the pauses hold that hold more than calls.
HELD_BY = {"all": KINDS, CRM_KIND: (WRITE_BACK,)}
NOT_PAUSED = "Nothing is paused under this name."


@dataclass(frozen=True, kw_only=True, slots=True)
class WouldResume:
    """What a resume would do."""

    held: int  # deliveries that it makes due
    too_old: int  # of these: older than max_age by now
    is_complete: bool  # False: there are more


class PauseOperations(Base):
    """Operations on pauses."""

    __slots__ = ()

    def pause(self, scope: str, message: str = "") -> bool:
        """Pause a scope: `all`, `callkaro`, or one that names a source, route, campaign or CRM.

        Returns False where it was paused already. Raises BadQuery for a scope that would stop
        nothing, and NotFound for a campaign that there is not.
        """
        if scope.startswith(CAMPAIGN):
            if not is_campaign(scope.removeprefix(CAMPAIGN), self.store):
                raise NotFound(NO_CAMPAIGN)
            return self._pause(scope, message)
        routes = self.settings.routes
        known = {"all", CALLKARO}
        known |= {f"source:{name}" for name in routes.sources}
        known |= {f"route:{route.name}" for route in routes.routes}
        known |= {f"{CRM}{route.source}" for route in routes.routes if route.write_back}
        if scope not in known:
            raise BadQuery(
                f"Nothing has this name. {did_you_mean(scope, known)}"
                f"You can pause one of: {', '.join(sorted(known))}, campaign:<batch_id>."
            )
        return self._pause(scope, message)

    def _pause(self, scope: str, message: str) -> bool:
        try:
            is_new = self.store.pause(
                scope,
                reason="person",
                message=message.strip()[:LONGEST_MESSAGE] or "Paused by a person.",
                actor=current_name(),
            )
        except Unconfirmed:
            note_act(Action.PAUSE, "pause", scope)  # it is stored, and not new when asked again
            raise
        logger.info("operation.pause", scope=scope, new=is_new)
        if is_new:
            note_act(Action.PAUSE, "pause", scope)
        return is_new

    def would_resume(self, scope: str, *, most: int = bulk.MOST_AT_ONCE) -> WouldResume:
        """Count what a resume makes due, and what of that is too old by now. Raises NotFound.

        most: after about this many the count ends.
        """
        kind, _, name = scope.partition(":")
        filters = Filters(
            status=(Status.HELD,),
            reason=Reason.PAUSED,
            route=name if kind == "route" else None,
            source=name if kind in ("source", CRM_KIND) else None,
            to=HELD_BY.get(kind, ()),
        )
        held = too_old = 0
        before: int | None = None
        share = bulk.Slice()
        while True:
            page = self.store.deliveries(filters, before=before, limit=bulk.PAGE)
            mine = [one for one in page.items if one.paused_by == scope]
            held += len(mine)
            too_old += sum(map(self._is_too_old, mine))
            before = int(page.next_cursor) if page.next_cursor else None
            if before is None and not held and not self._is_paused(scope):
                raise self._not_paused(scope)
            if before is None or held >= most or share.is_over(held):
                return WouldResume(held=held, too_old=too_old, is_complete=before is None)

    def _not_paused(self, scope: str) -> NotFound:
        near = did_you_mean(scope, [pause.scope for pause in self.store.pauses()])
        return NotFound(f"{NOT_PAUSED} {near}".strip())

    def _is_paused(self, scope: str) -> bool:
        return scope in {pause.scope for pause in self.store.pauses()}

    def _is_too_old(self, delivery: Delivery) -> bool:
        if delivery.to == WRITE_BACK:
            return False
        seen = self.store.event(delivery.event_id)
        claim = Claim(delivery=delivery, event=seen.event if seen else None)
        data = seen.event.data if seen else None
        try:
            candidate = candidate_of(claim, data, self.settings, datetime.now(UTC))
        except Denied:
            return False
        return check_age(candidate) is not None

    def resume(self, scope: str) -> int:
        """End a pause, and make due what it held. Returns how many. Raises NotFound."""
        released = self.store.resume(scope)
        if released is None:
            raise self._not_paused(scope)
        self.wake()
        logger.info("operation.resume", scope=scope, released=released)
        note_act(Action.RESUME, "pause", scope, count=released)
        return released
