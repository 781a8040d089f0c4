"""A child process that does not outlive its parent. For workers too, so without flask and rich."""

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


# Looked up here and not by the child: between fork and exec, the less happens the better.
_prctl = _find_prctl()


def die_with_parent() -> None:
    """Have the kernel send this process SIGTERM when its parent dies, even by kill -9.

    Best effort, Linux only (prctl PR_SET_PDEATHSIG); it outlasts an exec. Elsewhere a child whose
    parent was killed goes on, or waits idle, until somebody ends it.
    """
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
