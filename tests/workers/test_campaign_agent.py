"""CallKaro wants one agent in a v1 campaign and in its calls: another agent is never sent."""

import json

import pytest
from support import AGENT, WEBSITE, lead, route
from support.draining import MakeSettings, OpenWeb, RunDrain

from simulator import Simulator
from store import Store

OTHER = "6803fa770b666a64ab1694c1f"


def routes(maker: str | None, caller: str) -> str:
    request = {"name": '"title"', **({"agent_id": maker} if maker else {})}
    return (
        WEBSITE
        + route(
            "make campaign",
            event="campaign.started",
            to="campaign",
            campaign='{ key = "campaign" }',
            request=request,
        )
        + route(
            campaign='{ key = "campaign" }',
            request={"to_number": '"phone"', "agent_id": caller},
        )
    )


@pytest.mark.parametrize("calls_first", [True, False])
@pytest.mark.parametrize(
    ("agent", "caller", "is_sent"),
    [(AGENT, AGENT, True), (AGENT, OTHER, False), (OTHER, AGENT, False), (None, OTHER, True)],
)
def test_a_call_is_sent_in_a_campaign_of_its_own_agent_alone(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    agent: str | None,
    caller: str,
    is_sent: bool,
    calls_first: bool,
) -> None:
    settings = make_settings(routes('"agent"' if agent else None, '"agent"'))
    web = open_web(settings)
    started = {"event_type": "campaign.started", "campaign": "7", "title": "A", "agent": agent}
    made = {**started, "submission_id": "c-7"}
    bodies = [lead(campaign="7", agent=caller), made]
    ids = []
    for body in bodies if calls_first else reversed(bodies):
        ids += web.send("website", body)
        run_drain(settings)
    run_drain(settings)

    kept = store.delivery(ids[0 if calls_first else 1])
    assert kept is not None
    if is_sent:
        assert (kept.status, kept.reason) == ("delivered", None)
    else:
        assert (kept.status, kept.reason) == ("failed", "bad_request")
        assert f"the agent {caller}" in str(kept.message)
        assert f"the agent {agent}" in str(kept.message)
    assert len(simulator.state.requests_to("/call/outbound")) == int(is_sent)


@pytest.mark.parametrize(
    ("maker", "caller", "is_wrong"),
    [
        (f'{{ value = "{AGENT}" }}', f'{{ value = "{AGENT}" }}', False),
        (f'{{ value = "{AGENT}" }}', f'{{ value = "{OTHER}" }}', True),
        (f'{{ value = "{AGENT}" }}', '"agent"', False),
        ('"agent"', f'{{ value = "{OTHER}" }}', False),
        (None, f'{{ value = "{OTHER}" }}', False),
    ],
)
def test_constant_agents_that_differ_stop_the_boot(
    make_settings: MakeSettings, maker: str | None, caller: str, is_wrong: bool
) -> None:
    if not is_wrong:
        make_settings(routes(maker, caller))
        return
    with pytest.raises(Exception, match="the same agent in both"):
        make_settings(routes(maker, caller))


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize(
    ("agent", "caller", "is_sent"),
    [(AGENT, AGENT, True), (AGENT, OTHER, False), (OTHER, AGENT, False), (None, OTHER, True)],
)
def test_a_campaign_that_the_record_names_has_the_calls_agent(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    agent: str | None,
    caller: str,
    is_sent: bool,
    keyed: bool,
) -> None:
    maker = {"name": '"title"', **({"agent_id": '"agent"'} if agent else {})}
    key = {"campaign": '{ key = "campaign" }'} if keyed else {}
    caller_fields = {"to_number": '"phone"', "agent_id": '"agent"', "batch_id": '"batch"'}
    settings = make_settings(
        WEBSITE
        + route("make campaign", event="campaign.started", to="campaign", request=maker, **key)
        + route(request=caller_fields)
    )
    web = open_web(settings)
    started = {"event_type": "campaign.started", "campaign": "7", "title": "A", "agent": agent}
    web.send("website", {**started, "submission_id": "c-7"})
    run_drain(settings)
    [batch_id] = simulator.state._campaigns
    [ours] = web.send("website", lead("+919876543210", batch=batch_id, agent=caller))
    # A campaign that the bridge did not make is not compared.
    web.send("website", lead("+919876543211", batch="6901a770b666a64ab1694c1f", agent=caller))
    run_drain(settings)

    kept = store.delivery(ours)
    assert kept is not None
    requests = simulator.state.requests_to("/call/outbound")
    sent = [json.loads(request.raw)["to_number"] for request in requests]
    assert ("+919876543210" in sent) is is_sent
    assert "+919876543211" in sent
    if not is_sent:
        assert (kept.status, kept.reason) == ("failed", "bad_request")
        assert f"the agent {caller}" in str(kept.message)
        assert f"the agent {agent}" in str(kept.message)
