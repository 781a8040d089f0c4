"""REDIS_ACKS, from the webhook to the call: what replicas did not confirm is not called."""

import base64
import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from support import CALL_BACK, lead, make_due, notification, until
from support.draining import CALLS, HUBSPOT_READ, MakeSettings, OpenWeb, found
from support.receiver import serving
from support.replicas import Replicated, replicated
from support.telling import due_now

from schemas.delivery import Delivery, Reason
from schemas.records import Move
from schemas.settings import Settings, WebhookOut
from simulator import Simulator
from store import Store, base
from store.suppression import dropping
from workers.callkaro import CallKaro
from workers.crm import CrmClient
from workers.drain import Drain
from workers.http import HttpClient

KEY = "whsec_" + base64.b64encode(b"a made-up key of write-backs").decode()
DND = {"status": 400, "body": '{"status": "error", "message": "DND_NUMBER"}'}


@pytest.fixture(scope="module")
def servers() -> Iterator[Replicated]:
    with replicated() as servers:
        yield servers


@pytest.fixture
def kept(servers: Replicated) -> Iterator[Store]:
    servers.empty()
    with servers.store() as store:
        yield store


@pytest.fixture
def confirming(servers: Replicated, kept: Store, make_settings: MakeSettings) -> Settings:
    """Settings under which the replica must confirm."""
    return make_settings(CALL_BACK, redis_url=servers.url, redis_acks=1)


@contextlib.contextmanager
def hanging_replica(servers: Replicated) -> Iterator[None]:
    """Have the replica hang, and wait for it only a moment."""
    with servers.replicas[0].hanging(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "ACKS_S", 0.05)
        yield


def drain(store: Store, settings: Settings, until: Callable[[], bool], **options: Any) -> None:
    """Run one drain that uses this store, and stop it once a condition holds."""
    http = HttpClient(timeout_s=settings.callkaro_timeout_s)
    callkaro = CallKaro(http, base_url=settings.callkaro_base_url, api_key="a-key")
    crm_client = CrmClient(HttpClient(timeout_s=30.0), store, settings)
    Drain(store, settings, callkaro, crm_client, should_stop=until, **options).run()


def test_an_unconfirmed_webhook_gets_503_and_its_resend_rings_once(
    servers: Replicated, kept: Store, confirming: Settings, open_web: OpenWeb, simulator: Simulator
) -> None:
    web, body = open_web(confirming), lead()
    with hanging_replica(servers):
        answer = web.post("website", body)
        assert (answer.status_code, answer.json["error"]) == (503, "store_unavailable")
        assert "is a duplicate" in answer.json["message"]
        assert answer.headers["Retry-After"]
        assert web.client.get("/readyz").status_code == 503

    def resend() -> Any:
        answer = web.post("website", body)
        return answer if answer.status_code == 202 else None

    answer = until(resend, what="the resend")  # for a second the web process fails fast
    assert (answer.json["accepted"], answer.json["duplicates"]) == (0, 1)
    [delivery] = [one["id"] for event in answer.json["events"] for one in event["deliveries"]]
    drain(kept, confirming, lambda: found(kept, delivery).status == "delivered")
    assert len(simulator.state.calls) == 1


def test_an_unconfirmed_permission_makes_no_request_and_spends_no_attempt(
    servers: Replicated, kept: Store, confirming: Settings, open_web: OpenWeb, simulator: Simulator
) -> None:
    [delivery] = open_web(confirming).send("website", lead())
    kept.ping()  # the replica is there when the drain begins
    with hanging_replica(servers):
        drain(kept, confirming, lambda: found(kept, delivery).status == "retrying")
        waiting = found(kept, delivery)
    assert simulator.state.requests_to(CALLS) == []
    assert (waiting.spent, waiting.next_attempt_at is not None) == (0, True)
    assert "REDIS_ACKS" in str(waiting.message)
    [attempt] = waiting.attempts
    assert attempt["error"] == "not_sent"

    make_due(kept, delivery)
    drain(kept, confirming, lambda: found(kept, delivery).status == "delivered")
    assert len(simulator.state.calls) == 1
    assert found(kept, delivery).spent == 1


def test_while_the_replica_is_away_a_call_waits_as_it_is(
    servers: Replicated, kept: Store, confirming: Settings, open_web: OpenWeb, simulator: Simulator
) -> None:
    [delivery] = open_web(confirming).send("website", lead())
    looks = iter(range(20))
    with hanging_replica(servers), servers.store() as new:  # as in each drain's own process
        drain(new, confirming, lambda: next(looks, None) is None)
    waiting = found(kept, delivery)
    assert (waiting.status, waiting.attempts) == ("queued", ())
    assert simulator.state.requests_to(CALLS) == []


def test_while_the_replica_is_away_no_record_is_read(
    servers: Replicated,
    kept: Store,
    make_settings: MakeSettings,
    open_web: OpenWeb,
    simulator: Simulator,
) -> None:
    settings = make_settings(redis_url=servers.url, redis_acks=1)
    fields = {"lifecyclestage": "lead", "phone": "+919876500001"}
    simulator.state.put_record("hubspot", "contacts", "5000", fields)
    [delivery] = open_web(settings).send("hubspot", notification("5000"))
    looks = iter(range(20))
    with hanging_replica(servers), servers.store() as new:
        drain(new, settings, lambda: next(looks, None) is None)
    assert simulator.state.requests_to(HUBSPOT_READ) == []
    drain(kept, settings, lambda: found(kept, delivery).status == "delivered")
    assert len(simulator.state.requests_to(HUBSPOT_READ)) == 1


def test_while_the_replica_is_away_a_planned_call_is_still_called_off(
    servers: Replicated,
    kept: Store,
    confirming: Settings,
    open_web: OpenWeb,
    simulator: Simulator,
) -> None:
    web = open_web(confirming)
    [planned] = web.send("website", lead())
    drain(kept, confirming, lambda: found(kept, planned).status == "delivered")
    [waits] = web.send("website", lead("+919876500002"))
    kept.move([dropping(found(kept, planned), Reason.BY_PERSON)])
    with hanging_replica(servers), servers.store() as new:
        drain(new, confirming, lambda: found(kept, planned).status == "cancelled")
    assert found(kept, planned).status == "cancelled"
    assert (found(kept, waits).status, found(kept, waits).lease) == ("queued", 0)


@pytest.mark.parametrize(
    ("answers", "status", "suppressed"), [({}, "delivered", 0), (DND, "failed", 1)]
)
def test_what_is_on_the_wire_is_settled_without_the_replica(
    servers: Replicated,
    kept: Store,
    confirming: Settings,
    open_web: OpenWeb,
    simulator: Simulator,
    answers: dict[str, Any],
    status: str,
    suppressed: int,
) -> None:
    simulator.state.behave(path=CALLS, **answers)
    [delivery] = open_web(confirming).send("website", lead())
    with contextlib.ExitStack() as hangs:

        def hang(moves: Iterable[Move]) -> None:  # called between the permission and the request
            if [move for move in moves if move.to == "sending"]:
                hangs.enter_context(hanging_replica(servers))

        drain(kept, confirming, lambda: found(kept, delivery).status == status, remember=hang)
        assert found(kept, delivery).status == status
        assert kept.suppression_count() == suppressed
    assert len(simulator.state.requests_to(CALLS)) == 1


def test_a_write_back_waits_for_the_replica_too(
    servers: Replicated, kept: Store, make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    kept.note_write_back_routes({"call back": ["accepted"]})
    told = (
        CALL_BACK + '[route.write_back]\non = ["accepted"]\n[route.write_back.fields]\na = "of"\n'
    )
    with serving() as receiver:
        out = {"website": WebhookOut(url=receiver.url, secrets=(KEY,))}
        settings = make_settings(told, redis_url=servers.url, redis_acks=1, webhooks_out=out)
        [delivery] = open_web(settings).send("website", lead())

        def write_back() -> Delivery | None:
            return next(iter(kept.write_backs_of(delivery)), None)

        def is_waiting() -> bool:
            one = write_back()
            return one is not None and "REDIS_ACKS" in str(one.message)

        def is_delivered() -> bool:
            one = write_back()
            return one is not None and one.status == "delivered"

        with contextlib.ExitStack() as hangs:

            def hang(moves: Iterable[Move]) -> None:  # once the call is permitted
                if [move for move in moves if move.to == "sending"]:
                    hangs.enter_context(hanging_replica(servers))

            drain(kept, settings, is_waiting, remember=hang)
            assert receiver.got == []
        due_now(kept, *kept.write_backs_of(delivery))
        drain(kept, settings, is_delivered)
        assert len(receiver.got) == 1
