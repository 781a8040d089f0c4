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

from bridge.cli.bulk_options import given, with_bridge, with_filters
from bridge.cli.client import Api, Failure, open_api, quoted
from schemas.delivery import Status

LOOK_S = 1.0
LONGEST_LOOK_S = 30.0  # while the bridge does not answer
PAGE = 200
PAGES = 10  # of what came in since the last look, at the most
ASKED_ALONE = 20  # in one look, of what is older than the newest page
KNOWN = 20_000
FOLLOWED: Final = frozenset(
    {Status.QUEUED, Status.HELD, Status.SENDING, Status.RETRYING, Status.UNKNOWN}
)
Item = Mapping[str, Any]


@click.command(short_help="Show deliveries as their status changes.")
@with_filters("status", "route", "source")
@click.option(
    "--lines", type=click.IntRange(0, PAGE), default=10, show_default=True, help="Of now."
)
@with_bridge
def tail(lines: int, as_json: bool, url: str | None, **filters: str | None) -> None:
    """Show deliveries as their status changes: those that come in from now on, and the newest 200.

    A status that lasts less than a second may be missed. Ctrl-C ends it.
    """
    wanted = given(filters)
    statuses = read_statuses(wanted.pop("status", None))
    tail = Tail(open_api(url), wanted)
    try:
        follow(tail, statuses, lines, _as_line if not as_json else json.dumps)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        # Whoever read it has gone. Python would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def read_statuses(text: str | None) -> frozenset[str]:
    """Return which statuses are wanted; none: all. Raises UsageError for what is none."""
    words = frozenset(filter(None, (text or "").split(",")))
    if unknown := words - set(Status):
        raise click.UsageError(f"There is no status {', '.join(sorted(unknown))}.")
    return words


def follow(
    tail: "Tail", statuses: frozenset[str], lines: int, written: Callable[[Item], str]
) -> None:
    """Print what is there, then what changes, for ever. Raises Failure if the first look fails."""

    def fits(item: Item) -> bool:
        return not statuses or item["status"] in statuses

    first = [item for item in tail.changes() if fits(item)]
    for item in first[len(first) - lines :] if lines else ():
        click.echo(written(item))
    failures = 0
    while True:
        nap(min(LOOK_S * 2.0**failures, LONGEST_LOOK_S))
        try:
            changed = list(tail.changes())
        except Failure as error:
            if not failures:
                click.echo(f"{error.message} Looking again …", err=True)
            failures = min(failures + 1, 10)
            continue
        failures = 0
        for item in changed:
            if fits(item):
                click.echo(written(item))


def nap(seconds: float) -> None:
    """Sleep, unless whoever reads our output goes. Raises BrokenPipeError, though nothing is said.

    Else `tail | head` would not end before something changes.
    """
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # it is no file
        time.sleep(seconds)
        return
    reader = select.poll()
    reader.register(output, 0)  # of errors alone
    if reader.poll(seconds * 1000):
        raise BrokenPipeError


class Tail:
    """What is known of a bridge's deliveries, and what has changed in them since the last look."""

    def __init__(self, api: Api, filters: Mapping[str, str]) -> None:
        self._api = api
        self._filters = filters
        self._known: dict[str, tuple[str, str | None]] = {}
        self._looks = 0

    def changes(self) -> Iterator[Item]:
        """Yield the deliveries that are new or stand elsewhere than at the last look, oldest first.

        Raises Failure; what was found until then is found again by the next look.
        """
        newest = self._newest()
        on_page = {item["id"] for item in newest}
        found = [*self._older(on_page), *reversed(newest)]
        for item in found:
            stands = (item["status"], item["reason"])
            if self._known.get(item["id"]) != stands:
                self._known[item["id"]] = stands
                yield item
        for gone in list(self._known)[: max(len(self._known) - KNOWN, 0)]:
            del self._known[gone]
        self._looks += 1

    def _newest(self) -> list[Item]:
        """Return the newest deliveries: a page, and all that came in since the last look."""
        items: list[Item] = []
        asked = {**self._filters, "limit": str(PAGE)}
        for _ in range(PAGES):
            page = self._api.get(f"/api/deliveries?{urlencode(asked)}")
            items += page["items"]
            is_all_new = not any(item["id"] in self._known for item in page["items"])
            if page["next_cursor"] is None or not is_all_new or not self._looks:
                break
            asked["cursor"] = page["next_cursor"]
        return items

    def _older(self, on_page: set[str]) -> Iterator[Item]:
        """Yield what is not on the newest page and not at its end, some of them at each look."""
        waiting = [
            one
            for one, (status, _) in self._known.items()
            if status in FOLLOWED and one not in on_page
        ]
        start = self._looks * ASKED_ALONE % max(len(waiting), 1)
        for one in (waiting[start:] + waiting[:start])[:ASKED_ALONE]:
            item = self._api.get(f"/api/deliveries/{quoted(one)}", or_none=True)
            if item is None:
                del self._known[one]  # it is forgotten over there
            else:
                yield item


def _as_line(item: Item) -> str:
    at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    because = f"{item['status']} ({item['reason']})" if item["reason"] else item["status"]
    message = f"  {item['message']}" if item["message"] else ""
    return f"{at}  {item['id']}  {because:<22}  {item['route']}{message}"
