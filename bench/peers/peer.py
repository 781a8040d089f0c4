"""What is measured of each peer: webhooks a second, without and with deliveries beside them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests

from bench import api, hubspot, load
from bench.processes import HOST, BenchError, Child, memory_of

API_DELAY_S = 0.1
LOOK_S = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """A peer whose web process runs."""

    name: str
    promise: str  # what its answer to a webhook means
    web: Child
    target: hubspot.Target
    start_worker: Callable[[], Child] | None  # None: the web process delivers by itself
    webhooks: int  # in a round: a few seconds' worth


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One round. called: of the webhooks of both loads, in time; mb: PSS of all its processes."""

    accepting: load.Load | None  # while no worker runs; None: it can't be told apart
    delivering: load.Load
    sent: int
    called: int
    mb: float


class Sink:
    """The API that all of them call."""

    def __init__(self, port: int) -> None:
        self.url = f"http://{HOST}:{port}"
        self._session = requests.Session()

    def reset(self) -> None:
        """Forget all calls."""
        delays = {"delay_s": API_DELAY_S, "crm_delay_s": 0.0}
        self._session.post(self.url + api.RESET, json=delays, timeout=10).raise_for_status()

    def called(self) -> int:
        """Return how many calls came."""
        found: Any = self._session.get(self.url + api.GOT, timeout=10).json()
        return int(found["calls"])

    def wait_for(self, calls: int, longest_s: float) -> int:
        """Wait for so many calls, but not longer than that. Returns how many came."""
        give_up_at = time.monotonic() + longest_s
        while (called := self.called()) < calls and time.monotonic() < give_up_at:
            time.sleep(LOOK_S)
        return called


def measured(peer: Peer, sink: Sink, longest_s: float) -> Measured:
    """Do a round. Raises BenchError if a webhook is refused."""
    sink.reset()
    if peer.start_worker is None:
        delivering = _posted(peer)
        called, sent = sink.wait_for(peer.webhooks, longest_s), peer.webhooks
        mb = memory_of(peer.web.tree()).pss_kb / 1024
        return Measured(accepting=None, delivering=delivering, sent=sent, called=called, mb=mb)
    accepting = _posted(peer)
    with peer.start_worker() as worker:
        sink.wait_for(1, longest_s)  # its start is not measured
        delivering = _posted(peer)
        called = sink.wait_for(2 * peer.webhooks, longest_s)
        mb = memory_of([*peer.web.tree(), *worker.tree()]).pss_kb / 1024
    return Measured(
        accepting=accepting, delivering=delivering, sent=2 * peer.webhooks, called=called, mb=mb
    )


def _posted(peer: Peer) -> load.Load:
    bodies = hubspot.bodies(peer.webhooks, events=1)
    done = load.run(peer.target.port, peer.target.requests(bodies))
    peer.web.check()
    if done.errors:
        raise BenchError(f"{peer.name} refused {done.errors} webhooks.\n{peer.web.last_words()}")
    return done
