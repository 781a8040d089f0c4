"""How a drain learns that it is to stop: from whom it belongs to, even if that one was killed.

The supervisor holds the only write end of a pipe, so its stop and its death look alike from the
other end. RQ forks a work-horse for each job; one whose RQ worker died must not go on alone.
"""

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from types import FrameType

_read_end: int | None = None  # in a worker and its work-horses; None where there is no supervisor


class ShutdownPipe:
    """A pipe from the supervisor to all that works for it."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def hold(self) -> None:
        """In the worker, after the fork: watch the supervisor from here on."""
        global _read_end
        os.close(self._write)
        _read_end = self._read

    def leave(self) -> None:
        """In another child, after the fork: hold no end that the rest would wait for."""
        os.close(self._read)
        os.close(self._write)

    def cut(self) -> None:
        """In the supervisor: tell every drain to finish what is on the wire and end."""
        with contextlib.suppress(OSError):
            os.close(self._write)


class ShutdownSignal:
    """Says when a drain is to stop."""

    def __init__(self) -> None:
        self._parent = os.getppid()
        self._signalled = False

    @contextlib.contextmanager
    def installed(self) -> Iterator["ShutdownSignal"]:
        """Watch for SIGTERM too: Heroku sends it to every process, and RQ leaves it deadly here."""

        def on_signal(number: int, frame: FrameType | None) -> None:
            self._signalled = True

        before = signal.signal(signal.SIGTERM, on_signal)
        try:
            yield self
        finally:
            signal.signal(signal.SIGTERM, before)

    def __call__(self) -> bool:
        """Say whether the supervisor or the RQ worker is gone, or a signal came."""
        if self._signalled or os.getppid() != self._parent:
            return True
        if _read_end is None:
            return False
        return bool(select.select([_read_end], [], [], 0)[0])
