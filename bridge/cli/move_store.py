"""`move-store`: all that the bridge keeps goes to another Redis."""

from typing import TYPE_CHECKING

import click
from rich.table import Table

from bridge.cli.client import Failure, read_settings
from bridge.cli.screen import console, progress
from config.key_prefix import NAME, NAME_FORM, is_cluster, prefix_of
from config.redis_url import problem_of, shown_address
from config.settings import verified_as_set
from schemas.errors import StoreUnavailable

if TYPE_CHECKING:  # imported when the command runs, as the store settles its prefix then
    from store.moving import StoreMove

# Always shown, where there are any; other kinds only where they differ.
SHOWN = (
    *("events", "deliveries", "write_backs", "suppressed", "seen:*", "number:*", "campaigns"),
    *("pauses", "background_tasks", "acts", "session:*"),
)
INTERRUPTED = (
    "Stopped. If something was copied, no process starts at either Redis: give the same command "
    "again, and it goes on, or give the move up with --undo."
)


@click.command(short_help="Move all data from another Redis to that of REDIS_URL.")
@click.option(
    "--from",
    "old_url",
    metavar="REDIS_URL",
    envvar="OLD_REDIS_URL",
    required=True,
    help="The old address. OLD_REDIS_URL keeps its password out of the shell's history.",
)
@click.option("--from-name", default="", help="The BRIDGE_NAME of the old cluster, if it had one.")
@click.option("--undo", is_flag=True, help="Give an unfinished move up: the old Redis stays.")
def move_store(old_url: str, from_name: str, undo: bool) -> None:
    """Move all that the bridge keeps from another Redis to the one of REDIS_URL.

    Stop all webs and workers first: CRMs get no answer until the new ones run. The new Redis must
    be empty. If the move breaks off, give the same command again: it goes on. The old Redis keeps
    its data, but no process starts there any more.
    """
    old_url, old_prefix = _old_store(old_url, from_name)
    settings = read_settings(needs=frozenset({"REDIS_URL"}))
    from store.moving import MoveRefused, StoreMove, open_side
    from store.prefix import KEY_PREFIX

    old, new = open_side(old_url, old_prefix), open_side(settings.redis_url, KEY_PREFIX)
    with old.client, new.client:
        move = StoreMove(old, new, acks=settings.redis_acks)
        try:
            if undo:
                move.undo()
                click.echo("The move is undone. The old Redis is in use again.")
            else:
                _move(move)
        except MoveRefused as error:
            raise Failure(f"{error}.") from None
        except KeyboardInterrupt:
            raise Failure(INTERRUPTED) from None
        except StoreUnavailable as error:
            places = " and ".join(map(str, map(shown_address, (old_url, settings.redis_url))))
            raise Failure(
                f"{error} ({places}). Nothing is lost: mend that, and give the same command again."
            ) from None


def _old_store(url: str, name: str) -> tuple[str, str]:
    """Return the old store's address and the prefix of its keys. Raises UsageError."""
    if problem := problem_of(url):
        raise click.UsageError(f"--from {problem}.")
    if name and not (is_cluster(url) and NAME.fullmatch(name)):
        raise click.UsageError(f"--from-name is of a cluster, and {NAME_FORM}.")
    return verified_as_set(url), prefix_of(url, name)


def _move(move: "StoreMove") -> None:
    click.echo("Looking for processes that still run …")
    if move.begin():
        click.echo("An unfinished move goes on.")
    with progress("Copying", move.key_count()) as tell:
        move.copy(tell)
    click.echo("Comparing …")
    found = move.compare()
    table = Table("Kind", "Old", "New", box=None, pad_edge=False)
    for kind, (old, new) in found.counts.items():
        is_shown = kind in SHOWN or kind.startswith("deliveries:status:")
        if is_shown or kind in found.different:
            table.add_row(kind, str(old), str(new))
    console().print(table)
    move.finish(found)
    click.echo("All is moved. Start the webs and workers with the new REDIS_URL.")
