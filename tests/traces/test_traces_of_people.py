"""No trace of both processes tells of a person or a secret, whatever is done to the bridge."""

from collections.abc import Callable
from pathlib import Path

from e2e.test_no_personal_data import (
    ROUTES,
    VARIABLES,
    World,
    break_records,
    call_everybody,
    found_in,
    run_commands,
    send_webhooks,
    tell_outcomes,
    use_the_api,
)
from support import Bridge, until
from support.receiver import serving

from simulator import Simulator
from store import Store


def test_no_trace_tells_of_people(
    start_bridge: Callable[..., Bridge],
    simulator: Simulator,
    store: Store,
    with_packages: dict[str, str],
    tmp_path: Path,
) -> None:
    with serving() as collector:
        to_collector = {**with_packages, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.url}
        bridge = start_bridge(ROUTES, own_web=True, **VARIABLES, **to_collector)
        world = World(bridge, simulator, store)
        send_webhooks(world)
        called = call_everybody(world)
        tell_outcomes(world, called)
        use_the_api(world, called)
        run_commands(world, called, tmp_path)
        break_records(world)
        until(lambda: "person.erased" in bridge.log("worker"), what="HubSpot's erasure")
        bridge.stop()
    # Protobuf keeps texts as they are.
    traces = "".join(body.decode("latin-1") for _, body in collector.got)
    for name in ("webhook", "accept", "claim", "hydrate", "send", "settle"):
        assert f"*{chr(len(name))}{name}" in traces
    assert found_in(traces) == []
