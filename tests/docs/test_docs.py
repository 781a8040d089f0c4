"""What the pages say is tried: routes load, recipes yield, the example of a CRM runs."""

import contextlib
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import click
import pytest
from flask import Flask
from requests.structures import CaseInsensitiveDict
from support import each
from werkzeug.exceptions import HTTPException

from bridge.api.views import callkaro_warnings, pause_warnings, suspension_warnings
from bridge.app import create_app
from bridge.cli.commands import DOING, TRYING, create_cli
from config.settings import warnings_of
from schemas.alert import SUMMARY, TYPES
from schemas.callkaro import CALL_FIELDS, LANGUAGES
from schemas.crm import kinds
from schemas.delivery import MOVES, Reason, Status
from schemas.errors import BadSignature
from schemas.event import NEVER_BY_GLOB, EventStatus, Item
from schemas.expression import Expression
from schemas.hours import parse_window
from schemas.records import Pause, Persistence
from schemas.route import Routes
from schemas.routes_toml import FloodSchema, HoursSchema, RouteSchema, SourceSchema, load_routes
from schemas.settings import Settings
from schemas.signatures import check_secret, sign, verify
from schemas.source import Incoming, Kind, Source
from store import Store
from store.queue import Wakeup

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
GUIDES = sorted((ROOT / "examples").rglob("*.md"))
ROUTES, STATUSES, ADDING, OPERATING, SAFETY, WHY = (
    (DOCS / f"{name}.md").read_text("utf-8")
    for name in (
        *("routes", "statuses", "adding-a-crm", "operating"),
        *("call-safety", "why-not-called"),
    )
)
NOW = datetime(2026, 1, 1, 7, 0, tzinfo=UTC)
SECRET = "a-made-up-secret"
HEARD = ("received", "ignored", "rejected", "unstored")  # what is logged of every outcome


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def table(text: str, *, after: str) -> list[list[str]]:
    """Return the cells of the rows of the first table below a heading, without its head."""
    below = text[text.index(f"\n{after}\n") :]
    found = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert found, f"no table below {after!r}"
    rows = found.group().splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def code(cell: str) -> str:
    """Return what a code span in a table's cell holds."""
    found = re.fullmatch(r"(`+)(.+?)\1", cell)
    assert found, f"{cell!r} is no code span"
    inner = found[2].replace("\\|", "|")
    return inner.strip() if len(found[1]) > 1 else inner


def words(text: str) -> set[str]:
    """Return every single word in code spans."""
    return set(re.findall(r"`([a-z_]+)`", text))


def route_blocks() -> Iterator[Any]:
    for page in PAGES:
        for number, block in enumerate(blocks(page.read_text("utf-8"), "toml"), start=1):
            if "[[route]]" in block or "[[source]]" in block:
                yield pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")


@each("block", list(route_blocks()))
def test_every_piece_of_routes_toml_loads(block: str) -> None:
    assert load_routes(block, file="docs", kinds=kinds()).sources


def test_the_sample_loads_as_it_is_and_with_all_that_is_commented_out() -> None:
    text = (ROOT / "routes.toml").read_text("utf-8")
    whole = re.sub(
        r"^# (?=\[\[source\]\]|\[route\.write_back\]|[a-z_]+ +=)", "", text, flags=re.MULTILINE
    )
    assert whole.count("\n#") < text.count("\n#")
    as_it_is, with_all = (
        load_routes(one, file="routes.toml", kinds=kinds()) for one in (text, whole)
    )
    assert [route.name for route in as_it_is.routes] == [route.name for route in with_all.routes]
    assert all(route.again_after_s and route.flood for route in as_it_is.routes)
    assert [bool(route.write_back) for route in as_it_is.routes] == [True, True, False]
    assert all(route.write_back for route in with_all.routes)
    assert with_all.routes[0].hours
    assert with_all.routes[0].consent
    assert with_all.sources["hubspot"].opt_out


@each("key", [f.data_key or name for name, f in RouteSchema().fields.items()])
def test_every_key_of_a_route_is_explained(key: str) -> None:
    assert f"| `{key}` |" in ROUTES


@pytest.mark.parametrize("key", [f.data_key or name for name, f in HoursSchema().fields.items()])
def test_every_key_of_hours_is_explained(key: str) -> None:
    assert any(key in words(row[0]) for row in table(ROUTES, after="### hours"))


def test_every_key_of_a_flood_is_explained() -> None:
    [row] = [row for row in table(ROUTES, after="## Keys of a route") if row[0] == "`flood`"]
    assert all(
        f"{field.data_key or name} = " in row[1] for name, field in FloodSchema().fields.items()
    )


@each("key", [f.data_key or name for name, f in SourceSchema().fields.items()])
def test_every_key_of_a_source_is_explained(key: str) -> None:
    section = ROUTES[ROUTES.index("## Sources of your own") :]
    assert f"`{key}`" in section


def test_the_fields_of_a_call_and_what_a_glob_leaves_out_are_named() -> None:
    assert words(ROUTES) >= CALL_FIELDS
    assert f"`{' '.join(LANGUAGES)}`" in ROUTES
    assert all(f"`.{word}`" in ROUTES for word in NEVER_BY_GLOB)


@each(
    ("expression", "record", "yields"),
    [tuple(map(code, row[1:])) for row in table(ROUTES, after="## JMESPath recipes")],
)
def test_a_recipe_yields_what_the_page_says(expression: str, record: str, yields: str) -> None:
    found = Expression.of(expression).search(json.loads(record))
    assert (found, type(found)) == (json.loads(yields), type(json.loads(yields)))


def opt_outs() -> Iterator[Any]:
    for page in PAGES:
        for number, block in enumerate(blocks(page.read_text("utf-8"), "toml"), start=1):
            for source in load_routes(block, file="docs", kinds=kinds()).sources.values():
                if source.opt_out and source.opt_out != source.kind.opt_out:
                    where = f"{page.relative_to(ROOT)}-{number}-{source.name}"
                    yield pytest.param(source, id=where)


# Per kind: a notification and a record that say so, and those that don't.
SAYS_NO: dict[str, list[Any]] = {
    "hubspot": [
        {"propertyName": "do_not_call", "propertyValue": "true"},
        {"properties": {"do_not_call": "true"}},
    ],
    "zoho": [{"Do_Not_Call": True}, {"Do_Not_Call": "true"}],
}
SAYS_NOTHING: dict[str, list[Any]] = {
    "hubspot": [
        {},
        {"propertyName": "city", "propertyValue": "true"},
        {"properties": {"do_not_call": "false"}},
        {"properties": {"do_not_call": None}},
    ],
    "zoho": [{}, {"Do_Not_Call": False}, {"Do_Not_Call": None}, {"Do_Not_Call": "false"}],
}


@pytest.mark.parametrize("source", list(opt_outs()))
def test_an_opt_out_of_the_pages_hears_a_no_and_nothing_else(source: Source) -> None:
    assert source.opt_out
    assert all(source.opt_out.search(data) is True for data in SAYS_NO[source.kind.name])
    assert all(source.opt_out.search(data) is False for data in SAYS_NOTHING[source.kind.name])


def test_the_campaign_and_its_calls_find_each_other() -> None:
    [block] = [text for text in blocks(ROUTES, "toml") if 'to       = "campaign"' in text]
    makes, calls = load_routes(block, file="docs", kinds=kinds()).routes
    assert makes.campaign
    assert calls.campaign
    assert makes.campaign.key
    assert calls.campaign.key
    lead = {"id": "8001", "Campaign_Id": "7001"}
    assert makes.campaign.key.search({"id": "7001"}) == calls.campaign.key.search(lead)


@each("word", [*Status, *Reason])
def test_every_status_and_reason_is_explained(word: str) -> None:
    assert f"| `{word}` |" in STATUSES


def orders() -> list[str]:
    """Return the commands in the table of what a person can do, without `python -m bridge`."""
    return [code(row[1]) for row in table(STATUSES, after="## What a person can do")]


def test_every_request_of_the_api_and_every_command_is_explained() -> None:
    [first, *_] = blocks(ROUTES, "toml")
    app = create_app(made_settings(load_routes(first, file="docs", kinds=kinds())))
    asked = {
        f"`{method} {re.sub('<(?:path:|event_|delivery_|refused_)?', '<', rule.rule)}`"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/api/")
    }
    assert len(asked) >= 15
    assert [one for one in sorted(asked) if f"| {one} |" not in STATUSES] == []
    done = {command.name for command in (*DOING, *TRYING)} - {"send", "simulate", "demo"}
    assert done <= {shlex.split(order)[0] for order in orders()}


@pytest.mark.parametrize("word", EventStatus)
def test_every_status_of_an_event_is_explained(word: str) -> None:
    assert f"| `{word}` |" in STATUSES


@each("row", table(STATUSES, after="## Status of a delivery"))
def test_no_page_promises_a_move_that_does_not_exist(row: list[str]) -> None:
    status = Status(code(row[0]))
    assert words(row[2]) & set(Status) <= MOVES[status]


def test_a_reason_that_the_pages_name_exists() -> None:
    named = {code(row[0]) for row in table(STATUSES, after="## Every reason")}
    assert named == set(Reason)
    checks = table(SAFETY, after="## Checks before a call")
    assert len(checks) >= 13
    assert all(words(row[2]) and words(row[2]) <= set(Reason) for row in checks)


@each("word", [*Status, *Reason, *EventStatus])
def test_the_sales_team_finds_every_word_of_the_dashboard(word: str) -> None:
    # An event with deliveries is `routed`: then the lead was found in the first step.
    assert word in words(WHY) or word == EventStatus.ROUTED


def made_settings(routes: Routes, **more: Any) -> Settings:
    given = {"redis_url": "redis://x", "api_tokens": ("x",), "callkaro_api_key": "x", **more}
    return Settings(routes=routes, **given)


class Unheard:
    """A store that remembers that CallKaro did not take the latest request."""

    def callkaro(self) -> dict[str, Any]:
        return {"answered_at": None, "failed_at": NOW, "message": "CallKaro answered 503."}

    def pauses(self) -> list[Pause]:
        return [Pause(scope="callkaro", reason="account", message="It answered 403.", since=NOW)]


class Suspended:
    """A queue whose workers are suspended."""

    def is_suspended(self) -> bool:
        return True


OPT_OUT_WITHOUT_A_ROUTE = """
[[source]]
name = "zoho"
opt_out = "to_string(Do_Not_Call) == 'true'"
"""


def warnings_there_are() -> Iterator[str]:
    [first, *_] = blocks(ROUTES, "toml")
    routes = load_routes(first, file="docs", kinds=kinds())
    none = load_routes("", file="docs", kinds=kinds())
    yield from warnings_of(made_settings(routes, dry_run=True, allow_numbers=frozenset()))
    yield from warnings_of(made_settings(routes, secrets={"hubspot": ("x",)}))
    yield from warnings_of(made_settings(none))
    no_numbers = load_routes(OPT_OUT_WITHOUT_A_ROUTE, file="docs", kinds=kinds())
    never = Expression.of("post_call.do_not_call == 'yes'")
    always = parse_window("always")
    yield from warnings_of(made_settings(no_numbers, suppress_when=never, calling_hours=always))
    unheard = cast(Store, Unheard())
    yield from callkaro_warnings(unheard)
    yield from suspension_warnings(cast(Wakeup, Suspended()))
    for in_full in (True, False):
        yield from pause_warnings(unheard, in_full=in_full)
    for how in (
        {"append_only": False, "fsync": "no", "policy": "noeviction"},
        {"append_only": True, "fsync": "everysec", "policy": "allkeys-lru"},
    ):
        kept: dict[str, Any] = {"used_bytes": 0, "used_ratio": None, **how}
        yield from Persistence(**kept).warnings()
        for replicas in (0, None):
            yield from Persistence(**kept, acks=1, replicas=replicas).warnings()
        forbidden = ("INFO", "CONFIG GET")
        yield from Persistence(**{**kept, "append_only": None}, forbidden=forbidden).warnings()


@each("warning", sorted(set(warnings_there_are())))
def test_every_warning_is_explained(warning: str) -> None:
    rows = [row[0] for row in table(OPERATING, after="## Warnings")]
    beginnings = [span for row in rows for span in re.findall("`([^`]+)`", row)]
    patterns = [".*".join(map(re.escape, span.split("…"))) for span in beginnings]
    assert any(re.fullmatch(pattern, warning) for pattern in patterns)


def test_every_setting_is_in_the_table() -> None:
    example = (ROOT / ".env.example").read_text("utf-8")
    names = set(re.findall(r"^#? ?([A-Z_]+)=", example, re.MULTILINE))
    of_sources = tuple(f"{name.upper().replace('-', '_')}_" for name in (*kinds(), "website"))
    rows = [row[0] for row in table(OPERATING, after="## Settings")]
    missing = {name for name in names if not any(f"`{name}`" in row for row in rows)}
    assert {name for name in missing if not name.startswith(of_sources)} == set()


def test_every_metric_is_in_the_table() -> None:
    source = (ROOT / "bridge" / "metrics.py").read_text("utf-8")
    made = re.findall(r'_(counter|gauge|single|histogram)\(\s*"([a-z_]+)"', source)
    assert len(made) >= 15
    names = {f"{name}_total" if kind == "counter" else name for kind, name in made}
    rows = [row[0] for row in table(OPERATING, after="## Metrics")]
    assert {name for name in names if not any(f"`{name}`" in row for row in rows)} == set()


def test_every_alert_is_in_the_table() -> None:
    assert {code(row[0]) for row in table(OPERATING, after="## Alerts")} == {*TYPES, SUMMARY}


def lines_about_people() -> Iterator[str]:
    """Yield the log lines that tell of people's wishes, as the code writes them."""
    for name in (
        "store/suppression.py",
        "store/erasure.py",
        "workers/background_tasks.py",
        "bridge/callbacks.py",
    ):
        text = (ROOT / name).read_text("utf-8")
        yield from re.findall(r'logger\.\w+\(\s*"((?!webhook|wakeup)[a-z_]+\.[a-z_]+)"', text)


@each(
    "line",
    sorted(set(lines_about_people()) - {f"outcome.{it}" for it in HEARD}),
)
def test_every_log_line_about_people_is_explained(line: str) -> None:
    told = table(OPERATING, after="## Log lines about people")
    assert any(f"`{line}`" in row[0] for row in told)


@pytest.fixture(scope="module")
def leadpost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The CRM module of the page, imported from a file as the real ones are."""
    [text] = blocks(ADDING, "python")
    file = tmp_path_factory.mktemp("crm") / "leadpost.py"
    file.write_text(text, "utf-8")
    spec = importlib.util.spec_from_file_location("leadpost", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["leadpost"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["leadpost"]


def request_of(body: bytes) -> Incoming:
    return Incoming(
        method="POST",
        url="https://bridge.example/webhooks/leadpost",
        headers=CaseInsensitiveDict(),
        query={},
        body=body,
        content_type="application/json",
    )


def items(kind: Kind, content: Any) -> list[Item]:
    source = Source(name=kind.name, kind=kind, auth=kind.auth, default_type=kind.default_type)
    return kind.parse(content, request_of(b""), source)


def test_the_crm_of_the_page_reads_its_sample_as_the_page_says(leadpost: ModuleType) -> None:
    body, expected = map(json.loads, blocks(ADDING, "json"))
    found = items(leadpost.KIND, body)
    for item, shown in zip(found, expected, strict=True):
        time = item.time.isoformat() if item.time else None
        assert {name: getattr(item, name) for name in shown} | {"time": time} == shown


@each("junk", [None, True, 0, "text", [], {}, [None], [[]], ["x", 1, {}]])
def test_the_crm_of_the_page_survives_junk(leadpost: ModuleType, junk: Any) -> None:
    assert all(item.problem for item in items(leadpost.KIND, junk))
    assert leadpost.KIND.hydration.records(junk) == {}


def test_the_crm_of_the_page_is_signed(leadpost: ModuleType) -> None:
    auth = leadpost.KIND.auth
    request = request_of(blocks(ADDING, "json")[0].encode())
    headers = CaseInsensitiveDict(sign(auth, SECRET, request, now=NOW))
    signed = replace(request, headers=headers)
    verify(auth, [SECRET], signed, now=NOW)
    with pytest.raises(BadSignature):
        verify(auth, [SECRET], replace(signed, body=b"{}"), now=NOW)
    with pytest.raises(BadSignature):
        verify(auth, [SECRET], signed, now=NOW + timedelta(minutes=6))


def test_the_crm_of_the_page_fetches_what_routes_read(leadpost: ModuleType) -> None:
    hydration = leadpost.KIND.hydration
    assert hydration.fields(Expression.of("lead.phone || lead.mobile").paths) == {"phone", "mobile"}
    assert hydration.request("leads", ["1", "2"], ["phone"]).params == {
        "ids": "1,2",
        "fields": "phone",
    }
    assert hydration.records({"leads": [{"id": 1, "phone": "x"}]}) == {"1": {"id": 1, "phone": "x"}}
    text = """
        [[route]]
        name = "call"
        source = "leadpost"
        event = "lead.created"
        to = "call"
        request = { to_number = "lead.phone", agent_id = { value = "a" } }
    """
    assert load_routes(text, file="docs", kinds={"leadpost": leadpost.KIND}).routes


def test_the_sample_secret_of_standard_webhooks_is_one() -> None:
    [found] = re.findall(r"BILLING_WEBHOOK_SECRET=(\S+)", ROUTES)
    [block] = [text for text in blocks(ROUTES, "toml") if '"standard"' in text]
    auth = load_routes(block, file="docs", kinds=kinds()).sources["billing"].auth
    assert check_secret(auth, found) is None


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


@each("page", [*PAGES, *GUIDES], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, fragment = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), target
        if fragment:
            headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
            assert fragment in map(anchor, headings), target


# --- commands -------------------------------------------------------------------------------

# What is no command of ours, and why it stands there all the same.
OTHERS = {
    ".": "reads .env or the virtual environment",
    "set": "hands .env on to curl",
    "cd": "goes into the folder that hubspot-app wrote",
    "chmod": "the shell's, for tab completion",
    "docker": "tried by tests/deploy, as far as that can be done without a daemon",
    "eval": "the shell's, for tab completion",
    "git": "fetches the code of another release",
    "heroku": "needs an account: tried by hand, if at all, and docs/deploy-heroku.md says so",
    "honcho": "runs the Procfile, as Heroku does",
    "hs": "HubSpot's command line, which needs an account",
    "kubectl": "needs a cluster; tests/deploy tries what it can do without one",
    "npm": "installs HubSpot's command line",
    "openssl": "makes a secret",
    "printf": "the shell's, for tab completion",
    "redis-cli": "Redis' own; each line was tried against a Valkey, through a client",
}
THEIRS = {"accounts.zoho.in": "Zoho's own API", "www.zohoapis.in": "Zoho's own API"}
HERE = {"bridge.example", "localhost:8000"}


def shell_lines(page: Path) -> Iterator[str]:
    """Yield what a page's blocks have a person type: a line each, comments aside.

    A block without a language counts where it begins with a command of ours.
    """
    language, waiting = None, ""
    for line in page.read_text("utf-8").splitlines():
        if fence := re.match(r" *```+(\w*)", line):
            assert not waiting, f"{page.name}: {waiting!r} has no end"
            language = None if language is not None else fence[1]
            continue
        if language not in ("sh", "bash", ""):
            continue
        if language == "" and not waiting and line.split(" ")[0] not in ("curl", "python", "make"):
            continue
        waiting += f"{line}\n"
        if waiting.endswith("\\\n"):
            continue
        with contextlib.suppress(ValueError):  # within quotes: the next line goes on
            if shlex.split(waiting, comments=True):
                yield waiting.strip()
            waiting = ""


def said_in_passing(page: Path) -> Iterator[str]:
    """Yield the commands of ours that stand in a page's sentences; some by their name alone."""
    ours = r"`(python -m bridge [a-z][^`…]*|make [a-z-]+)`"
    for found in re.findall(ours, page.read_text("utf-8")):
        is_name = re.fullmatch(r"python -m bridge \S+", found)
        yield f"{found} --help" if is_name else found


def commands() -> Iterator[Any]:
    for page in PAGES:
        for line in dict.fromkeys((*shell_lines(page), *said_in_passing(page))):
            yield pytest.param(line, id=f"{page.relative_to(ROOT)}: {line.splitlines()[0]}")
    for order in orders():
        yield pytest.param(f"python -m bridge {order}", id=f"docs/statuses.md: {order}")


@pytest.fixture(scope="module")
def app() -> Flask:
    [first, *_] = blocks(ROUTES, "toml")
    return create_app(made_settings(load_routes(first, file="docs", kinds=kinds())))


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the pages name."""
    monkeypatch.chdir(tmp_path)
    for name in ("body.json", "contact.json", "do-not-call.csv", "leads.csv"):
        (tmp_path / name).touch()
    shutil.copytree(ROOT / "demo" / "samples", tmp_path / "demo" / "samples")
    return tmp_path


def check_arguments(arguments: list[str]) -> None:
    """Parse the arguments of `python -m bridge`, and run nothing. Raises click.UsageError."""
    group = create_cli()
    name, *rest = arguments
    command = group.get_command(click.Context(group), name)
    assert command, f"there is no command {name}"
    with contextlib.suppress(click.exceptions.Exit), command.make_context(name, rest):
        pass


def check_curl(arguments: list[str], app: Flask) -> None:
    """Look whether the bridge has what is asked of it. Raises werkzeug's NotFound and others."""
    [url] = [urlsplit(one) for one in arguments if one.startswith(("http://", "https://"))]
    if url.netloc in THEIRS:
        return
    assert url.netloc in HERE, f"whose is {url.netloc}?"
    method = "POST" if "-d" in arguments else "GET"
    if "-X" in arguments:
        method = arguments[arguments.index("-X") + 1]
    app.url_map.bind(url.netloc).match(unquote(url.path), method=method)


def check_command(text: str, app: Flask) -> None:
    """Look whether what a person is to type is there, without running it."""
    words = shlex.split(text, comments=True)
    while words and (assigned := re.match(r"([A-Za-z_]+)=", words[0])):
        known = (ROOT / ".env.example").read_text("utf-8")
        # A name that ends so is the shell's completion: click reads it.
        is_setting = assigned[1].isupper() and not assigned[1].endswith(("_SECRET", "_COMPLETE"))
        assert not is_setting or f"{assigned[1]}=" in known, f"{assigned[1]} is no setting"
        if "$(" in words[0] or words[0].endswith(";"):
            return  # the shell's own
        del words[0]
    if not words:
        return
    for at, word in enumerate(words):
        if words[at : at + 3] == ["python", "-m", "bridge"]:
            arguments = list(takewhile(lambda one: one != "|", words[at + 3 :]))
            if arguments or text.find("_COMPLETE=") < 0:
                check_arguments(arguments)
            return
        if word == "python" and words[at + 1] == "-m":
            assert importlib.util.find_spec(words[at + 2]), f"there is no module {words[at + 2]}"
            return
    if words[0] == "python":
        assert (ROOT / words[1]).is_file(), f"there is no {words[1]}"
    elif words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        asked = [word for word in words[1:] if "=" not in word]
        assert set(asked) <= set(targets), f"there is no target {asked}"
    elif words[0] == "curl":
        check_curl(words, app)
    else:
        assert words[0] in OTHERS, f"nobody looks at {words[0]}"


@each("command", list(commands()))
def test_every_command_of_the_pages_is_there(command: str, app: Flask, beside: Path) -> None:
    check_command(command, app)


@each(
    "wrong",
    [
        "python -m bridge status --no-such-option",
        "python -m bridge no-such-command",
        "python -m bridge resolve DELIVERY_ID maybe",
        "python -m bridge suppress --import no-such-file.csv",
        "docker run callkaro-bridge python -m bridge check --no-such-option",
        "make no-such-target",
        "python -m no_such_module",
        "python tests/no_such_script.py",
        "curl https://bridge.example/api/no-such-thing",
        "curl -X DELETE https://bridge.example/api/status",
        "curl https://elsewhere.example/api/status",
        "no-such-program --at all",
        "NO_SUCH_SETTING=1 python -m bridge check",
    ],
)
def test_a_command_that_is_not_there_would_be_found(wrong: str, app: Flask, beside: Path) -> None:
    with pytest.raises((AssertionError, click.UsageError, HTTPException)):
        check_command(wrong, app)


def test_the_hooks_before_a_commit_use_the_pinned_ruff() -> None:
    [pinned] = re.findall(
        r"^ruff==([\w.]+)", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE
    )
    hooks = re.findall(r"ruff==([\w.]+)", (ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert set(hooks) == {pinned}


def test_the_site_builds_and_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    built = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    for page in tmp_path.rglob("*.html"):
        fetched = r'(?:<script[^>]* src|<link[^>]* href|<img[^>]* src)="(https?://[^"]+)'
        assert re.findall(fetched, page.read_text("utf-8")) == [], page.name
