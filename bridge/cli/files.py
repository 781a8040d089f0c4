"""Files that a command writes: all of them, or none."""

from collections.abc import Mapping
from pathlib import Path

import click

from bridge.cli.client import Failure


def write_files(folder: Path, texts: Mapping[str, str], *, force: bool) -> None:
    """Write every file, or none: a file of other content is replaced only if a person says so.

    texts: by path below the folder. Raises Failure.
    """
    try:
        others = [path for path, text in texts.items() if _differs(folder / path, text)]
        if others and not force:
            names = "".join(f"\n  - {folder / path}" for path in others)
            raise Failure(
                f"These files have other content. Nothing was written:{names}\n"
                "To replace them, add --force. To keep them, give another folder with --out."
            )
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
            click.echo(f"{'Replaced' if path in others else 'Wrote'} {folder / path}")
    except OSError as error:
        raise Failure(f"{folder} can't be written: {error.strerror or error}.") from None


def _differs(file: Path, text: str) -> bool:
    return file.exists() and file.read_bytes() != text.encode()
