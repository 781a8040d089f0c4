"""`python -m bridge <command>`: the command line."""

from bridge.cli.commands import main

if __name__ == "__main__":
    main()
