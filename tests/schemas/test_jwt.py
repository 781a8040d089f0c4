"""JSON Web Tokens as a proof: which ones are refused, and that none raises anything else."""

import base64
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict
from support import each
from support.samples import NOW, incoming

from schemas.errors import BadSignature
from schemas.signatures import check_secret, sign, verify
from schemas.source import Jwt, Proof, proof_of, secret_of

AUTH = Jwt()
SECRET = secret_of(AUTH, "a made-up signing secret of the tests")
OTHER = secret_of(AUTH, "another made-up signing secret of the tests")
SOON = int(NOW.timestamp()) + 300
RSA_SHAPED = (
    "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJB\n-----END PUBLIC KEY-----"
)


def checked(token: str, secrets: Sequence[str] = (SECRET,), *, now: datetime = NOW) -> Proof:
    request = incoming(b"{}", headers={"Authorization": token})
    return verify(AUTH, secrets, request, now=now)


def why(token: str, secrets: Sequence[str] = (SECRET,), *, now: datetime = NOW) -> str:
    """Return why a token is refused."""
    with pytest.raises(BadSignature) as refused:
        checked(token, secrets, now=now)
    return refused.value.why


def token(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode({"exp": SOON, **claims}, secret, algorithm=algorithm)


def spelled(header: Any, claims: Any, signature: str = "") -> str:
    """Return a token of these parts, as somebody without the secret can write it."""
    parts = (json.dumps(part).encode() for part in (header, claims))
    encoded = (base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    return ".".join((*encoded, signature))


def test_a_signed_token_is_accepted_alone_or_after_bearer() -> None:
    assert checked(token()).scheme == AUTH
    assert checked(f"Bearer {token()}").scheme == AUTH
    assert checked(f"bearer  {token()} ").scheme == AUTH


def test_every_secret_is_tried_while_one_is_rotated_out() -> None:
    assert checked(token(OTHER), [SECRET, OTHER]).scheme == AUTH
    assert why(token(OTHER)) == "wrong_signature"


@each("algorithm", ["none", "None", "NONE", "nOnE"])
def test_a_token_without_a_signature_is_refused(algorithm: str) -> None:
    signature = token().rpartition(".")[2]
    header = {"alg": algorithm, "typ": "JWT"}
    assert why(spelled(header, {"exp": SOON})) == "wrong_signature"
    assert why(spelled(header, {"exp": SOON}, signature)) == "wrong_signature"


@each("algorithm", ["HS384", "HS512"])
def test_another_algorithm_is_refused_even_with_the_right_secret(algorithm: str) -> None:
    long = SECRET * 4
    assert why(token(long, algorithm), [long]) == "wrong_signature"


@each("algorithm", ["RS256", "ES256", "PS256", "EdDSA", "HS1", ""])
def test_a_header_that_names_another_algorithm_is_refused(algorithm: str) -> None:
    _, claims, signature = token().split(".")
    header = spelled({"alg": algorithm, "typ": "JWT"}, {}).partition(".")[0]
    assert why(f"{header}.{claims}.{signature}") == "wrong_signature"


def test_a_changed_claim_is_refused() -> None:
    header, _, signature = token().split(".")
    forged = spelled({}, {"exp": SOON + 1}).split(".")[1]
    assert why(f"{header}.{forged}.{signature}") == "wrong_signature"


@each(
    ("after_s", "expected"),
    [(0, None), (300, None), (359, None), (360, "stale"), (86_400, "stale")],
)
def test_a_token_lives_until_it_expires_and_a_minute_for_the_clocks(
    after_s: int, expected: str | None
) -> None:
    now = NOW + timedelta(seconds=after_s)
    if expected is None:
        checked(token(), now=now)
    else:
        assert why(token(), now=now) == expected


@each("expires", [None, True, "soon", str(SOON), [], {}])
def test_a_token_that_never_expires_is_refused(expires: Any) -> None:
    assert why(jwt.encode({"exp": expires}, SECRET, algorithm="HS256")) == "no_time"
    assert why(jwt.encode({}, SECRET, algorithm="HS256")) == "no_time"


def test_a_token_that_expires_at_no_number_is_refused() -> None:
    assert why(token(exp=float("nan"))) == "stale"


@each("begins", [SOON, "soon", True])
def test_a_token_that_is_not_valid_yet_is_refused(begins: Any) -> None:
    assert why(token(nbf=begins)) == "stale"


def test_claims_of_monday_are_no_reason_to_refuse() -> None:
    # aud is the address that monday called; a proxy may have changed it.
    claims = {"accountId": 1, "userId": 2, "aud": "https://other.example/x", "iat": SOON + 999}
    assert checked(token(**claims, shortLivedToken="x.y.z")).scheme == AUTH


@each(
    "text",
    [
        "",
        " ",
        "Bearer",
        "Bearer ",
        ".",
        "..",
        "a.b.c",
        "Basic dTpw",
        SECRET,
        "é",
        "\ud83d",
        "x" * 9000,
    ],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    assert why(text) in ("missing", "wrong_signature")


@each("header", [[], "x", None, 1, {"alg": None}, {"alg": []}, {"alg": "HS256", "crit": ["b64"]}])
def test_a_header_of_another_shape_is_refused(header: Any) -> None:
    assert why(spelled(header, {"exp": SOON}, "eA")) == "wrong_signature"


def test_a_token_as_deep_as_the_stack_is_refused() -> None:
    deep = base64.urlsafe_b64encode(b"[" * 100_000).rstrip(b"=").decode()
    assert why(f"{deep}.{deep}.eA") == "wrong_signature"


@given(st.text(max_size=200))
def test_no_text_raises_anything_else(text: str) -> None:
    assert why(text) in ("missing", "wrong_signature")


def test_a_missing_header_is_refused() -> None:
    with pytest.raises(BadSignature) as refused:
        verify(AUTH, [SECRET], incoming(b"{}"), now=NOW)
    assert refused.value.why == "missing"


@each("short", ["short", "x" * 31])
def test_a_key_that_can_be_guessed_is_refused_at_the_start_and_verifies_nothing(short: str) -> None:
    assert check_secret(AUTH, short) == "The secret must have at least 32 characters."
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        weak = token(short)
    assert why(weak, [short]) == "wrong_signature"


def test_a_public_key_is_no_secret() -> None:
    assert why(token(), [RSA_SHAPED]) == "wrong_signature"


def test_what_we_sign_is_accepted() -> None:
    headers = sign(AUTH, SECRET, incoming(b"{}"), now=NOW)
    request = incoming(b"{}", headers=headers)
    assert verify(AUTH, [SECRET], request, now=NOW).scheme == AUTH


def test_a_token_proves_no_header_and_no_body() -> None:
    headers = CaseInsensitiveDict({"webhook-id": "of-a-stranger", "Idempotency-Key": "2"})
    proof = proof_of(AUTH, headers)
    assert (proof.message_id, proof.signed_by) == (None, None)
