"""The short version of `python -m tests.faults`, for every day; the long one is `make faults`."""

import sys
from pathlib import Path

from faults.chaos import Plan, run

PLAN = Plan(
    seed=20,
    rounds=3,
    webhooks=150,
    kinds=("horse", "valkey", "supervisor"),
    in_a_hurry=True,
    deadline_s=300,
    tell=lambda line: sys.stdout.write(f"{line}\n"),
)


def test_nothing_is_lost_or_doubled_while_everything_is_killed(tmp_path: Path) -> None:
    PLAN.tell(PLAN.head)

    report = run(PLAN, tmp_path)

    assert not report.broken, report.text()
    assert len(report.harm) == 3, report.text()
