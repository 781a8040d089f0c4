"""[route.write_back] in routes.toml: what it may say, and what stops the start."""

import pytest
from support.makers import call_route, campaign_route, load, problems

from schemas.write_back import Moment

HEAD = "[route.write_back]\n"


def test_a_route_says_what_its_crm_is_told() -> None:
    said = HEAD + 'on = ["outcome", "failed"]\n[route.write_back.fields]\n'
    (route,) = load(call_route() + said + 'status = "outcome.result"\nby = { value = 1 }').routes
    told = route.write_back
    assert told is not None
    assert (told.on, told.call) == ({Moment.OUTCOME, Moment.FAILED}, True)
    fields = {
        name: value.search({"outcome": {"result": "x"}}) for name, value in told.fields.items()
    }
    assert fields == {"status": "x", "by": 1}


def test_without_the_table_the_crm_is_told_nothing() -> None:
    assert load(call_route()).routes[0].write_back is None


@pytest.mark.parametrize(
    ("text", "key", "sentence"),
    [
        ("", "write_back.on", "Missing data for required field."),
        ("on = []", "write_back.on", "must name at least one moment"),
        ('on = ["ended"]', "write_back.on.0", "accepted, outcome, failed, skipped, unknown"),
        ('on = "outcome"', "write_back.on", "Not a valid list."),
        ('on = ["outcome"]\nwhen = "x"', "write_back.when", "Unknown field."),
        ('on = ["outcome"]\ncall = "no"', "write_back.call", "Not a valid boolean."),
        ('on = ["outcome"]\ncall = false', "write_back.call", "nothing would be told"),
        ('on = ["outcome"]\nfields = { x = "a ||" }', "write_back.fields.x", "JMESPath"),
        ('on = ["outcome"]\nfields = { x = 1 }', "write_back.fields.x", "{ value = … }"),
    ],
)
def test_what_can_not_be_told_stops_the_start(text: str, key: str, sentence: str) -> None:
    (problem,) = problems(call_route() + HEAD + text)
    assert problem.startswith(f"routes.toml: route 'call new leads': {key}")
    assert sentence in problem


def test_a_route_to_a_campaign_has_no_call_to_tell_of() -> None:
    (problem,) = problems(campaign_route() + HEAD + 'on = ["failed"]')
    assert problem.endswith('write_back: is allowed only with to = "call"')
