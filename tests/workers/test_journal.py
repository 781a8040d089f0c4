"""The journal: what a drain noted is with its supervisor, even when the drain is gone."""

import os
from collections.abc import Iterator

import pytest

from schemas.delivery import Status
from schemas.records import Move
from workers import journal
from workers.journal import Journal, JournalWriter


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    """A journal that this process both writes and reads."""
    book = Journal()
    monkeypatch.setattr(journal, "_write_end", book._write_end)
    yield book
    os.close(book.read_end)
    os.close(book._write_end)


def a_move(number: int = 1, **more: object) -> Move:
    made = {"to": Status.DELIVERED, "lease": number, "attempt": (1, {"number": 1, "answer": "ok"})}
    return Move(id=f"d{number}", **{**made, **more})  # type: ignore[arg-type]


def test_moves_come_out_as_they_went_in_and_in_order(book: Journal) -> None:
    journal_writer = JournalWriter()
    journal_writer.write([a_move(1), a_move(2)])
    journal_writer.write([a_move(3)])

    found = list(book.moves())

    assert [one["id"] for one in found] == ["d1", "d2", "d3"]
    assert found[0]["lease"] == 1
    assert [one["id"] for one in book.moves()] == ["d1", "d2", "d3"], "they are kept"


def test_neither_requests_nor_long_answers_travel(book: Journal) -> None:
    attempt = (1, {"number": 1, "answer": "x" * 5000})
    JournalWriter().write(
        [a_move(fields={"request": '{"to_number": "+91…"}', "spent": 1}, attempt=attempt)]
    )

    [found] = book.moves()

    assert found["set"] == {"spent": 1}
    assert len(found["attempt"]["record"]) < 300


def test_a_writer_never_waits_and_loses_nothing_while_the_reader_is_busy(book: Journal) -> None:
    journal_writer = JournalWriter()
    sent = [f"d{number}" for number in range(12_000)]  # more than a pipe holds
    for start in range(0, 12_000, 500):
        journal_writer.write(a_move(number) for number in range(start, start + 500))
    assert journal_writer._unwritten

    while journal_writer._unwritten:
        book.take_in()
        journal_writer.write(())

    assert [one["id"] for one in book.moves()] == sent


def test_what_is_a_minute_older_than_the_newest_is_forgotten(
    book: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(journal.time, "monotonic", lambda: now[0])
    journal_writer = JournalWriter()
    journal_writer.write([a_move(1)])
    book.take_in()
    now[0] += 59
    journal_writer.write([a_move(2)])
    assert len(list(book.moves())) == 2
    now[0] += 3600  # as while Redis is away: nothing new comes, and what was last is needed then
    assert len(list(book.moves())) == 2
    journal_writer.write([a_move(3)])

    assert [one["id"] for one in book.moves()] == ["d3"]


def test_a_line_that_two_writers_tore_costs_only_itself(book: Journal) -> None:
    os.write(book._write_end, b'{"id": "d0", "to\n')
    JournalWriter().write([a_move(1)])

    assert [one["id"] for one in book.moves()] == ["d1"]


def test_without_a_supervisor_nothing_is_written() -> None:
    journal_writer = JournalWriter()
    journal_writer.write([a_move(1)])
    journal_writer.finish()

    assert not journal_writer._unwritten
