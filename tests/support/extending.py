"""Length extension of SHA-256: what a stranger appends to a hash over secret + message.

It uses hashlib nowhere, because hashlib can't start from a given state.
"""

import struct
from collections.abc import Sequence
from typing import Final


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % one for one in found):
            found.append(number)
        number += 1
    return found


def _root_bits(number: int, degree: int) -> int:
    """Return the first 32 bits of the fraction of a number's root, by bisection."""
    wanted = number << (32 * degree)
    low, high = 0, number << 32
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= wanted else (low, middle - 1)
    return low & 0xFFFFFFFF


CONSTANTS: Final = [_root_bits(prime, 3) for prime in _primes(64)]
START: Final = [_root_bits(prime, 2) for prime in _primes(8)]


def padding(length: int) -> bytes:
    """Return what SHA-256 appends to a message of that many bytes."""
    return b"\x80" + b"\0" * ((55 - length) % 64) + struct.pack(">Q", length * 8)


def extended(digest: str, length: int, suffix: bytes) -> tuple[bytes, str]:
    """Return what to append to a message of unknown start, and the hex digest of the whole.

    digest: the hex SHA-256 of secret + message. length: of both, in bytes.
    """
    state = list(struct.unpack(">8I", bytes.fromhex(digest)))
    glue = padding(length)
    return glue + suffix, _hashed(state, length + len(glue), suffix)


def sha256(message: bytes) -> str:
    """Return the hex SHA-256 of a message."""
    return _hashed(START, 0, message)


def _hashed(state: Sequence[int], before: int, message: bytes) -> str:
    data = message + padding(before + len(message))
    for at in range(0, len(data), 64):
        state = _compressed(state, data[at : at + 64])
    return struct.pack(">8I", *state).hex()


def _rotated(word: int, by: int) -> int:
    return (word >> by | word << (32 - by)) & 0xFFFFFFFF


def _compressed(state: Sequence[int], block: bytes) -> list[int]:
    words = list(struct.unpack(">16I", block))
    for at in range(16, 64):
        early, late = words[at - 15], words[at - 2]
        first = _rotated(early, 7) ^ _rotated(early, 18) ^ early >> 3
        second = _rotated(late, 17) ^ _rotated(late, 19) ^ late >> 10
        words.append((words[at - 16] + first + words[at - 7] + second) & 0xFFFFFFFF)
    a, b, c, d, e, f, g, h = state
    for word, constant in zip(words, CONSTANTS, strict=True):
        turned = _rotated(e, 6) ^ _rotated(e, 11) ^ _rotated(e, 25)
        chosen = e & f ^ ~e & g
        first = h + turned + chosen + constant + word
        second = (_rotated(a, 2) ^ _rotated(a, 13) ^ _rotated(a, 22)) + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, h = (
            (first + second) & 0xFFFFFFFF, a, b, c, (d + first) & 0xFFFFFFFF, e, f, g,
        )  # fmt: skip
    return [
        (one + other) & 0xFFFFFFFF
        for one, other in zip(state, (a, b, c, d, e, f, g, h), strict=True)
    ]
