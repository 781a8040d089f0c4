"""After an old copy of Redis was restored nobody is called twice, as docs/operating.md says."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import redis
from support import API_TOKEN, CALL_BACK, Web, end_lease, lead

from schemas.settings import Settings
from simulator import Simulator
from simulator.outcomes import call_ended
from store import Store

RunDrain = Callable[..., Any]
OpenWeb = Callable[[Settings], Web]
MakeSettings = Callable[..., Settings]
CALLBACK_TOKEN = "a-callback-token"


def ask(web: Web, method: str, path: str, body: object = None) -> Any:
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    answer = web.client.open(path, method=method, json=body or {}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json


def status(web: Web, delivery_id: str) -> str:
    found: str = web.get(f"/api/deliveries/{delivery_id}").json["status"]
    return found


def copied(url: str) -> dict[bytes, tuple[int, bytes]]:
    """Return a copy of everything."""
    with redis.Redis.from_url(url) as raw:
        return {key: (max(raw.pttl(key), 0), raw.dump(key)) for key in raw.scan_iter("*")}


def restore(url: str, copy: dict[bytes, tuple[int, bytes]]) -> None:
    """Put a copy in the place of everything."""
    with redis.Redis.from_url(url) as raw:
        raw.flushall()
        for key, (ttl_ms, value) in copy.items():
            raw.restore(key, ttl_ms, value)


def test_what_was_called_since_the_copy_is_not_called_again(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    redis_url: str,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(CALL_BACK, callkaro_webhook_tokens=(CALLBACK_TOKEN,))
    web = open_web(settings)
    numbers = [f"+91987650000{number}" for number in range(4)]
    in_hand, told_of, called, uncalled = (web.send("website", lead(one))[0] for one in numbers)
    store.claim(1, lease_s=60)  # a worker had it in hand when the copy was made
    copy, copied_at = copied(redis_url), datetime.now(UTC)
    # Since then all are called but one, which CallKaro refused; and one more came in.
    simulator.state.behave(path="/call/outbound", to_number=numbers[3], status=400, times=1)
    end_lease(store, in_hand)
    store.sweep()
    lost = lead("+919876500009")
    [lost_delivery] = web.send("website", lost)
    run_drain(settings)
    assert len(simulator.state.calls) == 4
    restore(redis_url, copy)

    # The steps of the page: pause before any worker runs, look, call off, go on.
    ask(web, "PUT", "/api/pauses/all", {"message": "restored"})
    run_drain(settings)
    assert len(simulator.state.calls) == 4
    until = copied_at.isoformat().replace("+00:00", "Z")
    waiting = web.get(f"/api/deliveries?status=queued,held,retrying&until={until}").json["items"]
    assert {one["id"] for one in waiting} == {in_hand, told_of, called, uncalled}
    # CallKaro tells how two calls ended: that of one that waits again, and of one that is lost.
    for number in (numbers[1], "+919876500009"):
        [call] = simulator.state.calls_to(number)
        web.client.post(f"/callbacks/callkaro/{CALLBACK_TOKEN}", json=call_ended(call))
    assert status(web, told_of) == "delivered"
    for number, one in zip(numbers, (in_hand, told_of, called, uncalled), strict=True):
        if simulator.state.calls_to(number) and status(web, one) != "delivered":
            ask(web, "POST", f"/api/deliveries/{one}/cancel")
    ask(web, "DELETE", "/api/pauses/all")
    assert web.send("website", lost) == [lost_delivery], "its CRM sends it once more"
    run_drain(settings)

    assert len(simulator.state.calls_to(numbers[3])) == 1
    assert simulator.state.doubled == {}
    assert len(simulator.state.calls) == 5
    assert status(web, lost_delivery) == "delivered"
