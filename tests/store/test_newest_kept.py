"""An outcome that arrives is compared with the newest one: those kept before it are not read."""

import json
from datetime import UTC, datetime

from support.storing import put

from schemas.outcome import Outcome, Result
from store import Store
from store.base import P

LATER = {"call_sid": "CA1", "try_count": 9, "result": "voicemail", "is_final": True}


def keep(store: Store, try_count: int) -> None:
    outcome = Outcome(
        call_sid="CA1", delivery_id="d1", try_count=try_count, result=Result.NOT_REACHED
    )
    assert store.keep_outcome(outcome) == ("stored", "d1")


def newest_of(store: Store) -> tuple[str, int]:
    """Return the result of the newest outcome, and how many outcomes it is of."""
    words = store.redis.hget(f"{P}delivery:d1", "newest").split(" ")
    return words[0], int(words[5])


def test_outcomes_that_are_kept_are_not_read_again(store: Store) -> None:
    put(store, "d1")
    keep(store, 0)
    store.redis.hset(f"{P}delivery:d1", "outcome:CA1:9", json.dumps(LATER))
    keep(store, 1)
    assert newest_of(store) == ("not_reached", 2)


def test_they_are_read_where_an_older_release_kept_one_of_them(store: Store) -> None:
    put(store, "d1")
    keep(store, 0)
    store.redis.hset(f"{P}delivery:d1", "outcome:CA1:9", json.dumps(LATER))
    store.redis.hincrby(f"{P}delivery:d1", "outcomes", 1)  # it does not know `newest`
    keep(store, 1)
    assert newest_of(store) == ("voicemail", 3)


def test_they_are_read_where_an_older_release_called_again(store: Store) -> None:
    put(store, "d1")
    keep(store, 0)
    store.redis.hset(f"{P}delivery:d1", "past", "CA1\n")
    outcome = Outcome(call_sid="CA2", delivery_id="d1", result=Result.CONNECTED)
    assert store.keep_outcome(outcome) == ("stored", "d1")
    assert newest_of(store) == ("connected", 2)


def test_of_two_calls_with_as_many_dials_the_one_that_ended_later_is_the_newest(
    store: Store,
) -> None:
    put(store, "d1")
    late, early = (datetime(2026, 11, 28, hour, tzinfo=UTC) for hour in (12, 9))
    for sid, result, ended_at in (
        ("CA2", Result.CONNECTED, late),
        ("CA1", Result.VOICEMAIL, early),
        ("CA3", Result.NOT_REACHED, late),  # at one time, the call_sid decides
    ):
        outcome = Outcome(call_sid=sid, delivery_id="d1", result=result, ended_at=ended_at)
        assert store.keep_outcome(outcome) == ("stored", "d1")
    assert newest_of(store) == ("not_reached", 3)


def test_a_newest_outcome_that_cannot_be_read_keeps_no_other_away(store: Store) -> None:
    put(store, "d1")
    keep(store, 0)
    store.redis.hset(f"{P}delivery:d1", "outcome:CA1:0", "{")
    outcome = Outcome(call_sid="CA0", delivery_id="d1", result=Result.CONNECTED)
    assert store.keep_outcome(outcome) == ("stored", "d1")
    assert newest_of(store) == ("connected", 2)
