"""Signatures that a vendor makes with its private key, and that everybody can check. Pure.

The vendor signs the requests of all its customers with one key. So such a signature does not say
whose event it is, and it counts beside a token only.
"""

import base64
import binascii
import re
from functools import cache
from typing import Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.exceptions import UnsupportedAlgorithm as Unsupported
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

Algorithm = Literal["ed25519", "rsa-sha256"]
PublicKey = Ed25519PublicKey | RSAPublicKey

SHORTEST_RSA_BITS: Final = 2048
# The first and the last line of PEM, and the ends of lines as editors of variables write them.
_AROUND: Final = re.compile(r"-----(?:BEGIN|END) PUBLIC KEY-----|\\n|\s")


@cache
def public_keys(text: str) -> tuple[PublicKey, ...]:
    """Return the public keys of a text, with commas between them.

    Each is PEM (BEGIN PUBLIC KEY), or its base64 alone, on one line or several.

    Raises:
        ValueError: one of them is not such a key. The message does not repeat it.
    """
    found = tuple(_public_key(part) for part in text.split(",") if part.strip())
    if not found:
        raise ValueError("must have at least one public key")
    return found


def _public_key(text: str) -> PublicKey:
    try:
        key = load_der_public_key(base64.b64decode(_AROUND.sub("", text), validate=True))
    except (ValueError, Unsupported):
        key = None
    if isinstance(key, RSAPublicKey) and key.key_size < SHORTEST_RSA_BITS:
        key = None
    if not isinstance(key, Ed25519PublicKey | RSAPublicKey):
        raise ValueError(
            "must be public keys in PEM or base64, Ed25519 or RSA of at least "
            f"{SHORTEST_RSA_BITS} bits, with commas between them"
        )
    return key


def is_signed(
    algorithm: Algorithm, keys: tuple[PublicKey, ...], signature: str, message: bytes
) -> bool:
    """Say whether one of the keys made the signature (base64) of a message. Never raises.

    Keys of another algorithm don't count. RSA is PKCS #1 v1.5 with SHA-256.
    """
    try:
        digest = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    return any(_is_by(algorithm, key, digest, message) for key in keys)


def _is_by(algorithm: Algorithm, key: PublicKey, digest: bytes, message: bytes) -> bool:
    try:
        if algorithm == "ed25519" and isinstance(key, Ed25519PublicKey):
            key.verify(digest, message)
        elif algorithm == "rsa-sha256" and isinstance(key, RSAPublicKey):
            key.verify(digest, message, padding.PKCS1v15(), hashes.SHA256())
        else:
            return False
    except InvalidSignature:
        return False
    return True
