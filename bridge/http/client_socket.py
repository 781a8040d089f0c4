"""The socket of a client: it sends an answer in one step, and waits only for a slow client.

Each wait, and each change between waiting and not waiting, is a system call, at which a thread
lets go of Python's lock and has to get it back.
"""

import fcntl
import struct
import termios
from socket import socket
from typing import Any, Final

SEND_S: Final = 10.0  # for a client to read one piece of an answer


class ClientSocket(socket):
    """A socket that stays as it is, not blocking, whatever gunicorn sets."""

    def __init__(self, accepted: socket) -> None:
        """Take over a socket that was accepted."""
        of_accepted = accepted.family, accepted.type, accepted.proto
        super().__init__(*of_accepted, fileno=accepted.detach())
        self.settimeout(0.0)
        self._head: bytes | None = None  # kept back; empty: it comes with the next sendall()
        self._unread_at_most = 0

    def setblocking(self, flag: bool, /) -> None:
        """Do nothing: sendall() waits where it must."""

    def begin_answer(self) -> None:
        """Send the head, which gunicorn sends first and alone, together with what follows it."""
        self._head = b""

    def end_answer(self) -> None:
        """Send a head that is still kept back. What is sent next, is sent at once."""
        head, self._head = self._head, None
        if head:
            self.sendall(head)

    def shutdown(self, how: int, /) -> None:
        """Close a side. gunicorn does so, too, where the app failed after the head of an answer."""
        self.end_answer()
        super().shutdown(how)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all of it. Raises TimeoutError if the client does not read it in SEND_S."""
        if self._head is not None and not self._head:
            self._head = data
            return
        if self._head:
            data, self._head = self._head + data, None
        self._unread_at_most += len(data)
        try:
            sent = self.send(data, flags)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self.settimeout(SEND_S)
            try:
                super().sendall(memoryview(data)[sent:], flags)
            finally:
                self.settimeout(0.0)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a file. Raises TimeoutError if the client does not read it in SEND_S."""
        self.end_answer()
        self.settimeout(SEND_S)
        try:
            sent = super().sendfile(file, offset, count)
        finally:
            self.settimeout(0.0)
        self._unread_at_most += sent
        return sent

    def has_unread(self, size: int) -> bool:
        """Say whether the client's system has not taken more than `size` bytes of our answers."""
        if self._unread_at_most > size:  # asked only where what was sent since may be as much
            self._unread_at_most = self._unread_bytes()
        return self._unread_at_most > size

    def _unread_bytes(self) -> int:
        try:
            found: tuple[int] = struct.unpack("i", fcntl.ioctl(self, termios.TIOCOUTQ, bytes(4)))
        except OSError:  # it is gone, or this system can't say
            return 0
        return found[0]
