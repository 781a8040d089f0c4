"""A tick: an error in one of its steps costs that step alone."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support import CALL_BACK, ROOT, SECRETS, variables_of
from support.storing import claim, put

from config import log
from schemas.errors import StoreUnavailable
from schemas.settings import Settings
from store import Store
from workers.journal import Journal
from workers.ticker import Ticker

MakeSettings = Callable[..., Settings]


class Broken(Exception):
    """An error that no code expects."""


@pytest.fixture
def ticker(make_settings: MakeSettings) -> Ticker:
    log.configure("INFO", process="test")
    settings = make_settings(CALL_BACK, alert_webhook_url="http://127.0.0.1:9/")
    return Ticker(settings, Journal())


STEPS = {
    "sweep": "sweep_stalled",
    "prune": "prune_old",
    "audit": "audit_some",
    "pauses": "log_pauses",
    "look_for_alerts": None,  # it logs its own error
}


def put_due_and_leased(store: Store) -> None:
    """Without a lease, there is nothing to sweep."""
    put(store, "leased")
    claim(store)
    put(store, "due")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", [Broken(), RecursionError(), MemoryError()], ids=repr)
def test_an_error_in_a_step_stops_neither_the_others_nor_the_calls(
    ticker: Ticker,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    step: str,
    error: Exception,
) -> None:
    put_due_and_leased(store)
    store.redis.delete("bridge:wakeup")  # as if the drain that the intake requests had been lost
    done = []
    for name in STEPS:

        def doing(name: str, usual: Callable[..., Any], *args: Any, **more: Any) -> Any:
            if name == step:
                raise error
            done.append(name)
            return usual(*args, **more)

        usual = getattr(ticker._store, name)
        monkeypatch.setattr(ticker._store, name, partial(doing, name, usual))

    for _ in range(2):
        ticker.tick()

    assert set(done) == STEPS.keys() - {step}
    assert ticker.may_deliver
    assert ticker._wakeup.queue.count == 1, "a drain was requested"
    assert (STEPS[step] or "alert.crashed") in caplog.text


def test_a_step_that_finds_redis_away_ends_the_tick(
    ticker: Ticker, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_due_and_leased(store)
    store.redis.delete("bridge:wakeup")

    def away(*args: Any, **more: Any) -> Any:
        raise StoreUnavailable("Redis does not answer")

    monkeypatch.setattr(ticker._store, "sweep", away)
    ticker.tick()
    assert not ticker.may_deliver
    assert ticker._wakeup.queue.count == 0


# Ticks at full speed, with every step at every tick. Prints the memory at each tenth of them, MB.
RSS = """
import sys
from pathlib import Path
from config.settings import load_settings
from workers.journal import Journal
from workers.ticker import Ticker
ticker = Ticker(load_settings(), Journal())
if sys.argv[2] == "away":
    ticker._backoff_s = lambda: 0.0
for n in range(int(sys.argv[1])):
    for timer in (ticker._sweep, ticker._prune, ticker._audit, ticker._alerts):
        timer.hurry()
    ticker.tick()
    if n % (int(sys.argv[1]) // 10) == 0:
        print(int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6, flush=True)
"""


@pytest.mark.bounds
@pytest.mark.parametrize(("ticks", "redis_is"), [(4000, "there"), (40_000, "away")])
def test_the_memory_of_a_ticker_stays_flat(
    redis_url: str, tmp_path: Path, store: Store, ticks: int, redis_is: str
) -> None:
    put(store, "a", "b", "c")
    (tmp_path / "routes.toml").write_text(CALL_BACK, "utf-8")
    environment = {
        **variables_of("http://127.0.0.1:9"),
        "REDIS_URL": redis_url if redis_is == "there" else "redis://127.0.0.1:9",
        "ROUTES_FILE": str(tmp_path / "routes.toml"),
        "API_TOKEN": "t" * 32,
        "WEBSITE_WEBHOOK_SECRET": SECRETS["website"],
        "CALLING_HOURS": "always",
    }
    made = subprocess.run(  # noqa: S603  (our own text)
        [sys.executable, "-c", RSS, str(ticks), redis_is],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=environment,
    )
    mb = [
        float(line) for line in made.stdout.splitlines() if line[:1].isdigit() and " " not in line
    ]
    assert len(mb) == 10
    assert mb[-1] - mb[4] < 0.5, mb
