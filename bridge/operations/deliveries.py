"""What a person does to deliveries: retry, release, cancel, resolve."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from zoneinfo import ZoneInfo

from bridge.access import current_name, note_act
from bridge.operations import bulk
from bridge.operations.base import Base
from bridge.operations.bulk import Bulk, cursor_of, log_many
from config import log
from rules.mapping import campaigns_of_now
from schemas.access import Action
from schemas.delivery import (
    WAITING,
    WRITE_BACK,
    Delivery,
    Reason,
    Status,
    may_cancel,
    may_have_rung,
    retried,
)
from schemas.errors import BadQuery, Conflict
from schemas.records import Filters, Move
from store.suppression import Suppressions, called_off, dropping

logger = log.get(__name__)

MoveOf = Callable[[Delivery], Move | None]  # None: that can't be done to this delivery

ONLY_BULK = (
    "Only deliveries that are held as bulk can be released. What a pause holds goes on when a "
    "person resumes it, and what is outside the calling hours goes when these begin."
)
LOCAL_TIME = "%Y-%m-%dT%H:%M:%S"  # schedule_at's
ON_THE_WIRE = (
    "Its request may be on the way to CallKaro right now. Wait until this attempt has ended."
)
# What a retry of an ended delivery forgets, so that it starts from the beginning. Its attempts
# stay.
TRIED_AGAIN: dict[str, str | int | None] = {
    **dict.fromkeys(
        (
            "first_ms",
            "crashes",
            "not_before_ms",
            "lookup_failures",
            "waiting_for",
            "waiting_since_ms",
        )
    ),
    "spent": 0,
}
# A call forgets more. A write-back keeps the call_sid of the call that it tells of.
RESTARTED: dict[str, str | int | None] = {
    **TRIED_AGAIN,
    **dict.fromkeys(("call_sid", "batch_id", "campaign_key", "cancel_ms", "call_again")),
}


class DeliveryOperations(Base):
    """Operations on deliveries."""

    __slots__ = ()

    # --- one ----------------------------------------------------------------------------------

    def retry(self, delivery_id: str, *, call_again: bool = False) -> Delivery:
        """Retry a delivery now. Returns it as it is after that.

        A delivery that has ended starts from the beginning. One that waits is looked at now.
        Raises NotFound, or Conflict where its request is on the wire, or where a phone rang (or may
        have rung) and call_again is False.
        """
        delivery = self._delivery(delivery_id)
        move = _retry(delivery, call_again=call_again)
        if move is None:
            raise Conflict(
                ON_THE_WIRE
                if delivery.status is Status.SENDING
                else f"This delivery is {delivery.status}: a phone rang, or may have rung. To call "
                'again, send {"call_again": true}, or use --call-again on the command line.'
            )
        if move.expected_lease is not None:
            return self._move(move, "call again", Action.CALL_AGAIN)
        return self._move(move, "retry", Action.RETRY)

    def cancel(self, delivery_id: str) -> Delivery:
        """Cancel a delivery. Returns it as it is after that.

        A delivery that waits is cancelled. A call that CallKaro has scheduled stays
        `delivered` until the worker has had CallKaro delete it. Raises NotFound, or Conflict where
        it is too late.
        """
        delivery = self._delivery(delivery_id)
        if delivery.cancel_asked_at is not None:
            return delivery  # the worker asks CallKaro already
        move = self._cancel(delivery)
        if move is None:
            raise Conflict(_too_late(delivery))
        return self._move(move, "cancel", Action.CANCEL)

    def may_cancel(self, delivery: Delivery) -> bool:
        """Say whether cancel() would do something for a delivery as it is now."""
        return self._cancel(delivery) is not None

    def resolve(self, delivery_id: str, status: Status) -> Delivery:
        """Settle an `unknown` delivery as a person found it: `delivered` or `failed`.

        Raises NotFound, or Conflict where it is not `unknown`.
        """
        delivery = self._delivery(delivery_id)
        if delivery.status is not Status.UNKNOWN:
            raise Conflict(
                f"Only an unknown delivery can be resolved. This delivery is {delivery.status}."
            )
        move = Move(
            id=delivery.id,
            to=status,
            from_statuses=frozenset({Status.UNKNOWN}),
            reason=Reason.BY_PERSON,
            message=f"A person checked this call and marked it as {status}.",
        )
        self._move(move, "resolve", Action.RESOLVE)
        if status is Status.DELIVERED:
            Suppressions(store=self.store).call_off_accepted(delivery.id)
        return self._delivery(delivery.id)

    def _move(self, move: Move, what: str, action: Action) -> Delivery:
        answer = self.store.move([by_caller(move)])[0]
        if answer != "ok":
            raise Conflict(
                f"The delivery has just changed ({answer}). Look at it again, then decide."
            )
        if move.wait_s is not None:
            self.wake()
        else:
            self.tell_tickers()  # the CRM may have to be told
        logger.info("operation.done", operation=what, delivery=move.id, status=move.to)
        note_act(action, "delivery", move.id)
        return self._delivery(move.id)

    # --- many ---------------------------------------------------------------------------------

    def retry_many(
        self, filters: Filters, *, call_again: bool, dry_run: bool, before: int | None = None
    ) -> Bulk:
        """Retry every delivery that matches; without a status in the filters: the failed ones."""
        filters = filters if filters.status else replace(filters, status=(Status.FAILED,))
        move_of = partial(_retry, call_again=call_again)
        done = self._move_many(filters, move_of, dry_run=dry_run, before=before)
        action = Action.CALL_AGAIN if call_again else Action.RETRY
        log_many(action, done, dry_run=dry_run, call_again=call_again)
        return done

    def release_many(
        self,
        filters: Filters,
        *,
        dry_run: bool,
        most: int | None = None,
        before: int | None = None,
    ) -> Bulk:
        """Release the matching deliveries that are held as bulk, the newest first.

        most: at most this many; None: all. Raises BadQuery for filters that leave out all bulk.
        """
        statuses = filters.status or (Status.HELD,)
        if filters.reason not in (None, Reason.BULK) or Status.HELD not in statuses:
            raise BadQuery(ONLY_BULK)
        filters = replace(filters, status=(Status.HELD,), reason=Reason.BULK)
        done = self._move_many(filters, _release, dry_run=dry_run, before=before, most=most)
        log_many(Action.RELEASE, done, dry_run=dry_run)
        return done

    def cancel_many(self, filters: Filters, *, dry_run: bool, before: int | None = None) -> Bulk:
        """Cancel every delivery that matches.

        Without a status in the filters: those that wait; of a campaign also those that CallKaro may
        still call.
        """
        if filters.campaign and not filters.status:
            filters = replace(filters, unfinished=True)
        elif not filters.status:
            filters = replace(filters, status=tuple(sorted(WAITING)))
        done = self._move_many(filters, self._cancel, dry_run=dry_run, before=before)
        log_many(Action.CANCEL, done, dry_run=dry_run)
        return done

    def _move_many(
        self,
        filters: Filters,
        move_of: MoveOf,
        *,
        dry_run: bool,
        before: int | None,
        most: int | None = None,
    ) -> Bulk:
        """Move every delivery that matches, as move_of says.

        There is no next_cursor where `most` has been reached.
        """
        matched = done = 0
        refused: Counter[str] = Counter()
        share = bulk.Slice()
        while True:
            limit = bulk.PAGE if most is None else min(bulk.PAGE, most - done)
            page = self.store.deliveries(filters, before=before, limit=limit)
            matched += len(page.items)
            refused += self._unmoved(page.items, move_of, dry_run=dry_run)
            done = matched - refused.total()
            before = int(page.next_cursor) if page.next_cursor else None
            is_enough = most is not None and done >= most
            if before is None or is_enough or share.is_over(matched):
                break
        if done and not dry_run:
            self.wake()
        return Bulk(
            matched=matched,
            done=done,
            refused=refused.total(),
            next_cursor=None if is_enough else cursor_of(before),
            refused_by=dict(refused),
        )

    def _unmoved(
        self, deliveries: Iterable[Delivery], move_of: MoveOf, *, dry_run: bool
    ) -> Counter[str]:
        """Move what can be moved. Returns how many could not be, by the status seen."""
        pairs = [(delivery, move_of(delivery)) for delivery in deliveries]
        moves = [by_caller(move) for _, move in pairs if move is not None]
        answers = iter(["ok"] * len(moves) if dry_run else self.store.move(moves))
        return Counter(
            str(delivery.status)
            for delivery, move in pairs
            if move is None or next(answers) != "ok"
        )

    def _cancel(self, delivery: Delivery) -> Move | None:
        """Return the move that cancels a delivery; None: it is too late for that."""
        now = datetime.now(UTC)
        local = now.astimezone(ZoneInfo(self.settings.callkaro_timezone)).strftime(LOCAL_TIME)
        match may_cancel(delivery, local):
            case None:
                return None
            case "now":
                move = called_off(delivery, Reason.BY_PERSON, "A person cancelled this delivery.")
                # It goes on to count in the campaign that it would have joined.
                key = campaigns_of_now(self.settings, now).get(delivery.route)
                is_call = delivery.to == "call"
                return replace(move, fields={"campaign_key": key}) if key and is_call else move
            case "at_callkaro":
                if delivery.cancel_asked_at:
                    return None
                return dropping(delivery, Reason.BY_PERSON, actor=current_name())


def by_caller(move: Move) -> Move:
    """Return a move with the name of the token that makes this request."""
    return replace(move, actor=current_name())


def _retry(delivery: Delivery, *, call_again: bool) -> Move | None:
    to = retried(delivery, call_again=call_again)
    if to is None:
        return None
    has_ended = delivery.status not in WAITING
    if delivery.to == WRITE_BACK:
        return Move(
            id=delivery.id,
            to=to,
            from_statuses=frozenset({delivery.status}),
            reason=Reason.BY_PERSON,
            message="A person asked for a retry.",
            fields=TRIED_AGAIN if has_ended else {},
            wait_s=0,
        )
    return Move(
        id=delivery.id,
        to=to,
        from_statuses=frozenset({delivery.status}),
        expected_lease=delivery.lease if may_have_rung(delivery) else None,
        restarts=has_ended,
        reason=Reason.BY_PERSON,
        message="A person asked for another call." if call_again else "A person asked for a retry.",
        fields={
            **(RESTARTED if has_ended else {}),
            # It overrides again_after and the cap of its number, and stays on record.
            **({"call_again": 1} if call_again else {}),
        },
        wait_s=0,
    )


def _release(delivery: Delivery) -> Move:
    return Move(
        id=delivery.id,
        to=Status.QUEUED,
        from_statuses=frozenset({Status.HELD}),
        reason=Reason.BY_PERSON,
        message="A person released this delivery.",
        wait_s=0,
    )


def _too_late(delivery: Delivery) -> str:
    match delivery.status:
        case Status.SENDING:
            return ON_THE_WIRE
        case Status.UNKNOWN:
            return (
                "CallKaro may have this call. Find out and resolve the delivery first. Cancel it "
                "after that if the call is still scheduled."
            )
        case Status.DELIVERED:
            return "CallKaro has this call, and has nothing scheduled that it could still delete."
        case _:
            return f"This delivery has ended already: it is {delivery.status}."
