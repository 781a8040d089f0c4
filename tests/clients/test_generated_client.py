"""A client that is made of /openapi.json reads all of the API: `make clients`."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from support import API_TOKEN, CALL_BACK, Web, lead
from support.storing import put

from schemas.delivery import Reason, Status
from schemas.settings import Settings
from store import Store

NAME = "bridge_client"
# No formatting. The maker knows no XML, which Salesforce alone sends.
CONFIG = "post_hooks: []\ncontent_type_overrides:\n  text/xml: application/octet-stream\n"
# As a person runs it. A warning says that a part of the API is missing in the client.
MAKE = (sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning")
ONE = "+919876543210"


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(CALL_BACK)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    found = tmp_path_factory.mktemp("client")
    sys.path.insert(0, str(found))
    yield found
    sys.path.remove(str(found))


@pytest.fixture
def made(web: Web, folder: Path) -> Path:
    """Make the client, once."""
    output = folder / NAME
    if not output.exists():
        (folder / "openapi.json").write_text(web.get("/openapi.json").text, "utf-8")
        (folder / "config.yaml").write_text(CONFIG, "utf-8")
        done = subprocess.run(  # noqa: S603  (our own command)
            [
                *MAKE,
                *("--path", "openapi.json", "--config", "config.yaml", "--meta", "none"),
                *("--output-path", str(output)),
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        importlib.invalidate_caches()
    return output


@pytest.fixture
def client(web: Web, made: Path) -> Iterator[Any]:
    kind = importlib.import_module(NAME).AuthenticatedClient
    client = kind(base_url="http://localhost", token=API_TOKEN, raise_on_unexpected_status=True)
    transport = httpx.WSGITransport(app=web.client.application)
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    with httpx.Client(transport=transport, base_url="http://localhost", headers=headers) as http:
        yield client.set_httpx_client(http)


def operation(tag: str, name: str) -> Any:
    return importlib.import_module(f"{NAME}.api.{tag}.{name}")


def model(name: str) -> Any:
    return getattr(importlib.import_module(f"{NAME}.models"), name)


def reading(made: Path) -> Iterator[ModuleType]:
    """Yield each operation that reads and needs nothing but the client."""
    for found in pkgutil.walk_packages([str(made / "api")], f"{NAME}.api."):
        name = found.name.rpartition(".")[2]
        if found.ispkg or not name.startswith(("get_", "list_")):
            continue
        module = importlib.import_module(found.name)
        given = inspect.signature(module.sync_detailed).parameters.values()
        if [one.name for one in given if one.default is inspect.Parameter.empty] == ["client"]:
            yield module


def test_it_pages_through_all_deliveries(client: Any, store: Store) -> None:
    ids = [f"d{number:03}" for number in range(250)]
    put(store, *ids)
    listing = operation("deliveries", "list_deliveries")
    found, cursors = [], []
    page = listing.sync(client=client)
    while True:
        assert isinstance(page, model("DeliveryPage"))
        found += page.items
        if page.next_cursor is None:
            break
        cursors.append(page.next_cursor)
        page = listing.sync(client=client, cursor=page.next_cursor)

    assert [one.id for one in found] == ids[::-1]
    assert len(cursors) == 5
    assert {one.status for one in found} == {model("DeliveryStatus").QUEUED}
    assert {one.reason for one in found} == {None}


def test_it_filters_by_words_of_its_types(client: Any, store: Store) -> None:
    put(store, "d1", "d2")
    words, listing = model("DeliveryStatus"), operation("deliveries", "list_deliveries")
    for status, count in (([words.QUEUED, words.HELD], 2), ([words.FAILED], 0)):
        assert len(listing.sync(client=client, status=status).items) == count
    assert {str(word.value) for word in words} == {*map(str, Status)}
    assert {str(word.value) for word in model("DeliveryReason")} == {*map(str, Reason)}


def test_every_operation_that_reads_is_understood(
    client: Any, made: Path, web: Web, store: Store
) -> None:
    web.send("website", lead())
    store.keep_campaign("v2/Leads", "batch-1", {"name": "Leads", "created_at": "2026-01-31T09:00Z"})
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    web.client.put(f"/api/suppressions/{ONE}", json={}, headers=headers)
    web.client.put("/api/pauses/all", json={}, headers=headers)
    answers = {}
    for module in reading(made):
        name = module.__name__.rpartition(".")[2]
        answer = module.sync_detailed(client=client)
        assert answer.status_code == 200, name
        assert answer.parsed is not None or "json" not in answer.headers["Content-Type"], name
        answers[name] = answer.parsed

    assert answers.keys() >= {"get_status", "list_campaigns", "list_routes", "get_version"}
    assert [one.batch_id for one in answers["list_campaigns"].items] == ["batch-1"]
    assert [one.scope for one in answers["list_pauses"].items] == ["all"]
    assert [one.name for one in answers["list_routes"].items] == ["call back"]
    assert answers["list_suppressions"].items[0].phone == "+91••••••3210"


def test_it_changes_something_and_reads_a_refusal(client: Any, store: Store) -> None:
    put(store, "d1")
    cancel = operation("deliveries", "cancel")
    done = cancel.sync(delivery_id="d1", client=client)
    assert done.status == model("DeliveryStatus").CANCELLED
    refused = cancel.sync_detailed(delivery_id="d1", client=client)
    assert refused.status_code == 409
    assert json.loads(refused.content)["error"] == "conflict"
    assert refused.parsed.message
