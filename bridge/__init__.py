"""The web process: takes webhooks in, tells what became of them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def make_app() -> "Flask":
    """Return what `flask --app bridge` loads: the commands, and nothing else.

    It reads no settings, so that commands work before there are any. What serves the web is
    bridge.app:create_app. Imported in here, because each RQ work-horse imports this package.
    """
    from bridge.cli.commands import create_cli

    return create_cli()
