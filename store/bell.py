"""The bell: what waits for work hears it at once, without asking Redis again and again.

It is one of Redis' pub/sub channels, so who rings learns whether anybody hears it, also after a
listener was killed. A ring only says "look": what there is to do is in the store.
"""

import contextlib
import math
import select
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, Protocol

import redis

from config.key_prefix import rq_prefix_of
from store.prefix import KEY_PREFIX

CONFIRMED_S: Final = 1.0  # how long Redis may take to confirm that we hear, or hear no longer


class Ear(StrEnum):
    """Who hears the bell."""

    STANDBY = "standby"  # a drain that has nothing to do
    REST = "rest"  # a supervisor, or a web process, that looks seldom


def ring(client: "redis.Redis", *ears: Ear, prefix: str = KEY_PREFIX) -> int:
    """Ring for all of these. Returns how many of the first kind heard it.

    0 also if our user lacks the right to it. Raises redis.RedisError if Redis is away.
    """
    with client.pipeline(transaction=False) as pipe:
        for ear in ears:
            pipe.publish(_channel(client, ear, prefix), b"")
        heard = pipe.execute(raise_on_error=False)[0]
    return heard if isinstance(heard, int) else 0


class HasFileno(Protocol):
    """What has a file descriptor."""

    def fileno(self) -> int:
        """Return it."""


def readable(waited_for: Sequence["HasFileno | int"], seconds: float) -> "list[HasFileno | int]":
    """Wait until some of these are readable, or at their end. Returns them; none: it took longer.

    select() would fail in a process with more than 1024 open files.
    """
    poll = select.poll()
    by_number = {one if isinstance(one, int) else one.fileno(): one for one in waited_for}
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(math.ceil(seconds * 1000))]


class Bell:
    """Hears the bell, over a connection of its own. readable() can wait for it."""

    def __init__(self, client: "redis.Redis", ear: Ear) -> None:
        self._client = client
        self._channel = _channel(client, ear, KEY_PREFIX)
        self._pubsub: Any = None

    @property
    def is_open(self) -> bool:
        """Say whether the bell is heard."""
        return self._pubsub is not None

    def open(self) -> bool:
        """Begin to hear. False: Redis is away, or our user lacks the right."""
        self.close()
        self._pubsub = self._client.pubsub()  # type: ignore[no-untyped-call]
        try:
            self._pubsub.subscribe(self._channel)
            confirmed = self._pubsub.get_message(timeout=CONFIRMED_S)
        except redis.RedisError:
            confirmed = None
        if confirmed is None:
            self.close()
        return self.is_open

    def fileno(self) -> int:
        """Return the file descriptor that is readable when the bell rang, or its Redis is gone."""
        return int(self._pubsub.connection._sock.fileno())

    def was_rung(self) -> bool:
        """Take in what was heard. Returns whether anything was; after an error it is closed."""
        was_rung = False
        try:
            while self._pubsub.get_message(timeout=0) is not None:
                was_rung = True
        except (redis.RedisError, OSError):
            self.close()
        return was_rung

    def wait(self, seconds: float) -> None:
        """Wait until the bell rings, or its Redis is gone. It must be open."""
        if self in readable([self], seconds):
            self.was_rung()

    def close(self) -> None:
        """Hear no longer: from now on, who rings learns that this one does not hear."""
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is None:
            return
        with contextlib.suppress(redis.RedisError, OSError):
            pubsub.unsubscribe()
            # Redis notices a closed connection only after a while.
            while (heard := pubsub.get_message(timeout=CONFIRMED_S)) is not None:
                if heard["type"] == "unsubscribe":
                    break
        with contextlib.suppress(redis.RedisError, OSError):
            pubsub.close()


def _channel(client: "redis.Redis", ear: Ear, prefix: str) -> str:
    """Return the name of a channel. All databases of a Redis have the same channels.

    It begins as RQ's keys and channels do: to those, our user has the right.
    """
    database = client.connection_pool.connection_kwargs.get("db") or 0
    return f"{rq_prefix_of(prefix)}:bell:{ear}:{database}"
