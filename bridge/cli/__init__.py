"""The command line. Each command reads the settings when it runs.

An expected failure is one message on stderr and exit code 1; a wrong use is exit code 2.
"""

from bridge.cli.client import Api, Failure, address_of
from bridge.cli.screen import console
from bridge.cli.send import post_signed
from bridge.preview import incoming

__all__ = ["Api", "Failure", "address_of", "console", "incoming", "post_signed"]
