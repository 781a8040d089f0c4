"""What mkdocs.yml can't say: pages outside docs/, and links that lead out of docs/.

The pages of the root (OUTSIDE) are written for the repository's page, where their links lead into
docs/. Here they become pages beside the others. A link to a file that is not a page (a module,
routes.toml) becomes plain text: a site has no such file.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
DECISIONS = "docs/decisions"
CONNECT = "Connect a CRM"  # the part of the menu with a page for each CRM
LINK = re.compile(r"(?<!!)\[((?:`[^`]*`|[^\]`])*)\]\(([^)\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the CRMs' pages and all decisions into the menu, each under its own title."""
    pages = sorted(file.name for file in (ROOT / DECISIONS).glob("*.md"))
    crms = sorted(file.name for file in (ROOT / "docs").glob("connect-*.md"))
    nav = [
        {CONNECT: [*crms, *entry[CONNECT]]}
        if isinstance(entry, dict) and CONNECT in entry
        else entry
        for entry in config.nav or []
    ]
    config.nav = [*nav, {"Decisions": [f"decisions/{name}" for name in pages]}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/."""
    for source, name in OUTSIDE.items():
        if (ROOT / source).exists():
            text = (ROOT / source).read_text("utf-8").replace("](docs/images/", "](images/")
            files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make each link lead to a page of the site."""
    sources = {name: source for source, name in OUTSIDE.items()}
    here = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def led(found: re.Match[str]) -> str:
        words, target = found.groups()
        name, _, fragment = target.partition("#")
        if "://" in target or target.startswith("mailto:") or not name:
            return found[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(here), name))
        if file == DECISIONS:
            file = f"{DECISIONS}/{min(one.name for one in (ROOT / DECISIONS).glob('*.md'))}"
        wanted = OUTSIDE.get(file) or file.removeprefix("docs/")
        is_page = file in OUTSIDE or (file.startswith("docs/") and file.endswith(".md"))
        if not is_page:
            return words
        start = posixpath.dirname(page.file.src_uri) or "."
        anchor = f"#{fragment}" if fragment else ""
        return f"[{words}]({posixpath.relpath(wanted, start)}{anchor})"

    return LINK.sub(led, markdown)
