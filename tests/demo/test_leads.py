"""The invented leads of a day: the same each time, of nobody, with something of everything."""

import os
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support import LONGEST_S, ROOT, free_port

from bridge.cli import Failure
from demo.leads import COUNTS, LATE, Lead, day_of_leads, request_of
from demo.run import run
from schemas.outcome import RESULTS, Result


def all_leads() -> list[Lead]:
    leads, late = day_of_leads()
    return [*leads, *late]


def test_each_run_has_the_same_people() -> None:
    now = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
    assert day_of_leads() == day_of_leads()
    requests = [request_of(lead, now) for lead in all_leads()]
    assert requests == [request_of(lead, now) for lead in all_leads()]
    assert len(set(requests)) == len(requests) == sum(COUNTS.values()) + LATE + 1


def test_the_day_has_calls_of_every_kind_and_leads_that_are_not_called() -> None:
    leads, late = day_of_leads()
    results = Counter(RESULTS[dial["hangup_reason"]] for lead in leads for dial in lead.dials)
    assert results.keys() == {
        Result.CONNECTED,
        Result.VOICEMAIL,
        Result.NOT_REACHED,
        Result.WRONG_NUMBER,
    }
    assert {len(lead.dials) for lead in leads} == {0, 1, 2}
    assert {lead.refusal for lead in leads} == {None, 400, 502}
    assert any(lead.is_suppressed for lead in leads)
    assert all(lead.refusal is None and not lead.is_suppressed for lead in late)


def test_no_invented_lead_is_sent_to_the_real_callkaro(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLKARO_API_KEY", "a-real-key")
    with pytest.raises(Failure, match="DEMO_DAY sends invented leads"):
        run(serve=True, with_day=True, port=free_port(), data=tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_a_day_is_filled_through_webhooks_worker_and_callbacks(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "demo", "--port", str(free_port()), "--data", str(tmp_path)]
    done = subprocess.run(  # noqa: S603
        command,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DEMO_DAY": "1", "WEB_CONCURRENCY": "1"},
        capture_output=True,
        text=True,
        timeout=4 * LONGEST_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(
        r"(\d+) leads, (\d+) calls accepted, (\d+) outcomes, (\d+) people reached", done.stdout
    )
    assert found, done.stdout
    leads, accepted, outcomes, reached = map(int, found.groups())
    assert leads == len(all_leads())
    assert leads > accepted > reached > 0
    assert outcomes > reached
