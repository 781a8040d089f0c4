"""How a drain learns that it must stop: through its supervisor, even if the supervisor is killed.

The supervisor has the only write end of a pipe, so its stop and its death look alike at the other
end. RQ forks a work-horse for each job; a work-horse whose RQ worker died must not go on alone.
"""

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from types import FrameType

_read_end: int | None = None  # in a worker and its work-horses; None: there is no supervisor


class ShutdownPipe:
    """A pipe from the supervisor to all that works for it."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def watch(self) -> None:
        """In the worker, after the fork: from now on, watch the supervisor."""
        global _read_end
        os.close(self._write)
        _read_end = self._read

    def close(self) -> None:
        """In another child, after the fork: close both ends, or the others would wait for it."""
        os.close(self._read)
        os.close(self._write)

    def signal(self) -> None:
        """In the supervisor: let every drain finish what is on the wire, and end."""
        with contextlib.suppress(OSError):
            os.close(self._write)


class ShutdownSignal:
    """Says when a drain must stop."""

    def __init__(self) -> None:
        self._parent = os.getppid()
        self._signalled = False

    @contextlib.contextmanager
    def installed(self) -> Iterator["ShutdownSignal"]:
        """Watch for SIGTERM too: Heroku sends it to every process; RQ's work-horse would die."""

        def on_signal(number: int, frame: FrameType | None) -> None:
            self._signalled = True

        before = signal.signal(signal.SIGTERM, on_signal)
        try:
            yield self
        finally:
            signal.signal(signal.SIGTERM, before)

    def __call__(self) -> bool:
        """Say whether a signal came, or the supervisor or the RQ worker is gone."""
        if self._signalled or os.getppid() != self._parent:
            return True
        return bool(select.select(self.waited_for(), [], [], 0)[0])

    def waited_for(self) -> list[int]:
        """Return the file descriptors that are readable once the supervisor is gone, or stops."""
        return [] if _read_end is None else [_read_end]
