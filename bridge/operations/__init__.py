"""What a person does by hand: deliveries, events, pauses, people, call lists, test calls. A module
each.

Each operation is one compare-and-set in the store, on what the person saw. A worker that has the
delivery is fenced off by it, or the person learns that the delivery has changed meanwhile. The API,
the dashboard and the command line only pass on what these modules answer.
"""

from bridge.operations.bulk import Bulk
from bridge.operations.call_lists import CallListOperations
from bridge.operations.crms import CrmOperations
from bridge.operations.deliveries import DeliveryOperations
from bridge.operations.events import EventOperations, Replayed
from bridge.operations.pauses import PauseOperations
from bridge.operations.people import PeopleOperations
from bridge.operations.test_calls import TestCallOperations

__all__ = ["Bulk", "Operations", "Replayed"]


class Operations(
    CallListOperations,
    CrmOperations,
    DeliveryOperations,
    EventOperations,
    PauseOperations,
    PeopleOperations,
    TestCallOperations,
):
    """Everything that a person can ask for."""

    __slots__ = ()
