"""A log line is the same straight to its handler and through the standard library."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.contextvars import bind_contextvars, clear_contextvars

from config import log


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    clear_contextvars()


def say(name: str) -> None:
    bind_contextvars(request_id="0f6c-id-1")
    logger = log.get(name)
    logger.info("thing.happened", source="é…", count=2, of=frozenset({1}), nothing=None)
    try:
        raise ValueError("+919812340511")
    except ValueError as error:
        logger.error("thing.crashed", exc_info=error)
        logger.exception("thing.crashed")
    logger.warning("thing.odd", event_of="it", stack_info=False)
    logger.debug("thing.unseen")


def lines(capsys: pytest.CaptureFixture[str]) -> list[list[tuple[str, Any]]]:
    found = [list(json.loads(one).items()) for one in capsys.readouterr().out.splitlines()]
    return [[(key, "" if key == "at" else value) for key, value in one] for one in found]


def test_a_line_has_the_same_fields_in_the_same_order_on_both_ways(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log.configure(process="test")
    with monkeypatch.context() as patch:
        patch.setattr(logging.Logger, "handle", None)  # so that any record of it fails
        say("test.log_lines.straight")
    straight = lines(capsys)

    logging.getLogger().addHandler(logging.NullHandler())
    say("test.log_lines.around")

    assert straight == lines(capsys)
    assert [dict(one)["event"] for one in straight] == [
        *("thing.happened", "thing.crashed", "thing.crashed", "thing.odd")
    ]
    assert "98123" not in str(straight)


@pytest.mark.parametrize("way", ["a handler of its own", "a filter", "no propagation"])
def test_a_logger_with_a_way_of_its_own_keeps_it(
    way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure(process="test")
    name = f"test.log_lines.{way.split()[-1]}"
    logger, told = logging.getLogger(name), logging.NullHandler()
    match way:
        case "a handler of its own":
            logger.addHandler(told)
        case "a filter":
            logger.addFilter(lambda record: False)
        case _:
            logger.propagate = False
    log.get(name).info("thing.happened")
    assert len(lines(capsys)) == (1 if way == "a handler of its own" else 0)


def test_a_line_that_cannot_be_written_stops_nobody(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def write(self, text: str) -> None:
            raise OSError(28, "No space left on device")

        flush = write

    log.configure(process="test")
    [handler] = logging.getLogger().handlers
    monkeypatch.setattr(handler, "stream", Full())
    log.get("test.log_lines.full").info("thing.happened", source="website")
    assert "No space left" in capsys.readouterr().err
