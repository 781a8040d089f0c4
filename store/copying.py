"""Copies keys from one Redis to another, and compares them, in pages that hold neither for long.

DUMP and RESTORE would be shorter, but an older Redis refuses what a newer one has dumped. So each
type is read and written by its own commands, a large key in parts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis

PART: Final = 500  # the elements of a key that one command reads
STAYS: Final = -1  # Redis' PTTL of a key that never expires
GONE: Final = -2  # and of a key that is not there
Place = Any  # where the next part of a key begins; None: there is none


@dataclass(frozen=True, slots=True)
class Side:
    """A store to copy from or to: a client whose answers are bytes, and the prefix of its keys."""

    client: "redis.Redis"
    prefix: str

    def key(self, name: bytes) -> bytes:
        """Return the key of a name, which has no prefix."""
        return self.prefix.encode() + name

    def each(self, names: Sequence[bytes], ask: Callable[[Any, bytes], Any]) -> list[Any]:
        """Return an answer for each name, in one pipeline. Raises redis.RedisError."""
        with self.client.pipeline(transaction=False) as pipe:
            for name in names:
                ask(pipe, self.key(name))
            return list(pipe.execute())

    def page(self, cursor: int, size: int) -> tuple[int, list[bytes]]:
        """Return the cursor of the next page of keys (0: there is none), and this page's names."""
        # The prefix may have braces and hyphens, and nothing that a pattern would read otherwise.
        match = f"{self.prefix}*"
        answer: Any = self.client.scan(cursor, match=match, count=size)
        after, keys = answer
        return int(after), [key[len(self.prefix) :] for key in keys]


@dataclass(frozen=True, slots=True)
class _Type:
    """How a part of a key is read, taken apart and written, and what two copies are compared by."""

    read: Callable[[Any, bytes, Place], Any]  # queues a command
    part: Callable[[Any, Place], tuple[Place, Any]]  # the next place, and the elements
    write: Callable[[Any, bytes, Any], Any]  # queues a command
    compared: Callable[[Any, bytes], Any]  # queues a command: the value, or how many elements


def _scanned(answer: Any, place: Place) -> tuple[Place, Any]:
    return answer[0] or None, answer[1]


def _listed(answer: Any, place: Place) -> tuple[Place, Any]:
    return ((place or 0) + PART if len(answer) == PART else None), answer


def _streamed(answer: Any, place: Place) -> tuple[Place, Any]:
    return (b"(" + answer[-1][0] if len(answer) == PART else None), answer


def _add_entries(pipe: Any, key: bytes, entries: Any) -> None:
    for entry_id, fields in entries:
        pipe.xadd(key, fields, id=entry_id)


TYPES: Final = {
    b"string": _Type(
        read=lambda pipe, key, place: pipe.get(key),
        part=lambda answer, place: (None, answer),
        write=lambda pipe, key, value: pipe.set(key, value),
        compared=lambda pipe, key: pipe.get(key),
    ),
    b"hash": _Type(
        read=lambda pipe, key, place: pipe.hscan(key, place or 0, count=PART),
        part=_scanned,
        write=lambda pipe, key, fields: pipe.hset(key, mapping=fields),
        compared=lambda pipe, key: pipe.hlen(key),
    ),
    b"set": _Type(
        read=lambda pipe, key, place: pipe.sscan(key, place or 0, count=PART),
        part=_scanned,
        write=lambda pipe, key, members: pipe.sadd(key, *members),
        compared=lambda pipe, key: pipe.scard(key),
    ),
    b"zset": _Type(
        read=lambda pipe, key, place: pipe.zscan(key, place or 0, count=PART),
        part=_scanned,
        write=lambda pipe, key, scores: pipe.zadd(key, dict(scores)),
        compared=lambda pipe, key: pipe.zcard(key),
    ),
    b"list": _Type(
        read=lambda pipe, key, place: pipe.lrange(key, place or 0, (place or 0) + PART - 1),
        part=_listed,
        write=lambda pipe, key, values: pipe.rpush(key, *values),
        compared=lambda pipe, key: pipe.llen(key),
    ),
    b"stream": _Type(
        read=lambda pipe, key, place: pipe.xrange(key, min=place or "-", count=PART),
        part=_streamed,
        write=_add_entries,
        compared=lambda pipe, key: pipe.xlen(key),
    ),
}


@dataclass(frozen=True, slots=True)
class _Rest:
    """What is left to copy of a key."""

    name: bytes
    kind: _Type
    expires_in_ms: int | None  # None: it stays
    place: Place = None


def copy_keys(old: Side, new: Side, names: Sequence[bytes], *, hold: Callable[[Any], None]) -> None:
    """Copy these keys, with their remaining time. What the new store has under a name is replaced.

    To copy a key twice does no harm. hold: begins each transaction that writes, or raises its
    error. Raises redis.RedisError.
    """
    left = list(_begun(old, names))
    while left:
        answers = _read(old, left)
        following = []
        with new.client.pipeline() as pipe:
            hold(pipe)
            for one, answer in zip(left, answers, strict=True):
                key = new.key(one.name)
                place, elements = one.kind.part(answer, one.place)
                if one.place is None:
                    pipe.unlink(key)
                if elements or elements == b"":
                    one.kind.write(pipe, key, elements)
                if place is not None:
                    following.append(_Rest(one.name, one.kind, one.expires_in_ms, place))
                elif one.expires_in_ms is not None:
                    pipe.pexpire(key, max(one.expires_in_ms, 1))
            pipe.execute()
        left = following


def _type_of(pipe: Any, key: bytes) -> None:
    pipe.type(key)


def _ms_left(pipe: Any, key: bytes) -> None:
    pipe.pttl(key)


def _begun(old: Side, names: Sequence[bytes]) -> Iterator[_Rest]:
    kinds = old.each(names, _type_of)
    times = old.each(names, _ms_left)
    for name, kind, left_ms in zip(names, kinds, times, strict=True):
        if kind in TYPES and left_ms != GONE:  # else it has just expired
            yield _Rest(name, TYPES[kind], left_ms if left_ms >= 0 else None)


def _read(old: Side, rests: Sequence[_Rest]) -> list[Any]:
    with old.client.pipeline(transaction=False) as pipe:
        for one in rests:
            one.kind.read(pipe, old.key(one.name), one.place)
        return list(pipe.execute())


@dataclass(frozen=True, slots=True)
class Compared:
    """A key of the old store beside that of the new one: how many elements each has."""

    name: bytes
    old: int
    new: int
    is_same: bool


def compare_keys(old: Side, new: Side, names: Sequence[bytes]) -> list[Compared]:
    """Compare these keys: strings by value, others by how many elements they have, all by expiry.

    A key that expires meanwhile is left out. Raises redis.RedisError.
    """
    kinds = dict(zip(names, old.each(names, _type_of), strict=True))

    def look(side: Side) -> Iterator[tuple[Any, bool]]:
        def ask(pipe: Any, key: bytes) -> None:
            kind = TYPES.get(kinds[key[len(side.prefix) :]])
            kind.compared(pipe, key) if kind else pipe.exists(key)

        answers = side.each(names, ask)
        times = side.each(names, _ms_left)
        return zip(answers, (ms == STAYS for ms in times), strict=True)

    pairs = dict(zip(names, zip(look(old), look(new), strict=True), strict=True))
    differ = [name for name, (one, other) in pairs.items() if one != other]
    is_there = old.each(differ, lambda pipe, key: pipe.exists(key))
    expired = {name for name, is_left in zip(differ, is_there, strict=True) if not is_left}
    return [
        Compared(name, _size(one[0]), _size(other[0]), one == other)
        for name, (one, other) in pairs.items()
        if name not in expired
    ]


def _size(answer: Any) -> int:
    return answer if isinstance(answer, int) else int(isinstance(answer, bytes))
