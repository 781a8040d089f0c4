"""Who did it: the name of a token in timelines, pauses, suppressions, the log and the audit."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support import API_TOKEN, CALL_BACK, Web, lead

from schemas.access import NamedToken, Role
from schemas.delivery import Status
from schemas.records import Move
from schemas.settings import Settings
from simulator import Simulator
from store import Store
from store import acts as stored_acts

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
RunDrain = Callable[..., Any]

ONE, OTHER, THIRD = "+919876543210", "+919812345678", "+919898989898"
BELA = NamedToken(name="bela", role=Role.OPERATOR, token="bela-calls-and-cancels")
CHITRA = NamedToken(name="chitra-2", role=Role.ADMIN, token="chitra-may-do-it-all")
DAYS = 400


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(CALL_BACK, named_tokens=(BELA, CHITRA))


def ask(web: Web, token: NamedToken, method: str, path: str, body: object = None) -> Any:
    headers = {"Authorization": f"Bearer {token.token}"}
    answer = web.client.open(path, method=method, json=body, headers=headers)
    assert answer.status_code in (200, 202), answer.text
    return answer.json


def acts(store: Store, **filters: Any) -> list[tuple[str, str, str | None, str | None, int | None]]:
    """Return what the audit has, oldest first."""
    page = store.acts(limit=100, keep_days=DAYS, **filters)
    return [(one.actor, one.action, one.kind, one.target, one.count) for one in page.items][::-1]


def timeline(web: Web, delivery: str) -> list[tuple[str, str | None, str | None]]:
    found = web.get(f"/api/deliveries/{delivery}").json["timeline"]
    return [(one["status"], one["reason"], one["actor"]) for one in found]


# --- each act -----------------------------------------------------------------------------------


def test_each_act_on_a_delivery_names_who_did_it(
    web: Web, store: Store, settings: Settings, run_drain: RunDrain, simulator: Simulator
) -> None:
    simulator.state.behave(path="/call/outbound", times=1, status=400, body="{}", to_number=ONE)
    failed = web.send("website", lead(ONE))[0]
    run_drain(settings)
    waits = web.send("website", lead(OTHER))[0]

    ask(web, BELA, "POST", f"/api/deliveries/{failed}/retry")
    ask(web, CHITRA, "POST", f"/api/deliveries/{waits}/cancel")
    run_drain(settings)

    assert timeline(web, failed) == [
        ("queued", None, None),
        ("sending", None, None),
        ("failed", "refused", None),
        ("queued", "by_person", "bela"),
        ("sending", None, None),
        ("delivered", None, None),
    ]
    assert timeline(web, waits) == [("queued", None, None), ("cancelled", "by_person", "chitra-2")]
    assert acts(store) == [
        ("bela", "retry", "delivery", failed, None),
        ("chitra-2", "cancel", "delivery", waits, None),
    ]


def test_resolve_replay_call_me_and_acts_on_many_name_who_did_it(
    web: Web, store: Store, settings: Settings, make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    unknown = web.send("website", lead(ONE))[0]
    many = [web.send("website", lead(number))[0] for number in (OTHER, THIRD)]
    force_unknown(store, unknown)
    ask(web, BELA, "POST", f"/api/deliveries/{unknown}/resolve", {"as": "failed"})
    done = ask(web, BELA, "POST", "/api/deliveries/cancel", {"source": "website"})
    ask(web, BELA, "POST", "/api/deliveries/cancel", {"source": "website", "dry_run": True})
    route = settings.routes.routes[0].name
    made = ask(web, BELA, "POST", f"/api/routes/{route}/call-me", {"to_number": ONE})

    assert timeline(web, unknown)[-1] == ("failed", "by_person", "bela")
    assert done["cancelled"] == 2
    assert {timeline(web, one)[-1] for one in many} == {("cancelled", "by_person", "bela")}
    assert timeline(web, made["id"]) == [("queued", None, "bela")]
    assert acts(store) == [
        ("bela", "resolve", "delivery", unknown, None),
        ("bela", "cancel", "delivery", None, 2),
        ("bela", "call_me", "delivery", made["id"], None),
    ]


def test_a_replay_names_who_made_its_deliveries(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store
) -> None:
    without = CALL_BACK.split("[[route]]")[0]
    before = open_web(make_settings(without))
    event = before.post("website", lead(ONE)).json["events"][0]["id"]
    after = open_web(make_settings(CALL_BACK, named_tokens=(BELA,)))

    made = ask(after, BELA, "POST", f"/api/events/{event}/replay")

    assert timeline(after, made["deliveries"][0]["id"]) == [("queued", None, "bela")]
    assert acts(store) == [("bela", "replay", "event", event, None)]


def force_unknown(store: Store, delivery_id: str) -> None:
    store.move([Move(id=delivery_id, to=Status.UNKNOWN, from_statuses=frozenset({Status.QUEUED}))])


def test_pauses_and_suppressions_name_who_made_them(web: Web, store: Store) -> None:
    waits = web.send("website", lead(ONE))[0]
    paused = ask(web, BELA, "PUT", "/api/pauses/source:website", {"message": "a holiday"})
    again = ask(web, CHITRA, "PUT", "/api/pauses/source:website")
    ask(web, CHITRA, "DELETE", "/api/pauses/source:website")
    key = ask(web, BELA, "PUT", f"/api/suppressions/{ONE}")["id"]
    ask(web, CHITRA, "DELETE", f"/api/suppressions/{ONE}")
    ask(web, CHITRA, "POST", "/api/suppressions", {"numbers": [OTHER, ONE, "odd"]})
    kept = {one["phone"]: one["actor"] for one in web.get("/api/suppressions").json["items"]}
    ask(web, CHITRA, "POST", "/api/erasures", {"phone": ONE})

    assert (paused["actor"], again["actor"]) == ("bela", "bela")  # the first pause stays
    assert set(kept.values()) == {"chitra-2"}
    assert timeline(web, waits)[-1] == ("cancelled", "suppressed", "chitra-2")
    assert acts(store) == [
        ("bela", "pause", "pause", "source:website", None),
        ("chitra-2", "resume", "pause", "source:website", 0),
        ("bela", "suppress", "suppression", key, None),
        ("chitra-2", "unsuppress", "suppression", key, None),
        ("chitra-2", "import", "suppression", None, 2),
        ("chitra-2", "erase", "suppression", key, None),
    ]
    assert ONE[3:] not in str(store.redis.xrange("bridge:acts"))


def test_a_call_that_a_suppression_cancels_names_who_suppressed_its_number(
    web: Web, settings: Settings, run_drain: RunDrain, simulator: Simulator
) -> None:
    simulator.state.behave(path="/call/outbound", times=1, status=503, body="{}", to_number=ONE)
    waits = web.send("website", lead(ONE))[0]
    run_drain(settings)
    ask(web, BELA, "PUT", f"/api/suppressions/{ONE}")
    assert timeline(web, waits)[-1] == ("cancelled", "suppressed", "bela")


def test_a_call_that_callkaro_deletes_names_who_asked_for_it(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, run_drain: RunDrain
) -> None:
    settings = make_settings(CALL_BACK, named_tokens=(BELA,))
    web = open_web(settings)
    delivery = web.send("website", lead(ONE))[0]
    run_drain(settings)
    store.redis.hset(
        f"bridge:delivery:{delivery}",
        "request",
        '{"agent_id": "agent", "to_number": "+919876543210", "schedule_at": "2099-01-01T10:00:00"}',
    )
    ask(web, BELA, "POST", f"/api/deliveries/{delivery}/cancel")
    run_drain(settings)
    assert timeline(web, delivery)[-1] == ("cancelled", "by_person", "bela")


def test_looks_at_whole_numbers_are_in_the_audit_with_the_id_of_each_record(
    web: Web, store: Store, settings: Settings, run_drain: RunDrain
) -> None:
    delivery = web.send("website", lead(ONE))[0]
    event = web.get(f"/api/deliveries/{delivery}").json["event_id"]
    keys = [ask(web, BELA, "PUT", f"/api/suppressions/{one}")["id"] for one in (ONE, OTHER)]
    ask(web, CHITRA, "GET", f"/api/deliveries/{delivery}?reveal=true")
    ask(web, BELA, "GET", f"/api/events/{event}?reveal=true")
    ask(web, BELA, "GET", "/api/suppressions?reveal=true")
    ask(web, BELA, "GET", f"/api/deliveries/{delivery}?reveal=false")
    looks = acts(store, action="reveal")
    assert looks[:2] == [
        ("chitra-2", "reveal", "delivery", delivery, None),
        ("bela", "reveal", "event", event, None),
    ]
    assert {one[3] for one in looks[2:]} == set(keys)
    assert len(looks) == 4


def test_the_dashboard_names_who_did_it_and_when_they_came_and_went(
    web: Web, store: Store, settings: Settings
) -> None:
    waits = web.send("website", lead(ONE))[0]
    web.client.post("/sign-in", data={"token": BELA.token})

    def do(path: str, **fields: str) -> str:
        page = web.client.get("/campaigns").text
        word = re.search(r'name="csrf" value="([^"]+)"', page)
        assert word
        data = {"csrf": word[1], **fields}
        return str(web.client.post(path, data=data, follow_redirects=True).text)

    do("/pause", scope="all")
    do("/resume", scope="all")
    do(f"/deliveries/{waits}/cancel")
    do(f"/deliveries/{waits}/resolve", **{"as": "failed"})  # refused: it is not unknown
    do("/suppressions", phone=ONE)
    web.client.get(f"/deliveries/{waits}?reveal=1")
    for _ in range(3):  # the page refreshes itself: not a new look
        web.client.get(f"/deliveries/{waits}/part?reveal=1")
    assert "by bela" in web.client.get(f"/deliveries/{waits}").text
    do("/sign-out")

    key = store.phone_key(ONE)
    assert acts(store) == [
        ("bela", "sign_in", None, None, None),
        ("bela", "pause", "pause", "all", None),
        ("bela", "resume", "pause", "all", 0),
        ("bela", "cancel", "delivery", waits, None),
        ("bela", "suppress", "suppression", key, None),
        ("bela", "reveal", "delivery", waits, None),
        ("bela", "sign_out", None, None, None),
    ]
    web.client.post("/sign-in", data={"token": API_TOKEN})
    page = web.client.get("/audit").text
    assert page.count("<td>bela</td>") == 7
    assert page.count("<td>admin</td>") == 1
    assert f"delivery {waits}" in page


def test_every_log_line_of_an_act_names_who_did_it(
    web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    waits = web.send("website", lead(ONE))[0]
    caplog.clear()
    ask(web, BELA, "POST", f"/api/deliveries/{waits}/cancel")
    ask(web, CHITRA, "PUT", f"/api/suppressions/{OTHER}")
    ask(web, BELA, "GET", f"/api/deliveries/{waits}?reveal=true")
    lines: list[Any] = [record.msg for record in caplog.records]
    named = {
        one["event"]: one["actor"]
        for one in lines
        if one["event"] in ("operation.done", "number.suppressed", "number.revealed")
    }
    assert named == {
        "operation.done": "bela",
        "number.suppressed": "chitra-2",
        "number.revealed": "bela",
    }
    assert BELA.token not in str(lines)


def test_what_no_person_did_has_no_actor(
    web: Web, store: Store, settings: Settings, run_drain: RunDrain
) -> None:
    delivery = web.send("website", lead(ONE))[0]
    run_drain(settings)
    assert {one[2] for one in timeline(web, delivery)} == {None}
    assert acts(store) == []


def test_an_old_timeline_is_read_and_goes_on(web: Web, store: Store) -> None:
    waits = web.send("website", lead(ONE))[0]
    key = f"bridge:delivery:{waits}"
    store.redis.hset(key, "timeline", "1700000000000 queued \n1700000001000 held bulk\n")
    store.redis.hset(key, mapping={"status": "held", "reason": "bulk"})
    ask(web, BELA, "POST", f"/api/deliveries/{waits}/cancel")
    assert timeline(web, waits) == [
        ("queued", None, None),
        ("held", "bulk", None),
        ("cancelled", "by_person", "bela"),
    ]
    # An earlier release reads this field as it did.
    lines = str(store.redis.hget(key, "timeline")).splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["", "bulk", "by_person"]


# --- the list -----------------------------------------------------------------------------------


def fill(store: Store, count: int) -> None:
    for number in range(count):
        actor, action = ("bela", "retry") if number % 3 else ("chitra-2", "erase")
        store.note_act(actor, action, kind="delivery", ids=(f"d{number}",), keep_days=DAYS)


def listed(web: Web, query: str = "") -> list[str]:
    """Return the targets on all pages of the audit."""
    found, cursor = [], ""
    while True:
        joined = "&".join(filter(None, (query, cursor and f"cursor={cursor}")))
        page = ask(web, CHITRA, "GET", f"/api/audit?{joined}")
        found += [one["target"] for one in page["items"]]
        if page["next_cursor"] is None:
            return found
        cursor = page["next_cursor"]


@pytest.mark.parametrize("limit", [1, 7, 200])
def test_the_audit_comes_in_pages_newest_first_without_gap_or_overlap(
    web: Web, store: Store, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(stored_acts, "STEP", 5)
    monkeypatch.setattr(stored_acts, "LOOKED_AT", 10)
    fill(store, 23)
    newest_first = [f"d{number}" for number in range(23)][::-1]
    assert listed(web, f"limit={limit}") == newest_first
    hers = [one for one in newest_first if int(one[1:]) % 3 == 0]
    assert listed(web, f"limit={limit}&actor=chitra-2") == hers
    assert listed(web, f"limit={limit}&action=erase") == hers
    assert listed(web, f"limit={limit}&action=retry&actor=chitra-2") == []
    assert listed(web, "actor=nobody") == []


def test_since_leaves_out_what_is_older(web: Web, store: Store) -> None:
    hour = timedelta(hours=1)
    now = datetime.now(UTC)
    for back, name in ((3, "old"), (1, "new")):
        ms = int((now - back * hour).timestamp() * 1000)
        fields = {"actor": "bela", "action": "retry", "kind": "delivery", "id": name}
        store.redis.xadd("bridge:acts", fields, id=f"{ms}-0")  # type: ignore[arg-type]
    since = (now - 2 * hour).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert listed(web, f"since={since}") == ["new"]
    assert listed(web) == ["new", "old"]


def test_entries_older_than_audit_days_are_neither_shown_nor_kept(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store
) -> None:
    web = open_web(make_settings(CALL_BACK, named_tokens=(BELA, CHITRA), audit_days=2))
    day = timedelta(days=1)
    for back in (3, 1):
        ms = int((datetime.now(UTC) - back * day).timestamp() * 1000)
        fields = {"actor": "bela", "action": "retry", "kind": "delivery", "id": f"{back}"}
        store.redis.xadd("bridge:acts", fields, id=f"{ms}-0")  # type: ignore[arg-type]
    assert listed(web) == ["1"]
    ask(web, BELA, "PUT", "/api/pauses/all")
    assert store.redis.xlen("bridge:acts") == 2
    assert listed(web) == ["all", "1"]


def test_the_newest_are_kept_where_there_are_too_many(
    web: Web, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_acts, "MOST_ACTS", 100)
    fill(store, 450)
    found = listed(web)
    assert 100 <= len(found) < 250  # Redis deletes them in blocks
    assert found == [f"d{number}" for number in range(450)][::-1][: len(found)]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("action=fly", "Unknown action"),
        ("action=read", "Unknown action"),
        ("cursor=1", "cursor must be"),
        ("cursor=0-0)", "cursor must be"),
        ("since=yesterday", "since must be"),
        ("limit=0", "limit must be"),
        ("who=bela", "Unknown filter"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(web: Web, query: str, says: str) -> None:
    headers = {"Authorization": f"Bearer {CHITRA.token}"}
    answer = web.client.get(f"/api/audit?{query}", headers=headers)
    assert (answer.status_code, answer.json["error"]) == (400, "bad_query")
    assert says in answer.json["message"]


def test_an_audit_that_can_not_be_written_undoes_nothing(
    web: Web, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.redis.set("bridge:acts", "not a stream")
    waits = web.send("website", lead(ONE))[0]
    answer = ask(web, BELA, "POST", f"/api/deliveries/{waits}/cancel")
    assert answer["status"] == "cancelled"
    lost: list[Any] = [one.msg for one in caplog.records if one.msg["event"] == "audit.lost"]  # type: ignore[index]
    assert [(one["actor"], one["action"], one["ids"]) for one in lost] == [
        ("bela", "cancel", (waits,))
    ]


def test_a_second_ring_has_a_word_of_its_own_in_the_audit(
    web: Web, store: Store, settings: Settings, run_drain: RunDrain
) -> None:
    first, second = (web.send("website", lead(number))[0] for number in (ONE, OTHER))
    run_drain(settings)
    again = {"call_again": True}
    ask(web, BELA, "POST", f"/api/deliveries/{first}/retry", again)
    many = {"status": "delivered", **again}
    assert ask(web, CHITRA, "POST", "/api/deliveries/retry", many)["retried"] == 1
    assert timeline(web, second)[-1] == ("queued", "by_person", "chitra-2")
    assert acts(store) == [
        ("bela", "call_again", "delivery", first, None),
        ("chitra-2", "call_again", "delivery", None, 1),
    ]
