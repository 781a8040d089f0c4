"""Node-RED: one process, which answers and then posts from its memory."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import api, hubspot
from bench.peers.packages import program
from bench.peers.peer import Peer
from bench.processes import HOST, Child, free_port

WEBHOOKS = 3000
PATH = "/webhooks/hubspot"
_SETTINGS = (
    f'module.exports = {{uiHost: "{HOST}", httpAdminRoot: false, flowFile: "flows.json"}};\n'
)
_FUNCTION = """\
msg.payload = {metadata: {bridge_delivery_id: String(msg.payload[0].eventId)}};
msg.headers = {"content-type": "application/json"};
return msg;
"""


@contextmanager
def node_red(home: Path, api_port: int) -> Iterator[Peer]:
    """Start Node-RED with a flow that posts what a webhook brings."""
    port, folder = free_port(), home / "node-red"
    folder.mkdir()
    (folder / "settings.js").write_text(_SETTINGS, "utf-8")
    flow = flows(f"http://{HOST}:{api_port}{api.CALL}")
    (folder / "flows.json").write_text(json.dumps(flow), "utf-8")
    command = [program("node-red"), "--userDir", str(folder), "--port", str(port)]
    with Child("node-red", command, log_dir=home, env={}) as web:
        web.wait_for_port(port)
        yield Peer(
            name="Node-RED",
            promise="in memory: a killed process loses all",
            web=web,
            target=hubspot.Target(port=port, signs_url=False, path=PATH),
            start_worker=None,
            webhooks=WEBHOOKS,
        )


def flows(call_url: str) -> list[dict[str, Any]]:
    """Return a flow: a webhook that answers at once, and a POST."""
    on = {"z": "flow"}
    return [
        {"id": "flow", "type": "tab", "label": "bench"},
        {
            **on,
            "id": "take",
            "type": "http in",
            "url": PATH,
            "method": "post",
            "wires": [["answer", "make"]],
        },
        {**on, "id": "answer", "type": "http response", "statusCode": "202", "wires": []},
        {
            **on,
            "id": "make",
            "type": "function",
            "func": _FUNCTION,
            "outputs": 1,
            "wires": [["call"]],
        },
        {
            **on,
            "id": "call",
            "type": "http request",
            "method": "POST",
            "ret": "txt",
            "url": call_url,
            "wires": [[]],
        },
    ]
