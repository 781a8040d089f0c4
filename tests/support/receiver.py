"""The receiver of signed webhooks (alerts, write-backs), written here again."""

import base64
import contextlib
import hashlib
import hmac
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support import LONGEST_S

CUT = 0  # in place of a status: it takes the message and closes the connection


class Receiver:
    """Takes messages as somebody else's server would: it remembers, and answers as told."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.sentence = b""  # the body of its answers
        self.headers: dict[str, str] = {}  # of its answers
        self.go_on = threading.Event()  # cleared: it takes a message and does not answer
        self.go_on.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.got.append((headers, body))
                receiver.go_on.wait(LONGEST_S)
                answer = receiver.next_answer()
                if answer == CUT:
                    self.close_connection = True
                    return
                self.send_response(answer)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                text = b"" if answer == 204 else receiver.sentence
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?token=a-token"

    def next_answer(self) -> int:
        """Return how to answer the next message: as told, else 204. Several may ask at once."""
        with contextlib.suppress(IndexError):
            return self.answers.pop(0)
        return 204


@contextlib.contextmanager
def serving() -> Iterator[Receiver]:
    """Serve until the end of the block."""
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.go_on.set()
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()


def is_signed(headers: dict[str, str], body: bytes, key: str) -> bool:
    """Check a message as https://www.standardwebhooks.com says."""
    secret = base64.b64decode(key.removeprefix("whsec_"))
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    made = base64.b64encode(hmac.new(secret, text, hashlib.sha256).digest()).decode()
    return f"v1,{made}" in headers["webhook-signature"].split(" ")
