"""Have the samples' calls end, and see what the CRMs were told of each: once, and on the right
record.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from demo.programs import POLL_S
from demo.running import Running
from schemas.delivery import SETTLED, Status
from schemas.route import Route, RouteWriteBack
from schemas.write_back import Moment

FOLLOW_S: Final = 30.0  # how long the CRM may take to hear of a dial
REDIALLED: Final = ("102",)  # the subjects whose first dial nobody answers
REDIAL: Final[Sequence[Mapping[str, Any]]] = (
    {"hangup_reason": "USER_UNAVAILABLE", "next_call_scheduled": True},
    {"try_count": 1},
)
NOTHING: Final = "nothing: its route has no [route.write_back]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """A call that ended.

    told: for the table. problems: what is not as expected of what the CRM has, a sentence each.
    """

    told: str
    problems: tuple[str, ...] = ()


class WriteBacks:
    """Ends calls by the stand-in for CallKaro, and reads what the stand-ins for CRMs got."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self.told = 0  # the calls that a CRM was told of
        self._calls: Counter[tuple[str, str]] = Counter()  # by source and record

    def end(self, event: Mapping[str, Any], delivery: Mapping[str, Any]) -> Ended:
        """Have the call of a delivery end, dial by dial; return what its CRM was told.

        Raises Failure: the bridge did not take an outcome.
        """
        route = self._running.settings.routes.named(delivery["route"])
        told = route.write_back if route else None
        dials = REDIAL if event["subject"] in REDIALLED else ({},)
        for number, dial in enumerate(dials, start=1):
            self._running.end_call(delivery["call_sid"], dial)
            if told and Moment.OUTCOME in told.on:
                self._await(delivery["id"], number)
        if route is None or told is None:
            return Ended(told=NOTHING)
        self.told += 1
        found = self._found(route, event, delivery)
        problems = (
            *self._unsettled(delivery, told, len(dials)),
            *self._miscounted(route, told, event, found, len(dials)),
        )
        return Ended(told=shown(found), problems=problems)

    def _await(self, delivery_id: str, dials: int) -> None:
        """Wait until the CRM was told of so many dials, or refused it. Raises Failure."""
        until = time.monotonic() + FOLLOW_S
        while time.monotonic() < until:
            settled = [one["status"] in SETTLED for one in self._outcomes(delivery_id)]
            if len(settled) >= dials and all(settled):
                return
            self._running.children.check()
            time.sleep(POLL_S)

    def _outcomes(self, delivery_id: str) -> list[dict[str, Any]]:
        """Return the write-backs that tell of a call's outcomes, the oldest first."""
        told = self._running.api.get(f"/api/deliveries/{delivery_id}")["write_backs"]
        return [one for one in told if one["moment"] == Moment.OUTCOME]

    def _found(
        self, route: Route, event: Mapping[str, Any], delivery: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Return what the stand-in got about a call and its record, the oldest first."""
        told = self._running.simulator.received("told")
        if self._is_by_api(route):
            kind = self._running.settings.routes.sources[route.source].kind.name
            record = (kind, event["subject"])
            return [one for one in told if (one["crm"], one["record_id"]) == record]
        webhooks = [one for one in told if (one["crm"], one["what"]) == (route.source, "webhook")]
        return [one for one in webhooks if one["fields"]["delivery"]["id"] == delivery["id"]]

    def _is_by_api(self, route: Route) -> bool:
        return route.source not in self._running.settings.webhooks_out

    def _unsettled(
        self, delivery: Mapping[str, Any], told: RouteWriteBack, dials: int
    ) -> Iterator[str]:
        outcomes = self._outcomes(delivery["id"])
        name = f"{delivery['source']}: the CRM"
        if Moment.OUTCOME in told.on and len(outcomes) != dials:
            yield f"{name} is told of {len(outcomes)} dials, not {dials}"
        for one in outcomes:
            if one["status"] != Status.DELIVERED:
                why = one["message"] or one["reason"] or "it is not settled yet"
                yield f"{name} was not told of an outcome ({one['status']}): {why}"

    def _miscounted(
        self,
        route: Route,
        told: RouteWriteBack,
        event: Mapping[str, Any],
        found: Sequence[Mapping[str, Any]],
        dials: int,
    ) -> Iterator[str]:
        """Yield what the CRM has too often, or not at all."""
        if Moment.OUTCOME not in told.on:
            return
        if not self._is_by_api(route):
            outcomes = [one for one in found if one["fields"]["moment"] == Moment.OUTCOME]
            if len(outcomes) != dials:
                yield f"{route.source}: {len(outcomes)} webhooks tell of {dials} dials"
            return
        record = (route.source, str(event["subject"]))
        self._calls[record] += told.call
        created = sum(one["what"] == "call created" for one in found)
        if created != self._calls[record]:
            yield (
                f"{route.source}: record {record[1]} has {created} calls in the CRM, "
                f"not {self._calls[record]}"
            )
        if told.fields and not any(one["what"] == "record changed" for one in found):
            yield f"{route.source}: record {record[1]} was not changed"


def shown(told: Sequence[Mapping[str, Any]]) -> str:
    """Return the newest of what a CRM was told, for the table."""
    calls = [one["fields"] for one in told if one["call_id"]]
    changes = [one["fields"] for one in told if one["what"] == "record changed"]
    webhooks = [one["fields"] for one in told if one["what"] == "webhook"]
    lines = [f"call: {_result(call)}" for call in _merged(calls)]
    lines += [f"{name} → {value}" for one in _merged(changes) for name, value in one.items()]
    lines += [" ".join(_words(webhook)) for webhook in webhooks]
    return "\n".join(lines) or "nothing"


def _merged(fields: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what several changes make together: none or one."""
    merged: dict[str, Any] = {}
    for one in fields:
        merged |= one
    return [merged] if merged else []


def _result(call: Mapping[str, Any]) -> str:
    """Return how a call ended, as the title of its record in HubSpot or Zoho says it."""
    title = str(call.get("hs_call_title") or call.get("Subject") or "written")
    return title.rpartition(": ")[2].partition(" (")[0]


def _words(webhook: Mapping[str, Any]) -> Iterator[str]:
    yield f"webhook: {webhook['moment']}"
    if webhook["outcome"]:
        yield webhook["outcome"]["result"]
