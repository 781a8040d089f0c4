"""The sample bodies of every CRM, and a request and a source to read them with."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from requests.structures import CaseInsensitiveDict

from bridge.http.media import read_content
from schemas.crm import kinds
from schemas.event import Item
from schemas.expression import Expression
from schemas.source import Incoming, Kind, Source, assumed_proof

PAYLOADS = Path(__file__).parent.parent / "payloads"
NOW = datetime(2026, 1, 1, 7, 0, tzinfo=UTC)
CONTENT_TYPES = {
    ".json": "application/json",
    ".form": "application/x-www-form-urlencoded",
    ".xml": "text/xml",
}


def samples() -> list[Path]:
    """Return every sample: tests/payloads/<kind>/<name>.body.json, .body.form or .body.xml."""
    return sorted(path for path in PAYLOADS.glob("*/*.body.*") if path.parent.name in kinds())


def label(sample: object) -> str | None:
    """Name a sample in pytest's output: hubspot/every_word.body.json."""
    return f"{sample.parent.name}/{sample.name}" if isinstance(sample, Path) else None


def expected(sample: Path) -> Any:
    """Return the items that a sample should become, from the file beside it."""
    name = sample.name.partition(".")[0]
    return json.loads(sample.with_name(f"{name}.expected.json").read_text("utf-8"))


def headers_of(sample: Path) -> dict[str, str]:
    """Return the headers that say what a sample is about, from <name>.headers.json beside it."""
    name = sample.name.partition(".")[0]
    file = sample.with_name(f"{name}.headers.json")
    return json.loads(file.read_text("utf-8")) if file.exists() else {}


def kind_of(sample: Path) -> Kind:
    """Return the kind that a sample's directory is named after."""
    return kinds()[sample.parent.name]


def source_of(kind: Kind, **paths: str) -> Source:
    """Return a source of that kind under its own name, with its paths compiled."""
    return Source(
        name=kind.name,
        kind=kind,
        auth=kind.auth,
        default_type=kind.default_type,
        **{key: Expression.of(text) for key, text in paths.items()},  # type: ignore[arg-type]
    )


def incoming(body: bytes = b"", content_type: str = "application/json", **more: Any) -> Incoming:
    """Return a POST of that body to a source's URL."""
    headers = CaseInsensitiveDict(more.pop("headers", {}))
    made = {"method": "POST", "url": "https://bridge.example/webhooks/source", "query": {}, **more}
    return Incoming(headers=headers, body=body, content_type=content_type, **made)


def content_of(sample: Path) -> Any:
    """Return a sample's body as the intake would read it."""
    headers = {"Content-Type": CONTENT_TYPES[sample.suffix]}
    return read_content(kind_of(sample), incoming(sample.read_bytes(), headers=headers))


def items(kind: Kind, content: Any, *, headers: Any = None, **paths: str) -> list[Item]:
    """Return what a kind makes of a parsed body."""
    request = incoming(headers=headers or {})
    request = replace(request, proof=assumed_proof(kind.auth, request.headers))
    return kind.parse(content, request, source_of(kind, **paths))


def shown(item: Item) -> dict[str, Any]:
    """Return an item as an .expected.json writes it: all but its data."""
    of: dict[str, Any] = {"subject_type": item.subject_type} if item.subject_type else {}
    if item.is_test:
        of["is_test"] = True
    return {
        **of,
        "type": item.type,
        "source_event_id": item.source_event_id,
        "subject": item.subject,
        "time": item.time.isoformat() if item.time else None,
        "hydrate": item.hydrate,
        "problem": item.problem,
    }
