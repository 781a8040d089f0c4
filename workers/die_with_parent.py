"""A child process that does not outlive its parent."""

import contextlib
import ctypes
import signal
from typing import Any

PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>


def _find_prctl() -> Any:
    """Return the C library's prctl; None where there is none."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        return ctypes.CDLL(None).prctl
    return None


# Looked up at import, not by the child: as little as possible must happen between fork and exec.
_prctl = _find_prctl()


def die_with_parent() -> None:
    """Have the kernel send this process SIGTERM when its parent dies, even by kill -9.

    Linux only (prctl PR_SET_PDEATHSIG); it stays in force after an exec. On other systems a child
    whose parent was killed runs on until somebody ends it.
    """
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
