"""The web process: receives webhooks and shows what became of them. Also the command line.

This package stays light, because each RQ work-horse imports it.
"""

VERSION = "0.1.0.dev0"  # pyproject.toml reads it from here
