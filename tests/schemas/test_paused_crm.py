"""What an alert says of a CRM that is told nothing."""

import pytest
from support.makers import NOW

from schemas.alert import Alert


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("credentials", "it does not accept what the bridge proves itself with."),
        ("person", "a person did this. It is told nothing until a person resumes."),
    ],
)
def test_calls_go_on_while_a_crm_is_paused(reason: str, words: str) -> None:
    facts = {"scope": "crm:website", "reason": reason}
    alert = Alert(id="msg_1", type="destination.paused", at=NOW, facts=facts)
    assert alert.message.startswith(f"'crm:website' is paused: {words}")
    assert alert.message.endswith("Calls go on.")
