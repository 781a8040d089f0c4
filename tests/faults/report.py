"""What a run came to: what was promised and not kept, and what else there is to know."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields

from faults.load import Acknowledged
from faults.told import NOTHING_BROKEN, Judge, of_circles

from schemas.delivery import Delivery, Status
from simulator import State
from store import Store

CALLS = "/call/outbound"
# Where a delivery may stay: nothing goes on by itself, and a person can see it.
ENDS = frozenset(
    {Status.DELIVERED, Status.UNKNOWN, Status.FAILED, Status.SKIPPED, Status.CANCELLED}
)
SHOWN = 10  # of each kind of broken promise


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """The promises that were not kept, a line each.

    lost: an acknowledged event without a delivery in a final or visible state. doubled: a delivery
    with more than one accepted call request. unaccounted: an accepted call request whose delivery
    is neither `delivered` nor `unknown`. unfounded: a call that is `delivered` and was never
    accepted. wrong: answers and indexes that contradict themselves.

    untold: a moment of a call that its CRM was to be told of, and was not. told_twice: a call of
    which the CRM has more than one record. outdated: a record that says less than the newest dial.
    circles: a change of ours that came back as a webhook and was taken for somebody else's.
    """

    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    unaccounted: tuple[str, ...] = ()
    unfounded: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    told_twice: tuple[str, ...] = ()
    outdated: tuple[str, ...] = ()
    circles: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(getattr(self, one.name) for one in fields(self))

    def lines(self) -> Iterator[str]:
        """Yield the counts, and what stands behind those that are not zero."""
        for one in fields(self):
            found: tuple[str, ...] = getattr(self, one.name)
            yield f"{one.name.replace('_', ' '):12} {len(found)}"
            yield from (f"    {one}" for one in found[:SHOWN])


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A run in figures. seconds is the whole of it, from the first start to the last answer."""

    head: str
    harm: Mapping[str, int]
    figures: Mapping[str, object]
    broken: Broken

    def text(self) -> str:
        """Return it for people."""
        lines = [self.head, *(f"{name:12} {value}" for name, value in self.figures.items())]
        return "\n".join([*lines, *self.broken.lines()])


def judge(
    store: Store,
    state: State,
    acknowledged: Iterable[Acknowledged],
    wrong: Iterable[str],
    write_backs: Judge | None,
) -> tuple[Broken, Counter[str]]:
    """Hold what was acknowledged against what is stored and what CallKaro and the CRMs have.

    write_backs: holds what the CRMs were told; None: no dial ended, so there is little to tell.

    Returns what is broken, and how many deliveries ended in each status and for which reason.
    """
    events = list(acknowledged)
    kept = {
        one: store.delivery(one)
        for one in sorted({id_ for event in events for id_ in event.deliveries})
    }
    accepted = Counter(str(call.delivery_id) for call in state.calls)
    for call in accepted.keys() - kept.keys():
        kept[call] = store.delivery(call)
    kept |= {one.id: one for one in of_circles(store)}
    telling = write_backs.judge(filter(None, kept.values())) if write_backs else NOTHING_BROKEN
    ends = Counter(_end(delivery) for delivery in kept.values())
    broken = Broken(
        lost=tuple(_lost(store, events, kept)),
        doubled=tuple(
            f"{call}: {count} accepted; {_shown(kept[call])}"
            for call, count in accepted.items()
            if count > 1
        ),
        unaccounted=tuple(
            f"{call}: {_shown(kept[call])}"
            for call in accepted
            if _status(kept[call]) not in {Status.DELIVERED, Status.UNKNOWN}
        ),
        unfounded=tuple(
            f"{delivery.id}: {_shown(delivery)}"
            for delivery in kept.values()
            if delivery and delivery.to == "call" and delivery.status is Status.DELIVERED
            if state.find_call(call_sid=delivery.call_sid or "") is None
        ),
        wrong=(*wrong, *_miscounted(store, kept)),
        untold=telling.untold,
        told_twice=telling.told_twice,
        outdated=telling.outdated,
        circles=telling.circles,
    )
    return broken, ends


def _lost(
    store: Store, events: Iterable[Acknowledged], kept: Mapping[str, Delivery | None]
) -> Iterator[str]:
    for event in events:
        if store.event(event.event_id) is None:
            yield f"event {event.event_id}: is gone"
            continue
        astray = [one for one in event.deliveries if _status(kept[one]) not in ENDS]
        if astray or not event.deliveries:
            yield f"event {event.event_id}: {[f'{one}: {_shown(kept[one])}' for one in astray]}"


def _miscounted(store: Store, kept: Mapping[str, Delivery | None]) -> Iterator[str]:
    """Yield each status whose index does not hold as many as there are."""
    real = Counter(delivery.status for delivery in kept.values() if delivery)
    for status, count in store.counts().items():
        if count != real[Status(status)]:
            yield f"the index of {status} holds {count}, and there are {real[Status(status)]}"


def _status(delivery: Delivery | None) -> Status | None:
    return delivery.status if delivery else None


def _end(delivery: Delivery | None) -> str:
    if delivery is None:
        return "gone"
    return f"{delivery.status} ({delivery.reason})" if delivery.reason else str(delivery.status)


def _shown(delivery: Delivery | None) -> str:
    """Return where a delivery stands and how it came there."""
    if delivery is None:
        return "is gone"
    way = " > ".join(
        f"{change.at:%H:%M:%S.%f} {change.status}{f' ({change.reason})' if change.reason else ''}"
        for change in delivery.timeline
    )
    tries = [
        f"{one['at']} {one.get('status_code') or one.get('error')}" for one in delivery.attempts
    ]
    return f"{delivery.route}: {_end(delivery)}: {way}; attempts {tries}"


def unfinished(store: Store, acknowledged: Iterable[Acknowledged]) -> str:
    """Return the deliveries that are on their way still, a line each."""
    ids = {one for event in list(acknowledged) for one in event.deliveries}
    found = [store.delivery(one) for one in sorted(ids)]
    waiting = [one for one in found if one and one.status not in ENDS]
    lines = [f"    {one.id}: {_shown(one)}" for one in waiting[:SHOWN]]
    head = f"{len(waiting)} deliveries are on their way still, {found.count(None)} are gone"
    return "\n".join([head, *lines])
