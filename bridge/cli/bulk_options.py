"""What the commands that have a bridge do something share: their options, one or many, asking."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from bridge.cli.client import Api, id_in, open_api
from bridge.cli.screen import progress, show, show_delivery

Command = TypeVar("Command", bound=Callable[..., Any])


# --- options --------------------------------------------------------------------------------


def with_bridge(command: Command) -> Command:
    """Give a command the options that all of them have."""
    where = "Where the bridge runs. Default: PUBLIC_URL, else this machine."
    command = click.option("--url", help=where)(command)
    return click.option("--json", "as_json", is_flag=True, help="What the API answers.")(command)


def with_filters(*names: str) -> Callable[[Command], Command]:
    """Give a command these filters."""
    says = {
        "status": "Several with commas.",
        "reason": "The word that it stands there for, such as outside_hours.",
        "subject": "The CRM's record id.",
        "since": "Came in at or after this time (ISO 8601, UTC).",
        "until": "Came in at or before this time.",
    }

    def add(command: Command) -> Command:
        for name in reversed(names):
            command = click.option(f"--{name}", help=says.get(name))(command)
        return command

    return add


def for_many(*names: str) -> Callable[[Command], Command]:
    """Give a command these filters, and what doing it to many takes."""

    def add(command: Command) -> Command:
        command = click.option("--yes", is_flag=True, help="Don't ask.")(command)
        command = click.option("--dry-run", is_flag=True, help="Only count.")(command)
        return with_filters(*names)(command)

    return add


# --- one and many ---------------------------------------------------------------------------


def is_one(some_id: str | None, filters: Mapping[str, str | None], **never: bool) -> bool:
    """Say whether one is meant, or many. Raises UsageError where that is not clear."""
    is_filtered = bool(given(filters))
    if some_id is None and not is_filtered:
        raise click.UsageError("Give an ID, or at least one filter.")
    if some_id is not None and (is_filtered or any(never.values())):
        raise click.UsageError(
            "An ID is one; filters are for many, and so is the --dry-run of retry and cancel."
        )
    return some_id is not None


def read_id(text: str | None) -> str:
    """Return the ID that was given, be it as a status_url. Raises UsageError for what is none."""
    found = id_in(text or "")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", found):  # a dot would lead to another address
        raise click.UsageError(f"{found!r} is no ID.")
    return found


def given(filters: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the filters that were given."""
    return {name: value for name, value in filters.items() if value is not None}


def order(method: str, path: str, body: Mapping[str, Any], url: str | None, as_json: bool) -> None:
    """Have something done to a delivery, and show it as it then stands."""
    show(open_api(url).ask(method, path, body), as_json, show_delivery)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bulk:
    """An order about many: counted first, then done, page after page.

    done and left are the answer's words for what can be done and what can't. limit: so many and no
    more are to be done; None: all that fit.
    """

    api: Api
    path: str
    body: Mapping[str, Any]
    fit: str
    done: str
    left: str
    ask: str
    limit: int | None = None

    def run(self, *, dry_run: bool, yes: bool, as_json: bool) -> None:
        """Count, ask unless told not to, and do it."""
        found = self._all(dry_run=True)
        if not as_json or not (dry_run or yes):
            click.echo(self._said(found, "would be "), err=as_json)
        if not dry_run and found[self.done]:
            if not yes:
                click.confirm(self.ask, abort=True, err=as_json)
            found = self._all(dry_run=False, of=found["matched"])
            if not as_json:
                click.echo(self._said(found, ""))
        if as_json:
            click.echo(json.dumps({**found, "dry_run": dry_run}, indent=2))

    def _all(self, *, dry_run: bool, of: int | None = None) -> dict[str, Any]:
        """Follow the cursor to its end, and return the counts of all pages together.

        of: how many there are, for the progress that is shown; None: that is not known.
        """
        names = ("matched", self.done, self.left)
        total, body = dict.fromkeys(names, 0), {**self.body, "dry_run": dry_run}
        with progress("counted" if dry_run else self.done, of) as tell:
            while True:
                if self.limit is not None:
                    body["limit"] = self.limit - total[self.done]
                page = self.api.post(self.path, body)
                for name in names:
                    total[name] += page[name]
                tell(total["matched"])
                if page["next_cursor"] is None:  # nor is there one where the limit was reached
                    return total
                body["cursor"] = page["next_cursor"]

    def _said(self, found: Mapping[str, Any], would: str) -> str:
        at_most = "" if self.limit is None else f" (--limit {self.limit})"
        return (
            f"{found['matched']} {self.fit}{at_most}; {would}{self.done}: {found[self.done]}, "
            f"{self.left}: {found[self.left]}."
        )
