"""The journal: what a drain noted is with its supervisor, even when the drain is gone."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from support import ROOT

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


def test_a_drain_that_begins_after_a_long_outage_makes_nothing_forgotten(
    book: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(journal.time, "monotonic", lambda: now[0])
    JournalWriter().write([a_move(1)])
    book.take_in()

    for _ in range(100):  # Redis is back, and RQ starts drains before the ticker replays
        now[0] += 70
        JournalWriter().stir()
        book.take_in()

    assert [one["id"] for one in book.moves()] == ["d1"]
    assert len(book._blocks) + len(book._spare) <= 2


def test_a_line_whose_end_comes_alone_stays_a_line(book: Journal) -> None:
    for part in (b'{"id": "d1"}', b"\n", b"\n", b'{"id": "d2"}\n', b"\n", b'{"id": "d3"}', b"\n"):
        os.write(book._write_end, part)
        book.take_in()

    assert [one["id"] for one in book.moves()] == ["d1", "d2", "d3"]


def test_a_line_that_two_writers_tore_costs_only_itself(book: Journal) -> None:
    os.write(book._write_end, b'{"id": "d0", "to\n')
    JournalWriter().write([a_move(1)])

    assert [one["id"] for one in book.moves()] == ["d1"]


def test_without_a_supervisor_nothing_is_written() -> None:
    journal_writer = JournalWriter()
    journal_writer.write([a_move(1)])
    journal_writer.finish()

    assert not journal_writer._unwritten


@pytest.mark.parametrize("sizes", [(10,), (70_000, 3, 65_536), (1, 65_535, 2, 131_072)])
def test_a_move_that_several_blocks_share_comes_out_whole(
    book: Journal, sizes: tuple[int, ...]
) -> None:
    lines = [b'{"id": "%s"}' % (b"x" * size) for size in sizes]
    for line in lines:
        os.write(book._write_end, line + b"\n")
        book.take_in()

    assert [len(one["id"]) for one in book.moves()] == list(sizes)


def test_blocks_are_used_again(book: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(journal.time, "monotonic", lambda: now[0])
    journal_writer = JournalWriter()
    for number in range(600):
        journal_writer.write([a_move(number)])
        book.take_in()
        now[0] += 1

    assert len(book._blocks) + len(book._spare) <= 64
    assert len(list(book.moves())) <= 62


RSS = """
import os, sys, time
from pathlib import Path
from schemas.delivery import Status
from schemas.records import Move
from workers import journal

def rss_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6

journal.REMEMBERED_S = 2.0
book = journal.Journal()
if not os.fork():
    book.write_here()
    writer, number, ends = journal.JournalWriter(), 0, time.monotonic() + float(sys.argv[1])
    while time.monotonic() < ends:
        record = {"number": 1, "answer": "x" * (number * 37 % 300)}
        made = Move(id=f"d{number}", to=Status.DELIVERED, lease=number, attempt=(1, record))
        writer.write([made])
        number += 1
        while len(writer._unwritten) > 100 and time.monotonic() < ends:
            time.sleep(0.001)
            writer.write(())
    os._exit(0)
os.close(book._write_end)
began, found, taken = time.monotonic(), [], 0
while time.monotonic() - began < float(sys.argv[1]) - 1:
    book.take_in()
    if time.monotonic() - began > len(found) + 1:
        found.append(rss_mb())
    time.sleep(0.0005)
print(*(round(one, 1) for one in found))
"""


@pytest.mark.bounds
def test_the_memory_of_a_supervisor_stays_flat() -> None:
    """A minute at full speed, in which the journal forgets after 2 s."""
    made = subprocess.run(  # noqa: S603  (our own text)
        [sys.executable, "-c", RSS, "60"], capture_output=True, text=True, check=True, cwd=ROOT
    )

    mb = [float(one) for one in made.stdout.split()]
    early, late = max(mb[16:24]), max(mb[-8:])
    assert late - early < 2.0, mb
