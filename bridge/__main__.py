"""`python -m bridge <command>`: the command line."""

import contextlib

from config.dotenv import read_dotenv
from schemas.errors import SettingsError


def _main() -> None:
    # .env is read first: when the store is imported, REDIS_URL settles the prefix of its keys.
    with contextlib.suppress(SettingsError):  # the command reads .env too, and then says why not
        read_dotenv()
    from bridge.cli.commands import main

    main()


if __name__ == "__main__":
    _main()
