"""A stand-in for CallKaro's API and for the CRMs' APIs, for demos, tests and benchmarks.

It refuses whatever CallKaro's documentation does not allow, misbehaves as told, and remembers
all it was sent. It imports nothing of the bridge, the workers or their schemas on purpose: a rule
misread there must be caught here.

    with Simulator() as simulator:
        simulator.state.behave(503, path="/call/outbound", times=2)
        ...
        assert len(simulator.state.calls) == 1
"""

from simulator.server import Simulator
from simulator.state import Behaviour, Call, Campaign, Received, State

__all__ = ["Behaviour", "Call", "Campaign", "Received", "Simulator", "State"]
