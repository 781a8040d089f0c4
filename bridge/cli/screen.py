"""What the commands print: tables of an overview, an event, a delivery."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from bridge.cli.times import WIDTH, local_time, zoned_time
from schemas.visible import as_json as json_text
from schemas.visible import visible_value

WIDE = 140  # of a table in a pipe or a file, which have no width of their own


def console() -> Console:
    """Return where tables are printed."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)


def show(found: Any, as_json: bool, display: Callable[[Any], None]) -> None:
    """Print an API answer: as JSON for programs, or by `display` for people.

    Texts of CRMs and of CallKaro are in it, so control characters are shown by their codes.
    """
    if as_json:
        print_json(found)
    else:
        display(visible_value(found))


def print_json(found: Any) -> None:
    """Print JSON for programs."""
    click.echo(json_text(found))


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr, and yield the function that says how many are done.

    total: how many there are; None: not known. No bar is shown where stderr is not a terminal.
    """
    screen = Console(stderr=True)
    if not screen.is_terminal:
        yield lambda done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=screen, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def table_with_times(*columns: str, time: str, timezone: str) -> Table:
    """Return a table whose column `time` names its zone and never cuts or wraps a time."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        if column == time:
            table.add_column(f"{column} ({timezone})", min_width=WIDTH)
        else:
            table.add_column(column, no_wrap=column == "ID")
    return table


YES_NO = {True: "yes", False: "no", None: "unknown"}


def show_overview(found: Mapping[str, Any], *, timezone: str) -> None:
    """Print the state of a bridge."""
    screen = console()
    counts = Table("Deliveries", "", box=None, pad_edge=False)
    for word, count in found["deliveries"].items():
        counts.add_row(word, str(count))
    screen.print(counts)
    kept = found["persistence"]
    rows = {
        "oldest waiting": _seconds(found["oldest_waiting_s"]),
        "next due": _seconds(found["next_due_s"]),
        "held as bulk": found.get("bulk"),
        "CRMs were told": ", ".join(
            f"{word}: {count}" for word, count in (found.get("write_backs") or {}).items() if count
        ),
        "suppressed": found.get("suppressions"),
        "workers": ", ".join(one["state"] for one in found["workers"]) or "none",
        "Redis": f"append-only {YES_NO[kept['append_only']]}, "
        f"fsync {kept['fsync']}, {kept['policy']}",
        "CallKaro": _callkaro(found.get("callkaro") or {}, timezone),
        "routes": found["routes"],
    }
    screen.print(_pairs(rows))
    _show_pauses(found["pauses"], timezone)
    for warning in found["warnings"]:
        screen.print(Text(f"warning: {warning}"))


def _callkaro(found: Mapping[str, Any], timezone: str) -> str:
    """Return when CallKaro last answered, when it last failed, and how."""
    answered = zoned_time(found.get("answered_at"), timezone)
    failed = zoned_time(found.get("failed_at"), timezone)
    lines = [
        f"answered {answered}" if answered else "",
        f"failed {failed}: {found.get('failed_message') or ''}".rstrip(": ") if failed else "",
        found.get("message") or "" if found.get("message") != found.get("failed_message") else "",
    ]
    return "\n".join(filter(None, lines)) or "no request yet"


def show_event(found: Mapping[str, Any], get: Callable[[str], Any], *, timezone: str) -> None:
    """Print an event, and its deliveries in full, which `get` returns."""
    rows = {
        "event": found["id"],
        "source": found["source"],
        "id there": found["source_event_id"],
        "type": found["type"],
        "subject": found["subject"],
        "happened": zoned_time(found["time"], timezone),
        "received": zoned_time(found["received_at"], timezone),
        "status": found["status"],
        "problem": found["problem"],
    }
    console().print(_pairs(rows))
    for brief in found["deliveries"]:
        click.echo()
        delivery = visible_value(get(f"/api/deliveries/{brief['id']}"))
        show_delivery(delivery, timezone=timezone)


def show_refused(found: Mapping[str, Any], *, timezone: str) -> None:
    """Print a refused request, and its body as it came, with line ends by their codes."""
    rows = {
        "refused": found["id"],
        "source": found["source"],
        "received": zoned_time(found["at"], timezone),
        "type": found["content_type"],
        "bytes": found["bytes"],
        "problem": found["problem"],
        "place": found["place"],
    }
    console().print(_pairs(rows))
    click.echo(found["body"])


def show_delivery(found: Mapping[str, Any], *, timezone: str) -> None:
    """Print a delivery: its status, its history, and what CallKaro answered."""
    screen = console()
    reason = f" ({found['reason']})" if found["reason"] else ""
    rows = {
        "delivery": found["id"],
        "route": found["route"],
        "status": f"{found['status']}{reason}",
        "message": found["message"],
        "next attempt": zoned_time(found["next_attempt_at"], timezone),
        "tells of": f"{found['of']} ({found['moment']})" if found.get("of") else None,
        "call": found["call_sid"],
        "campaign": found["batch_id"],
        "consent": json.dumps(found["consent"], ensure_ascii=False)
        if found.get("consent")
        else None,
        "erased": zoned_time(found.get("erased_at"), timezone),
        "request": json.dumps(found["request"], ensure_ascii=False) if found["request"] else None,
    }
    screen.print(_pairs(rows))
    timeline = table_with_times("When", "Status", "Reason", time="When", timezone=timezone)
    for change in found["timeline"]:
        row = (local_time(change["at"], timezone), change["status"], change["reason"] or "")
        timeline.add_row(*map(Text, row))
    screen.print(timeline)
    if found["attempts"]:
        screen.print(_attempts(found["attempts"], timezone))
    if found["outcomes"]:
        screen.print(_outcomes(found["outcomes"], timezone))
    # A bridge of an older release does not answer with them.
    if found.get("write_backs"):
        screen.print(_write_backs(found["write_backs"], timezone))


def _show_pauses(pauses: Sequence[Mapping[str, Any]], timezone: str) -> None:
    if not pauses:
        return
    columns = ("Paused", "Reason", "Since", "Message")
    table = table_with_times(*columns, time="Since", timezone=timezone)
    for one in pauses:
        since = local_time(one["since"], timezone)
        table.add_row(Text(one["scope"]), one["reason"], since, Text(one["message"]))
    console().print(table)


def _attempts(found: Sequence[Mapping[str, Any]], timezone: str) -> Table:
    columns = ("Attempt", "When", "Took", "HTTP", "Answer")
    attempts = table_with_times(*columns, time="When", timezone=timezone)
    for one in found:
        took = one.get("duration_ms")
        attempts.add_row(
            str(one["number"]),
            local_time(one["at"], timezone),
            "" if took is None else f"{took} ms",
            str(one.get("status_code") or "-"),
            Text(one.get("error") or one.get("answer") or ""),
        )
    return attempts


def _write_backs(found: Sequence[Mapping[str, Any]], timezone: str) -> Table:
    columns = ("The CRM was told", "When", "Status", "Message", "ID")
    table = table_with_times(*columns, time="When", timezone=timezone)
    for one in found:
        row = (one["moment"], local_time(one["at"], timezone), one["status"], one["message"] or "")
        table.add_row(*map(Text, row), Text(one["id"]))
    return table


def _outcomes(found: Sequence[Mapping[str, Any]], timezone: str) -> Table:
    columns = ("Outcome", "Call", "When", "Talked", "Final")
    table = table_with_times(*columns, time="When", timezone=timezone)
    for one in found:
        talked = one["duration_s"]
        table.add_row(
            one["result"],
            Text(one["call_sid"] or "-"),
            local_time(one["ended_at"], timezone) if one["ended_at"] else "-",
            "-" if talked is None else f"{talked} s",
            "yes" if one["final"] else "redials",
        )
    return table


def _pairs(rows: Mapping[str, object]) -> Table:
    """Return names and values as a table; a name without a value is left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows.items():
        if value not in (None, ""):
            table.add_row(name, Text(str(value)))
    return table


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{max(value, 0):.0f} s"
