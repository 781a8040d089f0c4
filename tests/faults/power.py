"""A power cut: what Valkey wrote and had not synced yet is gone with the machine."""

import contextlib
import os
import threading
import time
from collections import deque
from pathlib import Path

POLL_S = 0.005
LOST_S = 1.0  # what appendfsync everysec may lose, at the most and by its documentation


class PowerCut:
    """Watches how the append-only file grows, and cuts it back to what it was a second before."""

    def __init__(self, folder: Path) -> None:
        self.lost_bytes = 0
        self._folder = folder
        self._sizes: deque[tuple[float, Path, int]] = deque(maxlen=int(5 * LOST_S / POLL_S))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="aof", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stopped.wait(POLL_S):
            for path in self._folder.glob("appendonlydir/*.incr.aof"):
                with contextlib.suppress(FileNotFoundError):
                    self._sizes.append((time.monotonic(), path, path.stat().st_size))

    def cut(self, at: float) -> None:
        """Take away what was written in the second before; Valkey must be dead."""
        seen = list(self._sizes)
        # What Valkey loaded at its start was on the disk, however short ago that is.
        _, path, size = next((one for one in reversed(seen) if one[0] <= at - LOST_S), seen[0])
        lost = max(path.stat().st_size - size, 0)
        os.truncate(path, path.stat().st_size - lost)
        self.lost_bytes += lost
        self._sizes.clear()

    def close(self) -> None:
        """Stop watching."""
        self._stopped.set()
        self._thread.join()
