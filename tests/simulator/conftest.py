"""A simulator on a free port for each test, and a client that closes its connections."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from simulator import Simulator, State


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Client:
    """A client of one simulator, with a key that it takes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy of the machine's may stand between

    def call(self, method: str, path: str, **options: object) -> requests.Response:
        """Make one request."""
        options.setdefault("timeout", 60)
        return self.session.request(method, self.url + path, **options)  # type: ignore[arg-type]

    def post(self, path: str, body: object = None, **options: object) -> requests.Response:
        """Post JSON with CallKaro's key."""
        options.setdefault("headers", {"X-API-KEY": "a-key"})
        return self.call("POST", path, json=body, **options)

    def get(self, path: str, **options: object) -> requests.Response:
        """Get a path."""
        return self.call("GET", path, **options)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def simulator(clock: Clock) -> Iterator[Simulator]:
    with Simulator(state=State(clock=clock)) as simulator:
        yield simulator


@pytest.fixture
def state(simulator: Simulator) -> State:
    return simulator.state


@pytest.fixture
def client(simulator: Simulator) -> Iterator[Client]:
    client = Client(simulator.url)
    with client.session:
        yield client
