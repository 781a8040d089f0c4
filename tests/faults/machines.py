"""How the state machines run: a few examples every day, and more of them by `make faults`."""

import os

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

EXAMPLES = int(os.environ.get("FAULTS_EXAMPLES", "10"))


def run(machine: type[RuleBasedStateMachine], *, steps: int) -> None:
    """Run a machine, with so many steps in each example."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=steps,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
