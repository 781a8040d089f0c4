"""`new-source`: the files of a new source, which pass its tests at once."""

import re
from pathlib import Path
from string import Template
from typing import Final

import click

from bridge.cli.files import write_files
from schemas.crm import kinds

ROOT: Final = Path(__file__).parent.parent.parent
TEMPLATES: Final = Path(__file__).parent.parent / "templates" / "new_source"
NAME: Final = re.compile(r"[a-z][a-z0-9]{0,30}(-[a-z0-9]{1,30})*")
TITLE: Final = re.compile(r"[^\W_][\w .&+-]{0,39}")  # it goes into Python, TOML and Markdown
# Template -> the file that it becomes.
FILES: Final = {
    "module.txt": "schemas/crm/$module.py",
    "body.json": "tests/payloads/$name/lead.body.json",
    "expected.json": "tests/payloads/$name/lead.expected.json",
    "routes.toml": "examples/$name/routes.toml",
    "README.md": "examples/$name/README.md",
}


@click.command("new-source", short_help="Write the files of a new source.")
@click.argument("name")
@click.option("--title", metavar="TITLE", help="The name for people. Without it: made of NAME.")
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=ROOT,
    help="Write into this folder. Without it: into this project.",
)
@click.option("--force", is_flag=True, help="Replace files that have other content.")
def new_source(name: str, title: str | None, folder: Path, force: bool) -> None:
    """Write a module, a sample body with what it becomes, routes and a guide for the source NAME.

    They read a simple lead and pass the tests. Change them to what the vendor sends; then
    docs/adding-a-crm.md explains each part.
    """
    if not NAME.fullmatch(name):
        raise click.UsageError(f"{name!r} is no name. Write small letters and digits: lead-post.")
    if name in kinds() and not force:
        raise click.UsageError(f"There is a source {name!r} already.")
    title = title or name.replace("-", " ").title()
    if not TITLE.fullmatch(title):
        raise click.UsageError("--title: 1 to 40 letters, digits, blanks and . & + - only.")
    words = {"name": name, "title": title, "module": name.replace("-", "_")}
    texts = {
        Template(path).substitute(words): _filled(template, words)
        for template, path in FILES.items()
    }
    write_files(folder, texts, force=force)
    click.echo(
        "\nNext:\n"
        "  1. Put a body of the vendor into the sample, with made-up names and numbers.\n"
        f"  2. Change {Template(FILES['module.txt']).substitute(words)} until the tests pass:\n"
        '       make test ARGS="tests/schemas/crm tests/bridge/test_contract_of_sources.py '
        'tests/docs/test_examples.py"\n'
        "  3. Write the guide, then run: make sources"
    )


def _filled(template: str, words: dict[str, str]) -> str:
    return Template((TEMPLATES / template).read_text("utf-8")).substitute(words)
