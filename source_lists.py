"""`make sources`: write every list of sources from the modules in schemas/crm.

In README.md and the other pages, the text between `<!-- sources -->` and `<!-- /sources -->` is
written here; BLOCKS has the forms, such as `<!-- sources: table -->`. In .env.example and
compose.yaml, it is the part between `# sources` and `# /sources`. In app.json, the variables of
the sources are the last ones of `env`.
"""

import json
import posixpath
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from schemas.crm import kinds
from schemas.routes_toml import load_routes
from schemas.source import Basic, Jwt, Kind, Source, Token, secret_of

ROOT = Path(__file__).parent
GENERIC = "generic"  # the kind of any form or program: it is not a CRM
STAND_IN = "http://simulator:8001"  # the service of compose.yaml's try-out
TRYOUT = "only-to-try-it-out-here"
WIDTH = 100

MARKED = re.compile(
    r"(?P<begin>(?<!`)<!-- sources(?:: (?P<form>[a-z]+))? -->)(?P<text>.*?)"
    r"(?P<end><!-- /sources -->)",
    re.DOTALL,
)
COMMENTED = re.compile(
    r"(?P<begin>^ *# sources\b[^\n]*\n)(?P<text>.*?)(?P<end>^ *# /sources\n)", re.M | re.S
)
OF_APP = re.compile(r'^    "(?P<name>[A-Z0-9_]+)": \{\n.*?^    \}', re.M | re.S)


class MarkerError(ValueError):
    """A marker is not one that this module knows; the text says where."""


# --- the sources ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One environment variable of a source."""

    name: str
    about: str  # a sentence, for the person who sets it
    value: str  # in the try-out
    default: str | None = None
    # Whether the source is off, is not accepted by its vendor, or reads no records, without it.
    is_needed: bool = True


def crms() -> list[Kind]:
    """Return the kinds that are CRMs, by title."""
    found = [kind for kind in kinds().values() if kind.name != GENERIC]
    return sorted(found, key=lambda kind: kind.title.lower())


def sources() -> list[Source]:
    """Return the CRMs, then any form or program, then the sources of the shipped routes.toml."""
    text = (ROOT / "routes.toml").read_text("utf-8")
    found = load_routes(text, file="routes.toml", kinds=kinds()).sources
    first = [*(kind.name for kind in crms()), GENERIC]
    return [found[name] for name in (*first, *sorted(found.keys() - set(first)))]


def settings_of(source: Source) -> Iterator[Setting]:
    """Yield the variables of a source, its webhook secret first."""
    kind, prefix = source.kind, source.variable_prefix
    is_own = source.name != kind.name
    title = f"The source {source.name} of routes.toml" if is_own else kind.title
    yield Setting(
        name=f"{prefix}WEBHOOK_SECRET",
        about=f"{title}: {source.secret_about()}.",
        value=secret_of(source.auth, TRYOUT),
    )
    values = source.simulated_variables(STAND_IN)
    for variable in kind.variables:
        name = prefix + variable.suffix
        yield Setting(
            name=name,
            about=f"{title}: {variable.about()}.",
            value=values[name],
            default=variable.default,
            is_needed=variable.default is None and variable.suffix in kind.needs,
        )


def settings() -> list[Setting]:
    """Return the variables of all sources."""
    return [setting for source in sources() for setting in settings_of(source)]


# --- pages ------------------------------------------------------------------------------------


def guide_of(kind: Kind, page: str) -> str | None:
    """Return the link from a page to a kind's own page; None: there is no such page."""
    if not (ROOT / kind.guide_path).is_file():
        return None
    return posixpath.relpath(kind.guide_path, posixpath.dirname(page) or ".")


def names(page: str) -> str:
    """Return the CRMs, each as a link to its page."""
    links = ((kind.title, guide_of(kind, page)) for kind in crms())
    return ", ".join(f"[{title}]({link})" if link else title for title, link in links)


def plain(page: str) -> str:
    """Return the CRMs without links."""
    return ", ".join(kind.title for kind in crms())


def phones(page: str) -> str:
    """Return a list of the fields in which each CRM usually keeps a record's numbers."""
    found = []
    for kind in crms():
        if kind.phones:
            fields = sorted(".".join(path) for path in kind.phones.paths - kind.phones.tested)
            found.append(f"- {kind.title}: {', '.join(f'`{name}`' for name in fields)}")
    return "\n".join(found)


def guides(page: str) -> str:
    """Return the CRMs whose page in docs/ lists all their types, each as a link to it."""
    links = ((kind.title, guide_of(kind, page)) for kind in crms() if kind.guide)
    return ", ".join(f"[{title}]({link})" for title, link in links if link)


def table(page: str) -> str:
    """Return a table of all kinds, with what its modules and samples say of each."""
    head = ["Source", "`source`", "Proof of a webhook", "Webhook", "Sent again", "Records"]
    head += ["Calls are told", "Tested against"]
    rows = [head, ["---"] * len(head)]
    for kind in (*crms(), kinds()[GENERIC]):
        link = guide_of(kind, page)
        rows.append(
            [
                f"[{kind.title}]({link})" if link else kind.title,
                f"`{kind.name}`",
                proof_of(kind),
                fullness_of(kind),
                kind.retries,
                "fetched by id" if kind.hydration else "as in the webhook",
                "by its API" if kind.write_back else "by a webhook",
                tested_against(kind),
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def proof_of(kind: Kind) -> str:
    """Return how a kind's requests prove who sent them."""
    if isinstance(kind.auth, Token):
        places = [f"`{kind.auth.header}`", f"`?{kind.auth.query}=`"]
        places += [f"`{name}` of the body" for name in kind.auth.body]
        beside = " or ".join(f"`{one.header}`" for one in kind.auth.beside)
        return f"token in {' or '.join(places)}" + (
            f", beside a signature in {beside}" if beside else ""
        )
    if isinstance(kind.auth, Basic):
        return "user and password (HTTP Basic)"
    if isinstance(kind.auth, Jwt):
        return f"JWT in `{kind.auth.header}`"
    return f"signature in `{kind.auth.schemes[0].header}`"


def fullness_of(kind: Kind) -> str:
    """Return whether a kind's webhooks have the record, by the items of its samples."""
    items = [item for file in _samples(kind, "expected.json") for item in json.loads(file)]
    thin = {item["hydrate"] is not None for item in items if not item["problem"]}
    if thin == {True, False}:
        return "thin or full"
    return "thin" if thin == {True} else "full"


def tested_against(kind: Kind) -> str:
    """Return what the tests of a kind send and ask."""
    bodies = len(_samples(kind, "body.*"))
    sent = f"{bodies} sample {'body' if bodies == 1 else 'bodies'}"
    has_stand_in = (ROOT / "simulator" / f"{kind.module_name}.py").is_file()
    return f"{sent}, a stand-in for its API" if has_stand_in else sent


def _samples(kind: Kind, ending: str) -> list[str]:
    found = sorted((ROOT / "tests" / "payloads" / kind.name).glob(f"*.{ending}"))
    return [file.read_text("utf-8") for file in found]


# Form -> what is between the markers. A table has lines of its own.
BLOCKS: dict[str, Callable[[str], str]] = {
    "names": names,
    "plain": plain,
    "phones": phones,
    "guides": guides,
    "table": table,
}


def rewritten_page(text: str, page: str) -> str:
    """Return a page with each of its blocks as the modules have it. Raises MarkerError."""

    def block(found: re.Match[str]) -> str:
        form = found["form"] or "names"
        if form not in BLOCKS:
            raise MarkerError(f"{page}: no form {form!r}; there are {', '.join(BLOCKS)}")
        written = BLOCKS[form](page)
        on_own_lines = found["text"].startswith("\n") or form == "table"
        return found["begin"] + (f"\n{written}\n" if on_own_lines else written) + found["end"]

    if text.count("<!-- /sources -->") != text.count("<!-- sources"):
        raise MarkerError(f"{page}: a marker has no counterpart")
    return MARKED.sub(block, text)


# --- files with variables -----------------------------------------------------------------------


def rewritten_env_example(text: str) -> str:
    """Return .env.example with the variables of all sources. Raises MarkerError."""
    lines: list[str] = []
    for setting in settings():
        about = textwrap.wrap(setting.about, WIDTH - 2, break_on_hyphens=False)
        lines += [f"# {line}" for line in about]
        value = f"{setting.name}={setting.default or ''}"
        lines.append(value if setting.is_needed else f"# {value}")
    return rewritten_part(text, lines, ".env.example")


def rewritten_compose(text: str) -> str:
    """Return compose.yaml with the variables of all sources for the try-out. Raises MarkerError."""
    # In quotes: a token of digits would be a number to YAML.
    lines = [f"    {one.name}: {json.dumps(one.value)}" for one in settings()]
    return rewritten_part(text, lines, "compose.yaml")


def rewritten_part(text: str, lines: list[str], file: str) -> str:
    """Return a text with these lines between its markers. Raises MarkerError."""
    written = "".join(f"{line}\n" for line in lines)
    found, count = COMMENTED.subn(lambda part: part["begin"] + written + part["end"], text)
    if count != 1:
        raise MarkerError(f"{file}: needs one part between `# sources` and `# /sources`")
    return found


def rewritten_app(text: str) -> str:
    """Return app.json with the variables of all sources but the generic one, which few need."""
    generic = sources()[len(crms())].variable_prefix
    wanted = [one for one in settings() if one.is_needed and not one.name.startswith(generic)]
    entries = list(OF_APP.finditer(text))
    ours = {one.name for one in settings()}
    first = next((entry for entry in entries if entry["name"] in ours), None)
    begin = first.start() if first else entries[-1].end()
    written = ",\n".join(
        f"    {json.dumps(one.name)}: {{\n"
        f'      "description": {json.dumps(described(one), ensure_ascii=False)},\n'
        '      "required": false\n'
        "    }"
        for one in wanted
    )
    return text[:begin] + ("" if first else ",\n") + written + text[entries[-1].end() :]


def described(setting: Setting) -> str:
    """Return a variable's sentence; a secret's says what happens without it."""
    is_secret = setting.name.endswith("_WEBHOOK_SECRET")
    return setting.about + (" Without it, the source is switched off." if is_secret else "")


# --- all of it ----------------------------------------------------------------------------------


def unmarked_lists(text: str) -> Iterator[str]:
    """Yield each block of a page that names every CRM outside of markers.

    Such a block would be incomplete with the next CRM. A block stands between blank lines; code
    in fences is left out.
    """
    text = re.sub(r"^```.*?^```", "", MARKED.sub("", text), flags=re.M | re.S)
    for block in re.split(r"\n\s*\n", text):
        plain_text = block.lower()
        if all(kind.title.split()[0].lower() in plain_text for kind in crms()):
            yield block.strip()


def pages() -> list[Path]:
    """Return every page of the project."""
    return sorted(
        [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")]
    )


def changes() -> dict[Path, str]:
    """Return the new text of each file that does not match the modules. Raises MarkerError."""
    found = {}
    for path in pages():
        text = path.read_text("utf-8")
        found[path] = rewritten_page(text, path.relative_to(ROOT).as_posix())
    for name, rewritten in (
        (".env.example", rewritten_env_example),
        ("app.json", rewritten_app),
        ("compose.yaml", rewritten_compose),
    ):
        found[ROOT / name] = rewritten((ROOT / name).read_text("utf-8"))
    return {path: text for path, text in found.items() if text != path.read_text("utf-8")}


def main() -> int:
    """Write what has changed, and name the files."""
    try:
        found = changes()
    except MarkerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for path, text in found.items():
        path.write_text(text, "utf-8")
        sys.stdout.write(f"written  {path.relative_to(ROOT)}\n")
    if not found:
        sys.stdout.write("Every list of sources is up to date.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
