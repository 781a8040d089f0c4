"""The intake and the API through the web process: signed requests against a real Valkey."""

import base64
import gzip
import hashlib
import hmac
import json
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import pytest
from gunicorn.http.errors import (  # type: ignore[import-untyped]
    ChunkMissingTerminator,
    InvalidChunkExtension,
    InvalidChunkSize,
    NoMoreData,
)
from support import (
    API_TOKEN,
    CALL_BACK,
    SECRETS,
    WEBSITE,
    Web,
    each,
    free_port,
    keys_of,
    lead,
    notification,
    route,
    signed,
    zoho_notification,
)
from support.samples import incoming

from bridge.intake import Intake
from config.settings import MAX_BODY_BYTES
from schemas.errors import BadPayload, BadSignature
from schemas.settings import Settings
from schemas.source import Incoming, Source
from simulator import Simulator
from store import Store

OpenWeb = Callable[[Settings], Web]
MakeSettings = Callable[..., Settings]
COUNTED = ("accepted", "duplicates", "unrouted", "unreadable")


def counts(answer: Any) -> tuple[int, ...]:
    return tuple(answer.json[name] for name in COUNTED)


# --- taken in -----------------------------------------------------------------------------------


def test_the_counts_add_up_and_every_status_url_works(web: Web) -> None:
    known = notification("101")
    web.post("hubspot", known)
    batch = [
        notification("102"),
        known,
        notification("103", changeSource="IMPORT"),
        notification("104", subscriptionType="company.creation"),
        {"subscriptionType": "contact.creation", "portalId": 62515},
        "no object at all",
    ]

    answer = web.post("hubspot", batch)

    assert answer.status_code == 202
    assert counts(answer) == (1, 1, 2, 2)
    assert sum(counts(answer)) == len(answer.json["events"]) == len(batch)
    for event in answer.json["events"]:
        shown = web.get(urlsplit(event["status_url"]).path)
        assert shown.status_code == 200
        assert (shown.json["id"], shown.json["status"]) == (event["id"], event["status"])
        assert shown.json["deliveries"] == event["deliveries"]
        for delivery in event["deliveries"]:
            shown = web.get(urlsplit(delivery["status_url"]).path)
            assert shown.status_code == 200
            assert shown.json["id"] == delivery["id"]
            assert (shown.json["status"], shown.json["route"]) == ("queued", "call new leads")
    assert all(
        event["status_url"].startswith("http://localhost/") for event in answer.json["events"]
    )


def test_status_urls_start_with_the_public_url(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    web = open_web(make_settings(public_url="https://bridge.example"))
    body = json.dumps(notification()).encode()
    headers = signed("hubspot", body, "https://bridge.example/webhooks/hubspot")

    answer = web.client.post("/webhooks/hubspot", data=body, headers=headers)

    assert answer.status_code == 202
    [event] = answer.json["events"]
    assert event["status_url"] == f"https://bridge.example/api/events/{event['id']}"


@pytest.mark.parametrize("end", ["?", "?a=1", "?a=%2F", ""])
def test_a_url_is_signed_to_its_last_character(web: Web, end: str) -> None:
    body = json.dumps(notification()).encode()
    headers = signed("hubspot", body, f"http://localhost/webhooks/hubspot{end}")
    called = {"REQUEST_URI": f"/webhooks/hubspot{end}", "RAW_URI": f"/webhooks/hubspot{end}"}

    answer = web.client.post(
        "/webhooks/hubspot", data=body, headers=headers, environ_overrides=called
    )

    assert answer.status_code == 202, answer.text


def test_a_query_of_bytes_that_no_url_may_hold_is_refused(web: Web) -> None:
    answer = web.client.post(
        "/webhooks/zoho", json={}, environ_overrides={"QUERY_STRING": "a=\xff"}
    )

    assert (answer.status_code, answer.json["error"]) == (400, "bad_payload")


def test_a_resend_is_a_duplicate_with_the_first_ids(web: Web, store: Store) -> None:
    first = notification()
    resent = {**first, "attemptNumber": 3}

    before = web.post("hubspot", [first])
    kept = keys_of(store)
    after = web.post("hubspot", [resent])

    assert (counts(before), counts(after)) == ((1, 0, 0, 0), (0, 1, 0, 0))
    [first_event], [second_event] = before.json["events"], after.json["events"]
    assert (first_event["duplicate"], second_event["duplicate"]) == (False, True)
    assert second_event == {**first_event, "duplicate": True}
    assert keys_of(store) == kept


def test_equal_bytes_without_an_id_are_one_event(web: Web) -> None:
    form = {"event_type": "form.submitted", "phone": "+919876543210"}

    assert counts(web.post("website", form)) == (1, 0, 0, 0)
    assert counts(web.post("website", form)) == (0, 1, 0, 0)
    assert counts(web.post("website", {**form, "phone": "+919876543211"})) == (1, 0, 0, 0)


TOKEN_SOURCE = '[[source]]\nname = "form"\nauth = "token"\n\n'
BASIC_SOURCE = '[[source]]\nname = "form"\nauth = "basic"\n\n'
ANY_NUMBER = {"to_number": '"phone"', "agent_id": '"agent"'}


@each("header", ["Idempotency-Key", "webhook-id"])
@each(
    ("source", "secret", "proof"),
    [
        (TOKEN_SOURCE, "a-token", {"X-Webhook-Token": "a-token"}),
        (BASIC_SOURCE, "me:word", {"Authorization": "Basic bWU6d29yZA=="}),
    ],
)
def test_an_id_header_of_a_sender_that_sends_its_secret_tells_a_resend_from_a_new_form(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    header: str,
    source: str,
    secret: str,
    proof: dict[str, str],
) -> None:
    routes = source + route(source="form", request=ANY_NUMBER)
    web = open_web(make_settings(routes, secrets={"form": (secret,)}))
    unique = f"{header}-{secret}"

    def post(key: str) -> tuple[int, ...]:
        sent = {**proof, header: key}
        body = {"phone": "+919876543210", "of": unique}
        return counts(web.client.post("/webhooks/form", json=body, headers=sent))

    assert post(f"{unique}-one") == (1, 0, 0, 0)
    assert post(f"{unique}-one") == (0, 1, 0, 0)
    assert post(f"{unique}-two") == (1, 0, 0, 0)


CAPTURED_HEADERS = [
    "Idempotency-Key",
    "webhook-id",
    "svix-id",
    "X-Request-Id",
    "X-HubSpot-Request-Id",
    "Made-Up-By-This-Test",
]


def hubspot_v2(body: bytes) -> dict[str, str]:
    text = SECRETS["hubspot"].encode() + b"POST" + b"http://localhost/webhooks/hubspot" + body
    digest = hashlib.sha256(text).hexdigest()
    return {
        "Content-Type": "application/json",
        "X-HubSpot-Signature-Version": "v2",
        "X-HubSpot-Signature": digest,
    }


@each("header", CAPTURED_HEADERS)
@each("source", ["website", "hubspot"])
def test_a_captured_signed_request_is_one_delivery_whatever_its_other_headers_say(
    make_settings: MakeSettings, open_web: OpenWeb, header: str, source: str
) -> None:
    event = "workflow.triggered" if source == "hubspot" else "form.submitted"
    web = open_web(make_settings(WEBSITE + route(source=source, event=event)))
    body = json.dumps({"phone": "+919876543210", "of": f"{source} {header}"}).encode()
    headers = hubspot_v2(body) if source == "hubspot" else signed(source, body, "")

    answers = [
        web.client.post(f"/webhooks/{source}", data=body, headers={**headers, header: f"new-{n}"})
        for n in range(4)
    ]

    assert {answer.status_code for answer in answers} == {202}
    assert [counts(answer) for answer in answers] == [(1, 0, 0, 0), *[(0, 1, 0, 0)] * 3]
    assert len({answer.json["events"][0]["id"] for answer in answers}) == 1


@each(
    ("media", "body"),
    [
        ("application/json", '{"submission_id": "José-1", "phone": "+919876543210"}'.encode()),
        ("application/json", '{"submission_id": "आशा", "phone": "+919876543211"}'.encode()),
        ("application/x-www-form-urlencoded", b"submission_id=Jos%C3%A9&phone=%2B919876543212"),
        ("application/x-www-form-urlencoded", "submission_id=Zoë&phone=%2B919876543213".encode()),
    ],
)
def test_a_captured_request_has_the_id_of_its_bytes_whatever_charset_it_is_called(
    make_settings: MakeSettings, open_web: OpenWeb, media: str, body: bytes
) -> None:
    web = open_web(make_settings(WEBSITE + route(source="website", event="form.submitted")))
    headers = signed("website", body, "")
    charsets = ["", "; charset=iso-8859-1", "; charset=windows-1252", "; charset=utf-8"]

    answers = [
        web.client.post(
            "/webhooks/website", data=body, headers={**headers, "Content-Type": media + charset}
        )
        for charset in charsets
    ]

    assert [counts(answer) for answer in answers] == [(1, 0, 0, 0), *[(0, 1, 0, 0)] * 3]


TIMED_SOURCE = """
[[source]]
name = "form"
auth = "hmac"
header = "X-Sig"
parts = ["timestamp", "body"]
separator = "."
timestamp_key = "t"
signature_key = "v1"
id_window = "1s"

"""


def test_a_captured_request_with_a_time_is_one_event_as_long_as_its_time_is_accepted(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store
) -> None:
    routes = TIMED_SOURCE + route(source="form", request=ANY_NUMBER)
    web = open_web(make_settings(routes, secrets={"form": ("a-word",)}))
    body = json.dumps({"phone": "+919876543210", "of": "a time"}).encode()
    at = str(int(time.time()))
    digest = hmac.new(b"a-word", at.encode() + b"." + body, hashlib.sha256).hexdigest()
    known = keys_of(store)

    answers = [
        web.client.post(
            "/webhooks/form",
            data=body,
            headers={"X-Sig": f"t={at},v1={digest}", "Idempotency-Key": f"n{n}"},
            content_type="application/json",
        )
        for n in range(3)
    ]

    assert [counts(answer) for answer in answers] == [(1, 0, 0, 0), *[(0, 1, 0, 0)] * 2]
    [seen] = [key for key in keys_of(store) - known if key.startswith("bridge:seen:")]
    assert 590 < store.redis.ttl(seen) <= 600  # five minutes on both sides of our clock


@each(("name", "other"), [("svix", "webhook"), ("webhook", "svix")])
def test_a_signed_id_counts_and_no_other_spelling_of_it(
    make_settings: MakeSettings, open_web: OpenWeb, name: str, other: str
) -> None:
    source = '[[source]]\nname = "form"\nauth = "standard"\n\n'
    routes = source + route(source="form", request=ANY_NUMBER)
    web = open_web(make_settings(routes, secrets={"form": ("whsec_c2VjcmV0",)}))
    body, at = json.dumps({"phone": "+919876543210", "of": name}).encode(), str(int(time.time()))

    def post(message_id: str, number: int) -> tuple[int, ...]:
        text = f"{message_id}.{at}.".encode() + body
        digest = base64.b64encode(hmac.digest(b"secret", text, "sha256")).decode()
        headers = {
            f"{name}-id": message_id,
            f"{name}-timestamp": at,
            f"{name}-signature": f"v1,{digest}",
            f"{other}-id": f"new-{number}",
            "Idempotency-Key": f"new-{number}",
        }
        return counts(
            web.client.post(
                "/webhooks/form", data=body, headers=headers, content_type="application/json"
            )
        )

    found = [post(f"{name}-1", 1), post(f"{name}-1", 2), post(f"{name}-2", 3)]
    assert found == [(1, 0, 0, 0), (0, 1, 0, 0), (1, 0, 0, 0)]


@each(
    "content_type",
    [
        "application/x-www-form-urlencoded; charset=iso-8859-1",
        "application/x-www-form-urlencoded; charset=windows-1252",
        "application/x-www-form-urlencoded; charset=us-ascii; x=y",
        "APPLICATION/X-WWW-FORM-URLENCODED",
    ],
)
def test_another_reading_of_the_same_signed_bytes_is_no_new_event(
    web: Web, content_type: str
) -> None:
    body = b"phone=%2B919876543210&name=Jos%C3%A9"
    first = web.post("website", body, content_type="application/x-www-form-urlencoded")

    again = web.post("website", body, content_type=content_type)

    assert first.status_code == 202
    assert again.status_code in (202, 400, 415)
    assert again.status_code != 202 or counts(again) == (0, 1, 0, 0)


def test_a_signed_multipart_form_is_known_by_its_bytes(web: Web) -> None:
    def form(boundary: str, number: str) -> tuple[bytes, str]:
        text = f"--{boundary}\r\nContent-Disposition: form-data; name=phone\r\n\r\n{number}\r\n"
        body = f"{text}--{boundary}--\r\n".encode()
        return body, f"multipart/form-data; boundary={boundary}"

    first, content_type = form("AA", "+919876543210")
    other, _ = form("AA", "+919876543211")
    found = [
        counts(web.post("website", body, content_type=f"{content_type}{more}"))
        for body, more in ((first, ""), (first, ""), (first, "; a=b"), (other, ""))
    ]
    assert found == [(1, 0, 0, 0), (0, 1, 0, 0), (0, 1, 0, 0), (1, 0, 0, 0)]


def test_equal_forms_in_one_signed_list_are_one_event_and_different_ones_are_not(web: Web) -> None:
    one, other = {"phone": "+919876543210"}, {"phone": "+919876543211"}

    assert counts(web.post("website", [one, other, one])) == (2, 1, 0, 0)
    assert counts(web.post("website", [one, other, one])) == (0, 3, 0, 0)


@each(
    ("keys", "days"),
    [
        ('auth = "hmac"\nheader = "X-Signature"\nid_window = "2h"', 30),
        ('auth = "hmac"\nheader = "X-Signature"\nprefix = "sha256="', 30),
        ('auth = "token"\nid_window = "3d"', 3),
        ('auth = "token"', 1),
    ],
)
def test_equal_bytes_without_an_id_are_one_event_as_long_as_a_captured_request_can_come_again(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, keys: str, days: int
) -> None:
    routes = f'[[source]]\nname = "form"\n{keys}\n\n' + route(source="form", request=ANY_NUMBER)
    web = open_web(make_settings(routes, secrets={"form": ("a-word",)}))
    body = json.dumps({"phone": "+919876543210", "of": keys}).encode()
    digest = hmac.new(b"a-word", body, hashlib.sha256).hexdigest()
    prefix = "sha256=" if "prefix" in keys else ""
    headers = {"X-Signature": prefix + digest, "X-Webhook-Token": "a-word"}
    known = keys_of(store)

    assert web.client.post("/webhooks/form", data=body, headers=headers).status_code == 202

    [seen] = [key for key in keys_of(store) - known if key.startswith("bridge:seen:")]
    assert days * 86_400 - 60 < store.redis.ttl(seen) <= days * 86_400


def test_a_zoho_form_and_a_zoho_notification_are_taken_in(web: Web) -> None:
    form = web.client.post(
        f"/webhooks/zoho?token={SECRETS['zoho']}",
        data={"id": "5725767000000411001", "Phone": "+91 98765 43213"},
    )
    told = web.client.post(
        "/webhooks/zoho", json=zoho_notification("5725767000000411001", "5725767000000411002")
    )

    assert (form.status_code, told.status_code) == (202, 202)
    assert counts(form) == (1, 0, 0, 0)
    assert counts(told) == (2, 0, 0, 0)
    shown = web.get(f"/api/events/{told.json['events'][0]['id']}").json
    assert shown["type"] == "lead.created"
    assert "token" not in json.dumps(shown)


def test_several_routes_may_want_one_event(make_settings: MakeSettings, open_web: OpenWeb) -> None:
    routes = (
        CALL_BACK + route("another") + route("a third", event="form.*") + route("none", event="x")
    )
    web = open_web(make_settings(routes))

    answer = web.post("website", lead())

    assert counts(answer) == (1, 0, 0, 0)
    [event] = answer.json["events"]
    assert [one["route"] for one in event["deliveries"]] == ["call back", "another", "a third"]
    assert len({one["id"] for one in event["deliveries"]}) == 3


def test_a_list_of_forms_is_an_event_each(web: Web) -> None:
    assert counts(web.post("website", [lead(), lead(), "no form"])) == (2, 0, 0, 1)
    assert counts(web.post("website", [])) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("contact.*", {"contact.creation"}),
        ("*", {"contact.creation"}),
        ("contact.deleted", {"contact.deletion"}),
        ("contact.merged", {"contact.merge"}),
        ("contact.privacy_deleted", {"contact.privacyDeletion"}),
    ],
)
def test_a_glob_never_calls_because_of_a_deletion(
    make_settings: MakeSettings, open_web: OpenWeb, pattern: str, wanted: set[str]
) -> None:
    web = open_web(make_settings(route(source="hubspot", event=pattern)))
    words = ["contact.creation", "contact.deletion", "contact.merge", "contact.privacyDeletion"]

    called = {word for word in words if web.send("hubspot", notification(subscriptionType=word))}

    assert called == wanted


def test_a_glob_may_make_a_campaign_because_of_a_deletion(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    campaign = {"name": '{ value = "Gone" }'}
    routes = route(source="hubspot", event="contact.*", to="campaign", request=campaign)
    web = open_web(make_settings(routes))

    assert len(web.send("hubspot", notification(subscriptionType="contact.deletion"))) == 1


def test_match_and_when_are_asked_at_the_intake(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    keys = {"match": "\"city == 'Pune'\"", "when": "\"consent == 'yes'\""}
    web = open_web(make_settings(WEBSITE + route(**keys)))

    assert counts(web.post("website", lead(city="Pune", consent="yes"))) == (1, 0, 0, 0)
    assert counts(web.post("website", lead(city="Pune", consent="no"))) == (0, 0, 1, 0)
    assert counts(web.post("website", lead(city="Delhi", consent="yes"))) == (0, 0, 1, 0)


def test_when_waits_for_the_record_of_a_thin_event(web: Web) -> None:
    assert counts(web.post("hubspot", notification())) == (1, 0, 0, 0)


def test_a_condition_that_breaks_on_the_data_is_seen_on_the_delivery(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    web = open_web(make_settings(WEBSITE + route(when='"length(phone) > `5`"')))

    assert counts(web.post("website", lead(phone=5))) == (1, 0, 0, 0)


def test_a_delay_says_when_it_is_looked_at(make_settings: MakeSettings, open_web: OpenWeb) -> None:
    web = open_web(make_settings(WEBSITE + route(delay='"2m"')))

    [delivery] = web.send("website", lead())

    shown = web.get(f"/api/deliveries/{delivery}").json
    waits = instant(shown["next_attempt_at"]) - instant(shown["created_at"])
    assert waits.total_seconds() == 120


def instant(text: str) -> datetime:
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


# --- refused ------------------------------------------------------------------------------------


def test_a_forged_stale_or_unsigned_request_is_refused_and_leaves_no_trace(
    web: Web, store: Store
) -> None:
    body = json.dumps(notification()).encode()
    url = "http://localhost/webhooks/hubspot"
    now_ms = int(time.time() * 1000)
    good = signed("hubspot", body, url)
    forged = [
        {"Content-Type": "application/json"},
        signed("hubspot", body, url, secret="another-secret"),
        signed("hubspot", body, url, at_ms=now_ms - 301_000),
        signed("hubspot", body, url, at_ms=now_ms + 600_000),
        signed("hubspot", body, "http://elsewhere/webhooks/hubspot"),
        signed("hubspot", body + b" ", url),
        {**good, "X-HubSpot-Signature-v3": ""},
    ]

    answers = [
        web.client.post("/webhooks/hubspot", data=body, headers=headers) for headers in forged
    ]
    answers.append(web.post("website", lead(), secret="another-secret"))
    answers.append(web.post("zoho", {"Phone": "+919876543210"}, secret="another-token"))
    answers.append(web.client.post("/webhooks/zoho", json={"token": "another-token"}))

    assert {answer.status_code for answer in answers} == {401}
    assert {answer.json["error"] for answer in answers} == {"bad_signature"}
    assert keys_of(store) == set()
    assert web.client.post("/webhooks/hubspot", data=body, headers=good).status_code == 202


def test_a_body_that_can_not_be_read_tells_a_stranger_nothing(web: Web) -> None:
    assert web.post("website", b"{", secret="another-secret").status_code == 401
    assert web.post("website", b"{").status_code == 400


@dataclass(frozen=True, kw_only=True, slots=True)
class CountingIntake(Intake):
    """An intake that counts the bodies that it parses."""

    parsed: list[bytes] = field(default_factory=list)

    def read(self, source: Source, request: Incoming) -> object:
        self.parsed.append(request.body)
        return Intake.read(self, source, request)


FORGED_PROOFS: list[dict[str, str]] = [
    {},
    {"X-Webhook-Token": "another-token"},
    {"X-Signature": "sha256=" + "0" * 64},
    {"X-HubSpot-Signature-v3": "bm8=", "X-HubSpot-Request-Timestamp": "1767250800000"},
    {"X-HubSpot-Signature": "0" * 64, "X-HubSpot-Signature-Version": "v1"},
    {"Authorization": "Basic bm8="},
]


@each("name", ["hubspot", "generic", "gohighlevel", "website", "basic", "standard", "zoho"])
@each("headers", FORGED_PROOFS)
@each("body", [b"[]", b"{", b'{"token": "no"}', b"a=b"])
def test_no_body_is_parsed_before_its_proof_unless_the_token_is_in_it(
    make_settings: MakeSettings, name: str, headers: dict[str, str], body: bytes
) -> None:
    sources = "".join(
        f'[[source]]\nname = "{word}"\nauth = "{word}"\n\n' for word in ("basic", "standard")
    )
    secrets = {name: ("whsec_c2VjcmV0" if name == "standard" else "the:secret",)}
    settings = make_settings(sources + WEBSITE + route(), secrets=secrets)
    intake: Any = CountingIntake(settings=settings, store=None, wakeup=None)  # type: ignore[arg-type]

    with pytest.raises(BadSignature):
        intake.receive(name, incoming(body, headers=headers))

    assert intake.parsed == ([body] if name == "zoho" else [])


def test_a_zoho_token_in_header_or_url_is_judged_before_the_body(
    make_settings: MakeSettings,
) -> None:
    intake: Any = CountingIntake(
        settings=make_settings(secrets={"zoho": ("a-token",)}),
        store=None,  # type: ignore[arg-type]
        wakeup=None,  # type: ignore[arg-type]
    )
    source, secrets = intake.find("zoho")
    now = datetime.now(UTC)
    for proof in ({"headers": {"X-Webhook-Token": "a-token"}}, {"query": {"token": "a-token"}}):
        with pytest.raises(BadPayload):
            intake.verify_request(source, secrets, incoming(b"{", **proof), now)
    in_body = incoming(b'{"token": "a-token"}', headers={"Content-Type": "application/json"})
    proved, content = intake.verify_request(source, secrets, in_body, now)
    assert (proved.proof.scheme, content) == (source.auth, {"token": "a-token"})


def test_an_unknown_source_and_one_without_a_secret_are_not_there(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store
) -> None:
    web = open_web(make_settings(secrets={"website": (SECRETS["website"],), "zoho": ()}))

    answers = [
        web.post(source, lead(), secret="a-secret") for source in ("zoho", "hubspot", "no-such")
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    assert keys_of(store) == set()


SPELLINGS = [
    "/webhooks/{}/",
    "//webhooks/{}",
    "/webhooks//{}",
    "///webhooks//{}//",
    "/webhooks/{}/?a=1",
    "//webhooks/{}?a=//&b=/",
]


@each("spelling", SPELLINGS)
@each("source", ["website", "hubspot", "zoho"])
def test_slashes_more_reach_the_source_and_the_url_is_signed_as_it_was_sent(
    web: Web, spelling: str, source: str
) -> None:
    body = notification() if source == "hubspot" else lead()
    raw = json.dumps(body).encode()
    path = spelling.format(source)

    def post(signed_path: str) -> int:
        headers = signed(source, raw, f"http://localhost{signed_path}")
        sent = {
            "PATH_INFO": path.partition("?")[0],
            "QUERY_STRING": path.partition("?")[2],
            "REQUEST_URI": path,
            "RAW_URI": path,
        }
        answer = web.client.post("/", data=raw, headers=headers, environ_overrides=sent)
        status: int = answer.status_code
        return status

    assert post(path) == 202
    if source == "hubspot":
        assert post(f"/webhooks/{source}") == 401


@each(
    "path",
    [
        "no-such",
        "no-such/",
        "web/site",
        "website/more",
        "hubspot%2Fx",
        "+919876543210",
        "..",
        "é/é",
    ],
)
def test_an_unknown_source_is_logged_without_its_path_and_counted(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    capsys: pytest.CaptureFixture[str],
    path: str,
) -> None:
    web = open_web(make_settings())
    for way in (f"/webhooks/{path}", f"/webhooks//{path}"):
        answer = web.client.post(way, json={}, environ_overrides={"PATH_INFO": way})
        assert (answer.status_code, answer.json["error"]) == (404, "unknown_source")

    logged = capsys.readouterr().out
    lines = [json.loads(line) for line in logged.splitlines()]
    found = [line for line in lines if line["event"] == "webhook.unknown_source"]
    assert [line["source"] for line in found] == [None, None]
    assert path.strip("/.") == "" or path not in logged
    with web.client.application.extensions["meter"].measuring() as measures:
        assert measures.totals["refused 404 unknown_source "] == 2


class Broken(BytesIO):
    """A body that breaks off, as gunicorn reads it."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def read(self, *size: Any) -> bytes:
        raise self.error

    readline = readinto = read  # type: ignore[assignment]


@each(
    "path",
    [
        "/webhooks/website",
        "/webhooks/zoho",
        "/callbacks/callkaro/a-token",
        "/api/deliveries/retry",
        "/api/suppressions/import",
        "/sign-in",
    ],
)
@each(
    "error",
    [
        InvalidChunkSize(b"+919876543210"),
        ChunkMissingTerminator(b"+919876543210"),
        InvalidChunkExtension("+919876543210"),
        NoMoreData(b"+919876543210"),
        ConnectionResetError(),
    ],
    ids=repr,
)
def test_a_body_with_broken_chunks_is_the_senders_mistake(
    make_settings: MakeSettings, open_web: OpenWeb, path: str, error: Exception
) -> None:
    web = open_web(make_settings(callkaro_webhook_tokens=("a-token",)))
    answer = web.client.post(
        path,
        input_stream=Broken(error),
        headers={"Authorization": f"Bearer {API_TOKEN}", "Transfer-Encoding": "chunked"},
        content_type="application/json"
        if path != "/sign-in"
        else "multipart/form-data; boundary=B",
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert 400 <= answer.status_code < 500, answer.text
    assert "9876543210" not in answer.text


def test_any_of_several_secrets_will_do(make_settings: MakeSettings, open_web: OpenWeb) -> None:
    web = open_web(make_settings(secrets={"website": ("a-new-secret", SECRETS["website"])}))

    assert web.post("website", lead()).status_code == 202
    assert web.post("website", lead(), secret="a-new-secret").status_code == 202
    assert web.post("website", lead(), secret="").status_code == 401


def test_a_source_with_basic_auth_takes_its_user_and_password(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    source = '[[source]]\nname = "forms"\nauth = "basic"\n\n'
    routes = source + route(source="forms", request={"to_number": '"p"', "agent_id": '"a"'})
    web = open_web(make_settings(routes, secrets={"forms": ("user:password",)}))

    def post(login: str) -> int:
        headers = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}
        status: int = web.client.post("/webhooks/forms", json={}, headers=headers).status_code
        return status

    assert (post("user:password"), post("user:wrong")) == (202, 401)


@each(
    ("body", "content_type", "status", "word"),
    [
        (b"{", "application/json", 400, "bad_payload"),
        (b"", "application/json", 400, "bad_payload"),
        (b'{"a": NaN}', "application/json", 400, "bad_payload"),
        (b"[" * 100 + b"]" * 100, "application/json", 400, "bad_payload"),
        (b"a,b\n1,2\n", "text/csv", 415, "unsupported_media"),
        (b"<a/>", "application/xml", 415, "unsupported_media"),
        (b'"' + b"x" * MAX_BODY_BYTES + b'"', "application/json", 413, "too_large"),
    ],
    ids=["broken", "empty", "NaN", "deep", "csv", "xml", "large"],
)
def test_a_body_that_can_not_be_taken_is_refused(
    web: Web, store: Store, body: bytes, content_type: str, status: int, word: str
) -> None:
    answer = web.post("website", body, content_type=content_type)

    assert (answer.status_code, answer.json["error"]) == (status, word)
    assert answer.json["message"]
    assert keys_of(store) == set()


def test_more_than_a_thousand_items_are_refused_whole(web: Web, store: Store) -> None:
    answer = web.post("website", [lead() for _ in range(1001)])

    assert (answer.status_code, answer.json["error"]) == (413, "too_large")
    assert keys_of(store) == set()
    assert web.post("website", [lead() for _ in range(1000)]).status_code == 202


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
def test_a_body_in_chunks_is_not_cut_but_refused_when_it_is_too_large(
    web: Web, store: Store, content_type: str
) -> None:
    raw = b"x=" + b"y" * MAX_BODY_BYTES + b"&phone=9876543210"
    headers = signed("website", raw, "http://localhost/webhooks/website")

    answer = web.client.post(
        "/webhooks/website",
        input_stream=BytesIO(raw),
        headers={**headers, "Content-Type": content_type, "Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )

    assert (answer.status_code, answer.json["error"]) == (413, "too_large")
    assert keys_of(store) == set()


def test_one_broken_item_costs_its_neighbours_nothing(web: Web) -> None:
    good = [notification("101"), notification("102")]
    broken = {**notification("103"), "occurredAt": "yesterday"}

    answer = web.post("hubspot", [good[0], broken, good[1]])

    assert counts(answer) == (2, 0, 0, 1)
    [bad] = [one for one in answer.json["events"] if one["status"] == "unreadable"]
    assert bad["deliveries"] == []
    shown = web.get(f"/api/events/{bad['id']}").json
    assert "occurredAt" in shown["problem"]
    assert shown["data"]["occurredAt"] == "yesterday"


@pytest.mark.parametrize(
    "half", [rb'"Asha \ud83d"', rb'"\uDE00"', rb'{"\udbff": ["\ud83d\u0041"]}', rb'"\ud83d\\ud83d"']
)
def test_half_an_emoji_costs_nobody_a_call(web: Web, half: bytes) -> None:
    batch = [notification("101"), notification("102", propertyValue="HALF"), notification("103")]

    answer = web.post("hubspot", json.dumps(batch).encode().replace(b'"HALF"', half))

    assert (answer.status_code, counts(answer)) == (202, (3, 0, 0, 0))
    assert all(len(event["deliveries"]) == 1 for event in answer.json["events"])
    kept = web.get(f"/api/events/{answer.json['events'][1]['id']}").json
    assert "\ufffd" in json.dumps(kept["data"]["propertyValue"], ensure_ascii=False)


@each("pack", [gzip.compress, zlib.compress])
def test_a_signature_covers_a_compressed_body_as_it_came(
    web: Web, pack: Callable[[bytes], bytes]
) -> None:
    body = pack(json.dumps(lead()).encode())
    encoding = {"Content-Encoding": "gzip" if pack is gzip.compress else "deflate"}
    url = "http://localhost/webhooks/website"

    for signed_bytes, status in ((body, 202), (json.dumps(lead()).encode(), 401)):
        headers = {**signed("website", signed_bytes, url), **encoding}
        answer = web.client.post("/webhooks/website", data=body, headers=headers)
        assert answer.status_code == status, answer.text

    bomb = pack(b" " * (MAX_BODY_BYTES + 1))
    for source, status in (("website", 413), ("zoho", 413), ("hubspot", 415)):
        headers = {**signed(source, bomb, f"http://localhost/webhooks/{source}"), **encoding}
        answer = web.client.post(f"/webhooks/{source}", data=bomb, headers=headers)
        assert answer.status_code == status, answer.text


@each("pack", [gzip.compress, zlib.compress])
def test_a_compressed_body_is_not_read_for_its_token(
    web: Web, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    body = pack(json.dumps({**lead(), "token": SECRETS["zoho"]}).encode())
    headers = {
        "Content-Type": "application/json",
        "Content-Encoding": "gzip" if pack is gzip.compress else "deflate",
    }
    with monkeypatch.context() as patch:
        patch.setattr("bridge.intake.read_content", None)
        assert web.client.post("/webhooks/zoho", data=body, headers=headers).status_code == 401

    headers["X-Webhook-Token"] = SECRETS["zoho"]
    assert web.client.post("/webhooks/zoho", data=body, headers=headers).status_code == 202


@each("source", ["website", "zoho"])
@each(
    "write",
    [
        json.dumps,
        lambda body: f"payload={json.dumps(body)}",
        lambda body: urlencode({"payload": json.dumps(body)}),
        lambda body: quote_plus(json.dumps(body)) + "=",
    ],
)
def test_json_that_is_posted_as_a_form_is_called(
    web: Web, source: str, write: Callable[[object], str]
) -> None:
    body = write(lead(id="5501")).encode()

    answer = web.post(source, body, content_type="application/x-www-form-urlencoded")

    assert (answer.status_code, counts(answer)) == (202, (1, 0, 0, 0))
    shown = web.get(f"/api/events/{answer.json['events'][0]['id']}").json
    assert shown["data"]["phone"] == "+91••••••3210"


@each("value", ['{"phone": "+919876543210"', "{draft} 9876543210"])
def test_a_form_with_json_in_it_shows_no_number(web: Web, value: str) -> None:
    form = urlencode({"data": value, value: "", "phone": "+919876543211"}).encode()

    answer = web.post("website", form, content_type="application/x-www-form-urlencoded")

    assert counts(answer) == (1, 0, 0, 0)
    assert "98765" not in web.get(f"/api/events/{answer.json['events'][0]['id']}").text


def test_what_no_route_wants_is_kept_and_shown(web: Web) -> None:
    answer = web.post("website", lead(event_type="form.opened"))

    assert counts(answer) == (0, 0, 1, 0)
    [event] = answer.json["events"]
    shown = web.get(f"/api/events/{event['id']}").json
    assert (shown["status"], shown["type"], shown["deliveries"]) == ("unrouted", "form.opened", [])


# --- the store away -----------------------------------------------------------------------------


@pytest.fixture
def away(make_settings: MakeSettings, open_web: OpenWeb) -> Web:
    return open_web(make_settings(redis_url=f"redis://127.0.0.1:{free_port()}/0"))


def test_without_redis_the_intake_says_to_come_back(away: Web) -> None:
    answer = away.post("website", lead())

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json["error"] == "store_unavailable"
    assert away.post("website", lead(), secret="another-secret").status_code == 401


def test_without_redis_the_process_lives_and_is_not_ready(away: Web) -> None:
    assert away.client.get("/healthz").status_code == 200
    assert away.client.get("/readyz").status_code == 503


@pytest.mark.parametrize("path", ["status", "deliveries", "deliveries/d", "events/e", "campaigns"])
def test_without_redis_the_api_says_so(away: Web, path: str) -> None:
    assert away.get(f"/api/{path}").status_code == 503


def test_a_full_redis_closes_the_intake_and_nothing_is_half_written(web: Web, store: Store) -> None:
    assert web.post("website", lead()).status_code == 202
    before = keys_of(store)
    store.redis.config_set("maxmemory", 1)

    answers = [web.post("website", lead()), web.post("hubspot", [notification()] * 3)]

    assert [answer.status_code for answer in answers] == [503, 503]
    assert keys_of(store) == before
    store.redis.config_set("maxmemory", 0)


def test_weak_persistence_is_a_warning_and_no_reason_to_close(web: Web, store: Store) -> None:
    assert web.client.get("/readyz").json == {"status": "ready", "warnings": []}
    store.redis.config_set("appendfsync", "everysec")
    try:
        ready = web.client.get("/readyz")
    finally:
        store.redis.config_set("appendfsync", "always")
    assert ready.status_code == 200
    assert "everysec" in ready.json["warnings"][0]


# --- the API ------------------------------------------------------------------------------------


@each("path", ["status", "deliveries", "deliveries/d", "events/e", "campaigns"])
@each(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer another-token"},
        {"Authorization": f"Basic {API_TOKEN}"},
        {"Authorization": API_TOKEN},
    ],
    ids=["none", "empty", "no token", "wrong", "basic", "bare"],
)
def test_the_api_wants_its_token(web: Web, path: str, headers: dict[str, str]) -> None:
    answer = web.client.get(f"/api/{path}", headers=headers)

    assert (answer.status_code, answer.json["error"]) == (401, "unauthorized")


def test_what_is_not_there_is_404(web: Web) -> None:
    for path in ("deliveries/d", "events/e", "no-such-thing"):
        answer = web.get(f"/api/{path}")
        assert answer.status_code == 404
        assert answer.json["error"] == "not_found"


@each(
    "query",
    [
        "status=sent",
        "status=queued,sent",
        "phone=12",
        "phone=abc",
        "since=yesterday",
        "until=2026-13-01",
        "cursor=abc",
        "cursor=-1",
        "limit=0",
        "limit=201",
        "limit=many",
        "colour=red",
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(web: Web, query: str) -> None:
    answer = web.get(f"/api/deliveries?{query}")

    assert (answer.status_code, answer.json["error"]) == (400, "bad_query")
    assert answer.json["message"]


def test_deliveries_are_filtered_and_paged(web: Web) -> None:
    ids = [web.send("website", lead())[0] for _ in range(5)]
    web.send("zoho", {"Phone": "+919876543210"})

    def ask(query: str) -> Any:
        answer = web.get(f"/api/deliveries?{query}")
        assert answer.status_code == 200
        return answer.json

    first = ask("source=website&status=queued,held&limit=3")
    second = ask(f"source=website&limit=3&cursor={first['next_cursor']}")
    assert [one["id"] for one in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None
    assert len(ask("route=call+zoho+forms")["items"]) == 1
    assert len(ask("since=2020-01-01T00:00:00Z&until=2100-01-01T00:00:00%2B05:30")["items"]) == 6
    assert ask("until=2020-01-01T00:00:00")["items"] == []
    assert ask("status=delivered")["items"] == []


def test_a_delivery_is_found_by_its_number_once_it_was_tried(
    web: Web, settings: Settings, run_drain: Callable[..., Any]
) -> None:
    [mine] = web.send("website", lead("+919876543210"))
    web.send("website", lead("+919876543211"))
    run_drain(settings)

    for number in ("%2B919876543210", "098765+43210", "9876543210"):
        found = web.get(f"/api/deliveries?phone={number}").json["items"]
        assert [one["id"] for one in found] == [mine]


def test_status_tells_how_the_bridge_stands(web: Web) -> None:
    web.send("website", lead())

    shown = web.get("/api/status").json

    assert shown["deliveries"]["queued"] == 1
    assert shown["deliveries"]["delivered"] == 0
    assert shown["waiting"] == 1
    assert shown["queue"] == {"drains_queued": 1}
    assert shown["oldest_waiting_s"] >= 0
    assert shown["next_due_s"] <= 0
    assert shown["persistence"]["append_only"] is True
    assert shown["workers"] == []
    assert any("no worker" in warning for warning in shown["warnings"])


def test_campaigns_are_listed_newest_first(web: Web, store: Store) -> None:
    made = {"created_at": "2026-11-23T09:00:00+00:00"}
    store.keep_campaign("v2/Leads", "batch-1", {"name": "Leads", **made})
    store.keep_campaign("v1/a-1/Buyers", "batch-2", {"name": "Buyers", "agent_id": "a-1", **made})

    listed = web.get("/api/campaigns").json["items"]

    names = ("key", "batch_id", "name", "agent_id", "created_at")
    assert [{name: one[name] for name in names} for one in listed] == [
        {"key": "v1/a-1/Buyers", "batch_id": "batch-2", "name": "Buyers", "agent_id": "a-1"} | made,
        {"key": "v2/Leads", "batch_id": "batch-1", "name": "Leads", "agent_id": None} | made,
    ]


def test_one_drain_is_asked_for_however_many_webhooks_come(web: Web) -> None:
    for _ in range(5):
        web.post("website", [lead(), lead()])

    assert web.get("/api/status").json["queue"] == {"drains_queued": 1}


# --- people's data ------------------------------------------------------------------------------

NAME, EMAIL, NUMBER = "Zebedaiah", "zeb@private.example", "9812345678"
TOLD = (NAME, EMAIL, NUMBER, "98123", *SECRETS.values(), API_TOKEN, "a-key", "a-token")


def test_the_api_masks_numbers(
    web: Web, settings: Settings, simulator: Simulator, run_drain: Callable[..., Any]
) -> None:
    said = json.dumps({"status": "error", "message": f"+91{NUMBER} is not in service"})
    simulator.state.behave(400, path="/call/outbound", body=said)
    answer = web.post("website", lead(f"+91 {NUMBER[:5]} {NUMBER[5:]}", other=int(f"91{NUMBER}")))
    [event] = answer.json["events"]
    run_drain(settings)

    shown = [
        web.get(f"/api/events/{event['id']}").text,
        web.get(f"/api/deliveries/{event['deliveries'][0]['id']}").text,
        web.get("/api/deliveries").text,
    ]

    assert web.get(f"/api/deliveries/{event['deliveries'][0]['id']}").json["status"] == "failed"
    for text in shown:
        assert NUMBER not in text.replace(" ", "")
    assert "••••••5678" in json.loads(shown[1])["request"]["to_number"]
    assert len(json.loads(shown[1])["attempts"]) == 1


def test_no_log_line_and_no_error_answer_carries_peoples_data_or_secrets(
    capsys: pytest.CaptureFixture[str],
    make_settings: MakeSettings,
    open_web: OpenWeb,
    simulator: Simulator,
    store: Store,
    run_drain: Callable[..., Any],
) -> None:
    routes = (
        CALL_BACK
        + route("breaks", when='"length(age) > `5`"')
        + route("hubspot", source="hubspot", event="*")
    )
    settings = make_settings(routes, callkaro_timeout_s=0.3, log_level="DEBUG")
    web = open_web(settings)
    person = {"name": NAME, "email": EMAIL, "phone": f"+91{NUMBER}", "age": 5}
    simulator.state.put_record("hubspot", "contacts", "900", {"firstname": NAME, **person})
    simulator.state.put_record("hubspot", "contacts", "901", {"phone": f"12{NUMBER}34"})
    said = json.dumps({"status": "error", "message": f"{NAME} +91{NUMBER}"})
    for behaviour in (
        {"status": 400, "body": said},
        {"status": 500, "body": said},
        {"status": 500, "html": True},
        {"cut": "after"},
        {"body": NAME},
        {"latency_ms": 2000},
    ):
        simulator.state.behave(path="/call/outbound", times=1, **behaviour)
    answers = [
        web.post("website", [lead(**person) for _ in range(7)]),
        web.post("website", lead(**{**person, "phone": f"{NUMBER} or {NUMBER}"})),
        web.post("website", lead(**person, event_type={NAME: NUMBER})),
        web.post("website", lead(**person), secret=NAME),
        web.post("website", json.dumps(person).encode()[:-1]),
        web.post("website", json.dumps(person).encode(), content_type=f"text/{NAME}"),
        web.post("hubspot", [notification("900"), notification("901"), {"objectId": NAME}]),
        web.client.post(f"/webhooks/{NAME}?token={NUMBER}", json=person),
        web.client.get(f"/api/deliveries?phone={NUMBER}&{NAME}={EMAIL}"),
        web.get(f"/api/deliveries?phone=12{NUMBER}34&since={NAME}"),
    ]

    assert run_drain(settings).attempts > 5
    logged = "".join(capsys.readouterr())

    assert "delivery.attempted" in logged
    assert "webhook.rejected" in logged
    for secret in TOLD:
        assert secret not in logged, secret
    for answer in answers:
        for secret in (NAME, EMAIL, NUMBER):
            assert secret not in answer.text


def test_a_crash_is_logged_without_the_text_of_its_error(
    capsys: pytest.CaptureFixture[str], make_settings: MakeSettings, open_web: OpenWeb, store: Store
) -> None:
    web = open_web(make_settings())
    [delivery] = web.send("website", lead())
    store.redis.hset(f"bridge:delivery:{delivery}", "status", NAME)

    answer = web.get(f"/api/deliveries/{delivery}")

    assert (answer.status_code, answer.json["error"]) == (500, "internal")
    logged = "".join(capsys.readouterr())
    assert "request.crashed" in logged
    assert "ValueError" in logged
    assert NAME not in logged + answer.text
