"""A request that is still arriving: bytes go in, and it says when the request is whole. No I/O.

gunicorn's parser stays the judge of every request. What is found here only says when to call it.
"""

import re

from config.settings import MAX_BODY_BYTES

HEAD_BYTES = 64 * 1024  # request line and headers; gunicorn itself would take 800 kB
# The dashboard's form that tries a body: each byte of the body may be written as %XX.
TRY_PATH = b"/routes/try"
_CHUNK_LINE_BYTES = 8190
# gunicorn takes up to 10 us for each. Programs send chunks of 1 kB and more, so 4 MB in 4,000.
MAX_CHUNKS = 20_000
# Chunks have lines of their own. A body that is over the limit must still be seen to be over it.
_CHUNKED_SHARE = 1.25

_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:[ \t]*([0-9]{1,18})", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding[ \t]*:", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect[ \t]*:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)


class Arriving:
    """The bytes of one connection. gunicorn's parser reads them by recv(), as from a socket."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._begin()

    def _begin(self) -> None:
        self.path = b""  # of the request, without its query; empty until the head is whole
        self.is_ready = False  # the parser may read
        self.is_whole = False  # False, though ready: the body is too large, or its chunks are wrong
        self.has_large_head = False
        self.wants_continue = False  # the sender waits for "100 Continue" before it sends the body
        self._head_end = 0
        self._searched = 0
        self._chunks = 0
        self._next_chunk = 0  # where the line of the next chunk starts; 0: the body has a length
        self._most = 0
        self._end = 0
        self._read = 0

    def __len__(self) -> int:
        """Return how many bytes are kept."""
        return len(self._bytes)

    def feed(self, data: bytes) -> None:
        """Take what arrived. Not while the parser reads."""
        self._bytes += data
        if not self._head_end:
            self._look_for_head()
        if self._head_end and not self.is_ready:
            self._look_for_end()

    def recv(self, size: int) -> bytes:
        """Return at most `size` bytes of the request that is ready; empty at its end."""
        end = min(self._read + size, self._end)
        with memoryview(self._bytes) as view:
            found = bytes(view[self._read : end])
        self._read = end
        return found

    def end(self) -> None:
        """Forget the request that was ready. What came after it begins the next request."""
        rest = bytes(self._bytes[self._end :])
        self.clear()
        if rest:
            self.feed(rest)

    def clear(self) -> None:
        """Forget everything."""
        self._bytes = bytearray()
        self._begin()

    def _look_for_head(self) -> None:
        found = self._bytes.find(b"\r\n\r\n", self._searched)
        self._searched = max(len(self._bytes) - 3, 0)
        if found < 0 or found > HEAD_BYTES:
            self.has_large_head = len(self._bytes) > HEAD_BYTES
            return
        head = bytes(self._bytes[: found + 2])
        # The parser must not see it: it would ask for a body that has arrived by then.
        kept = _EXPECT.sub(b"", head)
        self._bytes[: found + 2] = kept
        self._head_end = len(kept) + 2
        self.path = (kept.split(b" ", 2)[1:2] or [b""])[0].partition(b"?")[0]
        self._most = MAX_BODY_BYTES * (4 if self.path == TRY_PATH else 1)
        length = _LENGTH.search(kept)
        if _CHUNKED.search(kept):
            self._next_chunk = self._head_end
            self._most = int(self._most * _CHUNKED_SHARE)
            self._searched = self._head_end
        else:
            self._end = self._head_end + (int(length[1]) if length else 0)
        is_small = self._end - self._head_end <= self._most
        self.wants_continue = kept != head and is_small

    def _look_for_end(self) -> None:
        body = len(self._bytes) - self._head_end
        if self._next_chunk:
            self._look_for_last_chunk()
        elif self._end - self._head_end > self._most:
            self._give_up()  # its length says so: the app refuses it without reading
        elif len(self._bytes) >= self._end:
            self.is_ready = self.is_whole = True
        if not self.is_ready and body > self._most:
            self._give_up()

    def _look_for_last_chunk(self) -> None:
        while self._next_chunk < len(self._bytes):
            line_end = self._bytes.find(b"\r\n", self._next_chunk)
            if line_end < 0:
                if len(self._bytes) - self._next_chunk > _CHUNK_LINE_BYTES:
                    self._give_up()
                return
            line = bytes(self._bytes[self._next_chunk : line_end]).partition(b";")[0].strip()
            self._chunks += 1
            if self._chunks > MAX_CHUNKS or not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", line):
                self._give_up()
                return
            size = int(line, 16)
            if size == 0:
                self._look_for_trailers(line_end)
                return
            self._next_chunk = line_end + 2 + size + 2

    def _look_for_trailers(self, line_end: int) -> None:
        found = self._bytes.find(b"\r\n\r\n", max(line_end, self._searched))
        self._searched = max(len(self._bytes) - 3, 0)
        if found >= 0:
            self._end = found + 4
            self.is_ready = self.is_whole = True

    def _give_up(self) -> None:
        """Let the parser and the app say what is wrong with what has arrived."""
        self._end = len(self._bytes)
        self.is_ready = True
