"""How public keys may be written, and what is none."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as curve_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support import each

from schemas.public_keys import public_keys

KEY = Ed25519PrivateKey.generate().public_key()
RSA = rsa_key(public_exponent=65537, key_size=2048).public_key()


def pem(key: Any) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def der(key: Any) -> str:
    return base64.b64encode(
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).decode()


@each(
    "text",
    [
        der(KEY),
        pem(KEY),
        pem(KEY).replace("\n", "\\n"),
        pem(KEY).replace("\n", " "),
        f" {der(KEY)} ,",
    ],
)
def test_a_key_may_be_pem_or_its_base64(text: str) -> None:
    assert public_keys(text) == (KEY,)


def test_several_keys_have_commas_between_them() -> None:
    assert public_keys(f"{pem(RSA)},{der(KEY)}") == (RSA, KEY)


@each(
    "text",
    [
        "",
        " , ",
        "secret-text",
        "c2VjcmV0LXRleHQ=",
        der(KEY)[:-4],
        f"{der(KEY)},secret-text",
        der(rsa_key(public_exponent=65537, key_size=1024).public_key()),  # noqa: S505
        der(curve_key(SECP256R1()).public_key()),
    ],
)
def test_what_is_no_such_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="public key") as refused:
        public_keys(text)
    assert "secret-text" not in str(refused.value)
