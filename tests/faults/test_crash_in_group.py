"""A web process that dies after a group of events is stored, and before anyone is answered."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from faults.crash_in_group import THREADS, event_ids
from support import LONGEST_S, PYTHON_WARNINGS, ROOT
from support.storing import a_delivery, accept, an_event, claim

from store import Store


def test_events_that_were_stored_and_not_answered_are_duplicates_when_they_are_sent_again(
    store: Store, redis_url: str
) -> None:
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))),
        "PYTHONWARNINGS": PYTHON_WARNINGS,
        "REDIS_URL": redis_url,
    }
    command = [sys.executable, str(Path(__file__).parent / "crash_in_group.py")]
    done = subprocess.run(  # noqa: S603
        command, cwd=ROOT, env=environment, capture_output=True, timeout=LONGEST_S, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    answered = done.stdout.decode().split()
    assert len(answered) <= 1  # the first one, which was stored alone
    assert store.due_count() == THREADS  # and all the others

    for event_id in event_ids():
        event = an_event(event_id)
        _, [answer] = accept(store, (event, [a_delivery(f"again-{event_id}")]))
        assert answer.duplicate
        assert [one.id for one in answer.deliveries] == [f"d-{event_id}"]
    assert set(claim(store)) == {f"d-{event_id}" for event_id in event_ids()}
