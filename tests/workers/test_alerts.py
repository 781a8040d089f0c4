"""Alerts: which changes raise one, and how it is sent. The receiver is written here again."""

import base64
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from support import (
    API_TOKEN,
    CALL_BACK,
    LONGEST_S,
    ROOT,
    Bridge,
    Web,
    lead,
    make_due,
    route,
    until,
)
from support.draining import MakeSettings, OpenWeb, RunDrain
from support.receiver import Receiver, is_signed, serving

from config.settings import load_settings
from schemas.alert import SUMMARY, TEST, TRIES, TYPES, Alert
from schemas.errors import SettingsError
from schemas.http_result import TOO_LATE, HttpResult, TooLateError
from schemas.settings import Settings
from simulator import Simulator
from store import Store
from store.alerts import BLOCKS_S, KEPT
from workers import alerts
from workers.http import HttpClient, SendDeadline

KEY = "whsec_" + base64.b64encode(b"a made-up key of alerts").decode()
OTHER = "whsec_" + base64.b64encode(b"another made-up key").decode()
AGE_S = 900


def messages(receiver: Receiver) -> list[tuple[str, dict[str, Any]]]:
    """Return (type, data) of each message, those that prove nothing left out."""
    bodies = [json.loads(body) for headers, body in receiver.got if is_signed(headers, body, KEY)]
    return [(one["type"], one["data"]) for one in bodies]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serving() as receiver:
        yield receiver


@pytest.fixture
def settings(make_settings: MakeSettings, receiver: Receiver) -> Settings:
    routes = CALL_BACK + route("floods", event="flood", flood='{ over = 1, within = "1m" }')
    return make_settings(
        routes, alert_webhook_url=receiver.url, alert_webhook_secrets=(KEY,), worker_threads=4
    )


def look(store: Store, sources: Sequence[str] = ("website",)) -> int:
    return store.look_for_alerts(backlog_age_s=AGE_S, sources=sources)


def told(store: Store, settings: Settings, receiver: Receiver) -> list[tuple[str, dict[str, Any]]]:
    """Look, send, and return what is new to the receiver, without the words for people."""
    before = len(messages(receiver))
    look(store)
    alerts.send_due(settings, jitter=lambda: 1)
    new = messages(receiver)[before:]
    assert all(data.pop("message").endswith(".") for _, data in new)
    assert {data.pop("url") for _, data in new} <= {None}  # without PUBLIC_URL
    return new


def send_again(settings: Settings, store: Store) -> None:
    """Let the waits of all messages be over, and send."""
    for one in store.redis.zrange("bridge:due:alert", 0, -1):
        store.redis.zadd("bridge:due:alert", {one: 1})
    alerts.send_due(settings, jitter=lambda: 1)


def turn_older(store: Store, by_s: float) -> None:
    """Let all messages have been made that much earlier."""
    for one, record in store.redis.hgetall("bridge:alerts:out").items():
        message = json.loads(record)
        message["at_ms"] -= int(by_s * 1000)
        store.redis.hset("bridge:alerts:out", one, json.dumps(message))


def forge(web: Web, times: int) -> None:
    codes = [web.post("website", lead(), secret="wrong").status_code for _ in range(times)]
    assert codes == [401] * times


def order(web: Web, path: str, body: object = None, method: str = "POST") -> Any:
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    answer = web.client.open(f"/api{path}", method=method, json=body or {}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json


# --- what raises an alert -----------------------------------------------------------------------


def test_while_all_is_well_nobody_is_told(
    web: Web, store: Store, settings: Settings, receiver: Receiver, run_drain: RunDrain
) -> None:
    web.send("website", lead())
    assert told(store, settings, receiver) == []
    run_drain(settings)
    assert told(store, settings, receiver) == []
    assert receiver.got == []


def test_a_pause_by_a_person_is_told_once_and_so_is_its_end(
    web: Web, store: Store, settings: Settings, receiver: Receiver
) -> None:
    said = {"message": "Asha +919876543210 complained"}
    since = order(web, "/pauses/route:call back", said, method="PUT")["since"]

    [(kind, data)] = told(store, settings, receiver)
    assert kind == "destination.paused"
    assert data == {"scope": "route:call back", "reason": "person", "since": since}
    assert told(store, settings, receiver) == []
    order(web, "/pauses/route:call back", method="DELETE")
    [(kind, data)] = told(store, settings, receiver)
    assert (kind, data["scope"]) == ("destination.paused.resolved", "route:call back")
    assert data["began"] > since
    assert told(store, settings, receiver) == []
    assert b"Asha" not in b"".join(body for _, body in receiver.got)


def test_the_bridges_own_pauses_are_told(
    web: Web,
    store: Store,
    settings: Settings,
    receiver: Receiver,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    for _ in range(20):
        store.note_callkaro_result("a test", well=False)
    [(kind, data)] = told(store, settings, receiver)
    assert (kind, data["scope"], data["reason"]) == ("destination.paused", "callkaro", "breaker")
    store.note_callkaro_result("a test", well=True)
    assert [one[0] for one in told(store, settings, receiver)] == ["destination.paused.resolved"]

    simulator.state.behave(401, path="/call/outbound", times=1)
    web.send("website", lead())
    run_drain(settings)
    [(kind, data)] = told(store, settings, receiver)
    assert (kind, data["scope"], data["reason"]) == ("destination.paused", "callkaro", "account")


NOW = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "facts", "began", "over"),
    [
        (
            "destination.paused",
            {"scope": "all", "reason": "person", "since": NOW},
            "Everything is paused: a person did this. Nobody is called until a person resumes.",
            "Everything is not paused any more.",
        ),
        (
            "destination.paused",
            {"scope": "callkaro", "reason": "account"},
            "CallKaro is paused: CallKaro refused the API key or the account. Fix that, then "
            "resume.",
            "CallKaro is not paused any more.",
        ),
        (
            "destination.paused",
            {"scope": "workers", "reason": "suspended"},
            "The workers are paused: `rq suspend` stopped them. Nothing is sent until `rq resume`.",
            "The workers are not paused any more.",
        ),
        (
            "destination.paused",
            {"scope": "route:call {back}", "reason": "person"},
            "'route:call {back}' is paused: a person did this. Nobody is called until a person "
            "resumes.",
            "'route:call {back}' is not paused any more.",
        ),
        (
            "route.failing",
            {"scope": "route:x", "route": "x", "message": "5 calls in a row failed."},
            "5 calls in a row failed.",
            "The route 'x' is not paused any more.",
        ),
        (
            "delivery.unknown",
            {"count": 2, "delivery": "d1"},
            "Unknown deliveries: 2. A phone may have rung for each. Find out, and resolve it.",
            "No delivery is unknown any more.",
        ),
        (
            "source.signatures_failing",
            {"source": "website", "in_a_row": 10},
            "The last 10 requests of the source 'website' had a wrong signature or token, or were "
            "too old. Check its secret, and the clocks.",
            "A request of the source 'website' had a right signature or token again.",
        ),
        (
            "source.bodies_failing",
            {"source": "website", "in_a_row": 10},
            "The last 10 requests of the source 'website' had a right signature or token, but "
            "could not be parsed. Look at them on the page Events, and fix the template in the "
            "CRM.",
            "A request of the source 'website' could be parsed again.",
        ),
        (  # an older release stored it, without the count
            "bulk.held",
            {},
            "Deliveries wait for a person to release them.",
            "No delivery is held as bulk any more.",
        ),
        (  # a newer release stored it
            "moon.full",
            {"of": "water"},
            "Moon.full.",
            "This is over: moon.full.",
        ),
        (TEST, {}, "This is a test alert. Alerts of CallKaro Bridge arrive here.", None),
    ],
)
def test_a_person_reads_a_sentence_and_gets_a_link(
    kind: str, facts: dict[str, Any], began: str, over: str | None
) -> None:
    for is_over, sentence in ((False, began), (True, over)):
        if sentence is None:
            continue
        alert = Alert(id="msg_1", type=kind, at=NOW, is_over=is_over, facts=facts)
        data = alert.as_body("https://bridge.example/")["data"]
        assert data.pop("message") == sentence
        assert data.pop("url").startswith("https://bridge.example/")
        assert data.keys() == facts.keys() - {"message"}
        assert alert.as_body(None)["data"]["url"] is None


def test_every_type_of_alert_has_a_sentence_for_its_end_too() -> None:
    for kind in TYPES:
        facts = {"scope": "all"}
        found = {
            Alert(id="1", type=kind, at=NOW, is_over=over, facts=facts).message
            for over in (True, False)
        }
        assert len(found) == 2
        assert all(one.endswith(".") and one[0].isupper() for one in found), found


@pytest.mark.parametrize(
    ("kind", "page"),
    [
        ("delivery.unknown", "/deliveries?status=unknown"),
        ("bulk.held", "/deliveries?status=held&reason=bulk"),
        ("destination.paused", "/"),
    ],
)
def test_the_link_of_an_alert_leads_to_its_page(kind: str, page: str) -> None:
    body = Alert(id="msg_1", type=kind, at=NOW).as_body("https://bridge.example")
    assert body["data"]["url"] == f"https://bridge.example{page}"


def test_the_link_of_every_alert_leads_to_a_page_that_is_there(web: Web) -> None:
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302
    for kind in (*TYPES, SUMMARY, TEST, "moon.full"):
        url = Alert(id="msg_1", type=kind, at=NOW).as_body("http://localhost/")["data"]["url"]
        assert web.client.get(url).status_code == 200, url


def test_the_first_unknown_is_told_and_that_none_is_left(
    web: Web,
    store: Store,
    settings: Settings,
    receiver: Receiver,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    simulator.state.behave(path="/call/outbound", times=2, cut="after")
    [first] = web.send("website", lead())
    run_drain(settings)
    assert told(store, settings, receiver) == [
        ("delivery.unknown", {"count": 1, "delivery": first})
    ]
    [second] = web.send("website", lead("+919876543211"))
    run_drain(settings)
    assert told(store, settings, receiver) == []
    for one in (first, second):
        order(web, f"/deliveries/{one}/resolve", {"as": "failed"})
    assert [one[0] for one in told(store, settings, receiver)] == ["delivery.unknown.resolved"]


def test_an_old_backlog_is_told_until_it_is_worked_off(
    web: Web, store: Store, settings: Settings, receiver: Receiver, run_drain: RunDrain
) -> None:
    [delivery] = web.send("website", lead())
    make_due(store, delivery)

    [(kind, data)] = told(store, settings, receiver)
    assert (kind, data["waiting"]) == ("backlog.old", 1)
    assert data["oldest_s"] > AGE_S
    run_drain(settings)
    assert [one[0] for one in told(store, settings, receiver)] == ["backlog.old.resolved"]


@pytest.mark.parametrize(
    ("fields", "is_told"),
    [
        ({"next_ms": +60, "first_ms": -2 * AGE_S}, True),
        ({"next_ms": +60, "waiting_since_ms": -2 * AGE_S}, True),
        ({"next_ms": +60, "first_ms": -2 * AGE_S, "held_ms": 2 * AGE_S}, False),
        ({"next_ms": +60, "first_ms": -60}, False),
        ({"next_ms": +60, "created_ms": -2 * AGE_S}, False),
    ],
)
def test_a_backlog_is_what_could_have_gone_and_did_not(
    web: Web,
    store: Store,
    settings: Settings,
    receiver: Receiver,
    fields: dict[str, int],
    is_told: bool,
) -> None:
    [delivery] = web.send("website", lead())
    seconds, _ = store.redis.time()
    store.redis.zadd("bridge:due", {delivery: (seconds + 60) * 1000})
    for name, from_now_s in fields.items():
        value = from_now_s if name == "held_ms" else seconds + from_now_s
        store.redis.hset(f"bridge:delivery:{delivery}", name, value * 1000)

    assert bool(told(store, settings, receiver)) is is_told


def test_ten_forged_requests_in_a_row_are_told(
    web: Web, store: Store, settings: Settings, receiver: Receiver
) -> None:
    forge(web, 9)
    web.send("website", lead())
    forge(web, 9)
    assert told(store, settings, receiver) == []
    forge(web, 1)
    failing = ("source.signatures_failing", {"source": "website", "in_a_row": 10})
    assert told(store, settings, receiver) == [failing]
    forge(web, 5)
    assert told(store, settings, receiver) == []
    web.send("website", lead())
    [(kind, _)] = told(store, settings, receiver)
    assert kind == "source.signatures_failing.resolved"


def break_bodies(
    web: Web, times: int, body: bytes = b'{"phone": "', source: str = "website"
) -> None:
    codes = {web.post(source, body).status_code for _ in range(times)}
    assert codes == {400}


def test_ten_bodies_in_a_row_that_can_not_be_parsed_are_told(
    web: Web, store: Store, settings: Settings, receiver: Receiver
) -> None:
    break_bodies(web, 9)
    web.send("website", lead())
    break_bodies(web, 5)
    forge(web, 3)  # without a proof: it counts elsewhere, and ends no row
    break_bodies(web, 4, b"")
    break_bodies(web, 9, source="zoho")
    assert told(store, settings, receiver) == []
    break_bodies(web, 1, b"{'name': 'Asha'}")
    failing = ("source.bodies_failing", {"source": "website", "in_a_row": 10})
    assert told(store, settings, receiver) == [failing]
    break_bodies(web, 5)
    assert told(store, settings, receiver) == []
    web.send("website", lead())
    [(kind, data)] = told(store, settings, receiver)
    assert (kind, data["source"]) == ("source.bodies_failing.resolved", "website")


def test_bodies_are_counted_also_where_none_is_kept(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, receiver: Receiver
) -> None:
    settings = make_settings(
        CALL_BACK, refused_keep=0, alert_webhook_url=receiver.url, alert_webhook_secrets=(KEY,)
    )
    break_bodies(open_web(settings), 6)
    break_bodies(open_web(settings), 4)  # another web process
    assert [kind for kind, _ in told(store, settings, receiver)] == ["source.bodies_failing"]
    look(store, ["zoho"])  # the source is gone
    assert [kind for kind, _ in told(store, settings, receiver)] == [
        "source.bodies_failing.resolved"
    ]


def test_a_proof_ends_the_row_of_wrong_signatures(
    web: Web, store: Store, settings: Settings, receiver: Receiver
) -> None:
    forge(web, 9)
    break_bodies(web, 1)
    forge(web, 9)
    assert told(store, settings, receiver) == []


def test_a_source_that_is_gone_fails_no_more(
    web: Web, store: Store, settings: Settings, receiver: Receiver
) -> None:
    forge(web, 10)
    for sources in (["website", "zoho"], ["website"]):
        look(store, sources)
    assert told(store, settings, receiver) == [
        ("source.signatures_failing", {"source": "website", "in_a_row": 10})
    ]
    look(store, ["zoho"])
    [(kind, data)] = told(store, settings, receiver)
    assert (kind, data["source"]) == ("source.signatures_failing.resolved", "website")
    assert not store.redis.exists("bridge:alerts:refused")


def test_what_is_held_as_bulk_is_told(
    web: Web, store: Store, settings: Settings, receiver: Receiver
) -> None:
    for _ in range(3):
        web.send("website", lead(event_type="flood"))
    assert told(store, settings, receiver) == [("bulk.held", {"count": 2})]
    order(web, "/deliveries/cancel", {"reason": "bulk"})
    assert [one[0] for one in told(store, settings, receiver)] == ["bulk.held.resolved"]


def test_many_workers_that_look_find_a_change_once(
    web: Web, store: Store, settings: Settings, receiver: Receiver
) -> None:
    forge(web, 10)
    store.pause("all", reason="person", message="")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: look(store), range(40)))
        list(pool.map(lambda _: alerts.send_due(settings), range(8)))

    assert sum(found) == len(messages(receiver)) == 2


# --- how it is sent -----------------------------------------------------------------------------


def test_what_is_not_taken_is_sent_again_under_its_id(
    store: Store, settings: Settings, receiver: Receiver
) -> None:
    receiver.answers = [500, 302, 200]
    store.pause("all", reason="person", message="")
    look(store)
    for _ in range(3):
        send_again(settings, store)
        assert not store.is_alert_due()

    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len({body for _, body in receiver.got}) == 1
    assert len(messages(receiver)) == 3
    assert not store.redis.exists("bridge:due:alert", "bridge:alerts:out")


def test_it_waits_longer_each_time_and_then_gives_up(
    make_settings: MakeSettings, store: Store
) -> None:
    waits = [alerts.next_wait_s(number, lambda: 1.0) for number in range(1, TRIES)]
    assert waits[:3] == [5, 10, 20]
    assert waits[-1] == alerts.LONGEST_WAIT_S
    assert 3 * 3600 < sum(waits) < 6 * 3600
    nowhere = make_settings(
        CALL_BACK, alert_webhook_url="http://127.0.0.1:9", alert_webhook_secrets=(KEY,)
    )
    store.pause("all", reason="person", message="")
    look(store)
    turn_older(store, 2 * BLOCKS_S)  # nothing newer waits for it
    for left in range(TRIES - 1, -1, -1):
        send_again(nowhere, store)
        assert store.redis.zcard("bridge:due:alert") == min(left, 1)


def test_a_message_whose_sender_died_is_sent_by_the_next(
    store: Store, settings: Settings, receiver: Receiver
) -> None:
    store.pause("all", reason="person", message="")
    look(store)
    claimed = store.claim_alert(lease_s=60)
    assert claimed
    assert store.claim_alert(lease_s=60) is None
    store.redis.zadd("bridge:due:alert", {claimed.id: 1})
    alerts.send_due(settings)

    assert [headers["webhook-id"] for headers, _ in receiver.got] == [claimed.id]


def test_messages_that_nobody_takes_are_bounded(store: Store) -> None:
    for _ in range(KEPT):
        store.pause("all", reason="person", message="")
        look(store)
        store.resume("all")
        look(store)

    assert store.redis.zcard("bridge:due:alert") == KEPT
    assert store.redis.hlen("bridge:alerts:out") == KEPT


def test_of_too_many_messages_the_oldest_go_whenever_they_are_due(store: Store) -> None:
    for number in range(KEPT):
        store.pause(f"route:{number}", reason="person", message="")
        look(store)
    for one in store.redis.zrange("bridge:due:alert", 0, -1):
        store.put_off_alert(one, 600)
    store.pause("route:newest", reason="person", message="")
    look(store)

    kept = {json.loads(one)["facts"]["scope"] for one in store.redis.hvals("bridge:alerts:out")}
    assert kept == {f"route:{number}" for number in range(1, KEPT)} | {"route:newest"}
    assert store.redis.zcard("bridge:due:alert") == KEPT


# --- in which order -----------------------------------------------------------------------------

BEGAN, ENDED = "destination.paused", "destination.paused.resolved"


def test_an_end_waits_until_its_beginning_is_taken(
    store: Store, settings: Settings, receiver: Receiver
) -> None:
    receiver.answers = [500]
    store.pause("all", reason="person", message="")
    assert [one[0] for one in told(store, settings, receiver)] == [BEGAN]
    store.resume("all")
    assert told(store, settings, receiver) == []
    assert (
        not store.is_alert_due()
    )  # or senders would be started again and again, with nothing to send

    send_again(settings, store)
    assert [one[0] for one in messages(receiver)] == [BEGAN, BEGAN, ENDED]
    assert not store.redis.exists("bridge:due:alert", "bridge:alerts:out")


def test_an_end_waits_while_its_beginning_is_being_sent(store: Store) -> None:
    store.pause("all", reason="person", message="")
    look(store)
    began = store.claim_alert(lease_s=60)
    store.resume("all")
    look(store)
    assert began
    assert store.claim_alert(lease_s=60) is None
    store.end_alert(began.id)
    ended = store.claim_alert(lease_s=60)
    assert ended
    assert (began.is_over, ended.is_over) == (False, True)


def test_one_thing_does_not_wait_for_another(
    store: Store, settings: Settings, receiver: Receiver
) -> None:
    receiver.answers = [500]
    store.pause("source:zoho", reason="person", message="")
    told(store, settings, receiver)
    store.pause("source:hubspot", reason="person", message="")
    [(_, data)] = told(store, settings, receiver)
    assert data["scope"] == "source:hubspot"


def test_a_message_that_is_never_taken_holds_up_newer_ones_for_a_time_only(
    store: Store, settings: Settings, receiver: Receiver
) -> None:
    receiver.answers = [500, 500, 500, 204]
    store.pause("all", reason="person", message="")
    told(store, settings, receiver)
    store.resume("all")
    look(store)
    send_again(settings, store)
    assert [one[0] for one in messages(receiver)] == [BEGAN, BEGAN]
    turn_older(store, BLOCKS_S)
    send_again(settings, store)
    assert [one[0] for one in messages(receiver)] == [BEGAN, BEGAN, BEGAN, ENDED]
    assert not store.redis.exists("bridge:due:alert", "bridge:alerts:out")


def test_a_message_that_every_sender_dies_of_is_given_up(store: Store) -> None:
    store.pause("all", reason="person", message="")
    look(store)
    store.resume("all")
    look(store)
    for _ in range(TRIES):
        claimed = store.claim_alert(lease_s=60)
        assert claimed
        assert not claimed.is_over
        store.redis.zadd("bridge:due:alert", {claimed.id: 1})
    ended = store.claim_alert(lease_s=60)
    assert ended
    assert ended.is_over


# --- a receiver that is slow --------------------------------------------------------------------


class Hasty(HttpClient):
    """Waits long for each read, and not long for the whole."""

    longest_s = 2.0


class Stuck(HttpClient):
    """Plays a name that does not resolve: it hangs before the first byte."""

    longest_s = 0.1

    def __init__(self) -> None:
        super().__init__(timeout_s=5.0)
        self.go_on = threading.Event()
        self.deadlines: list[SendDeadline] = []

    def request(
        self, *args: Any, send_deadline: SendDeadline | None = None, **kwargs: Any
    ) -> HttpResult:
        assert send_deadline
        self.deadlines.append(send_deadline)
        self.go_on.wait(LONGEST_S)
        return HttpResult(sent=False, duration_ms=0)


def an_alert() -> Alert:
    return Alert(id="msg_1", type=TEST, at=datetime.now(UTC))


def test_an_answer_that_drips_is_cut_at_its_deadline(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    simulator.state.behave(204, path="/alerts", drip_s=60)
    url = f"{simulator.url}/alerts"
    settings = make_settings(CALL_BACK, alert_webhook_url=url, alert_webhook_secrets=(KEY,))
    reply = alerts.post(an_alert(), settings, Hasty(timeout_s=30.0))

    assert reply.sent
    assert reply.error
    assert not alerts.is_taken(reply)


def test_a_request_that_never_begins_is_given_up_and_can_not_begin_later(
    settings: Settings,
) -> None:
    http = Stuck()
    reply = alerts.post(an_alert(), settings, http)

    assert (reply.sent, reply.error) == (False, TOO_LATE)
    [deadline] = http.deadlines
    with pytest.raises(TooLateError):
        deadline.begin()
    http.go_on.set()


def test_a_message_behind_a_slow_one_is_left_to_another_sender(
    store: Store, settings: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "TIMEOUT_S", LONGEST_S)
    for scope in ("source:zoho", "source:hubspot"):
        store.pause(scope, reason="person", message="")
        look(store)
    receiver.go_on.clear()
    with ThreadPoolExecutor(1) as pool:
        sender = pool.submit(alerts.send_due, settings)
        until(lambda: receiver.got, what="the first alert")
        second = store.claim_alert(lease_s=60)
        receiver.go_on.set()
        sender.result()
    assert second
    assert second.facts["scope"] == "source:hubspot"


def test_a_receiver_may_rotate_its_secret(settings: Settings, receiver: Receiver) -> None:
    headers = alerts.signed(receiver.url, b"{}", "msg_1", (KEY, OTHER))
    assert is_signed(headers, b"{}", KEY)
    assert is_signed(headers, b"{}", OTHER)
    assert not is_signed(headers, b"[]", KEY)


def test_a_worker_alerts_and_an_alert_that_hangs_holds_nothing_up(
    start_bridge: Callable[..., Bridge],
    receiver: Receiver,
    simulator: Simulator,
    store: Store,
) -> None:
    bridge = start_bridge(ALERT_WEBHOOK_URL=receiver.url, ALERT_WEBHOOK_SECRET=KEY)
    receiver.go_on.clear()
    store.pause("source:zoho", reason="person", message="")

    until(lambda: receiver.got, what="the alert")
    [(kind, data)] = messages(receiver)
    assert (kind, data["scope"]) == ("destination.paused", "source:zoho")

    def is_delivered_meanwhile() -> bool:
        """Tell whether a delivery came and went while one alert was on its way."""
        attempts = bridge.log("worker").count('"event": "alert.attempted"')
        [delivery] = bridge.send("website", lead())
        bridge.await_status(delivery, "delivered")
        now = bridge.log("worker").count('"event": "alert.attempted"')
        return attempts == now and len(receiver.got) == attempts + 1

    until(is_delivered_meanwhile, what="a delivery while an alert hangs")
    receiver.go_on.set()
    until(lambda: '"event": "alert.attempted"' in bridge.log("worker"), what="its log line")
    assert "a-token" not in bridge.log("worker")
    assert KEY not in bridge.log("worker")


# --- settings and documentation -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"ALERT_WEBHOOK_URL": "https://a.example/x"}, "ALERT_WEBHOOK_SECRET: is not set"),
        (
            {"ALERT_WEBHOOK_URL": "https://a.example", "ALERT_WEBHOOK_SECRET": "whsec_ä"},
            "ALERT_WEBHOOK_SECRET: The secret is not valid base64",
        ),
        ({"ALERT_WEBHOOK_URL": "a.example", "ALERT_WEBHOOK_SECRET": KEY}, "ALERT_WEBHOOK_URL: "),
        ({"ALERT_BACKLOG_AGE": "soon"}, "ALERT_BACKLOG_AGE: must be a number and a unit"),
    ],
)
def test_a_wrong_setting_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], says: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as stopped:
        load_settings(needs=frozenset())
    assert says in str(stopped.value)
    assert KEY not in str(stopped.value)


def test_the_types_that_are_told_are_the_ones_that_are_listed() -> None:
    text = (ROOT / "store" / "scripts" / "alert.lua").read_text("utf-8")
    assert {kind for kind in TYPES if f"'{kind}'" in text} == set(TYPES)


def test_slack_gets_its_own_form_without_a_secret(
    make_settings: MakeSettings, store: Store, receiver: Receiver
) -> None:
    settings = make_settings(
        CALL_BACK,
        alert_webhook_url=receiver.url,
        alert_format="slack",
        public_url="https://bridge.example",
    )
    store.pause("source:zoho", reason="person", message="Asha +919876543210 complained")
    look(store)
    alerts.send_due(settings)
    store.resume("source:zoho")
    look(store)
    alerts.send_due(settings)

    bodies = [json.loads(body) for _, body in receiver.got]
    assert [body["text"].partition(" ")[2] for body in bodies] == [
        "'source:zoho' is paused: a person did this. Nobody is called until a person resumes.",
        "'source:zoho' is not paused any more.",
    ]
    assert all({*body} == {"text", "blocks"} for body in bodies)
    assert "Asha" not in str(bodies)
    [headers, _] = [headers for headers, _ in receiver.got]
    assert headers["content-type"] == "application/json"
    assert "webhook-signature" not in headers
