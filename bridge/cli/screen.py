"""What the commands show: tables of an overview, an event, a delivery."""

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


def console() -> Console:
    """Return where tables go; a pipe has no width, so there they get room."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 140)


def show(found: Any, as_json: bool, display: Callable[[Any], None]) -> None:
    """Show an answer: as it is, for programs, or for people."""
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        display(found)


@contextmanager
def progress(what: str, of: int | None) -> Iterator[Callable[[int], None]]:
    """Show on a terminal's stderr how far long work has come; yields what to tell it with.

    of: how many there are; None: that is not known. Nothing is shown where stderr is no terminal.
    """
    screen = Console(stderr=True)
    if not screen.is_terminal:
        yield lambda done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=screen, transient=True) as bar:
        task = bar.add_task(what, total=of)
        yield lambda done: bar.update(task, completed=done)


def show_overview(found: Mapping[str, Any]) -> None:
    """Show how a bridge stands."""
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
        "suppressed": found.get("suppressions"),
        "workers": ", ".join(one["state"] for one in found["workers"]) or "none",
        "Redis": f"append-only {'yes' if kept['append_only'] else 'no'}, "
        f"fsync {kept['fsync']}, {kept['policy']}",
        "CallKaro": _callkaro(found.get("callkaro") or {}),
        "routes": found["routes"],
    }
    screen.print(_pairs(rows))
    show_pauses(found["pauses"])
    for warning in found["warnings"]:
        screen.print(Text(f"mind: {warning}"))


def _callkaro(found: Mapping[str, Any]) -> str:
    """Return how CallKaro took the latest requests."""
    answered, failed = found.get("answered_at"), found.get("failed_at")
    told = [
        f"answered {answered}" if answered else "",
        f"failed {failed}" if failed else "",
        found.get("message") or "",
    ]
    return "\n".join(filter(None, told)) or "not asked yet"


def show_event(found: Mapping[str, Any], get: Callable[[str], Any]) -> None:
    """Show an event, and its deliveries in full, which get returns."""
    rows = {
        "event": found["id"],
        "of": f"{found['source']}, there {found['source_event_id']}",
        "type": found["type"],
        "subject": found["subject"],
        "happened": found["time"],
        "received": found["received_at"],
        "status": found["status"],
        "problem": found["problem"],
    }
    console().print(_pairs(rows))
    for brief in found["deliveries"]:
        click.echo()
        show_delivery(get(f"/api/deliveries/{brief['id']}"))


def show_delivery(found: Mapping[str, Any]) -> None:
    """Show a delivery: where it stands, how it came there, what CallKaro said."""
    screen = console()
    reason = f" ({found['reason']})" if found["reason"] else ""
    rows = {
        "delivery": found["id"],
        "route": found["route"],
        "status": f"{found['status']}{reason}",
        "message": found["message"],
        "next attempt": found["next_attempt_at"],
        "call": found["call_sid"],
        "campaign": found["batch_id"],
        "consent": json.dumps(found["consent"], ensure_ascii=False)
        if found.get("consent")
        else None,
        "erased": found.get("erased_at"),
        "request": json.dumps(found["request"], ensure_ascii=False) if found["request"] else None,
    }
    screen.print(_pairs(rows))
    timeline = Table("When", "Became", "Why", box=None, pad_edge=False)
    for change in found["timeline"]:
        timeline.add_row(change["at"], change["status"], change["reason"] or "")
    screen.print(timeline)
    if found["attempts"]:
        screen.print(_attempts(found["attempts"]))
    if found["outcomes"]:
        screen.print(_outcomes(found["outcomes"]))


def show_pauses(pauses: Sequence[Mapping[str, Any]]) -> None:
    """Show what is paused, if anything is."""
    if not pauses:
        return
    table = Table("Paused", "Why", "Since", "Message", box=None, pad_edge=False)
    for one in pauses:
        table.add_row(Text(one["scope"]), one["reason"], one["since"], Text(one["message"]))
    console().print(table)


def _attempts(found: Sequence[Mapping[str, Any]]) -> Table:
    attempts = Table("Attempt", "When", "Took", "HTTP", "Answer", box=None, pad_edge=False)
    for one in found:
        took = one.get("duration_ms")
        attempts.add_row(
            str(one["number"]),
            one["at"],
            "" if took is None else f"{took} ms",
            str(one.get("status_code") or "-"),
            Text(one.get("error") or one.get("answer") or ""),
        )
    return attempts


def _outcomes(found: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("Outcome", "Call", "When", "Talked", "Final", box=None, pad_edge=False)
    for one in found:
        talked = one["duration_s"]
        table.add_row(
            one["result"],
            Text(one["call_sid"] or "-"),
            one["ended_at"] or "-",
            "-" if talked is None else f"{talked} s",
            "yes" if one["final"] else "redials",
        )
    return table


def _pairs(rows: Mapping[str, object]) -> Table:
    """Return names and values, those without a value left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows.items():
        if value not in (None, ""):
            table.add_row(name, Text(str(value)))
    return table


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{max(value, 0):.0f} s"
