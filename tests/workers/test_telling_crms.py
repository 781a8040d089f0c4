"""Write-backs: a drain tells a CRM about calls by signed webhooks, each once."""

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from support import API_TOKEN, LONGEST_S, WEBSITE, Web, end_lease, lead, route, until
from support.draining import MakeSettings, OpenWeb, RunDrain, found
from support.receiver import CUT, Receiver, is_signed, serving
from support.telling import due_now, ends

from schemas.delivery import Delivery, Status
from schemas.outcome import Outcome, Result
from schemas.records import Move
from schemas.settings import Settings, WebhookOut
from store import Store
from workers.journal import Journal
from workers.ticker import Ticker

KEY = "whsec_" + base64.b64encode(b"a made-up key of write-backs").decode()
TOKEN = {"Authorization": f"Bearer {API_TOKEN}"}
OTHER = "whsec_" + base64.b64encode(b"the key before it").decode()
TOLD = (
    WEBSITE
    + route()
    + """[route.write_back]
on = ["outcome", "skipped"]
[route.write_back.fields]
result = "outcome.result"
city = "event.city"
"""
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serving() as receiver:
        yield receiver


@pytest.fixture
def told(make_settings: MakeSettings, receiver: Receiver, store: Store) -> Settings:
    """Settings whose only route tells its CRM of outcomes and of skipped calls."""
    out = WebhookOut(url=receiver.url, secrets=(KEY, OTHER))
    settings = make_settings(TOLD, webhooks_out={"website": out})
    Ticker(settings, Journal()).tick()  # it notes in Redis what the route tells
    assert store.redis.hgetall("bridge:write_back_on") == {"call back": "outcome skipped"}
    return settings


@pytest.fixture
def web(open_web: OpenWeb, told: Settings) -> Web:
    return open_web(told)


@pytest.fixture
def called(web: Web, told: Settings, store: Store, run_drain: RunDrain) -> Delivery:
    """A call that CallKaro accepted, and of which nothing was heard yet."""
    (call,) = web.send("website", lead(city="Pune"))
    run_drain(told)
    return found(store, call)


def state(store: Store, write_back: Delivery) -> tuple[str, str | None]:
    now = found(store, write_back.id)
    return now.status, now.reason


def test_each_dial_is_told_once_with_the_signature_of_each_secret(
    called: Delivery, told: Settings, store: Store, run_drain: RunDrain, receiver: Receiver
) -> None:
    first = ends(store, called, 0, result=Result.NOT_REACHED, is_final=False)
    run_drain(told)
    second = ends(store, called, 1)
    run_drain(told)
    run_drain(told)
    assert [headers["webhook-id"] for headers, _ in receiver.got] == [first.id, second.id]
    assert all(is_signed(*one, key) for one in receiver.got for key in (KEY, OTHER))
    bodies = [json.loads(body) for _, body in receiver.got]
    assert [one["outcome"]["tries"] for one in bodies] == [1, 2]
    assert [one["fields"]["result"] for one in bodies] == ["not_reached", "connected"]
    assert bodies[1]["fields"]["city"] == "Pune"
    assert bodies[1]["delivery"]["id"] == called.id
    assert bodies[1]["event"]["source_event_id"].startswith("form-")
    assert state(store, first) == state(store, second) == ("delivered", None)
    assert store.write_back_counts()["delivered"] == 2


def test_an_older_dial_that_was_not_told_yet_is_superseded(
    called: Delivery, told: Settings, store: Store, run_drain: RunDrain, receiver: Receiver
) -> None:
    older = ends(store, called, 0, is_final=False)
    newer = ends(store, called, 1)
    run_drain(told)
    assert state(store, older) == ("skipped", "superseded")
    assert state(store, newer) == ("delivered", None)
    assert len(receiver.got) == 1


def test_after_a_lost_answer_the_same_bytes_come_again_with_the_same_id(
    called: Delivery, told: Settings, store: Store, run_drain: RunDrain, receiver: Receiver
) -> None:
    receiver.answers = [CUT]
    one = ends(store, called)
    run_drain(told)
    assert state(store, one) == ("retrying", "no_answer")
    due_now(store, one)
    run_drain(told)
    assert state(store, one) == ("delivered", None)
    (headers, body), (again, same) = receiver.got
    assert headers["webhook-id"] == again["webhook-id"] == one.id
    assert body == same


@pytest.mark.parametrize(("code", "reason"), [(500, "busy"), (429, "busy"), (408, "busy")])
def test_what_may_pass_is_tried_again(
    called: Delivery,
    told: Settings,
    store: Store,
    run_drain: RunDrain,
    receiver: Receiver,
    code: int,
    reason: str,
) -> None:
    receiver.answers = [code]
    one = ends(store, called)
    run_drain(told)
    assert state(store, one) == ("retrying", reason)
    due_now(store, one)
    run_drain(told)
    assert state(store, one) == ("delivered", None)


def test_a_refusal_has_the_receivers_sentence_and_is_not_repeated(
    called: Delivery, told: Settings, store: Store, run_drain: RunDrain, receiver: Receiver
) -> None:
    receiver.answers, receiver.sentence = [422], b'{"message": "city is read-only"}'
    one = ends(store, called)
    run_drain(told)
    run_drain(told)
    assert state(store, one) == ("failed", "refused")
    assert "city is read-only" in (found(store, one.id).message or "")
    assert len(receiver.got) == 1
    assert found(store, called.id).status == "delivered"
    assert store.pauses() == []


def test_a_receiver_that_does_not_believe_us_is_paused_and_calls_go_on(
    called: Delivery,
    web: Web,
    told: Settings,
    store: Store,
    run_drain: RunDrain,
    receiver: Receiver,
) -> None:
    receiver.answers = [401]
    one = ends(store, called)
    run_drain(told)
    (pause,) = store.pauses()
    assert (pause.scope, pause.reason) == ("crm:website", "credentials")
    assert [one["reason"] for one in web.get("/api/pauses").json["items"]] == ["credentials"]
    assert state(store, one) == ("retrying", "account")
    due_now(store, one)
    (call,) = web.send("website", lead("+919876543211"))
    run_drain(told)
    assert state(store, one) == ("held", "paused")
    assert found(store, call).status == "delivered"
    path = "/api/pauses/crm:website"
    would = web.client.delete(path, json={"dry_run": True}, headers=TOKEN).json
    assert (would["released"], would["too_old"]) == (1, 0)
    assert web.client.delete("/api/pauses/crm:website", headers=TOKEN).json == {
        "scope": "crm:website",
        "released": 1,
    }
    run_drain(told)
    assert state(store, one) == ("delivered", None)
    assert found(store, one.id).spent == 1


def test_a_person_pauses_the_crm_alone(
    called: Delivery,
    web: Web,
    told: Settings,
    store: Store,
    run_drain: RunDrain,
    receiver: Receiver,
) -> None:
    answer = web.client.put(
        "/api/pauses/crm:website",
        json={},
        headers=TOKEN,
    )
    assert answer.status_code == 200, answer.text
    one = ends(store, called)
    run_drain(told)
    assert state(store, one) == ("held", "paused")
    assert receiver.got == []


def test_a_worker_that_died_while_it_sent_costs_one_more_request_with_the_same_id(
    called: Delivery, told: Settings, store: Store, run_drain: RunDrain, receiver: Receiver
) -> None:
    one = ends(store, called)
    (claim,) = store.claim_write_backs(1, {}, lease_s=60)
    lease = claim.delivery.lease
    begun = Move(id=one.id, to=Status.SENDING, lease=lease, attempt=(1, {"number": 1}))
    assert store.move([begun]) == ["ok"]
    end_lease(store, one.id)
    store.sweep()
    assert found(store, one.id).status == "retrying"
    due_now(store, one)
    run_drain(told)
    assert state(store, one) == ("delivered", None)
    assert [headers["webhook-id"] for headers, _ in receiver.got] == [one.id]


def test_a_dry_run_tells_nothing(
    web: Web, told: Settings, store: Store, run_drain: RunDrain, receiver: Receiver
) -> None:
    (call,) = web.send("website", lead())
    run_drain(replace(told, dry_run=True))
    (one,) = store.write_backs_of(call)
    assert (one.moment, one.status, one.reason) == ("skipped", "skipped", "dry_run")
    assert receiver.got == []


def test_calls_go_on_while_the_receiver_hangs(
    called: Delivery,
    web: Web,
    told: Settings,
    store: Store,
    run_drain: RunDrain,
    receiver: Receiver,
) -> None:
    receiver.go_on.clear()
    one = ends(store, called)
    drain = threading.Thread(target=run_drain, args=(told,), kwargs={"jitter": 0.99})
    drain.start()
    until(lambda: receiver.got, what="the write-back")
    (call,) = web.send("website", lead("+919876543211"))
    until(lambda: found(store, call).status == "delivered", what="the call")
    assert found(store, one.id).status == "sending"
    receiver.go_on.set()
    drain.join(LONGEST_S)
    assert state(store, one) == ("delivered", None)


def test_no_more_than_the_rate_are_sent_at_once(
    web: Web, told: Settings, store: Store, run_drain: RunDrain, receiver: Receiver
) -> None:
    calls = [call for n in range(3) for call in web.send("website", lead(f"+91987654321{n}"))]
    run_drain(told)
    for call in calls:
        ends(store, found(store, call))
    run_drain(replace(told, crm_rates={"website": 2}))
    assert len(receiver.got) == 2
    counts = store.write_back_counts()
    assert (counts["delivered"], counts["queued"]) == (2, 1)


def test_a_write_back_that_comes_back_as_a_webhook_rings_nobody(
    called: Delivery,
    web: Web,
    told: Settings,
    store: Store,
    run_drain: RunDrain,
    receiver: Receiver,
) -> None:
    ends(store, called)
    run_drain(told)
    (_, body), *_ = receiver.got
    (again,) = web.send("website", {**json.loads(body), "phone": "+919876543211"})
    run_drain(told)
    assert state(store, found(store, again)) == ("skipped", "own_change")
    run_drain(told)
    assert store.write_backs_of(again) == []
    assert len(receiver.got) == 1


def test_five_failures_in_a_row_stop_the_requests_for_a_time(
    web: Web, told: Settings, store: Store, run_drain: RunDrain, receiver: Receiver
) -> None:
    calls = [call for n in range(8) for call in web.send("website", lead(f"+91987654321{n}"))]
    run_drain(told)
    receiver.answers = [500] * 8
    for call in calls:
        ends(store, found(store, call))
    run_drain(told)
    # Two at a time: the sixth was on its way when the fifth failed.
    assert 5 <= len(receiver.got) <= 6
    counts = store.write_back_counts()
    assert counts["retrying"] == len(receiver.got)
    assert counts["queued"] == 8 - len(receiver.got)
    assert store.pauses() == []


def test_of_an_erased_person_nothing_more_is_told(
    called: Delivery,
    web: Web,
    told: Settings,
    store: Store,
    run_drain: RunDrain,
    receiver: Receiver,
) -> None:
    receiver.answers = [500]
    one = ends(store, called)
    run_drain(told)
    assert found(store, one.id).request
    body = {"phone": "+919876543210"}
    assert web.client.post("/api/erasures", json=body, headers=TOKEN).json["done"]
    now = found(store, one.id)
    assert (now.status, now.request) == ("cancelled", None)
    run_drain(told)
    assert len(receiver.got) == 1


def test_a_person_who_is_erased_while_the_receiver_hangs_is_not_told_of_again(
    called: Delivery,
    web: Web,
    told: Settings,
    store: Store,
    run_drain: RunDrain,
    receiver: Receiver,
) -> None:
    receiver.go_on.clear()
    receiver.answers = [500]
    one = ends(store, called)
    drain = threading.Thread(target=run_drain, args=(told,), kwargs={"jitter": 0.99})
    drain.start()
    until(lambda: receiver.got, what="the write-back")
    body = {"phone": "+919876543210"}
    web.client.post("/api/erasures", json=body, headers=TOKEN)
    receiver.go_on.set()
    drain.join(LONGEST_S)
    assert found(store, one.id).request is None
    if found(store, one.id).status == "retrying":
        due_now(store, one)
        run_drain(told)
    assert found(store, one.id).status == "cancelled"
    assert len(receiver.got) == 1


def test_a_route_that_tells_nothing_any_more_is_forgotten_at_the_next_start(
    told: Settings, make_settings: MakeSettings, store: Store
) -> None:
    ticker = Ticker(make_settings(WEBSITE + route()), Journal())
    ticker.tick()
    assert store.redis.hgetall("bridge:write_back_on") == {}


def test_an_outcome_without_a_call_sid_is_told(
    called: Delivery, told: Settings, store: Store, run_drain: RunDrain, receiver: Receiver
) -> None:
    store.keep_outcome(
        Outcome(call_sid=None, delivery_id=called.id, try_count=0, result=Result.CONNECTED)
    )
    [one] = store.write_backs_of(called.id)
    run_drain(told)
    assert state(store, one) == ("delivered", None)
    assert json.loads(receiver.got[0][1])["outcome"]["result"] == "connected"


def test_another_call_of_the_delivery_does_not_stand_for_the_first(
    called: Delivery, told: Settings, store: Store, run_drain: RunDrain, receiver: Receiver
) -> None:
    first = ends(store, called)
    second = ends(store, replace(called, call_sid="CA-again"))
    store.redis.zadd("bridge:due:write_back", {first.id: 9e15})
    run_drain(told)
    due_now(store, first)
    run_drain(told)
    assert state(store, first) == state(store, second) == ("delivered", None)
    bodies = [json.loads(body) for _, body in receiver.got]
    assert [one["delivery"]["call_sid"] for one in bodies] == ["CA-again", called.call_sid]
    assert bodies[0]["fields"]
    assert not bodies[1]["fields"]  # the newer call was written already


def test_a_dial_that_ended_in_the_future_does_not_forbid_later_calls_the_fields(
    called: Delivery, store: Store
) -> None:
    store.keep_outcome(
        Outcome(
            call_sid=called.call_sid,
            delivery_id=called.id,
            try_count=0,
            result=Result.CONNECTED,
            ended_at=datetime(9999, 1, 1, tzinfo=UTC),
        )
    )
    [one] = store.write_backs_of(called.id)
    assert one.at is not None
    assert one.at <= datetime.now(UTC)
