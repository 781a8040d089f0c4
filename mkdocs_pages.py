"""What mkdocs.yml can't say: pages that stand outside docs/, and links that lead out of it.

README.md, CHANGELOG.md and SECURITY.md are written for the repository's page, where their links
lead into docs/. Here they become pages beside the others. A link to a file that is no page (a
module, routes.toml) stays as its words: a site has no such file.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent
OUTSIDE = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "SECURITY.md": "security.md"}
DECISIONS = "docs/decisions"
LINK = re.compile(r"(?<!!)\[((?:`[^`]*`|[^\]`])*)\]\(([^)\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put all decisions into the menu, under what their own heads say."""
    pages = sorted(file.name for file in (ROOT / DECISIONS).glob("*.md"))
    config.nav = [*(config.nav or []), {"Decisions": [f"decisions/{name}" for name in pages]}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand outside docs/."""
    for source, name in OUTSIDE.items():
        if (ROOT / source).exists():
            text = (ROOT / source).read_text("utf-8").replace("](docs/images/", "](images/")
            files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Have each link lead to a page of the site."""
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
