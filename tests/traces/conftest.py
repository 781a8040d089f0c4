"""What these tests use is installed by `make traces` alone."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from config import tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

collect_ignore_glob = [] if find_spec("opentelemetry") else ["test_*.py"]


@pytest.fixture(autouse=True)
def _off(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in tracing.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    yield
    tracing.finish()


@pytest.fixture
def exporter() -> "InMemorySpanExporter":
    """The spans of this process, from now on."""
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    tracing.start(process="test", exporter=exporter)
    return exporter


@pytest.fixture
def with_packages() -> dict[str, str]:
    """The variable by which a process of its own finds the packages, too."""
    return {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
