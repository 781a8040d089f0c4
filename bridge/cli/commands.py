"""All commands of the command line, and the program that has them: `python -m bridge`."""

import click

from bridge import VERSION
from bridge.cli import completion
from bridge.cli.alert_test import alert_test
from bridge.cli.call_list import call_list
from bridge.cli.call_me import call_me
from bridge.cli.check import check
from bridge.cli.client import Failure
from bridge.cli.connect import connect
from bridge.cli.erase import erase
from bridge.cli.hubspot_app import hubspot_app
from bridge.cli.lists import audit, deliveries, events
from bridge.cli.move_store import move_store
from bridge.cli.new_source import new_source
from bridge.cli.operations import cancel, pause, release, replay, resolve, resume, retry
from bridge.cli.preview import preview
from bridge.cli.programs import demo, simulate
from bridge.cli.reconcile import reconcile
from bridge.cli.refused import refused
from bridge.cli.send import send
from bridge.cli.stats import stats
from bridge.cli.status import status
from bridge.cli.suppress import suppress
from bridge.cli.tail import tail
from bridge.cli.zoho import zoho
from config.dotenv import read_dotenv
from schemas.errors import SettingsError

LOOKING = (
    *(check, preview, status, stats, deliveries, events, refused, audit),
    *(tail, alert_test),
)
DOING = (
    *(send, retry, cancel, release, resolve, replay, pause, resume),
    *(call_list, suppress, erase),
)
CONNECTING = (connect, hubspot_app, zoho, reconcile, new_source)
KEEPING = (move_store,)
TRYING = (call_me, simulate, demo)
SECTIONS = {
    "Commands that look": LOOKING,
    "Commands that act": DOING,
    "To connect a source": CONNECTING,
    "To look after the store": KEEPING,
    "To try it out": TRYING,
}


class Cli(click.Group):
    """The program. Its help shows the commands by section, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the help."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands of each section."""
        width = max(map(len, self.commands))
        for heading, commands in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl(
                    [(str(one.name).ljust(width), one.get_short_help_str(80)) for one in commands]
                )


def create_cli() -> Cli:
    """Return the program. It reads nothing until a command runs."""

    @click.group(cls=Cli, context_settings={"help_option_names": ["-h", "--help"]})
    @click.version_option(VERSION, prog_name="CallKaro Bridge")
    def bridge() -> None:
        """CallKaro Bridge turns CRM webhooks into phone calls: never lost, never twice.

        These commands check the settings, show what became of every event, and act on the
        deliveries of a running bridge. Settings are read from the environment and from the file
        .env, if there is one in this directory or above it.

        Times are shown in CALLKARO_TIMEZONE; --json shows them in UTC. Exit codes: 0 success, 1
        failure, 2 wrong use.
        """
        try:
            read_dotenv()
        except SettingsError as error:
            raise Failure(str(error)) from None

    for commands in SECTIONS.values():
        for command in commands:
            bridge.add_command(command)
    return bridge


def main() -> None:
    """Run the command that was typed, or answer the shell's completion."""
    completion.register()
    create_cli()(prog_name=completion.PROGRAM, complete_var=completion.VARIABLE)
