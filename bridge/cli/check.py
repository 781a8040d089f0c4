"""`check`: the settings, the routes, Redis, and what the CRMs say about write-backs."""

import json
import os
import signal
import subprocess  # nosec B404  # it starts our own program alone
import sys
from collections.abc import Iterator
from typing import Any, Final

import click
from rich.table import Table
from rich.text import Text

from bridge.cli.client import Failure
from bridge.cli.screen import console, print_json
from config.redis_url import shown_address
from config.settings import load_settings, redis_url_from_env, warnings_of
from rules.crm_check import checked_sources
from schemas.errors import SettingsError
from schemas.settings import Settings

CRMS_S: Final = 60.0  # how long the CRMs are waited for
CAN_NOT_RUN: Final = "The bridge can't run."
CAN_NOT_TELL: Final = "The bridge can run, but not all that it writes back will be accepted."


@click.command(short_help="Check the settings, the routes, Redis and the CRMs.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.option("--no-crm", is_flag=True, help="Ask no CRM what it takes.")
@click.option("--crm-warns", is_flag=True, help="Fail for no CRM: what one lacks is a warning.")
def check(as_json: bool, no_crm: bool, crm_warns: bool) -> None:
    """Check the settings, the routes and Redis, and print every problem at once.

    Each CRM that a [route.write_back] tells of calls by its API is asked whether it has the fields
    and whether the scopes suffice. One that does not answer is a warning.
    """
    failure = CAN_NOT_RUN
    problems: list[str] = []
    settings = None
    try:
        settings = load_settings()
    except SettingsError as error:
        problems.append(str(error))
    warnings, redis_problem = _check_redis(settings)
    if redis_problem:
        problems.append(f"  - REDIS_URL: {redis_problem}")
    if settings is not None:
        warnings = [*warnings_of(settings), *warnings]
        if checked_sources(settings) and not no_crm and not problems:
            failure = CAN_NOT_TELL
            crm_problems, crm_warnings = _ask_crms()
            warnings += [*crm_problems, *crm_warnings] if crm_warns else crm_warnings
            problems += [] if crm_warns else [f"  - {problem}" for problem in crm_problems]
    if as_json:
        sources = [] if settings is None else list(_sources(settings))
        lines = [line.strip() for line in "\n".join(problems).splitlines()]
        found = {"ok": not problems, "problems": lines, "sources": sources, "warnings": warnings}
        print_json(found)
    if settings is None or problems:
        raise Failure(f"{failure} Fix this:\n" + "\n".join(problems))
    if not as_json:
        _show_settings(settings, warnings)
    if os.environ.get("HONCHO_PROCESS_NAME"):
        # `honcho start` runs every line of the Procfile and ends them all when one ends.
        signal.pause()


def _check_redis(settings: Settings | None) -> tuple[list[str], str | None]:
    """Return Redis' warnings and its problem; None: no problem, or no address to check.

    settings None: they are wrong, and of them only the address is used.
    """
    from schemas.errors import StoreUnavailable
    from store import Store, connect
    from store.prefix import prefix_problem

    url = settings.redis_url if settings else redis_url_from_env()
    if url is None:
        return [], None
    if problem := prefix_problem(url):
        return [], f"{problem}."
    try:
        store = Store(
            connect(url),
            acks=settings.redis_acks if settings else 0,
            is_engine_durable=bool(settings and settings.is_engine_durable),
        )
        store.check_room()  # first: a Redis that is unfit refuses a ping, too
        found = store.check_store()
        if found.problem is None:  # else a script would tell move-store that a process still runs
            store.ping()
        return [*found.warnings, *store.persistence().warnings()], found.problem
    except StoreUnavailable as error:
        address = shown_address(url)
        place = f" Its address is {address}." if address else ""
        return [], f"{str(error).rstrip('.')}.{place}"
    except ValueError:  # redis-py's, about the address; its text would repeat the password
        return [], "is not an address of a Redis."


def _ask_crms() -> tuple[list[str], list[str]]:
    """Return the problems and the warnings of the CRMs. Only workers talk to them."""
    command = [sys.executable, "-m", "workers.crm_check"]
    try:
        done = subprocess.run(  # noqa: S603  # nosec B603  # our own program
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=CRMS_S, check=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
        return found["problems"], found["warnings"]
    except (OSError, subprocess.SubprocessError, ValueError, LookupError):
        # Its output may repeat an address with a password in it.
        message = "the CRMs could not be asked what they take: python -m workers.crm_check says why"
        return [], [message]


def _sources(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield the sources that have a route or a secret, each with its URL and routes."""
    for source in settings.routes.sources.values():
        routes = [route.name for route in settings.routes.routes if route.source == source.name]
        is_set = bool(settings.secrets.get(source.name))
        if routes or is_set:
            yield {
                "name": source.name,
                "url": f"{settings.public_url or ''}/webhooks/{source.name}",
                "is_secret_set": is_set,
                "routes": routes,
            }


def _show_settings(settings: Settings, warnings: list[str]) -> None:
    table = Table("Source", "URL", "Secret", "Routes", box=None, pad_edge=False)
    for one in _sources(settings):
        variable = settings.routes.sources[one["name"]].variable_prefix + "WEBHOOK_SECRET"
        secret = "set" if one["is_secret_set"] else f"{variable} is not set"
        table.add_row(one["name"], one["url"], secret, ", ".join(one["routes"]) or "-")
    screen = console()
    screen.print("Settings, routes and Redis are in order.\n")
    screen.print(table)
    if warnings:
        screen.print("\nNo errors, but these warnings:")
        for warning in warnings:
            screen.print(Text(f"  - {warning}"))
