"""The journal: what this worker attempted in the last minute, kept outside Redis.

A Redis that does not write each change to disk may restart without its last second. Then calls
that were sent in that second would be sent again. So a drain writes each attempt that it begins or
settles into a pipe to its supervisor. After a restart of Redis, the supervisor replays the journal
before anything is claimed. With `appendfsync always` nothing is missing, and the replay changes
nothing.
"""

import contextlib
import fcntl
import os
import select
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from schemas.records import Move
from store.records import written

REMEMBERED_S = 60.0
ANSWER_CHARS = 200  # of CallKaro's answer: what was sent matters here, not the answer
PIPE_BYTES = 1024 * 1024
FLUSH_S = 1.0
BLOCK_BYTES = 65_536
BLOCK_S = 1.0  # what came within this time may share a block, and is forgotten together

_write_end: int | None = None  # in a worker and its work-horses; None: there is no supervisor


class _Block:
    """A piece of what came through the pipe.

    Blocks are used again. With an object for each line, a supervisor grew by 0.35 kB a delivery:
    the large buffers and the small lines between them broke its memory into pieces.
    """

    def __init__(self) -> None:
        self.bytes = bytearray(BLOCK_BYTES)
        self.used = 0
        self.began = 0.0  # monotonic: its first and its latest bytes
        self.ended = 0.0

    def takes(self, now: float) -> bool:
        """Say whether more bytes may come into this block."""
        return self.used < BLOCK_BYTES and (not self.used or now - self.began < BLOCK_S)

    def rest(self) -> memoryview:
        """Return the part that is free."""
        return memoryview(self.bytes)[self.used :]


class Journal:
    """A pipe from a supervisor's worker, and the last minute of what came through it."""

    def __init__(self) -> None:
        self.read_end, self._write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        os.set_blocking(self._write_end, False)
        with contextlib.suppress(OSError, AttributeError):  # the system's default size is enough
            fcntl.fcntl(self._write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._blocks: deque[_Block] = deque()  # what came, oldest first
        self._spare: list[_Block] = []
        self._is_at_line_end = True  # of what came

    def write_here(self) -> None:
        """In the worker, after the fork: from now on, JournalWriter writes into this journal."""
        global _write_end
        os.close(self.read_end)
        _write_end = self._write_end

    def close(self) -> None:
        """In another child, after the fork: close both ends."""
        os.close(self.read_end)
        os.close(self._write_end)

    def take_in(self) -> None:
        """Read what has come, and forget what is a minute older than the newest move.

        Not a minute older than now: the last moves are replayed however long Redis was away.
        """
        now = time.monotonic()
        with contextlib.suppress(BlockingIOError):
            while count := os.readv(self.read_end, [self._block_for(now).rest()]):
                block = self._blocks[-1]
                came = block.bytes[block.used : block.used + count]
                # A stir is no move. It must not make older what is replayed after a restart.
                if self._is_at_line_end and not came.strip(b"\n"):
                    continue
                self._is_at_line_end = came.endswith(b"\n")
                if not block.used:
                    block.began = now
                block.used += count
                block.ended = now
        kept = [block for block in self._blocks if block.used]
        while kept and self._blocks[0].ended < kept[-1].ended - REMEMBERED_S:
            self._spare.append(self._blocks.popleft())

    def _block_for(self, now: float) -> "_Block":
        """Return the block to read into: the last one, unless it is full or too old."""
        if self._blocks and self._blocks[-1].takes(now):
            return self._blocks[-1]
        block = self._spare.pop() if self._spare else _Block()
        block.used, block.began, block.ended = 0, now, now
        self._blocks.append(block)
        return block

    def moves(self) -> Iterator[dict[str, Any]]:
        """Yield the moves of the last minute, oldest first."""
        self.take_in()
        part = b""
        for block in self._blocks:
            *lines, part = (part + block.bytes[: block.used]).split(b"\n")
            for line in lines:
                # While one work-horse was ending, the next one may have written at the same time.
                # And of the first line only the end may be left.
                with contextlib.suppress(orjson.JSONDecodeError):
                    yield orjson.loads(line)


class JournalWriter:
    """Writes moves into the journal, without waiting for the reader."""

    def __init__(self) -> None:
        self._unwritten: deque[bytes] = deque()

    def write(self, moves: Iterable[Move]) -> None:
        """Write moves. Those that do not fit into the pipe follow at the next call."""
        if _write_end is None:
            return
        self._unwritten.extend(orjson.dumps(_short(move)) + b"\n" for move in moves)
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while self._unwritten:
                self._unwritten[0] = self._unwritten[0][os.write(_write_end, self._unwritten[0]) :]
                if not self._unwritten[0]:
                    self._unwritten.popleft()

    def stir(self) -> None:
        """Let the supervisor look soon for what falls due: a drain works, or has just done so."""
        if _write_end is not None and not self._unwritten:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(_write_end, b"\n")

    def finish(self) -> None:
        """Wait a moment for the reader, and write the rest."""
        until = time.monotonic() + FLUSH_S
        while self._unwritten and _write_end is not None and time.monotonic() < until:
            select.select([], [_write_end], [], FLUSH_S)
            self.write(())


def _short(move: Move) -> Mapping[str, Any]:
    """Return a move without what its replay does not need."""
    short = written(move)
    short["set"].pop("request", None)
    if move.attempt:
        number, record = move.attempt
        record = {**record, "answer": str(record.get("answer", ""))[:ANSWER_CHARS]}
        short["attempt"] = {"number": number, "record": orjson.dumps(record).decode()}
    return short
