"""move-store: all that a bridge keeps goes to another Redis, and nobody uses either meanwhile."""

import itertools
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from rq import Worker
from support import LONGEST_S, Valkey, valkey_in_memory
from support.cluster import not_over_cluster
from support.storing import a_delivery, accept, an_event, claim, put, to_sending

from schemas.delivery import Status
from schemas.errors import StoreClosed
from schemas.records import Move
from store import Store, connect, moving
from store.closing import SENTENCES, State
from store.copying import PART
from store.moving import MoveRefused, StoreMove, open_side
from store.queue import connect_queue, open_queue
from store.start import check_at_start

pytestmark = not_over_cluster
OLD, TAGGED = "bridge:", "{bridge-test}:"
LEADS = 30
NAMED = ("move", "mover")
GOOD = {"API_TOKEN": "tok-123", "CALLKARO_API_KEY": "key-123"}


@pytest.fixture(scope="session")
def other_valkey() -> Iterator[Valkey]:
    with valkey_in_memory() as server:
        yield server


@pytest.fixture
def new_url(other_valkey: Valkey) -> str:
    """The address of another empty Redis."""
    other_valkey.empty()
    return other_valkey.url


@pytest.fixture
def new_store(new_url: str) -> Iterator[Store]:
    with connect(new_url, timeout_s=LONGEST_S) as client:
        yield Store(client)


@pytest.fixture
def to(redis_url: str, new_url: str) -> Iterator[Any]:
    """Make the move from the test's Redis to the other one, under a prefix there."""
    opened = []

    def make(prefix: str = OLD, **options: Any) -> StoreMove:
        old, new = open_side(redis_url, OLD), open_side(new_url, prefix)
        opened.extend((old.client, new.client))
        return StoreMove(old, new, **{"watch_s": 0.0, "tries": 1, **options})

    yield make
    for client in opened:
        client.close()


def move_all(move: StoreMove) -> moving.Comparison:
    move.begin()
    move.copy()
    found = move.compare()
    move.finish(found)
    return found


def content(url: str, prefix: str) -> dict[bytes, Any]:
    """Return all that a store has, by name: (its value, whether it expires)."""
    start = prefix.encode()
    with redis.Redis.from_url(url) as client:
        read: dict[bytes, Any] = {
            b"string": client.get,
            b"hash": client.hgetall,
            b"set": client.smembers,
            b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
            b"list": lambda key: client.lrange(key, 0, -1),
            b"stream": client.xrange,
        }
        return {
            key.removeprefix(start): (read[client.type(key)](key), client.ttl(key) >= 0)
            for key in client.scan_iter(f"{prefix}*", count=1000)
            if key.removeprefix(start) not in moving.OF_ITS_STORE
        }


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with some of everything."""
    fill(store, LEADS)
    return store


def fill(store: Store, leads: int) -> None:
    for start_at in range(0, leads, 100):
        accept(
            store,
            *(
                (
                    an_event(f"event-{n}", fingerprint=f"seen-{n}", subject=f"{n}"),
                    [a_delivery(f"delivery-{n}", number=f"+9198765{n:05}", phone=phone(store, n))],
                )
                for n in range(start_at, min(start_at + 100, leads))
            ),
        )
    leases = claim(store, limit=20)
    for at, (one, lease) in enumerate(leases.items()):
        store.move([to_sending(one, lease)])
        ended = (Status.DELIVERED, Status.UNKNOWN, Status.RETRYING, Status.FAILED)[at % 4]
        wait = {"wait_s": 900} if ended == Status.RETRYING else {}
        store.move([Move(id=one, to=ended, lease=lease, **wait)])


def fill_large(store: Store) -> None:
    """Put keys of all types into it that are read in several parts."""
    store.redis.zadd("bridge:find:many", {f"member-{n}": n + 0.25 for n in range(3 * PART)})
    store.redis.rpush("bridge:crm_turns:zoho", *range(2 * PART + 1))
    store.redis.sadd("bridge:campaigns_used", *(f"campaign-{n}" for n in range(2 * PART)))
    with store.redis.pipeline() as acts:
        for n in range(2 * PART):
            acts.xadd("bridge:acts", {"did": f"{n}"})
        acts.execute()
    store.redis.set("bridge:token:zoho", b"\xff\x00 no text", px=900_000)
    store.redis.set("bridge:token-user:zoho", b"")


def phone(store: Store, n: int) -> str:
    return store.phone_key(f"+9198765{n:05}")


# --- the copy ---------------------------------------------------------------------------------


def test_all_keys_of_all_types_come_with_their_remaining_time_under_the_new_prefix(
    filled: Store, redis_url: str, new_url: str, to: Any
) -> None:
    fill_large(filled)
    before = content(redis_url, OLD)
    found = move_all(to(TAGGED))
    after = content(new_url, TAGGED)
    assert after == before
    assert {type(value) for value, _ in after.values()} == {bytes, dict, list, set}
    assert not found.different
    for kind, count in (("events", LEADS), ("seen:*", LEADS), ("deliveries:status:delivered", 5)):
        assert found.counts[kind] == (count, count)
    # No value names a key: it would have the old prefix.
    assert not any(OLD.encode() in repr(value).encode() for value in after.values())


def test_a_remaining_time_is_the_same_to_the_second(
    filled: Store, new_store: Store, to: Any
) -> None:
    filled.redis.pexpire("bridge:seen:seen-7", 500_000)
    move_all(to())
    assert 495_000 < new_store.redis.pttl("bridge:seen:seen-7") <= 500_000


def test_a_key_that_expires_on_the_way_is_no_difference(filled: Store, to: Any) -> None:
    move = to()
    move.begin()
    move.copy()
    filled.redis.delete("bridge:seen:seen-7")
    move.finish(move.compare())


# --- nobody uses either store -----------------------------------------------------------------


def test_the_old_store_stays_closed_and_the_new_one_is_open(
    filled: Store, new_store: Store, to: Any
) -> None:
    move = to()
    move.begin()
    for store, state in ((filled, State.LEAVING), (new_store, State.ARRIVING)):
        with pytest.raises(StoreClosed, match=re.escape(SENTENCES[state])):
            put(store, "another")
        assert store.check_store().problem == f"{SENTENCES[state]}."
    move.begin()  # nobody has tried since, as far as this one knows
    move.copy()
    move.finish(move.compare())
    put(new_store, "another")
    with pytest.raises(StoreClosed, match=re.escape(SENTENCES[State.LEFT])):
        claim(filled)
    with pytest.raises(MoveRefused, match="moved already"):
        to().begin()


@pytest.mark.parametrize("which", ["old", "new"])
def test_a_process_that_still_runs_is_noticed_and_goes_on(
    filled: Store, new_store: Store, to: Any, which: str
) -> None:
    store = filled if which == "old" else new_store
    is_over = threading.Event()

    def run() -> None:
        while not is_over.is_set():
            if store.check_store().problem:
                with pytest.raises(StoreClosed):
                    claim(store)
                return

    process = threading.Thread(target=run)
    process.start()
    try:
        with pytest.raises(MoveRefused, match=f"A process of the {which} Redis still runs"):
            to(watch_s=20.0, tries=5, again_s=0.01).begin()  # it writes into the mark, too
    finally:
        is_over.set()
        process.join()
    put(filled, "another")


def test_a_registered_worker_is_noticed_at_once(filled: Store, redis_url: str, to: Any) -> None:
    queue = open_queue(connect_queue(redis_url))
    worker = Worker([queue], connection=queue.connection)
    worker.register_birth()
    with pytest.raises(MoveRefused, match="A worker is registered in the old Redis"):
        to().begin()
    worker.register_death()
    to().begin()


def test_what_used_the_old_store_meanwhile_has_all_copied_again(
    filled: Store, new_store: Store, redis_url: str, new_url: str, to: Any
) -> None:
    move = to()
    move.begin()
    move.copy()
    with pytest.raises(StoreClosed):
        claim(filled)
    filled.redis.delete("bridge:delivery:delivery-29")  # as a process of an older release could
    with pytest.raises(MoveRefused, match="A process has used the old Redis meanwhile"):
        move.finish(move.compare())
    move_all(to())
    assert content(new_url, OLD) == content(redis_url, OLD)


def test_what_an_older_release_writes_meanwhile_is_a_difference(
    filled: Store, redis_url: str, new_url: str, to: Any
) -> None:
    move = to()
    move.begin()
    move.copy()
    filled.redis.hdel("bridge:delivery:delivery-29", "phone")
    filled.redis.set("bridge:order", 7)
    with pytest.raises(MoveRefused, match=r"delivery:\* \(1\), order \(1\)"):
        move.finish(move.compare())
    move_all(to())
    assert content(new_url, OLD) == content(redis_url, OLD)


def test_the_old_store_is_left_only_once_replicas_of_the_new_one_confirmed(
    filled: Store, to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "CONFIRM_MS", 1)
    with pytest.raises(MoveRefused, match="Fewer than 1 replicas of the new Redis"):
        move_all(to(acks=1))
    with pytest.raises(StoreClosed, match=SENTENCES[State.LEAVING]):
        claim(filled)
    move_all(to())


# --- what can't be moved ----------------------------------------------------------------------


def test_only_an_empty_store_is_moved_into(filled: Store, new_store: Store, to: Any) -> None:
    put(new_store, "theirs")
    with pytest.raises(MoveRefused, match="The new Redis is not empty"):
        to().begin()
    assert filled.check_store().problem is None
    assert new_store.check_store().problem is None


# What a store of an older release lacks.
OF_OLD_RELEASES = ("bridge:schema", "bridge:indexed")


def test_a_new_store_that_was_only_looked_at_is_empty(
    filled: Store, new_store: Store, new_url: str, to: Any
) -> None:
    new_store.ping()
    new_store._run("mark")  # as a ping with REDIS_ACKS
    new_store.redis.delete("bridge:schema")  # of the fixture
    check_at_start(new_url)
    assert new_store.redis.exists(*OF_OLD_RELEASES) == 2
    filled.redis.delete(*OF_OLD_RELEASES)
    move_all(to())
    assert not new_store.redis.exists(*OF_OLD_RELEASES)  # an older layout is migrated at the start


def test_a_store_is_not_moved_to_where_no_bridge_can_start(
    filled: Store, new_url: str, to: Any
) -> None:
    with redis.Redis.from_url(new_url) as client:
        rights = ("reset", "on", ">pw", "~*", "&*", "+@all", "-@scripting")
        client.execute_command("ACL", "SETUSER", "other", *rights)
        url = new_url.replace("redis://", "redis://other:pw@")
        move = StoreMove(to().old, open_side(url, OLD), watch_s=0, tries=1)
        why = r"The new Redis can't be used\. Redis lets this user run no Lua scripts"
        with move.new.client, pytest.raises(MoveRefused, match=why):
            move.begin()
        client.execute_command("ACL", "DELUSER", "other")
        assert client.keys("*") == [b"bridge:schema"]
    assert filled.check_store().problem is None


def test_it_is_said_at_once_which_redis_does_not_answer(
    filled: Store, new_url: str, to: Any
) -> None:
    good = to()
    no_login = new_url.replace("redis://", "redis://somebody:pass-123@")
    for wrong in ("redis://127.0.0.1:1", "cluster://127.0.0.1:1", no_login):
        side = open_side(wrong, OLD)
        for which, sides in (("old", (side, good.new)), ("new", (good.old, side))):
            move = StoreMove(*sides, again_s=LONGEST_S)
            with pytest.raises(MoveRefused, match=f"The {which} Redis can't be used") as error:
                move.begin()
            assert "pass-123" not in str(error.value)
        side.client.close()
    assert filled.check_store().problem is None


def test_an_empty_store_is_not_moved(store: Store, to: Any) -> None:
    with pytest.raises(MoveRefused, match="Is its address right"):
        to().begin()


def test_a_store_is_not_moved_to_itself(filled: Store, redis_url: str) -> None:
    with open_side(redis_url, OLD).client, open_side(redis_url, OLD).client:
        move = StoreMove(open_side(redis_url, OLD), open_side(redis_url, OLD), watch_s=0)
        with pytest.raises(MoveRefused, match="the same Redis"):
            move.begin()
    assert filled.check_store().problem is None


def test_a_move_that_has_begun_goes_to_no_other_address(
    filled: Store, redis_url: str, to: Any
) -> None:
    to().begin()
    other = to("{another}:")
    with pytest.raises(MoveRefused, match="to another address has begun"):
        other.begin()


def test_a_move_that_was_killed_before_the_new_store_was_closed_goes_anywhere(
    filled: Store, to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(StoreMove, "_close_new", kill)
        with pytest.raises(Killed):
            to("{another}:").begin()
    move_all(to())


class Killed(BaseException):
    """In the place of the end of a process."""


def kill(*given: Any) -> None:
    raise Killed


def test_a_second_move_store_takes_over(filled: Store, to: Any) -> None:
    first, second = to(), to()
    first.begin()
    assert second.begin()
    with pytest.raises(MoveRefused, match="taken over"):
        first.copy()
    second.copy()
    second.finish(second.compare())


def test_who_was_overtaken_changes_nothing_of_a_store_that_is_in_use(
    filled: Store, new_store: Store, new_url: str, to: Any
) -> None:
    first, second = to(), to()
    first.begin()
    first.copy()
    second.begin()
    second.copy()
    second.finish(second.compare())
    put(new_store, "another")
    new_store.redis.hset("bridge:event:event-7", "more", "1")
    in_use = content(new_url, OLD)
    for work in (
        lambda: first._copy_page(0, "run"),
        lambda: first.finish(first.compare()),
        lambda: first.finish(moving.Comparison({}, {})),
        first._copy_anew,
    ):
        with pytest.raises(MoveRefused, match="taken over"):
            work()
    assert content(new_url, OLD) == in_use
    assert new_store.check_store().problem is None


def test_of_two_that_begin_at_once_one_moves(filled: Store, to: Any) -> None:
    first, second = to(), to("{another}:")
    marks = first._mark(first.old), first._mark(first.new)
    second.begin()
    with pytest.raises(MoveRefused, match="taken over"):
        first._close(first.old, State.LEAVING, "their-move", marks[0].get("mover"))
    second.copy()
    second.finish(second.compare())


def test_an_unfinished_move_can_be_undone(
    filled: Store, new_store: Store, redis_url: str, new_url: str, to: Any
) -> None:
    before = content(redis_url, OLD)
    move = to()
    move.begin()
    move.copy()
    to().undo()
    assert content(redis_url, OLD) == before
    assert content(new_url, OLD) == {}
    put(filled, "another")
    move_all(to())
    with pytest.raises(MoveRefused, match="No unfinished move"):
        to().undo()


def test_an_undoing_at_the_old_address_deletes_nothing(
    filled: Store, redis_url: str, to: Any
) -> None:
    before = content(redis_url, OLD)
    move = to()
    move.begin()
    move.copy()
    with open_side(redis_url, OLD).client as client:
        here = moving.Side(client, OLD)
        with pytest.raises(MoveRefused, match="REDIS_URL must be the new one"):
            StoreMove(here, here, watch_s=0, tries=1).undo()
    assert content(redis_url, OLD) == before
    move.finish(move.compare())


def test_an_undoing_and_the_end_of_a_move_do_not_both_happen(
    filled: Store, new_store: Store, to: Any
) -> None:
    move = to()
    move.begin()
    move.copy()
    found = move.compare()
    to().undo()
    with pytest.raises(MoveRefused, match="taken over"):
        move.finish(found)
    assert filled.check_store().problem is None
    assert not new_store.redis.exists("bridge:closed")


def test_an_undoing_that_was_killed_can_be_given_again(
    filled: Store, new_store: Store, to: Any
) -> None:
    to().begin()
    undoing = to()
    undoing._close(undoing.old, State.LEAVING, *(undoing._mark(undoing.old)[n] for n in NAMED))
    undoing._close(undoing.new, State.ARRIVING, *(undoing._mark(undoing.new)[n] for n in NAMED))
    undoing._open(undoing.new)
    to().undo()
    put(filled, "another")
    move_all(to())


# --- killed at each step ----------------------------------------------------------------------


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Do some work, whose process is killed at its n-th step, before or after that is made.

    Returns whether it was killed; not: it has fewer steps.
    """

    def killed(work: Any, number: int, *, after: bool) -> bool:
        steps, whole = itertools.count(1), StoreMove._patiently

        def step(move: StoreMove, do: Any, *given: Any) -> Any:
            if (is_last := next(steps) == number) and not after:
                raise Killed
            answer = whole(move, do, *given)
            if is_last:
                raise Killed
            return answer

        with monkeypatch.context() as patched:
            patched.setattr(StoreMove, "_patiently", step)
            try:
                work()
            except Killed:
                return True
        return False

    return killed


@pytest.mark.parametrize("after", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_move_goes_on_wherever_it_was_killed(
    filled: Store,
    new_store: Store,
    redis_url: str,
    new_url: str,
    to: Any,
    killed_at: Any,
    after: bool,
) -> None:
    before = content(redis_url, OLD)
    for number in itertools.count(1):
        was_killed = killed_at(lambda: move_all(to()), number, after=after)
        are_open = [store.check_store().problem is None for store in (filled, new_store)]
        assert are_open != [True, True] or not new_store.redis.exists("bridge:order")
        has_left = filled.redis.hget("bridge:closed", "state") == State.LEFT
        if not (has_left and are_open[1]):
            move_all(to())
        assert content(new_url, OLD) == before
        if not was_killed:
            break
        filled.redis.delete("bridge:closed")
        new_store.redis.flushdb()
    assert number > 10


@pytest.mark.parametrize("after", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_undoing_goes_on_wherever_it_was_killed(
    filled: Store,
    new_store: Store,
    redis_url: str,
    new_url: str,
    to: Any,
    killed_at: Any,
    after: bool,
) -> None:
    before = content(redis_url, OLD)
    for number in itertools.count(1):
        move = to()
        move.begin()
        move.copy()
        was_killed = killed_at(lambda: to().undo(), number, after=after)
        if filled.check_store().problem:
            to().undo()
        assert filled.check_store().problem is None
        assert new_store.check_store().problem is None
        assert content(redis_url, OLD) == before
        assert content(new_url, OLD) == {}
        if not was_killed:
            break
    assert number > 5
