"""`python -m tests.faults`: kill everything at random moments, and count what was lost or doubled.

Exit code 0: no promise was broken. 1: one was, or the run did not settle. With --power-cut it is
a measurement, and only a run that does not settle is a failure.
"""

import argparse
import contextlib
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# As pytest does: the tests' own modules are found from their folder.
sys.path.insert(0, str(Path(__file__).parent.parent))
# The prefix of the keys is settled when the store is imported. Nobody listens at this address.
if "--cluster" in sys.argv:
    os.environ["REDIS_URL"] = "cluster://127.0.0.1:1"

from faults.chaos import Plan, UnfinishedError, run


def main() -> int:
    """Run as told, print what came of it, and return the exit code."""
    plan = _plan()
    _say(plan.head)
    with _stopped_by_sigterm(), tempfile.TemporaryDirectory(prefix="faults-") as folder:
        try:
            report = run(plan, Path(folder))
        except UnfinishedError as error:
            _say(f"It did not settle.\n{error}")
            return 1
    _say(report.text())
    return int(bool(report.broken) and not plan.power_cut)


def _plan() -> Plan:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, help="fixes the dice; without it one is drawn")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--webhooks", type=int, default=2000)
    parser.add_argument("--fsync", choices=("always", "everysec"), default="always")
    parser.add_argument("--power-cut", action="store_true", help="what everysec may lose is lost")
    parser.add_argument("--cluster", action="store_true", help="with REDIS_ACKS=1")
    parser.add_argument("--deadline-s", type=float, default=900.0)
    given = parser.parse_args()
    if given.power_cut and given.fsync != "everysec":
        parser.error("--power-cut is for --fsync everysec: with always, nothing is lost")
    if given.cluster and given.fsync != "always":
        parser.error("--cluster is for --fsync always")
    return Plan(
        seed=secrets.randbelow(1_000_000) if given.seed is None else given.seed,
        rounds=given.rounds,
        webhooks=given.webhooks,
        fsync=given.fsync,
        power_cut=given.power_cut,
        is_over_cluster=given.cluster,
        deadline_s=given.deadline_s,
        tell=_say,
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind like Ctrl-C, so that nobody is left behind."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
