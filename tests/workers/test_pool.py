"""The drain's threads, where the system gives none."""

import threading

import pytest

from workers.pool import Pool


def test_a_task_that_gets_no_thread_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a drain would wait for its result until it is told to stop."""
    with Pool(1) as pool:
        with monkeypatch.context() as full:

            def refuse(_: threading.Thread) -> None:
                raise RuntimeError("can't start new thread")

            full.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError):
                pool.submit(lambda: 1, lambda _: None, lambda _: None)
        assert (pool.running, pool.free) == (0, 1)
