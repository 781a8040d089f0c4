"""Send the samples, follow each one to its end, and show the result."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from rich import box
from rich.markup import escape
from rich.table import Table

from bridge.cli import Failure
from demo.programs import POLL_S
from demo.running import Running
from demo.sample_requests import Sample, problems_of, samples, why_not_sent
from demo.write_backs import WriteBacks
from schemas.callkaro import METADATA_ID
from schemas.delivery import SETTLED, Status
from schemas.fields import mask_number

FOLLOW = timedelta(seconds=30)  # how long a sample may take until it is settled
HEADINGS = ("Event", "Delivery", "Status", "What CallKaro received", "What the CRM was told")
AT_REST = SETTLED | {Status.UNKNOWN, Status.HELD}


@dataclass(kw_only=True, slots=True)
class Results:
    """What became of the samples."""

    sent: int = 0
    expected_calls: int = 0
    rows: list[tuple[str, ...]] = field(default_factory=list)  # of the table on the screen
    not_sent: list[str] = field(default_factory=list)  # a sentence for each
    problems: list[str] = field(default_factory=list)  # a sentence for each


class Rehearsal:
    """Sends the samples to the bridge at a URL, with stand-ins in the place of CallKaro."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._write_backs = WriteBacks(running)

    def run(self, *, own_routes: bool) -> bool:
        """Send, follow and show the samples; return whether all went as expected.

        own_routes: the routes may differ from the shipped ones, which the samples are made for.
        A sample that can't be sent is no sign that the bridge is broken.
        """
        results = Results()
        with self._running.screen.status("Sending a signed sample of each source …"):
            for sample in samples(datetime.now(UTC)):
                if why := why_not_sent(sample, self._running.settings):
                    results.not_sent.append(f"{sample.source}: {why}, so no sample is sent")
                    continue
                try:
                    self._send(sample, results)
                except Failure as error:
                    self._running.children.check()  # if a process has ended, that is the reason
                    results.problems.append(f"{sample.source}: {error.message}")
        if results.rows:
            self._show(results.rows)
        self._sum_up(results, own_routes=own_routes)
        return bool(results.sent) and not results.problems

    def _send(self, sample: Sample, results: Results) -> None:
        """Send one sample, and add what became of it to the results. Raises Failure."""
        results.sent += 1
        results.expected_calls += sample.routed
        sent_at = datetime.now(UTC)
        answer = self._post(sample)
        found = list(self._follow(answer))
        results.problems += problems_of(sample, answer, found)
        results.rows += self._rows(sample, found, sent_at, results.problems)

    def _sum_up(self, results: Results, *, own_routes: bool) -> None:
        """Print which samples were not sent, and either the problems or that there are none."""
        for line in results.not_sent:
            self._running.screen.print(escape(line), soft_wrap=True)
        if not results.sent:
            self._running.screen.print("No sample could be sent.")
            return
        calls = len(self._running.simulator.received("calls"))
        if calls != results.expected_calls:
            expected = results.expected_calls
            results.problems.append(f"CallKaro accepted {calls} calls, not {expected}")
        heading = "Differs from the shipped routes.toml" if own_routes else "Not as expected"
        for problem in results.problems:
            self._running.screen.print(f"{heading}: {escape(problem)}", soft_wrap=True)
        if not results.problems:
            which = "Every sample that was sent" if results.not_sent else "Every sample"
            what = "1 call, accepted once" if calls == 1 else f"{calls} calls, each accepted once"
            told = self._write_backs.told
            more = f" {told} of them told to CRMs, each once." if told else ""
            self._running.screen.print(f"{which} ended as expected: {what}.{more}")

    def _post(self, sample: Sample) -> dict[str, Any]:
        answer = self._running.post(sample.source, sample.body, sample.content_type)
        if answer.status_code != 202:
            raise Failure(f"the bridge answered {answer.status_code}: {message_of(answer)}")
        content: dict[str, Any] = answer.json()
        return content

    def _follow(
        self, answer: Mapping[str, Any]
    ) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Yield each event of an answer with its deliveries, once they are at rest."""
        until = time.monotonic() + FOLLOW.total_seconds()
        for accepted in answer["events"]:
            event = self._running.api.get(f"/api/events/{accepted['id']}")
            ids = [delivery["id"] for delivery in accepted["deliveries"]]
            yield event, [self._at_rest(delivery_id, until) for delivery_id in ids]

    def _at_rest(self, delivery_id: str, until: float) -> dict[str, Any]:
        """Return a delivery once it is at rest, or as it is when the time is over."""
        while True:
            delivery: dict[str, Any] = self._running.api.get(f"/api/deliveries/{delivery_id}")
            if is_at_rest(delivery) or time.monotonic() > until:
                return delivery
            self._running.children.check()
            time.sleep(POLL_S)

    def _rows(
        self, sample: Sample, found: Sequence[Any], sent_at: datetime, problems: list[str]
    ) -> Iterator[tuple[str, ...]]:
        """Yield a row of the table for each delivery; its call has ended then, if there is one."""
        for event, deliveries in found:
            name = "\n".join(filter(None, (sample.source, event["type"], event["subject"])))
            if not deliveries:
                yield name, "no route matches", event["status"], "nothing", "nothing"
            for delivery in deliveries:
                received, after = self._call_of(delivery["id"], sent_at)
                became = "\n".join(filter(None, (delivery["status"], delivery["reason"], after)))
                told = "nothing"
                if delivery["status"] == Status.DELIVERED and delivery["call_sid"]:
                    ended = self._write_backs.end(event, delivery)
                    told = ended.told
                    problems += ended.problems
                yield name, delivery["route"], became, received, told

    def _call_of(self, delivery_id: str, sent_at: datetime) -> tuple[str, str]:
        """Return what CallKaro received for a delivery, and how long after the webhook."""
        received = self._running.simulator.received("calls")
        calls = [call for call in received if call["delivery_id"] == delivery_id]
        if not calls:
            return "nothing", ""
        call = calls[0]
        names = {
            one["batch_id"]: one["name"] for one in self._running.simulator.received("campaigns")
        }
        campaign = names.get(call["batch_id"])
        metadata = ", ".join(
            f"{name}: {value}"
            for name, value in call["body"].get("metadata", {}).items()
            if name != METADATA_ID
        )
        number = mask_number(call["to_number"]) + (f" in {campaign!r}" if campaign else "")
        after_s = (datetime.fromisoformat(call["at"]) - sent_at).total_seconds()
        return f"{number}\n{metadata}", f"after {after_s:.2f} s"

    def _show(self, rows: Sequence[tuple[str, ...]]) -> None:
        self._running.screen.print("\nWhat became of the samples\n")
        table = Table(box=box.HORIZONTALS, show_lines=True, pad_edge=False)
        for heading in HEADINGS:
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        self._running.screen.print(table)


def message_of(answer: requests.Response) -> str:
    """Return an answer's own message, else the words of its status."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(answer.json()["message"])
    return str(answer.reason)


def is_at_rest(delivery: Mapping[str, Any]) -> bool:
    """Return whether a delivery will not move by itself soon."""
    if delivery["status"] in AT_REST:
        return True
    at = delivery["next_attempt_at"]
    # A route's delay may be hours.
    return at is not None and datetime.fromisoformat(at) > datetime.now(UTC) + FOLLOW
