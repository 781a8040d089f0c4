"""A stand-in for CallKaro's API and for the CRMs' APIs, for demos, tests and benchmarks.

It refuses what CallKaro's documentation does not allow, fails on request, and remembers everything
it receives. It imports no code of the bridge, on purpose: a rule that the bridge misunderstands
must be noticed here.

    with Simulator() as simulator:
        simulator.state.behave(503, path="/call/outbound", times=2)
        ...
        assert len(simulator.state.calls) == 1
"""

from simulator.server import Simulator
from simulator.state import Behaviour, Call, Campaign, Received, State

__all__ = ["Behaviour", "Call", "Campaign", "Received", "Simulator", "State"]
