"""The options that commands share, and the commands that act on one delivery or on many."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import click

from bridge.cli.client import Api, id_in, open_api
from bridge.cli.screen import progress, show, show_delivery
from bridge.cli.times import TIME

Command = TypeVar("Command", bound=Callable[..., Any])
Filters = Mapping[str, str | datetime | None]


# --- options --------------------------------------------------------------------------------

JSON = click.option("--json", "as_json", is_flag=True, help="Print the API's answer as JSON.")
URL = click.option(
    "--url", help="The address of the bridge. Without it: PUBLIC_URL, or else this machine at PORT."
)
FILTERS = {
    "status": "Only these statuses, with commas between them.",
    "outcome": "Only these results of a call, with commas between them; none: not reported yet.",
    "to": "What it is: call, campaign or write_back (what a CRM was told); with commas between.",
    "of": "Only what the CRM was told of this call, by the ID of its delivery.",
    "reason": "Only this reason, such as outside_hours.",
    "route": "Only deliveries of this route.",
    "source": "Only what this source sent.",
    "campaign": "Only this campaign: its batch_id, or its name for all its periods.",
    "actor": "Only what this person did, by the name of the token.",
    "action": "Only this action, such as retry.",
    "subject": "Only this record, by its id in the CRM.",
    "phone": "Only this phone number, such as +919876543210.",
    "since": "Only what was received at this time or later: 2026-01-31T09:30, or how long ago: "
    "90s, 15m, 1h, 3d. A time without a zone is in CALLKARO_TIMEZONE.",
    "until": "Only what was received at this time or earlier, written as for --since.",
}
TIMES = ("since", "until")


def with_bridge(command: Command) -> Command:
    """Give a command the options of all commands that use a running bridge."""
    return JSON(URL(command))


def with_filters(*names: str) -> Callable[[Command], Command]:
    """Give a command these filters."""

    def add(command: Command) -> Command:
        for name in reversed(names):
            kind = TIME if name in TIMES else click.STRING
            metavar = "TIME" if name in TIMES else name.upper()
            command = click.option(f"--{name}", type=kind, metavar=metavar, help=FILTERS[name])(
                command
            )
        return command

    return add


def for_many(*names: str) -> Callable[[Command], Command]:
    """Give a command these filters, and the options of a command that acts on many."""

    def add(command: Command) -> Command:
        command = click.option("--yes", is_flag=True, help="Do not ask before acting.")(command)
        command = click.option("--dry-run", is_flag=True, help="Count only; change nothing.")(
            command
        )
        return with_filters(*names)(command)

    return add


# --- one and many ---------------------------------------------------------------------------


def is_one(some_id: str | None, filters: Filters, **never: bool) -> bool:
    """Return whether the command is for one ID, not for many. Raises UsageError if unclear.

    never: flags that are for many only.
    """
    is_filtered = bool(given(filters))
    if some_id is None and not is_filtered:
        names = ", ".join(f"--{name}" for name in filters)
        raise click.UsageError(f"Give an ID, or at least one filter: {names}.")
    if some_id is not None and (is_filtered or any(never.values())):
        raise click.UsageError(
            "An ID names one; filters are for many, and so is the --dry-run of retry and cancel."
        )
    return some_id is not None


def read_id(text: str | None) -> str:
    """Return the ID that was given, also from a status_url. Raises UsageError."""
    found = id_in(text or "")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", found):  # a dot would lead to another address
        raise click.UsageError(f"{found!r} is not an ID.")
    return found


def given(filters: Filters) -> dict[str, Any]:
    """Return the filters that were given."""
    return {name: value for name, value in filters.items() if value is not None}


def act_on_one(
    method: str, path: str, body: Mapping[str, Any], url: str | None, as_json: bool
) -> None:
    """Have the bridge act on one delivery, and show the delivery as it is then."""
    api = open_api(url)
    found = api.request(method, path, body)
    show(found, as_json, partial(show_delivery, timezone=api.timezone))


@dataclass(frozen=True, kw_only=True, slots=True)
class Bulk:
    """A command that acts on many: it counts first, then acts, page after page."""

    api: Api
    path: str
    body: Mapping[str, Any]
    match: str  # what is counted, such as "deliveries match"
    done: str  # the API's word for those that it acted on
    left: str  # the API's word for those that it can't act on
    question: str
    limit: int | None = None  # at most this many; None: all that match

    def run(self, *, dry_run: bool, yes: bool, as_json: bool) -> None:
        """Count, ask unless `yes`, and act."""
        found = self._all(dry_run=True)
        if not as_json or not (dry_run or yes):
            click.echo(self._summary(found, "would be "), err=as_json)
        if not dry_run and found[self.done]:
            if not yes:
                click.confirm(self.question, abort=True, err=as_json)
            found = self._all(dry_run=False, total_count=found["matched"])
            if not as_json:
                click.echo(self._summary(found, ""))
        if as_json:
            click.echo(json.dumps({**found, "dry_run": dry_run}, indent=2))

    def _all(self, *, dry_run: bool, total_count: int | None = None) -> dict[str, Any]:
        """Follow the cursor to its end, and return the counts of all pages together.

        total_count: how many there are, for the progress bar; None: not known.
        """
        names = ("matched", self.done, self.left)
        total, body = dict.fromkeys(names, 0), {**self.body, "dry_run": dry_run}
        with progress("counted" if dry_run else self.done, total_count) as advance:
            while True:
                if self.limit is not None:
                    body["limit"] = self.limit - total[self.done]
                page = self.api.post(self.path, body)
                for name in names:
                    total[name] += page[name]
                advance(total["matched"])
                if page["next_cursor"] is None:  # also where the limit was reached
                    return total
                body["cursor"] = page["next_cursor"]

    def _summary(self, found: Mapping[str, Any], would: str) -> str:
        at_most = "" if self.limit is None else f" (--limit {self.limit})"
        return (
            f"{found['matched']} {self.match}{at_most}; {would}{self.done}: {found[self.done]}, "
            f"{self.left}: {found[self.left]}."
        )
