"""`DEMO_DAY=1 make run`: fill the bridge with a day of invented leads and of the calls' outcomes.

Everything goes the real way: signed webhooks, the worker, the stand-in for CallKaro, its outcomes.
So every time is the real one: the whole day happens within a minute.
"""

import time
from collections.abc import Iterable
from datetime import UTC, datetime

from bridge.cli import Failure
from demo.leads import PAUSED, Lead, day_of_leads, request_of
from demo.programs import POLL_S
from demo.running import Running
from schemas.delivery import Status

MOVING = (Status.QUEUED, Status.SENDING)
FILL_S = 120.0  # how long the worker may take for all calls
CALL = "/call/outbound"


class Day:
    """Fills the bridge at a URL, with stand-ins in the place of CallKaro and the CRMs."""

    def __init__(self, running: Running) -> None:
        self._running = running

    def fill(self) -> None:
        """Send all leads, have their calls end, and print what there is then. Raises Failure."""
        began = time.monotonic()
        leads, late = (self._of_routes(found) for found in day_of_leads())
        with self._running.screen.status("Filling a day: webhooks and calls …"):
            self._prepare([*leads, *late])
            self._send(leads)
            self._await_calls()
            self._pause()
            self._send(late)
            self._await_calls()
        with self._running.screen.status("Filling a day: outcomes …"):
            outcomes = self._end_calls(leads)
        total = self._running.api.get("/api/stats?by=day")["total"]
        self._running.screen.print(
            f"Filled a day in {time.monotonic() - began:.0f} s: {len(leads) + len(late)} leads, "
            f"{total['accepted']} calls accepted, {outcomes} outcomes, {total['connected']} people "
            "reached. Times are real, so Reports shows it all in this hour.",
            soft_wrap=True,
        )

    def _of_routes(self, leads: Iterable[Lead]) -> list[Lead]:
        """Return the leads of sources that have a route and a secret."""
        routed = {route.source for route in self._running.settings.routes.routes}
        sources = [name for name in routed if self._running.settings.secrets.get(name)]
        return [lead for lead in leads if lead.source in sources]

    def _prepare(self, leads: Iterable[Lead]) -> None:
        """Tell the stand-ins and the bridge what they must know before the leads come."""
        for lead in leads:
            if lead.at_crm:
                self._running.simulator.tell("PUT", f"records/{lead.at_crm}", lead.contact)
            if lead.refusal:
                behaviour = {"path": CALL, "to_number": lead.number, "times": 1}
                self._running.simulator.tell(
                    "POST", "behave", {**behaviour, "status": lead.refusal}
                )
            if lead.is_suppressed:
                note = {"message": "Asked by e-mail not to be called."}
                self._running.api.request("PUT", f"/api/suppressions/{lead.number}", note)

    def _send(self, leads: Iterable[Lead]) -> None:
        for lead in leads:
            self._running.children.check()
            content_type, body = request_of(lead, datetime.now(UTC))
            answer = self._running.post(lead.source, body, content_type)
            if not answer.ok:
                raise Failure(f"The bridge answered {answer.status_code} to a lead of the day.")

    def _await_calls(self) -> None:
        """Wait until the worker has nothing to send. Raises Failure."""
        until = time.monotonic() + FILL_S
        while any(self._running.api.get("/api/status")["deliveries"][status] for status in MOVING):
            self._running.children.check()
            if time.monotonic() > until:
                raise Failure(
                    f"The worker did not send all calls of the day within {FILL_S:.0f} s."
                )
            time.sleep(POLL_S)

    def _pause(self) -> None:
        note = {"message": "The price list is being changed."}
        for route in self._running.settings.routes.routes:
            if route.source == PAUSED:
                self._running.api.request("PUT", f"/api/pauses/route:{route.name}", note)

    def _end_calls(self, leads: Iterable[Lead]) -> int:
        """Have the stand-in report how the calls ended; return the number of reports."""
        by_number = {lead.number: lead for lead in reversed(list(leads))}
        sent = 0
        for call in self._running.simulator.received("calls"):
            lead = by_number.get(call["to_number"])
            for dial in lead.dials if lead else ():
                self._running.children.check()
                has_talk = "transcription" in dial
                recording = {"recordingUrl": self._running.simulator.recording} if has_talk else {}
                self._running.end_call(call["call_sid"], {**dial, **recording})
                sent += 1
        return sent
