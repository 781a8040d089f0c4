"""Published vectors, every way to be wrong, and what sign() makes verify() takes."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest
from requests.structures import CaseInsensitiveDict
from support import each
from support.makers import load

from schemas.crm.hubspot import KIND, URL_DECODING, V1, V2, V3
from schemas.errors import BadSignature, SettingsError
from schemas.signatures import check_secret, is_one_of, sign, verify
from schemas.source import (
    STANDARD_WEBHOOKS,
    Auth,
    Basic,
    Incoming,
    Part,
    Signature,
    Signatures,
    Token,
)

NOW = datetime(2026, 1, 1, 7, 0, tzinfo=UTC)
HUBSPOT = KIND.auth
URL = "https://bridge.example/webhooks/hubspot"
SECRET = "a-made-up-secret"
HMAC = Signatures(schemes=(Signature(header="X-Signature", prefix="sha256="),))
CLOSE = Signatures(
    schemes=(
        Signature(
            header="close-sig-hash",
            parts=(Part.TIMESTAMP, Part.BODY),
            secret_encoding="hex",
            timestamp_header="close-sig-timestamp",
        ),
    )
)


def request(headers: Mapping[str, str] | None = None, body: bytes = b"{}", **more: Any) -> Incoming:
    made: dict[str, Any] = {"method": "POST", "url": URL, "query": {}, **more}
    return Incoming(
        headers=CaseInsensitiveDict(headers or {}),
        body=body,
        content_type="application/json",
        **made,
    )


def is_accepted(
    auth: Auth, secret: str, asked: Incoming, now: datetime = NOW, content: Any = None
) -> bool:
    try:
        verify(auth, [secret], asked, now=now, content=content)
    except BadSignature:
        return False
    return True


def signed(auth: Auth, secret: str, asked: Incoming) -> Incoming:
    return replace(asked, headers=CaseInsensitiveDict(sign(auth, secret, asked, now=NOW)))


# --- published vectors ----------------------------------------------------------------------

# https://developers.hubspot.com/docs/api/webhooks/validating-requests and HubSpot's own SDKs.
HUBSPOT_SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
EXAMPLE = "https://www.example.com/webhook_uri"
V1_BODY = (
    b'[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,'
    b'"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,'
    b'"changeSource":"CRM","changeFlag":"NEW","appId":54321}]'
)
# https://github.com/standard-webhooks/standard-webhooks (libraries/python/tests)
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

VECTORS = {
    "hubspot v1": (
        HUBSPOT,
        HUBSPOT_SECRET,
        NOW,
        request(
            {
                "X-HubSpot-Signature-Version": "v1",
                "X-HubSpot-Signature": (
                    "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de"
                ),
            },
            V1_BODY,
        ),
    ),
    "hubspot v2": (
        HUBSPOT,
        HUBSPOT_SECRET,
        NOW,
        request(
            {
                "X-HubSpot-Signature-Version": "v2",
                "X-HubSpot-Signature": (
                    "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900"
                ),
            },
            b'{"example_field":"example_value"}',
            url=EXAMPLE,
        ),
    ),
    "hubspot v2 without a body": (
        HUBSPOT,
        HUBSPOT_SECRET,
        NOW,
        request(
            {
                "X-HubSpot-Signature-Version": "v2",
                "X-HubSpot-Signature": (
                    "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e"
                ),
            },
            b"",
            url=EXAMPLE,
            method="GET",
        ),
    ),
    "hubspot v3": (
        HUBSPOT,
        HUBSPOT_SECRET,
        datetime.fromtimestamp(1693657560, UTC),
        request(
            {
                "X-HubSpot-Signature-v3": "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=",
                "X-HubSpot-Request-Timestamp": "1693657560000",
            },
            b"{'example_field':'example_value'}",
            url=EXAMPLE,
        ),
    ),
    "standard webhooks": (
        STANDARD_WEBHOOKS,
        STANDARD_SECRET,
        datetime.fromtimestamp(1614265330, UTC),
        request(
            {
                "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
                "webhook-timestamp": "1614265330",
                "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            },
            b'{"test": 2432232314}',
        ),
    ),
}
vectors = pytest.mark.parametrize(
    ("auth", "secret", "now", "asked"), VECTORS.values(), ids=VECTORS.keys()
)


@vectors
def test_a_published_vector_verifies(
    auth: Auth, secret: str, now: datetime, asked: Incoming
) -> None:
    verify(auth, [secret], asked, now=now)


@vectors
def test_no_byte_of_a_vector_can_be_changed(
    auth: Auth, secret: str, now: datetime, asked: Incoming
) -> None:
    for place, byte in enumerate(asked.body):
        for bit in (0x01, 0x20, 0x80):
            forged = asked.body[:place] + bytes([byte ^ bit]) + asked.body[place + 1 :]
            assert not is_accepted(auth, secret, replace(asked, body=forged), now)
    for name, value in asked.headers.items():
        for place, char in enumerate(value):
            for bit in (0x01, 0x20, 0x80, 0x2000):
                wrong = value[:place] + chr(ord(char) ^ bit) + value[place + 1 :]
                headers = CaseInsensitiveDict({**asked.headers, name: wrong})
                assert not is_accepted(auth, secret, replace(asked, headers=headers), now)
    for place, char in enumerate(secret):
        wrong = secret[:place] + chr(ord(char) ^ 1) + secret[place + 1 :]
        assert not is_accepted(auth, wrong, asked, now)


# --- what is signed -------------------------------------------------------------------------


@each(
    ("auth", "secret"),
    [
        (HUBSPOT, SECRET),
        (Signatures(schemes=(V2, V1)), SECRET),
        (Signatures(schemes=(V1,)), SECRET),
        (STANDARD_WEBHOOKS, STANDARD_SECRET),
        (HMAC, SECRET),
        (CLOSE, "00ff" * 16),
        (Token(), SECRET),
        (Basic(), "user:pässword"),
    ],
    ids=repr,
)
def test_what_is_signed_is_accepted_and_only_with_its_secret(auth: Auth, secret: str) -> None:
    asked = signed(auth, secret, request(body=b"\x00\xff raw"))
    verify(auth, ["", "another:one", secret], asked, now=NOW)
    assert not is_accepted(auth, secret[:-1] + "0", asked)
    assert not is_accepted(auth, secret, request(body=asked.body))


def test_a_message_id_is_new_unless_it_is_given() -> None:
    times = (NOW, NOW + timedelta(microseconds=1))
    ids = [sign(STANDARD_WEBHOOKS, STANDARD_SECRET, request(), now=time) for time in times]
    assert ids[0]["webhook-id"] != ids[1]["webhook-id"]
    given = sign(STANDARD_WEBHOOKS, STANDARD_SECRET, request(), now=NOW, message_id="m")
    assert given["webhook-id"] == "m"


def test_a_secret_that_can_not_sign_says_so() -> None:
    with pytest.raises(SettingsError, match="not valid base64"):
        sign(STANDARD_WEBHOOKS, "whsec_%%%", request(), now=NOW)


# --- which scheme judges --------------------------------------------------------------------


def test_where_a_v3_header_is_present_only_v3_counts() -> None:
    older = sign(Signatures(schemes=(V2,)), SECRET, request(), now=NOW)
    assert is_accepted(HUBSPOT, SECRET, request(older))
    for wrong in ("", "bm8="):
        both = {**older, "X-HubSpot-Signature-v3": wrong, "X-HubSpot-Request-Timestamp": "1"}
        assert not is_accepted(HUBSPOT, SECRET, request(both))


def test_a_version_that_does_not_fit_is_refused() -> None:
    headers = sign(Signatures(schemes=(V2,)), SECRET, request(), now=NOW)
    for version in ("v1", "v3", "", "v2,v1", "V2"):
        asked = request({**headers, "X-HubSpot-Signature-Version": version})
        assert not is_accepted(HUBSPOT, SECRET, asked)
    del headers["X-HubSpot-Signature-Version"]
    assert not is_accepted(HUBSPOT, SECRET, request(headers))


def test_one_of_several_signatures_in_a_header_is_enough() -> None:
    headers = sign(STANDARD_WEBHOOKS, STANDARD_SECRET, request(), now=NOW)
    good = headers["webhook-signature"]
    for several in (f"v1,bm8= {good}", f"{good} v1a,x", f"  {good}  v1,"):
        asked = request({**headers, "webhook-signature": several})
        assert is_accepted(STANDARD_WEBHOOKS, STANDARD_SECRET, asked)
    for none in ("", " ", "v1,", "v1, v1,bm8=", good.replace("v1,", "v2,"), good[3:]):
        asked = request({**headers, "webhook-signature": none})
        assert not is_accepted(STANDARD_WEBHOOKS, STANDARD_SECRET, asked)


def test_a_signed_message_id_must_be_there() -> None:
    headers = sign(STANDARD_WEBHOOKS, STANDARD_SECRET, request(), now=NOW)
    del headers["webhook-id"]
    assert not is_accepted(STANDARD_WEBHOOKS, STANDARD_SECRET, request(headers))


# --- what the proof covers ------------------------------------------------------------------

IDS = {"webhook-id": "m-1", "Idempotency-Key": "k-1", "svix-id": "s-1", "X-Request-Id": "r-1"}


@each(
    ("auth", "secret", "message_id", "is_extendable"),
    [
        (STANDARD_WEBHOOKS, STANDARD_SECRET, "m-1", False),
        (Token(), SECRET, "m-1", False),
        (Basic(), "a:b", "m-1", False),
        (HUBSPOT, SECRET, None, False),
        (Signatures(schemes=(V2, V1)), SECRET, None, True),
        (Signatures(schemes=(V1,)), SECRET, None, True),
        (HMAC, SECRET, None, False),
        (CLOSE, "00ff", None, False),
    ],
    ids=repr,
)
def test_the_proof_says_what_proved_and_which_id_it_covers(
    auth: Auth, secret: str, message_id: str | None, is_extendable: bool
) -> None:
    made = sign(auth, secret, request(IDS), now=NOW, message_id="m-1")
    proof = verify(auth, [secret], request({**IDS, **made}), now=NOW)
    scheme = auth.schemes[0] if isinstance(auth, Signatures) else None
    assert (proof.signed_by, proof.message_id) == (scheme, message_id)
    assert (scheme is not None and scheme.is_extendable) is is_extendable


def test_without_a_signed_id_a_sender_of_its_secret_may_name_the_request() -> None:
    for names, found in (
        ({"Idempotency-Key": "k"}, "k"),
        ({"webhook-id": " ", "Idempotency-Key": " k "}, "k"),
        ({"X-Request-Id": "r", "svix-id": "s"}, None),
    ):
        asked = request({**names, "X-Webhook-Token": SECRET})
        assert verify(Token(), [SECRET], asked, now=NOW).message_id == found


@pytest.mark.parametrize("blank", ["\x85", "\xa0", " ", "\x1f"])
def test_blanks_around_a_signed_id_make_no_other_id(blank: str) -> None:
    headers = sign(STANDARD_WEBHOOKS, STANDARD_SECRET, request(), now=NOW, message_id="m")
    padded = request({**headers, "webhook-id": f"{blank}m{blank}"})
    assert verify(STANDARD_WEBHOOKS, [STANDARD_SECRET], padded, now=NOW).message_id == "m"


# --- time -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "accepted"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)]
)
def test_a_request_is_fresh_for_five_minutes_both_ways(seconds: int, accepted: bool) -> None:
    asked = signed(HUBSPOT, SECRET, request())
    assert is_accepted(HUBSPOT, SECRET, asked, NOW + timedelta(seconds=seconds)) is accepted


@each(
    "text", ["", "now", "1e3", "-1", "+1", "1.0", "१२३", "0x1", "1_0", "9" * 5000, "\xff", "1\x00"]
)
def test_a_timestamp_is_plain_digits(text: str) -> None:
    for auth, name in ((HUBSPOT, "X-HubSpot-Request-Timestamp"), (CLOSE, "close-sig-timestamp")):
        asked = signed(auth, "00ff", request())
        headers = CaseInsensitiveDict({**asked.headers, name: text})
        assert not is_accepted(auth, "00ff", replace(asked, headers=headers))


# --- the URL --------------------------------------------------------------------------------


def test_the_url_counts_as_it_was_called_and_decoded_by_the_table() -> None:
    called = "https://bridge.example/webhooks/hubspot?to=a%3ab%2Fc%20d%26e%253A%40"
    decoded = "https://bridge.example/webhooks/hubspot?to=a:b/c%20d%26e%253A@"
    for signed_url in (called, decoded):
        headers = sign(HUBSPOT, SECRET, request(url=signed_url), now=NOW)
        assert is_accepted(HUBSPOT, SECRET, request(headers, url=called))
    for other in (decoded.replace("%20", " "), decoded.replace("%253A", "%3A"), URL):
        headers = sign(HUBSPOT, SECRET, request(url=other), now=NOW)
        assert not is_accepted(HUBSPOT, SECRET, request(headers, url=called))


def test_the_table_is_hubspots() -> None:
    assert dict(URL_DECODING) == {f"%{ord(char):02X}": char for char in ":/?@!$'()*,;"}
    assert V3.url_decoding == V2.url_decoding == URL_DECODING


# --- headers as they come -------------------------------------------------------------------


def test_a_header_may_have_white_space_around_and_a_space_for_a_plus() -> None:
    asked = next(a for name, (_, _, _, a) in VECTORS.items() if name == "hubspot v3")
    now = datetime.fromtimestamp(1693657560, UTC)
    good = asked.headers["X-HubSpot-Signature-v3"]
    for text in (f" {good}\t", good.replace("+", " ")):
        headers = CaseInsensitiveDict({**asked.headers, "X-HubSpot-Signature-v3": text})
        assert is_accepted(HUBSPOT, HUBSPOT_SECRET, replace(asked, headers=headers), now)


def test_hex_may_be_written_in_capitals() -> None:
    good = sign(HMAC, SECRET, request(), now=NOW)["X-Signature"]
    digits = good.removeprefix("sha256=")
    assert is_accepted(HMAC, SECRET, request({"X-Signature": f"sha256={digits.upper()}"}))
    for wrong in (digits, f"SHA256={digits}", f"sha256={digits[:-1]}", f"sha256={digits}0"):
        assert not is_accepted(HMAC, SECRET, request({"X-Signature": wrong}))


@pytest.mark.parametrize("odd", ["é", "₹", "\udcff", "\0", "=" * 9, "a" * 9000, "Basic é"])
def test_odd_headers_are_refused_and_nothing_else_happens(odd: str) -> None:
    for auth, secret in (
        (HUBSPOT, SECRET),
        (STANDARD_WEBHOOKS, STANDARD_SECRET),
        (Token(body=("token",)), SECRET),
        (Basic(), "a:b"),
    ):
        names = sign(auth, secret, request(), now=NOW)
        for name in names:
            asked = request({**names, name: odd}, query={"token": odd})
            assert not is_accepted(auth, secret, asked, content={"token": odd})


# --- tokens and passwords -------------------------------------------------------------------


def test_a_token_is_taken_from_header_or_url_and_from_the_body_where_it_is_said() -> None:
    assert is_accepted(Token(), SECRET, request({"x-webhook-token": f" {SECRET} "}))
    assert is_accepted(Token(), SECRET, request(query={"token": SECRET}))
    assert is_accepted(Token(body=("key",)), SECRET, request(), content={"key": SECRET})
    elsewhere: list[Any] = [{"key": SECRET}, {"token": SECRET}, [SECRET], SECRET, None]
    for content in elsewhere:
        assert not is_accepted(Token(), SECRET, request(), content=content)
    odd: list[Any] = [{"key": [SECRET]}, {"key": None}, [{"key": SECRET}], None]
    for content in odd:
        assert not is_accepted(Token(body=("key",)), SECRET, request(), content=content)


@each(
    ("secret", "sent"),
    [
        ("ab+cd", "ab+cd"),
        ("ab+cd", "ab%2Bcd"),
        ("ab cd", "ab+cd"),
        ("ab cd", "ab%20cd"),
        ("ab%2Bcd", "ab%2Bcd"),
        ("ab%2Bcd", "ab%252Bcd"),
        ("100%", "100%"),
        ("a/b=c==", "a/b=c=="),
        ("+", "+"),
        ("é+", "%C3%A9+"),
    ],
)
@each("around", ["?token={}", "?a=b&token={}&c=d", "?token={}&token=other", "?xtoken=1&token={}"])
def test_a_token_in_the_url_counts_as_it_was_sent_and_decoded(
    secret: str, sent: str, around: str
) -> None:
    query = around.format(sent)
    arguments = dict(reversed(parse_qsl(query[1:], keep_blank_values=True)))
    asked = request(url=URL + query, query=arguments)
    assert is_accepted(Token(), secret, asked)
    assert not is_accepted(Token(), secret + "+", asked)
    assert not is_accepted(Token(), secret[:-1], asked)


def test_a_token_may_hold_any_letters() -> None:
    secret = "पासवर्ड-é"
    wire = secret.encode().decode("latin-1")  # what WSGI makes of a header's bytes
    assert is_accepted(Token(), secret, request({"X-Webhook-Token": wire}))
    assert is_accepted(Token(), secret, request(query={"token": secret}))


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("Basic " + base64.b64encode(b"user:pass").decode(), True),
        ("bAsIc  " + base64.b64encode(b"user:pass").decode().rstrip("="), True),
        ("Basic " + base64.b64encode(b"user:other").decode(), False),
        ("Bearer " + base64.b64encode(b"user:pass").decode(), False),
        ("Basic user:pass", False),
        ("Basic", False),
        ("", False),
    ],
)
def test_a_user_and_a_password(header: str, accepted: bool) -> None:
    assert is_accepted(Basic(), "user:pass", request({"Authorization": header})) is accepted


def test_the_tokens_of_our_own_api() -> None:
    assert is_one_of(" b ", ["a", "b"])
    for given, tokens in (("c", ["a", "b"]), ("", ["", " "]), ("", []), ("é", ["e"]), ("a", [])):
        assert not is_one_of(given, tokens)


# --- secrets --------------------------------------------------------------------------------


@each("auth", [HUBSPOT, STANDARD_WEBHOOKS, HMAC, Token(), Basic()], ids=repr)
@each("secrets", [(), ("",), (" ", "\n")])
def test_without_a_secret_nothing_is_accepted(auth: Auth, secrets: tuple[str, ...]) -> None:
    asked = request({"X-Webhook-Token": "", "X-Signature": "", "Authorization": "Basic "})
    with pytest.raises(BadSignature):
        verify(auth, secrets, asked, now=NOW, content={"token": ""})


@each(
    ("auth", "secret", "wrong"),
    [
        (STANDARD_WEBHOOKS, "whsec_", "empty"),
        (STANDARD_WEBHOOKS, "whsec_%%", "not valid base64 after whsec_"),
        (STANDARD_WEBHOOKS, "whsec_é", "not valid base64"),
        (CLOSE, "xyz", "not valid hex"),
        (CLOSE, "é", "not valid hex"),
        (Basic(), "password", "user:password"),
        (Token(), " ", "empty"),
        (HUBSPOT, "", "empty"),
    ],
)
def test_a_secret_that_can_not_be_used_is_named_at_boot_and_matches_nothing(
    auth: Auth, secret: str, wrong: str
) -> None:
    assert wrong in (check_secret(auth, secret) or "")
    headers = {"webhook-id": "m", "webhook-timestamp": str(int(NOW.timestamp()))}
    headers |= {"webhook-signature": "v1,", "close-sig-timestamp": headers["webhook-timestamp"]}
    assert not is_accepted(auth, secret, request({**headers, "close-sig-hash": ""}))


@pytest.mark.parametrize(
    ("auth", "secret"),
    [
        (STANDARD_WEBHOOKS, STANDARD_SECRET),
        (STANDARD_WEBHOOKS, STANDARD_SECRET.removeprefix("whsec_")),
        (CLOSE, "00FF"),
        (Basic(), "a:b:c"),
        (Token(), "x"),
        (HUBSPOT, "x"),
    ],
)
def test_a_secret_that_can_be_used_has_no_problem(auth: Auth, secret: str) -> None:
    assert check_secret(auth, secret) is None


def test_no_message_names_a_secret_or_a_signature() -> None:
    asked = signed(HUBSPOT, "another-secret", request())
    with pytest.raises(BadSignature) as caught:
        verify(HUBSPOT, [SECRET], asked, now=NOW)
    assert str(caught.value) == "The signature is wrong."


# --- an hmac over time and body, as routes.toml writes it -------------------------------------

STRIPE = """
auth = "hmac"
header = "Stripe-Signature"
parts = ["timestamp", "body"]
separator = "."
signature_key = "v1"
timestamp_key = "t"
"""
SLACK = """
auth = "hmac"
header = "X-Slack-Signature"
prefix = "v0="
parts = ["'v0'", "timestamp", "body"]
separator = ":"
timestamp_header = "X-Slack-Request-Timestamp"
"""
CALENDLY = STRIPE.replace("Stripe-Signature", "Calendly-Webhook-Signature") + 'tolerance = "3m"\n'
# https://developer.paddle.com/webhooks/signature-verification
PADDLE = """
auth = "hmac"
header = "Paddle-Signature"
parts = ["timestamp", "body"]
separator = ":"
signature_key = "h1"
timestamp_key = "ts"
"""
CLOSE_TOML = """
auth = "hmac"
header = "close-sig-hash"
parts = ["timestamp", "body"]
timestamp_header = "close-sig-timestamp"
secret_encoding = "hex"
"""
BODY_FIRST = """
auth = "hmac"
header = "X-Sig"
hash = "sha512"
encoding = "base64"
parts = ["body", "timestamp", "'!'"]
timestamp_header = "X-Time"
timestamp_unit = "ms"
tolerance = "1m"
"""
AT = int(NOW.timestamp())
FORM = b"a=1&phone=%2B919876543210&n=10"


def auth_of(toml: str) -> Auth:
    return load(f'[[source]]\nname = "own"\n{toml}').sources["own"].auth


def hexed(key: bytes, message: bytes) -> str:
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def stripe(name: str, at: int = AT) -> dict[str, str]:
    digest = hexed(SECRET.encode(), b"%d." % at + FORM)
    return {name: f"t={at},v1={'0' * 64},v1={digest},v0=old"}


def test_a_published_slack_request_verifies() -> None:
    # https://api.slack.com/authentication/verifying-requests-from-slack
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
        b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
        b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
        b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    digest = "a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    headers = {"X-Slack-Signature": f"v0={digest}", "X-Slack-Request-Timestamp": "1531420618"}
    sent_at = datetime.fromtimestamp(1531420618, UTC)
    secret = "8f742231b10e8888abcd99yyyzzz85a5"
    assert is_accepted(auth_of(SLACK), secret, request(headers, body), sent_at)
    late = sent_at + timedelta(seconds=301)
    assert not is_accepted(auth_of(SLACK), secret, request(headers, body), late)


@each(
    ("toml", "secret", "headers", "tolerance_s"),
    [
        (STRIPE, SECRET, stripe("Stripe-Signature"), 300),
        (CALENDLY, SECRET, stripe("Calendly-Webhook-Signature"), 180),
        (
            PADDLE,
            SECRET,
            {"Paddle-Signature": f"ts={AT};h1={hexed(SECRET.encode(), b'%d:' % AT + FORM)}"},
            300,
        ),
        (
            CLOSE_TOML,
            "00ff" * 16,
            {
                "close-sig-hash": hexed(bytes.fromhex("00ff" * 16), b"%d" % AT + FORM),
                "close-sig-timestamp": str(AT),
            },
            300,
        ),
        (
            BODY_FIRST,
            SECRET,
            {
                "X-Sig": base64.b64encode(
                    hmac.digest(SECRET.encode(), FORM + b"%d!" % (AT * 1000), "sha512")
                ).decode(),
                "X-Time": str(AT * 1000),
            },
            60,
        ),
    ],
)
def test_what_others_sign_over_time_and_body_is_said_in_routes_toml(
    toml: str, secret: str, headers: dict[str, str], tolerance_s: int
) -> None:
    auth = auth_of(toml)
    asked = request(headers, FORM)
    proof = verify(auth, [secret], asked, now=NOW)
    assert proof.signed_by is not None
    assert (proof.signed_by.has_time, proof.signed_by.is_extendable) == (True, False)
    for off_s, accepted in ((tolerance_s, True), (-tolerance_s, True), (tolerance_s + 1, False)):
        assert is_accepted(auth, secret, asked, NOW + timedelta(seconds=off_s)) is accepted
    for place, byte in enumerate(FORM):
        other = FORM[:place] + bytes([byte ^ 1]) + FORM[place + 1 :]
        assert not is_accepted(auth, secret, request(headers, other))
    for name, value in headers.items():
        assert not is_accepted(auth, secret, request({**headers, name: value[:-9]}, FORM)) or (
            value.endswith("v0=old")
        )
        assert not is_accepted(auth, secret, request({**headers, name: f"0{value}"}, FORM))
    signed_by_us = sign(auth, secret, request(body=FORM), now=NOW)
    assert is_accepted(auth, secret, request(signed_by_us, FORM))


CLOSE_TURNED = CLOSE_TOML.replace('"timestamp", "body"', '"body", "timestamp"')


@each("moved", [1, 2])
@each("toml", [CLOSE_TOML, BODY_FIRST, CLOSE_TURNED])
def test_no_character_moves_between_the_time_and_the_body(toml: str, moved: int) -> None:
    auth, secret = auth_of(toml), "00ff" * 8
    for body in (b"00a=1&n=100", b"123&n=0", b"0" * 9):
        made = sign(auth, secret, request(body=body), now=NOW)
        [name] = [one for one in made if "time" in one.lower()]
        text = made[name]
        for time, other in (
            (text + body[:moved].decode(), body[moved:]),
            (text[:-moved], text[-moved:].encode() + body),
            (body[-moved:].decode() + text, body[:-moved]),
            (text[moved:], body + text[:moved].encode()),
        ):
            assert not is_accepted(auth, secret, request({**made, name: time}, other))


@each(
    "header",
    [
        "",
        "t={at}",
        "v1={good}",
        "t={at},v0={good}",
        "t={at},V1={good}",
        "t={old},t={at},v1={good}",
        "t=,t={at},v1={good}",
        "t={at} v1={good}",
        "t={at}|v1={good}",
        "t=0{at},v1={good}",
        "t={at},v1=sha256={good}",
        "t={at},v1=",
    ],
)
def test_a_header_of_pairs_is_read_strictly(header: str) -> None:
    good = hexed(SECRET.encode(), b"%d." % AT + FORM)
    text = header.format(at=AT, old=AT - 100, good=good)
    assert not is_accepted(auth_of(STRIPE), SECRET, request({"Stripe-Signature": text}, FORM))
    for right in (f"t={AT},v1={good}", f" v1={good} , t={AT} ", f"x=1,t={AT},t=9,v1={good}"):
        assert is_accepted(auth_of(STRIPE), SECRET, request({"Stripe-Signature": right}, FORM))


# --- Svix's names of Standard Webhooks --------------------------------------------------------


def test_svix_default_headers_are_standard_webhooks() -> None:
    standard = VECTORS["standard webhooks"]
    sent = standard[3].headers.items()
    headers = {name.replace("webhook-", "svix-"): value for name, value in sent}
    asked = replace(standard[3], headers=CaseInsensitiveDict(headers))
    proof = verify(STANDARD_WEBHOOKS, [STANDARD_SECRET], asked, now=standard[2])
    assert proof.message_id == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    # Another spelling beside it is not signed, and names nothing.
    more = CaseInsensitiveDict({**headers, "webhook-id": "new", "Idempotency-Key": "new"})
    assert (
        verify(
            STANDARD_WEBHOOKS, [STANDARD_SECRET], replace(asked, headers=more), now=standard[2]
        ).message_id
        == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    )
    # The same message under the other spelling has the same id: a duplicate.
    respelled = verify(STANDARD_WEBHOOKS, [STANDARD_SECRET], standard[3], now=standard[2])
    assert respelled.message_id == proof.message_id
    for missing in headers:
        fewer = CaseInsensitiveDict({k: v for k, v in headers.items() if k != missing})
        assert not is_accepted(
            STANDARD_WEBHOOKS, STANDARD_SECRET, replace(asked, headers=fewer), standard[2]
        )
