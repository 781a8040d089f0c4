"""The short fault run of tests/faults, over a cluster whose replicas are harmed, too."""

import sys
from pathlib import Path

import pytest
from faults.chaos import Plan, run

PLAN = Plan(
    seed=41,
    rounds=4,
    webhooks=200,
    is_over_cluster=True,
    kinds=("horse", "valkey", "supervisor"),
    in_a_hurry=True,
    deadline_s=300,
    tell=lambda line: sys.stdout.write(f"{line}\n"),
)


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_while_everything_is_killed(tmp_path: Path) -> None:
    report = run(PLAN, tmp_path)

    assert not report.broken, report.text()
    assert report.harm.keys() == {*PLAN.kinds, "replica"}
