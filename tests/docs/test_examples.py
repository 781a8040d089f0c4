"""Each folder of examples/ loads, and `preview` of its source's samples makes a call."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support import each
from support.samples import CONTENT_TYPES, NOW, content_of, headers_of, incoming, samples

import rules.preview
from rules.preview import FETCHED, SENT
from schemas.crm import kinds
from schemas.delivery import Reason
from schemas.expression import Expression
from schemas.json_body import read_json
from schemas.routes_toml import load_routes
from schemas.settings import Settings
from schemas.source import Source

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
FOLDERS = sorted(path for path in EXAMPLES.iterdir() if path.is_dir())


def text_of(folder: Path) -> str:
    return (folder / "routes.toml").read_text("utf-8")


def previews(folder: Path, settings: Settings) -> Iterator[Any]:
    """Yield what becomes of each event of each sample of the folder's sources, a minute later."""
    record = folder / "record.json"  # what the API of a thin source answers
    found = read_json(record.read_bytes()) if record.exists() else None
    called = {route.source for route in settings.routes.routes}
    for source in (settings.routes.sources[name] for name in sorted(called)):
        for sample in (path for path in samples() if path.parent.name == source.kind.name):
            at = time_of(sample, source) + timedelta(minutes=1)
            content_type, headers = CONTENT_TYPES[sample.suffix], headers_of(sample)
            sent = incoming(sample.read_bytes(), content_type, headers=headers)
            content = content_of(sample)
            seen = rules.preview.look(settings, source, sent, content, now=at, record=found)
            yield from seen.events


def time_of(sample: Path, source: Source) -> datetime:
    """Return when the newest event of a sample happened; NOW if it does not say."""
    request = incoming(headers=headers_of(sample))
    items = source.kind.parse(content_of(sample), request, source)
    return max((item.time for item in items if isinstance(item.time, datetime)), default=NOW)


@each("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_routes_of_an_example_call_a_lead_of_its_samples(folder: Path, make_settings) -> None:
    settings = make_settings(text_of(folder))
    outcomes = [one for event in previews(folder, settings) for one in event.outcomes]
    # The hours of the route may be closed at the time of the sample. Then the call waits for them.
    assert any(
        one.verdict in (SENT, FETCHED) or one.reason == Reason.OUTSIDE_HOURS for one in outcomes
    ), [(one.route, one.verdict, one.reason, one.message) for one in outcomes]
    assert all(one.requests for one in outcomes if one.verdict == SENT)


@each("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_example_limits_the_harm_of_a_mistake_and_has_its_guide(folder: Path) -> None:
    routes = load_routes(text_of(folder), file=folder.name, kinds=kinds()).routes
    assert routes
    assert all(route.again_after_s and route.flood for route in routes if route.to == "call")
    assert (folder / "README.md").read_text("utf-8").startswith("# ")


@pytest.mark.parametrize("kind", kinds().values(), ids=lambda kind: kind.name)
def test_every_source_has_its_guide(kind: Any) -> None:
    assert (EXAMPLES.parent / kind.guide_path).is_file(), kind.guide_path


def test_the_examples_of_all_sources_fit_into_one_file_with_the_routes_of_the_repository() -> None:
    texts = [text_of(EXAMPLES.parent), *map(text_of, FOLDERS)]
    assert load_routes("\n".join(texts), file="all", kinds=kinds()).routes


@each("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_example_has_one_route_for_again_after_counts_by_route(folder: Path) -> None:
    """With two, one person may be called by both."""
    assert len(load_routes(text_of(folder), file=folder.name, kinds=kinds()).routes) == 1


@each("folder", FOLDERS, ids=lambda folder: folder.name)
def test_what_a_guide_and_the_comments_of_its_routes_propose_is_an_expression(folder: Path) -> None:
    texts = text_of(folder) + (folder / "README.md").read_text("utf-8")
    proposed = r"""\b(?:match|when|to_number) *= *(\"{3}|["'])(.+?)\1"""
    for _, given in re.findall(proposed, texts, re.DOTALL):
        Expression.of(given)


def commands(folder: Path) -> list[str]:
    """Return what a guide's reader pastes into a shell."""
    guide = (folder / "README.md").read_text("utf-8")
    blocks = re.findall(r"^( *)```sh\n(.*?)^\1```", guide, re.MULTILINE | re.DOTALL)
    return [command for _, command in blocks]


@each("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_command_of_a_guide_reads_no_variable(folder: Path) -> None:
    """A shell has not read .env: an empty token would be sent, and refused."""
    assert not [one for one in commands(folder) if re.search(r"\$[A-Z{]", one)]


@each("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_command_of_a_guide_rings_nobody_else(folder: Path) -> None:
    """A made-up number is somebody's. Its reader writes their own."""
    assert not [one for one in commands(folder) if re.search(r"[6-9][0-9]{9}", one)]
