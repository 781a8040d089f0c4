"""`tail`: deliveries as their status changes, until Ctrl-C."""

import json
import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

import click

from bridge.cli.bulk_options import with_bridge, with_filters
from bridge.cli.client import Api, Failure, open_api, quoted
from bridge.cli.times import zoned_time
from rules.backoff import doubled_s
from schemas.delivery import Status
from schemas.nearest import did_you_mean
from schemas.visible import visible

LOOK_S = 1.0
LONGEST_LOOK_S = 30.0  # while the bridge does not answer
PAGE = 200
PAGES = 10  # at most, of deliveries that are new since the last look
OLDER_AT_ONCE = 20  # deliveries older than the newest page that one look reads
TIMELINES_AT_ONCE = 20  # that one look reads; more would delay the next look in a flood
KNOWN = 20_000
FOLLOWED: Final = frozenset(
    {Status.QUEUED, Status.HELD, Status.SENDING, Status.RETRYING, Status.UNKNOWN}
)
Item = Mapping[str, Any]


@click.command(short_help="Follow deliveries as their status changes.")
@with_filters("status", "route", "source")
@click.option(
    "--lines",
    type=click.IntRange(0, PAGE),
    default=10,
    show_default=True,
    metavar="N",
    help="Begin with the newest N deliveries.",
)
@with_bridge
def tail(lines: int, as_json: bool, url: str | None, **filters: str | None) -> None:
    """Print deliveries as their status changes: all new ones, and the newest 200 older ones.

    Each line begins with the time at which the status changed. A status that lasts less than a
    second may be missed. Ctrl-C ends the command.
    """
    statuses = read_statuses(filters.pop("status", None))
    api = open_api(url)
    tail = Tail(api, api.filters(filters))
    try:
        follow(tail, statuses, lines, lines_of(tail, api.timezone) if not as_json else json_lines)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        # The program that read the output has ended. Python would complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def read_statuses(text: str | None) -> frozenset[str]:
    """Return the statuses to print; an empty set: all. Raises UsageError for an unknown one."""
    words = frozenset(filter(None, (text or "").split(",")))
    if unknown := words - set(Status):
        raise click.UsageError(
            f"There is no status {', '.join(sorted(unknown))}. "
            f"{did_you_mean(min(unknown), Status)}The statuses are {', '.join(Status)}."
        )
    return words


Writer = Callable[[list[Item]], Iterator[str]]


def follow(tail: "Tail", statuses: frozenset[str], lines: int, write: Writer) -> None:
    """Print what is there, then what changes, for ever. Raises Failure if the first look fails."""

    def matches(item: Item) -> bool:
        return not statuses or item["status"] in statuses

    first = list(filter(matches, tail.changes()))
    for line in write(first[len(first) - lines :] if lines else []):
        click.echo(line)
    failures = 0
    while True:
        nap(doubled_s(LOOK_S, failures, LONGEST_LOOK_S))
        try:
            changed = list(tail.changes())
        except Failure as error:
            if not failures:
                click.echo(f"{error.format_message()} Trying again …", err=True)
            failures = min(failures + 1, 10)
            continue
        failures = 0
        for line in write(list(filter(matches, changed))):
            click.echo(line)


def nap(seconds: float) -> None:
    """Sleep. Raises BrokenPipeError as soon as the program that reads our output has ended.

    Otherwise `tail | head` would not end before something changes.
    """
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # not a file
        time.sleep(seconds)
        return
    reader = select.poll()
    reader.register(output, 0)  # errors only
    if reader.poll(seconds * 1000):
        raise BrokenPipeError


class Tail:
    """What is known of a bridge's deliveries, and what changed since the last look."""

    def __init__(self, api: Api, filters: Mapping[str, str]) -> None:
        self._api = api
        self._filters = filters
        self._known: dict[str, tuple[str, str | None]] = {}
        self._looks = 0

    def changes(self) -> Iterator[Item]:
        """Yield the deliveries that are new or have changed since the last look, oldest first.

        Raises Failure; the next look finds what was not yielded.
        """
        newest = self._newest()
        on_page = {item["id"] for item in newest}
        found = [*self._older(on_page), *reversed(newest)]
        for item in found:
            state = (item["status"], item["reason"])
            if self._known.get(item["id"]) != state:
                self._known[item["id"]] = state
                yield item
        for gone in list(self._known)[: max(len(self._known) - KNOWN, 0)]:
            del self._known[gone]
        self._looks += 1

    def changed_at(self, item: Item) -> str | None:
        """Return when a delivery got the status that it has; None: that can't be known now."""
        timeline = item.get("timeline")
        if timeline is None:  # of a list, which shows deliveries in brief
            try:
                found = self._api.get(f"/api/deliveries/{quoted(item['id'])}", or_none=True)
            except Failure:
                return None
            timeline = found["timeline"] if found else []
        times = [str(one["at"]) for one in timeline if one["status"] == item["status"]]
        return times[-1] if times else None

    def _newest(self) -> list[Item]:
        """Return the newest deliveries: a page, and all that are new since the last look."""
        items: list[Item] = []
        query = {**self._filters, "limit": str(PAGE)}
        for _ in range(PAGES):
            page = self._api.get(f"/api/deliveries?{urlencode(query)}")
            items += page["items"]
            is_all_new = not any(item["id"] in self._known for item in page["items"])
            if page["next_cursor"] is None or not is_all_new or not self._looks:
                break
            query["cursor"] = page["next_cursor"]
        return items

    def _older(self, on_page: set[str]) -> Iterator[Item]:
        """Yield deliveries that still wait and are not on the newest page, some at each look."""
        waiting = [
            one
            for one, (status, _) in self._known.items()
            if status in FOLLOWED and one not in on_page
        ]
        start = self._looks * OLDER_AT_ONCE % max(len(waiting), 1)
        for one in (waiting[start:] + waiting[:start])[:OLDER_AT_ONCE]:
            item = self._api.get(f"/api/deliveries/{quoted(one)}", or_none=True)
            if item is None:
                del self._known[one]  # the bridge has deleted it
            else:
                yield item


def lines_of(tail: Tail, timezone: str) -> Writer:
    """Return what writes the changes of one look for people."""

    def write(items: list[Item]) -> Iterator[str]:
        looked_at = datetime.now(UTC).isoformat()
        for number, item in enumerate(items):
            # In a flood the later lines have the time of the look, about a second after the change.
            changed_at = tail.changed_at(item) if number < TIMELINES_AT_ONCE else None
            at = zoned_time(changed_at or looked_at, timezone)
            because = f"{item['status']} ({item['reason']})" if item["reason"] else item["status"]
            message = f"  {item['message']}" if item["message"] else ""
            yield visible(f"{at}  {item['id']}  {because:<22}  {item['route']}{message}")

    return write


def json_lines(items: list[Item]) -> Iterator[str]:
    """Write the changes of one look for programs: each delivery as the API has it."""
    return map(json.dumps, items)
