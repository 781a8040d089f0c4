"""How long a lead waits: from the webhook to the request at CallKaro, while nothing else happens.

For a full event, and for a thin one, whose record a CRM gives after 50 ms. Between two webhooks
is so much time that a drain that lingers has ended. One that stands by has not.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

import requests

from bench import api, hubspot, load
from bench.checkout import Checkout, started_web
from bench.delivery import started_api
from bench.leads import form_requests
from bench.processes import HOST, BenchError, Valkey
from bench.setting import bridge_env

CRM_DELAY_S = 0.05
GAP_S = 1.5  # a drain of an older checkout has ended then; one of ours stands by for 30 s
SILENCE_S = 10.0
LOOK_S = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Waited:
    """The times of one round, in ms, in the order of the webhooks."""

    full_ms: list[float]
    thin_ms: list[float]


def p50_p99(times_ms: list[float]) -> tuple[float, float]:
    """Return both quantiles. Of few times the 99th percentile is the longest one."""
    cuts = quantiles(times_ms, n=100, method="inclusive")
    return cuts[49], max(times_ms) if len(times_ms) < 100 else cuts[98]


class Latency:
    """A web process and a worker that have nothing to do."""

    def __init__(self, port: int, api_port: int) -> None:
        self._port, self._api = port, f"http://{HOST}:{api_port}"
        self._target = hubspot.Target(port=port, signs_url=True)
        self._session = requests.Session()
        self._leads = iter(range(10**6))
        delays = {"delay_s": 0.0, "crm_delay_s": CRM_DELAY_S}
        self._session.post(self._api + api.RESET, json=delays, timeout=10)

    def round(self, count: int) -> Waited:
        """Send that many webhooks of both kinds, in turn. Raises BenchError if a call is missing.

        The very first ones are not counted: they open connections.
        """
        full: list[float] = []
        thin: list[float] = []
        for _ in range(count + 1):
            full.append(self._waited_ms(self._full))
            thin.append(self._waited_ms(self._thin))
        return Waited(full_ms=full[1:], thin_ms=thin[1:])

    def _full(self) -> bytes:
        return form_requests(self._port, [next(self._leads)], 1)[0]

    def _thin(self) -> bytes:
        return self._target.requests(hubspot.bodies(1, events=1))[0]

    def _waited_ms(self, made: Callable[[], bytes]) -> float:
        time.sleep(GAP_S)
        calls, request = len(self._seen()["times"]), made()
        with load.Client(self._port) as client:
            sent_at = time.monotonic()
            if client.run([request]).errors:
                raise BenchError("A webhook was not answered 202.")
        while len(times := self._seen()["times"]) == calls:
            if time.monotonic() - sent_at > SILENCE_S:
                raise BenchError(f"No call came within {SILENCE_S:.0f} s of the webhook.")
            time.sleep(LOOK_S)
        # One clock for all processes of this machine.
        return float(times[calls] - sent_at) * 1000

    def _seen(self) -> Any:
        return self._session.get(self._api + api.SEEN, timeout=10).json()


@contextmanager
def idle(home: Path, valkey: Valkey, checkout: Checkout) -> Iterator[Latency]:
    """Start the web process, a worker and the API."""
    valkey.fresh()
    with started_api(home) as api_port, ExitStack() as stack:
        env = bridge_env(redis_url=valkey.url, api_port=api_port)
        child, web = started_web(checkout, log_dir=home, env=env)
        stack.enter_context(child)
        stack.enter_context(checkout.worker(log_dir=home, env=env))
        yield Latency(web.port, api_port)
