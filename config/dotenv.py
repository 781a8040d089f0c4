"""The file .env, for programs that a person starts: `python -m bridge` and `python -m demo`.

The web process and the worker do not read it. honcho, Docker Compose or the platform puts the
variables into their environment.
"""

import os

import dotenv

from schemas.errors import SettingsError

# Set to any text, no .env is read. The tests set it, so that this machine's .env changes nothing.
SKIP = "BRIDGE_SKIP_DOTENV"


def read_dotenv() -> None:
    """Put the variables of .env into the environment; a variable that is set there stays.

    The file is looked for in the current directory and then in those above it.

    Raises SettingsError: the file can't be read.
    """
    if os.environ.get(SKIP):
        return
    path = dotenv.find_dotenv(usecwd=True)
    if not path:
        return
    try:
        found = dotenv.dotenv_values(path, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} can't be read ({type(error).__name__})") from None
    for name, value in found.items():
        if value is not None:
            os.environ.setdefault(name, value)
