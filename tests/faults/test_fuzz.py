"""The fuzzer in short, and that it finds what is wrong: bugs are planted around the app."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from fuzz import World, make_case, run, wrong_counts

from store.base import P

SEED = 7
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@pytest.fixture
def world(redis_url: str) -> Iterator[World]:
    world = World(redis_url)
    yield world
    world.close()


def answered(world: World, note: str, *statuses: int) -> int:
    """Return how many cases of a sort were answered so."""
    return sum(
        count
        for (given, status), count in world.answers.items()
        if given.startswith(note) and status in statuses
    )


def test_a_thousand_mutated_requests_do_no_harm(world: World) -> None:
    assert run(world, seed=SEED, numbers=range(1000)) == []
    assert world.answers.total() == 1000
    assert answered(world, "signed", 200, 202) > 200
    assert answered(world, "signed", 400, 415) > 75
    assert answered(world, "forge", 401) > 75
    assert answered(world, "mangle method", 405) > 25
    assert answered(world, "api", 200) > 15
    assert answered(world, "callback", 200, 400, 404, 415) > 50


def test_a_case_depends_on_its_number_alone(world: World) -> None:
    forth = {n: make_case(world, SEED, n) for n in range(100)}
    back = {n: make_case(world, SEED, n) for n in reversed(range(100))}
    assert [(one.target, one.body) for one in forth.values()] == [
        (back[n].target, back[n].body) for n in forth
    ]
    assert len({one.body for one in forth.values()}) > 50


# --- planted bugs -------------------------------------------------------------------------------


def crashes(world: World, app: Wsgi) -> Wsgi:
    def broken(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if b"null" in environ["wsgi.input"].getvalue():
            raise ZeroDivisionError
        return app(environ, start)

    return broken


def answers_with(status: str, body: Any) -> Callable[[World, Wsgi], Wsgi]:
    def plant(world: World, app: Wsgi) -> Wsgi:
        def broken(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            started: list[Any] = []
            given = b"".join(app(environ, lambda *args: started.extend(args)))
            if not started[0].startswith("401"):
                start(*started)
                return [given]
            start(status, [("Content-Type", "application/json")])
            return [json.dumps(body).encode()]

        return broken

    return plant


def leaves_a_key(world: World, app: Wsgi) -> Wsgi:
    def broken(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        world.redis.incr(f"{P}by:{environ['PATH_INFO']}:{environ['REQUEST_METHOD']}")
        return app(environ, start)

    return broken


def stores_less(world: World, app: Wsgi) -> Wsgi:
    def broken(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        given = app(environ, start)
        world.redis.zpopmax(f"{P}deliveries")
        return given

    return broken


def logs_an_error(world: World, app: Wsgi) -> Wsgi:
    def broken(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        logging.getLogger("bridge.intake").error("intake.confused")
        return app(environ, start)

    return broken


ERROR = {"error": "a_word", "message": "A sentence."}
TAKEN = {"accepted": 0, "duplicates": 0, "unrouted": 0, "unreadable": 0, "events": []}


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (crashes, "raised ZeroDivisionError"),
        (answers_with("500 Oh", ERROR), "answered 500"),
        (answers_with("202 Yes", TAKEN), "answered 202 to what was to be refused"),
        (answers_with("200 Yes", TAKEN), "answered 200 to who proved nothing"),
        (answers_with("401 No", {"detail": "no"}), "answered 401 without our error's shape"),
        (leaves_a_key, "left 1 key"),
        (stores_less, "deliveries of 1 that it told"),
        (logs_an_error, "logged intake.confused"),
    ],
)
def test_a_planted_bug_is_found(
    world: World, plant: Callable[[World, Wsgi], Wsgi], says: str
) -> None:
    world.app.wsgi_app = plant(world, world.app.wsgi_app)  # type: ignore[method-assign]
    shown = (one for n in range(1000) for one in run(world, seed=SEED, numbers=[n], tries=0))
    found = next((one for one in shown if says in one), None)
    assert found is not None
    assert f"--seed {SEED} --case " in found


def test_a_body_is_made_small(world: World) -> None:
    world.app.wsgi_app = crashes(world, world.app.wsgi_app)  # type: ignore[method-assign]
    [found] = run(world, seed=SEED, numbers=range(200), most=1)
    assert "body: b'null'\n" in found


@pytest.mark.parametrize(
    ("told", "stored", "says"),
    [
        ({"accepted": 1}, (1, 1), None),
        ({"accepted": 2}, (1, 1), "told counts that do not add up"),
        ({"duplicates": 1}, (1, 1), "told duplicates that are none"),
        ({"accepted": 1}, (1, 0), "stored 1 events and 0 deliveries of 1 that it told"),
        ({"accepted": 1}, (0, 1), "stored 0 events and 1 deliveries of 1 that it told"),
    ],
)
def test_counts_that_lie_are_found(
    told: dict[str, int], stored: tuple[int, int], says: str | None
) -> None:
    event = {"id": "e-1", "duplicate": False, "deliveries": [{"id": "d-1"}]}
    assert wrong_counts({**TAKEN, **told, "events": [event]}, *stored) == says
