"""The load that the benchmark makes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer

from bench import load

REQUEST = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
ANSWER = b"HTTP/1.1 202 ACCEPTED\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"


class Server(ThreadingTCPServer):
    request_queue_size = 2 * load.CONNECTIONS


class OnceEach(StreamRequestHandler):
    """Answers one request on each connection, and closes it, as a server that starts anew does."""

    def handle(self) -> None:
        while self.rfile.readline() not in (b"", b"\r\n"):
            pass
        self.wfile.write(ANSWER)


@contextmanager
def serving() -> Iterator[int]:
    with Server(("127.0.0.1", 0), OnceEach) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_a_connection_that_the_server_closes_behind_an_answer_is_opened_again() -> None:
    count = load.CONNECTIONS * 2 + 5  # in the end, most connections have no request any more
    with serving() as port:
        done = load.run(port, [REQUEST] * count)
    assert (done.requests, done.errors) == (count, 0)
