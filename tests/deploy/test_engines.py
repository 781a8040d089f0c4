"""`make engines`: what was asked for is tested or fails, and what is pinned is what was tried."""

import re
from pathlib import Path

import pytest
from engines.__main__ import SERVERS, main, run
from support import ROOT

PINNED = re.findall(
    r"^(\S+)==(\S+) +# (.+)$", (ROOT / "requirements-engines.in").read_text("utf-8"), re.MULTILINE
)
[DECISION] = ROOT.glob("docs/decisions/*-engines.md")


def test_a_server_that_is_not_here_fails_only_if_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["redis-6.2"], must_exist=True) == ["redis-6.2"]
    assert run(SERVERS, must_exist=False) == []
    assert "redis-6.2: not tested" in capsys.readouterr().out


def test_an_unknown_server_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["tests.engines", "redis-5"])
    with pytest.raises(SystemExit):
        main()
    assert "unknown: redis-5" in capsys.readouterr().err


@pytest.mark.parametrize(("package", "version", "server"), PINNED)
def test_the_decision_names_what_is_pinned(package: str, version: str, server: str) -> None:
    assert f"| {server} | PyPI `{package}` {version}" in DECISION.read_text("utf-8")
    assert f"{package}=={version} \\\n" in (ROOT / "requirements-engines.txt").read_text("utf-8")


def test_each_pinned_server_is_tested() -> None:
    name = re.compile(r"(\w+) (\d+\.\d+)")
    pinned = {f"{of[1]}-{of[2]}".lower() for *_, server in PINNED if (of := name.match(server))}
    assert pinned == SERVERS.keys() - {"redis-debian"}
