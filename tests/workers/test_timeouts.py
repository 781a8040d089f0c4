"""The time limits, one against the other."""

import dataclasses

import pytest

from schemas.route import Routes
from schemas.settings import Settings
from workers import timeouts as invariants

USUAL = Settings(
    redis_url="redis://localhost",
    api_tokens=("a",),
    callkaro_api_key="a",
    routes=Routes(routes=(), sources={}, digest=""),
)


@pytest.mark.parametrize("timeout_s", [1.0, 15.0, 20.0])
def test_every_time_out_that_the_settings_allow_keeps_them(timeout_s: float) -> None:
    settings = dataclasses.replace(USUAL, callkaro_timeout_s=timeout_s)

    assert invariants.violations(settings) == []


@pytest.mark.parametrize(
    ("timeout_s", "said"),
    [
        (21.0, ["a stop can be cut off"]),
        (36.0, ["the creation of a campaign", "a stop can be cut off"]),
        (56.0, ["a request can outlast", "the creation of a campaign", "a stop can be cut off"]),
    ],
)
def test_one_that_is_too_long_is_named(timeout_s: float, said: list[str]) -> None:
    settings = dataclasses.replace(USUAL, callkaro_timeout_s=timeout_s)

    violations = invariants.violations(settings)

    assert len(violations) == len(said)
    assert all(words in sentence for words, sentence in zip(said, violations, strict=True))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("LEASE_S", 24.0, "outlast the lease"),
        ("DRAIN_TIMEOUT_S", 60, "RQ can end a drain"),
        ("STOP_S", 31.0, "a stop can be cut off"),
        ("CAMPAIGN_LOCK_S", 30, "outlast its lock"),
    ],
)
def test_a_limit_that_somebody_changes_is_caught(
    monkeypatch: pytest.MonkeyPatch, name: str, value: float, words: str
) -> None:
    monkeypatch.setattr(invariants, name, value)

    assert any(words in sentence for sentence in invariants.violations(USUAL))
