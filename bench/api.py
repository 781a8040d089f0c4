"""An API that answers like CallKaro after a given time, and counts its requests.

It also answers like HubSpot, with a contact for each id that is asked for.
The simulator checks every rule, which costs time. This API must not be the limit.
Run it as a process of its own: `python -m bench.api PORT`.
"""

import asyncio
import sys
import time
from typing import Any

import orjson

from bench.processes import HOST

CALL, CAMPAIGN = "/call/outbound", "/call/campaign"
CRM_READ = "/batch/read"  # the end of the path; the object is before it
RESET, GOT, SEEN = "/bench/reset", "/bench/got", "/bench/seen"


class Seen:
    """The requests since the last reset."""

    def __init__(self) -> None:
        self.delay_s = 0.0  # of CallKaro
        self.crm_delay_s = 0.0
        self.ids: list[str] = []
        self.times: list[float] = []  # monotonic
        self.campaigns = 0


class Connection(asyncio.Protocol):
    """One connection that stays open."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (for the type checker)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            head, end, rest = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            body, self._received = rest[: int(length or 0)], rest[int(length or 0) :]
            if len(body) < int(length or 0):
                self._received = head + end + body
                return
            self._answer(head.split(b" ", 2)[1].decode("ascii"), body)

    def _answer(self, path: str, body: bytes) -> None:
        seen = self._seen
        if path == CALL:
            seen.times.append(time.monotonic())
            seen.ids.append(orjson.loads(body)["metadata"]["bridge_delivery_id"])
            self._send(
                {
                    "status": "done",
                    "message": "Call queued successfully",
                    "call_sid": f"sid-{len(seen.ids)}",
                },
                seen.delay_s,
            )
        elif path == CAMPAIGN:
            seen.campaigns += 1
            self._send(
                {
                    "status": "success",
                    "message": "Campaign created successfully",
                    "batch_id": f"batch-{seen.campaigns}",
                },
                seen.delay_s,
            )
        elif path == RESET:
            seen.__init__()  # type: ignore[misc]  # all that it was is gone
            wanted = orjson.loads(body)
            seen.delay_s, seen.crm_delay_s = wanted["delay_s"], wanted.get("crm_delay_s", 0.0)
            self._send({})
        elif path.endswith(CRM_READ):
            ids = [one["id"] for one in orjson.loads(body)["inputs"]]
            self._send({"results": [contact(one) for one in ids]}, seen.crm_delay_s)
        elif path == GOT:
            self._send({"calls": len(seen.ids)})
        else:
            self._send({"ids": seen.ids, "times": seen.times, "campaigns": seen.campaigns})

    def _send(self, answer: dict[str, Any], delay_s: float = 0) -> None:
        body = orjson.dumps(answer)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        whole = head % len(body) + body
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, self._transport.write, whole)
        else:
            self._transport.write(whole)


def contact(record_id: str) -> dict[str, Any]:
    """Return a contact as HubSpot does, with a number of its own."""
    properties = {"phone": f"+9197{int(record_id) % 10**8:08d}", "firstname": "Lead"}
    return {"id": record_id, "properties": properties, "archived": False}


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    seen = Seen()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(seen), HOST, port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
