"""Who is not to be called: suppressions, where they come from, and erasing a person."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support import (
    AGENT,
    API_TOKEN,
    CALL_BACK,
    WEBSITE,
    Web,
    keys_of,
    lead,
    make_due,
    notification,
    route,
)
from support.storing import claim, to_sending

from schemas.delivery import Delivery, Status
from schemas.expression import Expression
from schemas.records import Move
from schemas.settings import Settings
from simulator import Simulator
from store import Store
from store.base import P
from store.suppression import Suppressions

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
RunDrain = Callable[..., Any]

CALL, DELETION = "/call/outbound", "/call/delete-schedule-call"
ONE, OTHER = "+919876543210", "+919812345678"
NAME = "Zebedaiah"  # lifelike, and found nowhere else
TOKEN = "a-callback-token"
PLANNED = WEBSITE + route(
    request={
        "to_number": '"phone"',
        "agent_id": f'{{ value = "{AGENT}" }}',
        "schedule_at": '"at"',
        "number_of_retries": '"redials"',
    }
)
HUBSPOT = route(
    "call contacts",
    source="hubspot",
    event="contact.*",
    request={
        "to_number": '"[properties.phone, properties.mobilephone]"',
        "agent_id": f'{{ value = "{AGENT}" }}',
        "metadata": '{ name = "properties.firstname" }',
    },
)
OPT_OUT = """
[[source]]
name = "hubspot"
opt_out = "properties.stop == 'true' || (propertyName == 'stop' && propertyValue == 'true')"
"""


def ask(web: Web, method: str, path: str, body: object = None, *, status: int = 200) -> Any:
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    answer = web.client.open(path, method=method, json=body or {}, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json


def of(store: Store, delivery: str) -> Delivery:
    found = store.delivery(delivery)
    assert found is not None
    return found


def stands(store: Store, delivery: str) -> tuple[str, str | None]:
    return of(store, delivery).status, of(store, delivery).reason


def do_tasks(store: Store, run: Callable[[], object]) -> None:
    """Run drains until no background task is due; each is made due."""
    for _ in range(10):
        for one in store.redis.zrange(f"{P}due:background_task", 0, -1):
            store.redis.zadd(f"{P}due:background_task", {one: 1})
        if not store.redis.zcard(f"{P}due:background_task"):
            return
        run()
    raise AssertionError("background tasks have no end")


def everything(store: Store) -> str:
    """Return all that Redis holds of ours, as one text."""
    kept = []
    for key in sorted(keys_of(store)):
        kind = store.redis.type(key)
        match kind:
            case "hash":
                kept.append([key, store.redis.hgetall(key)])
            case "zset":
                kept.append([key, store.redis.zrange(key, 0, -1)])
            case "set":
                kept.append([key, sorted(store.redis.smembers(key))])
            case "list":
                kept.append([key, store.redis.lrange(key, 0, -1)])
            case "stream":
                kept.append([key, store.redis.xrange(key)])
            case _:
                kept.append([key, store.redis.get(key)])
    return json.dumps(kept, ensure_ascii=False)


# --- the list -----------------------------------------------------------------------------------


def test_a_suppressed_number_is_not_called_from_that_step_on(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(CALL_BACK)
    web = open_web(settings)
    [before] = web.send("website", lead(phone=ONE))

    said = ask(web, "PUT", "/api/suppressions/%2B919876543210", {"message": "asked by mail"})
    [after] = web.send("website", lead(phone="098765 43210"))
    [neighbour] = web.send("website", lead(phone=OTHER))
    run_drain(settings)

    assert (said["phone"], said["reason"], said["message"]) == (
        "+91••••••3210",
        "by_person",
        "asked by mail",
    )
    assert [stands(store, one) for one in (before, after, neighbour)] == [
        ("skipped", "suppressed"),
        ("skipped", "suppressed"),
        ("delivered", None),
    ]
    assert not simulator.state.calls_to(ONE)
    # Not even a person's "call again" goes past it.
    ask(web, "POST", f"/api/deliveries/{after}/retry", {"call_again": True})
    run_drain(settings)
    assert stands(store, after) == ("skipped", "suppressed")


def test_a_suppression_is_listed_found_and_taken_back(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, run_drain: RunDrain
) -> None:
    settings = make_settings(CALL_BACK)
    web = open_web(settings)
    for number in (ONE, OTHER, "+919900112233"):
        ask(web, "PUT", f"/api/suppressions/{number}")
    ask(web, "PUT", f"/api/suppressions/{ONE}", {"message": "a second time"})

    page = ask(web, "GET", "/api/suppressions?limit=2")
    rest = ask(web, "GET", f"/api/suppressions?limit=2&cursor={page['next_cursor']}")

    assert [one["phone"] for one in page["items"] + rest["items"]] == [
        "+91••••••2233",
        "+91••••••5678",
        "+91••••••3210",
    ]
    assert rest["next_cursor"] is None
    found = ask(web, "GET", f"/api/suppressions/{ONE}")
    assert found["message"] == "", "the first one stays"
    assert ask(web, "GET", f"/api/suppressions/{found['id']}") == found
    ask(web, "DELETE", f"/api/suppressions/{found['id']}")
    ask(web, "DELETE", f"/api/suppressions/{ONE}", status=404)
    ask(web, "GET", f"/api/suppressions/{ONE}", status=404)
    [one] = web.send("website", lead(phone=ONE))
    run_drain(settings)
    assert stands(store, one) == ("delivered", None)
    assert ask(web, "GET", "/api/status")["suppressions"] == 2


def test_many_are_suppressed_at_once_and_what_is_no_number_is_told_by_its_place(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    web = open_web(make_settings(CALL_BACK))
    ask(web, "PUT", f"/api/suppressions/{ONE}")

    done = ask(
        web, "POST", "/api/suppressions", {"numbers": [ONE, "98123 45678", "12", OTHER, "x"]}
    )

    assert (done["suppressed"], done["known"]) == (1, 2)
    assert [one["place"] for one in done["refused"]] == [2, 4]
    ask(web, "POST", "/api/suppressions", {"numbers": []}, status=400)
    ask(web, "POST", "/api/suppressions", {"numbers": [1]}, status=400)
    ask(web, "POST", "/api/suppressions", {"numbers": ["1"] * 1001}, status=400)
    ask(web, "PUT", "/api/suppressions/12", status=400)


# --- what was planned ---------------------------------------------------------------------------


def test_suppressing_cancels_what_waits_and_drops_what_callkaro_holds(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(PLANNED)
    web = open_web(settings)
    tomorrow = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%dT%H:%M:%S}"
    [planned] = web.send("website", lead(phone=ONE, at=tomorrow))
    [redials] = web.send("website", lead(phone=ONE, redials=2))
    [over] = web.send("website", lead(phone=ONE))
    run_drain(settings)
    simulator.state.behave(path=CALL, times=1, status=429)
    [retrying] = web.send("website", lead(phone=ONE))
    run_drain(settings)
    [neighbour] = web.send("website", lead(phone=OTHER, at=tomorrow))
    run_drain(settings)
    assert of(store, retrying).status == "retrying"

    done = ask(web, "PUT", f"/api/suppressions/{ONE}")
    run_drain(settings)

    assert (done["cancelled"], done["dropping"], done["on_the_wire"]) == (1, 2, 0)
    assert stands(store, retrying) == ("cancelled", "suppressed")
    assert stands(store, planned) == ("cancelled", "suppressed")
    assert stands(store, redials) == ("cancelled", "suppressed")
    assert stands(store, over) == ("delivered", None), "there is nothing more to drop"
    assert stands(store, neighbour) == ("delivered", None)
    assert {
        json.loads(json.dumps(one.body))["to_number"]
        for one in simulator.state.requests_to(DELETION)
    } == {ONE}


def test_what_is_on_the_wire_is_dropped_once_it_is_delivered(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(PLANNED)
    web = open_web(settings)
    tomorrow = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%dT%H:%M:%S}"
    [one] = web.send("website", lead(phone=ONE, at=tomorrow))
    lease = claim(store)[one]
    body = json.dumps({"to_number": ONE, "agent_id": AGENT, "schedule_at": tomorrow})
    assert store.move(
        [to_sending(one, lease, phone=store.phone_key(ONE), fields={"request": body})]
    ) == ["ok"]

    done = ask(web, "PUT", f"/api/suppressions/{ONE}")
    assert done["on_the_wire"] == 1
    assert store.move(
        [
            Move(
                id=one,
                to=Status.DELIVERED,
                lease=lease,
                attempt=(1, {"number": 1}),
                fields={"call_sid": "c9"},
            )
        ]
    ) == ["ok"]
    do_tasks(store, lambda: run_drain(settings))
    run_drain(settings)

    [asked] = simulator.state.requests_to(DELETION)
    assert asked.body["to_number"] == ONE
    assert stands(store, one) == ("cancelled", "suppressed")


def test_the_redial_of_a_call_that_was_to_be_the_last_is_dropped(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    stop = Expression.of("post_call.stop == 'yes'")
    settings = make_settings(PLANNED, callkaro_webhook_tokens=(TOKEN,), suppress_when=stop)
    web = open_web(settings)
    [one] = web.send("website", lead(phone=ONE))
    run_drain(settings)

    call = {"callSid": of(store, one).call_sid, "hangup_reason": "CLIENT_INITIATED"}
    tell(web, **call, post_call={"stop": "yes"}, next_call_scheduled=True)  # and no metadata
    run_drain(settings)

    assert store.suppression(store.phone_key(ONE))
    assert stands(store, one) == ("cancelled", "suppressed")
    assert len(simulator.state.requests_to(DELETION)) == 1


def test_what_is_told_of_a_call_to_a_number_that_was_corrected_is_about_that_number(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(HUBSPOT, callkaro_webhook_tokens=(TOKEN,))
    web = open_web(settings)
    simulator.state.put_record("hubspot", "contacts", "7", {"phone": ONE})
    [one] = web.send("hubspot", [notification("7")])
    run_drain(settings)
    first = of(store, one).call_sid
    simulator.state.put_record("hubspot", "contacts", "7", {"phone": OTHER})
    ask(web, "POST", f"/api/deliveries/{one}/retry", {"call_again": True})
    run_drain(settings)

    tell(web, callSid=first, to=ONE[1:], hangup_reason="INVALID_PHONE_NUMBER")

    assert store.suppression(store.phone_key(ONE))
    assert store.suppression(store.phone_key(OTHER)) is None
    assert store.ids_by_phone(store.phone_key(ONE)) == [], "it is listed by its number of now"


def test_what_was_unknown_is_dropped_once_callkaro_tells_that_it_has_it(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(PLANNED, callkaro_webhook_tokens=(TOKEN,))
    web = open_web(settings)
    simulator.state.behave(path=CALL, times=2, status=502)
    told, resolved = (web.send("website", lead(phone=ONE, redials=2))[0] for _ in range(2))
    run_drain(settings)
    ask(web, "PUT", f"/api/suppressions/{ONE}")
    assert of(store, told).status == of(store, resolved).status == "unknown"

    call = {"callSid": "c1", "call_metadata": {"bridge_delivery_id": told}, "try_count": 0}
    tell(web, **call, hangup_reason="USER_UNAVAILABLE", next_call_scheduled=True)
    ask(web, "POST", f"/api/deliveries/{resolved}/resolve", {"as": "delivered"})
    run_drain(settings)

    assert stands(store, told) == stands(store, resolved) == ("cancelled", "suppressed")
    assert len(simulator.state.requests_to(DELETION)) == 2


def test_a_worker_calls_off_what_a_crash_left_planned(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = make_settings(PLANNED)
    web = open_web(settings)
    tomorrow = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%dT%H:%M:%S}"
    [planned] = web.send("website", lead(phone=ONE, at=tomorrow))
    run_drain(settings)

    def crash(self: Suppressions, *_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Suppressions, "call_off", crash)
        with pytest.raises(KeyboardInterrupt):
            Suppressions(store=store).suppress(ONE)
    do_tasks(store, lambda: run_drain(settings))
    run_drain(settings)

    assert stands(store, planned) == ("cancelled", "suppressed")


# --- what CallKaro tells --------------------------------------------------------------------------


def tell(web: Web, **data: Any) -> None:
    answer = web.client.post(
        f"/callbacks/callkaro/{TOKEN}", json={"event": "call_ended", "data": data}
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("told", "is_suppressed"),
    [
        ({"hangup_reason": "INVALID_PHONE_NUMBER"}, True),
        ({"hangup_reason": "CLIENT_INITIATED", "post_call": {"stop": "yes"}}, True),
        ({"hangup_reason": "CLIENT_INITIATED", "post_call": {"stop": "no"}}, False),
        ({"hangup_reason": "CLIENT_INITIATED"}, False),
        ({"hangup_reason": "USER_REJECTED", "post_call": {"stop": 5}}, False),
    ],
    ids=str,
)
def test_an_outcome_suppresses_its_number(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    run_drain: RunDrain,
    told: dict[str, Any],
    is_suppressed: bool,
) -> None:
    settings = make_settings(
        CALL_BACK,
        callkaro_webhook_tokens=(TOKEN,),
        suppress_when=Expression.of("starts_with(post_call.stop, 'y')"),
    )
    web = open_web(settings)
    [one] = web.send("website", lead(phone=ONE))
    run_drain(settings)

    tell(web, callSid="c1", call_metadata={"bridge_delivery_id": one}, try_count=0, **told)

    kept = store.suppression(store.phone_key(ONE))
    assert (kept is not None) is is_suppressed
    if kept:
        assert kept.reason == "by_callkaro"


def test_of_a_call_that_is_not_known_the_number_that_callkaro_names_is_suppressed(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store
) -> None:
    web = open_web(make_settings(CALL_BACK, callkaro_webhook_tokens=(TOKEN,)))
    wrong = {"hangup_reason": "INVALID_PHONE_NUMBER"}

    tell(web, callSid="c1", to="919876543210", **wrong)
    tell(web, callSid="c2", to="918012345678", **{"from": "919812345678"}, try_count=-1, **wrong)

    assert store.suppression(store.phone_key(ONE))
    assert store.suppression(store.phone_key(OTHER)), "inbound: the person is who called"
    assert store.suppression_count() == 2


# --- what CRMs tell -------------------------------------------------------------------------------


def changed(contact: str, **more: Any) -> dict[str, Any]:
    usual = {"subscriptionType": "contact.propertyChange", "propertyName": "stop"}
    return notification(contact, **{**usual, "propertyValue": "true", **more})


def test_an_opt_out_in_the_crm_suppresses_the_record_at_once_and_then_its_numbers(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(OPT_OUT + HUBSPOT + CALL_BACK)
    web = open_web(settings)
    fields = {"phone": ONE, "mobilephone": OTHER, "firstname": NAME}
    simulator.state.put_record("hubspot", "contacts", "101", fields)
    web.send("hubspot", [changed("101")])
    [same] = web.send("hubspot", [notification("101")])
    assert store.suppression_count() == 1, "the record itself, before any worker has looked"

    # More than once where a call to that record moves on under the errand's hands.
    do_tasks(store, lambda: run_drain(settings))
    ids = [web.send("website", lead(phone=number))[0] for number in (ONE, OTHER)]
    run_drain(settings)

    # Cancelled by the background task or skipped by its guard, whichever comes first.
    assert stands(store, same)[1] == "suppressed"
    assert [stands(store, one) for one in ids] == [("skipped", "suppressed")] * 2
    assert not simulator.state.calls
    listed = ask(web, "GET", "/api/suppressions")["items"]
    assert {one["reason"] for one in listed} == {"by_crm"}
    assert {one["source"] for one in listed} == {"hubspot"}
    assert not store.redis.hlen(f"{P}background_tasks")


@pytest.mark.parametrize("value", ["false", "", "REDACTED"])
def test_what_is_no_opt_out_suppresses_nobody(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, value: str
) -> None:
    web = open_web(make_settings(OPT_OUT + HUBSPOT))
    web.post("hubspot", [changed("101", propertyValue=value)])
    web.post("hubspot", [changed("101", propertyName="city")])

    assert store.suppression_count() == 0


def test_a_record_that_says_so_is_not_called_though_no_event_said_so(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(OPT_OUT + HUBSPOT)
    simulator.state.put_record("hubspot", "contacts", "101", {"phone": ONE, "stop": "true"})
    [one] = open_web(settings).send("hubspot", [notification("101")])

    run_drain(settings)

    assert stands(store, one) == ("skipped", "suppressed")


def test_an_opt_out_that_could_not_be_read_counts_once_it_is_replayed(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, run_drain: RunDrain
) -> None:
    source = WEBSITE + 'opt_out = "stop"\n'
    settings = make_settings(source + route())
    answer = open_web(settings).post("website", lead(phone=ONE, stop=True, event_type={}))
    [event] = answer.json["events"]
    assert event["status"] == "unreadable"

    mended = open_web(make_settings(source.replace('"event_type"', '"kind"') + route()))
    ask(mended, "POST", f"/api/events/{event['id']}/replay")
    do_tasks(store, lambda: run_drain(settings))

    kept = store.suppression(store.phone_key(ONE))
    assert kept is not None
    assert kept.reason == "by_crm"


@pytest.mark.parametrize("routes", ["", WEBSITE + route()], ids=["none", "of another source"])
def test_an_opt_out_reaches_the_number_whatever_the_routes(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    run_drain: RunDrain,
    routes: str,
) -> None:
    settings = make_settings(routes, secrets={"gohighlevel": ("a-token",)})
    body = {"type": "ContactDndUpdate", "id": "c1", "phone": ONE, "dnd": True}
    answer = open_web(settings).client.post("/webhooks/gohighlevel?token=a-token", json=body)
    assert answer.status_code == 202

    do_tasks(store, lambda: run_drain(settings))

    kept = store.suppression(store.phone_key(ONE))
    assert kept is not None
    assert (kept.reason, kept.number) == ("by_crm", ONE)


def test_a_number_that_may_be_called_again_frees_the_records_that_went_with_it(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(OPT_OUT + HUBSPOT)
    web = open_web(settings)
    simulator.state.put_record("hubspot", "contacts", "101", {"phone": ONE})
    ask(web, "PUT", f"/api/suppressions/{ONE}")
    web.post("hubspot", [changed("101")])
    do_tasks(store, lambda: run_drain(settings))
    assert store.suppression_count() == 2

    ask(web, "DELETE", f"/api/suppressions/{ONE}")

    assert store.suppression_count() == 0


def test_what_one_request_suppressed_is_listed_page_by_page(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    web = open_web(make_settings(OPT_OUT + HUBSPOT))
    web.post("hubspot", [changed(str(contact)) for contact in range(25)])

    found, cursor = [], ""
    while cursor is not None:
        page = ask(web, "GET", f"/api/suppressions?limit=10{cursor and f'&cursor={cursor}'}")
        found += [one["id"] for one in page["items"]]
        cursor = page["next_cursor"]

    assert len(set(found)) == len(found) == 25


def test_an_opt_out_waits_for_a_crm_that_can_not_be_read(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(OPT_OUT + HUBSPOT)
    simulator.state.put_record("hubspot", "contacts", "101", {"phone": ONE})
    simulator.state.behave(path="/crm", times=2, status=503)  # the delivery's, and the task's
    open_web(settings).post("hubspot", [changed("101", propertyName="stop")])
    run_drain(settings)
    assert store.suppression(store.phone_key(ONE)) is None

    do_tasks(store, lambda: run_drain(settings))

    assert store.suppression(store.phone_key(ONE))


# --- erasing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["/", "%2F"])
def test_a_number_may_be_written_with_a_slash(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, slash: str
) -> None:
    web = open_web(make_settings(CALL_BACK))
    ask(web, "PUT", f"/api/suppressions/098765{slash}43210")
    assert store.suppression(store.phone_key(ONE))


@pytest.fixture
def known(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> tuple[Settings, Web, dict[str, str]]:
    """A person who was called, has events of every kind, and a neighbour."""
    settings = make_settings(
        HUBSPOT.replace("contact.*", "contact.created")
        + WEBSITE
        + route(consent='"ok == `true`"', delay='"1h"'),
        callkaro_webhook_tokens=(TOKEN,),
    )
    web = open_web(settings)
    person = {"phone": ONE, "firstname": NAME}
    simulator.state.put_record("hubspot", "contacts", "4711007", person)
    simulator.state.put_record("hubspot", "contacts", "102", {"phone": OTHER, "firstname": "Nia"})
    simulator.state.behave(path=CALL, times=1, status=502, body=f"{NAME} {ONE}", to_number=ONE)
    [unknown] = web.send("hubspot", [notification("4711007")])
    run_drain(settings)
    [called] = web.send("hubspot", [notification("4711007")])
    [neighbour] = web.send("hubspot", [notification("102")])
    run_drain(settings)
    tell(
        web,
        callSid=of(store, called).call_sid,
        call_metadata={"bridge_delivery_id": called},
        transcription=f"I am {NAME}, at {ONE}",
        recordingUrl=f"https://example.com/{NAME}",
        post_call={"name": NAME},
        hangup_reason="CLIENT_INITIATED",
    )
    web.post("hubspot", [changed("4711007", propertyName="firstname", propertyValue=NAME)])
    web.post("website", lead(phone=f"call {ONE[3:]} please", event_type="other", name=NAME))
    [waiting] = web.send("website", lead(phone=ONE, ok=True, name=NAME))
    assert NAME in everything(store)
    ids = {"unknown": unknown, "called": called, "neighbour": neighbour, "waiting": waiting}
    return settings, web, ids


def is_erased(store: Store, ids: dict[str, str]) -> None:
    kept = everything(store)
    for trace in (NAME, ONE, ONE[1:], ONE[3:], "4711007"):
        assert trace not in kept, f"{trace} in {kept}"
    assert of(store, ids["neighbour"]).request is not None
    assert "Nia" in kept
    assert stands(store, ids["called"]) == ("delivered", None)
    assert [one.result for one in of(store, ids["called"]).outcomes] == ["connected"]
    assert of(store, ids["unknown"]).status == "unknown"


def test_erasing_a_person_leaves_what_happened_and_no_trace_of_whom_it_happened_to(
    known: tuple[Settings, Web, dict[str, str]],
    store: Store,
    run_drain: RunDrain,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings, web, ids = known
    caplog.set_level("INFO")

    done = ask(web, "POST", "/api/erasures", {"phone": ONE})

    assert done == {"deliveries": 3, "events": 5, "done": True}
    is_erased(store, ids)
    assert stands(store, ids["waiting"]) == ("cancelled", "suppressed")
    kept = store.suppression(store.phone_key(ONE))
    assert kept is not None
    assert (kept.reason, kept.number) == ("erased", None)
    assert ask(web, "GET", f"/api/deliveries/{ids['called']}")["erased_at"] is not None
    ask(web, "POST", f"/api/deliveries/{ids['waiting']}/retry", {}, status=409)
    ask(web, "POST", "/api/events/replay", {"status": "routed"})
    ask(web, "POST", "/api/events/replay", {"status": "unrouted"})
    [again] = web.send("website", lead(phone=ONE, ok=True))
    make_due(store, again)
    run_drain(settings)
    assert stands(store, again) == ("skipped", "suppressed")
    assert "person.erased" in caplog.text
    assert ONE[3:] not in caplog.text


def test_what_comes_later_of_an_erased_person_is_erased_too(
    known: tuple[Settings, Web, dict[str, str]], store: Store
) -> None:
    _, web, ids = known
    ask(web, "POST", "/api/erasures", {"phone": ONE})

    for delivery in (ids["called"], ids["unknown"]):
        tell(
            web,
            callSid=f"late-{delivery}",
            call_metadata={"bridge_delivery_id": delivery},
            transcription=f"I am {NAME}",
            post_call={"name": NAME},
        )

    assert NAME not in everything(store)
    assert of(store, ids["unknown"]).status == "delivered"


def test_what_is_on_the_wire_while_its_person_is_erased_is_dropped_and_erased_after(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(PLANNED)
    web = open_web(settings)
    tomorrow = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%dT%H:%M:%S}"
    [one] = web.send("website", lead(phone=ONE, at=tomorrow, name=NAME))
    lease = claim(store)[one]
    body = json.dumps({"to_number": ONE, "agent_id": AGENT, "schedule_at": tomorrow})
    sent = to_sending(one, lease, phone=store.phone_key(ONE), fields={"request": body})
    assert store.move([sent]) == ["ok"]

    answer = ask(web, "POST", "/api/erasures", {"phone": ONE}, status=202)
    fields = {"call_sid": "c9"}
    accepted = Move(
        id=one, to=Status.DELIVERED, lease=lease, attempt=(1, {"number": 1}), fields=fields
    )
    assert store.move([accepted]) == ["ok"]
    for _ in range(2):
        do_tasks(store, lambda: run_drain(settings))
        run_drain(settings)

    assert answer["done"] is False
    # The erasure may make it due again while a thread deletes it; to delete it twice does no harm.
    assert {one.body["to_number"] for one in simulator.state.requests_to(DELETION)} == {ONE}
    assert stands(store, one) == ("cancelled", "suppressed")
    kept = everything(store)
    assert ONE[3:] not in kept
    assert NAME not in kept


def test_what_calls_someone_else_loses_the_number_and_nothing_more(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(WEBSITE + route())
    web = open_web(settings)
    simulator.state.behave(path=CALL, times=1, status=429)
    [one] = web.send("website", lead(phone=OTHER, rep=f"Nia, {ONE}", name=NAME))
    run_drain(settings)

    assert ask(web, "POST", "/api/erasures", {"phone": ONE})["done"]
    make_due(store, one)
    run_drain(settings)

    assert stands(store, one) == ("delivered", None)
    kept = everything(store)
    assert ONE[3:] not in kept
    assert NAME in kept


def test_the_numbers_of_an_opt_out_are_not_readable_once_its_contact_is_erased(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(OPT_OUT + HUBSPOT)
    web = open_web(settings)
    person = {"phone": ONE, "mobilephone": OTHER, "firstname": NAME}
    simulator.state.put_record("hubspot", "contacts", "4711007", person)
    web.post("hubspot", [changed("4711007")])
    do_tasks(store, lambda: run_drain(settings))
    assert store.suppression(store.phone_key(OTHER))

    web.post("hubspot", [notification("4711007", subscriptionType="contact.privacyDeletion")])
    do_tasks(store, lambda: run_drain(settings))

    kept = everything(store)
    assert ONE[3:] not in kept
    assert OTHER[3:] not in kept
    assert store.suppression(store.phone_key(OTHER))


def test_nothing_is_kept_of_a_record_that_is_read_after_its_person_was_erased(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(HUBSPOT.replace("[route.request]", 'delay = "1h"\n[route.request]'))
    web = open_web(settings)
    simulator.state.put_record("hubspot", "contacts", "7", {"phone": ONE, "firstname": NAME})
    [one] = web.send("hubspot", [notification("7")])
    ask(web, "POST", "/api/erasures", {"phone": ONE})

    make_due(store, one)
    run_drain(settings)

    assert stands(store, one) == ("skipped", "suppressed")
    kept = everything(store)
    assert ONE[3:] not in kept
    assert NAME not in kept


def test_hubspots_privacy_deletion_erases_the_contact(
    known: tuple[Settings, Web, dict[str, str]], store: Store, run_drain: RunDrain
) -> None:
    settings, web, ids = known
    web.post("hubspot", {"vid": 4711007, "properties": {"firstname": NAME}})
    deletion = notification("4711007", subscriptionType="contact.privacyDeletion")
    answer = web.post("hubspot", [deletion]).json
    assert (answer["unrouted"], answer["events"][0]["deliveries"]) == (1, [])

    do_tasks(store, lambda: run_drain(settings))
    make_due(store, ids["waiting"])
    run_drain(settings)

    kept = store.suppression(store.phone_key(ONE))
    assert kept is not None
    assert (kept.reason, kept.number) == ("erased", None)
    # The form that the same person filled names the number, not the contact: it can't be known to
    # be about them, but nobody is called for it.
    assert of(store, ids["called"]).erased_at is not None
    assert of(store, ids["called"]).request is None
    assert of(store, ids["unknown"]).request is None
    assert stands(store, ids["waiting"])[1] == "suppressed"
    assert "4711007" not in everything(store), "neither by a subscription nor by a workflow"
    assert of(store, ids["neighbour"]).request is not None


def test_an_erasure_is_gone_on_with_where_its_time_ran_out(
    known: tuple[Settings, Web, dict[str, str]],
    store: Store,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings, web, ids = known
    monkeypatch.setattr("store.erasure.SLICE_S", 0.0)
    monkeypatch.setattr("store.suppressions.SCANNED", 2)
    done = ask(web, "POST", "/api/erasures", {"phone": ONE}, status=202)
    assert done["done"] is False
    assert of(store, ids["called"]).request is None, "what is listed under the number goes at once"

    monkeypatch.setattr("store.erasure.SLICE_S", 5.0)
    do_tasks(store, lambda: run_drain(settings))

    is_erased(store, ids)


def test_an_erasure_keeps_what_it_takes_to_have_callkaro_drop_a_call_until_it_has(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(PLANNED)
    web = open_web(settings)
    tomorrow = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%dT%H:%M:%S}"
    [planned] = web.send("website", lead(phone=ONE, at=tomorrow, name=NAME))
    run_drain(settings)

    ask(web, "POST", "/api/erasures", {"phone": ONE})
    assert of(store, planned).request == {"agent_id": AGENT, "to_number": ONE}
    run_drain(settings)

    assert stands(store, planned) == ("cancelled", "suppressed")
    [asked] = simulator.state.requests_to(DELETION)
    assert asked.body["to_number"] == ONE
    assert ONE[3:] not in everything(store)


def test_who_is_not_known_can_be_erased_too(make_settings: MakeSettings, open_web: OpenWeb) -> None:
    web = open_web(make_settings(CALL_BACK))

    assert ask(web, "POST", "/api/erasures", {"phone": ONE}) == {
        "deliveries": 0,
        "events": 0,
        "done": True,
    }

    ask(web, "POST", "/api/erasures", {"phone": "12"}, status=400)
