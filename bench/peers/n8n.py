"""n8n in queue mode: PostgreSQL, Redis, a process that takes webhooks, and one that works."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from bench import api, hubspot
from bench.peers.packages import program
from bench.peers.peer import Peer
from bench.peers.postgres import USER, postgres
from bench.processes import HOST, BenchError, Child, Valkey, free_port
from bench.setting import THREADS

WEBHOOKS = 300
PATH = "/webhook/bench"
START_S = 180.0  # it makes its tables first


@contextmanager
def n8n(home: Path, valkey: Valkey, api_port: int) -> Iterator[Peer]:
    """Start n8n with its database, and a workflow that posts what a webhook brings."""
    found, port = program("n8n"), free_port()
    with postgres(home) as database_port:
        env = _env(home, valkey, port, database_port)
        file = home / "workflow.json"
        file.write_text(json.dumps(workflow(f"http://{HOST}:{api_port}{api.CALL}")), "utf-8")
        bring = [found, "import:workflow", f"--input={file}", "--activeState=fromJson"]
        with Child("n8n-import", bring, log_dir=home, env=env) as child:
            child.wait(START_S)
        with Child("n8n", [found, "start"], log_dir=home, env=env) as web:
            _wait_for_workflow(web, port)
            # Its own ports, beside those of the process that takes webhooks.
            worker_env = env | {"N8N_PORT": str(free_port())}
            work = [found, "worker", f"--concurrency={THREADS}"]
            yield Peer(
                name="n8n, queue mode",
                promise="on the disk; what a killed process works on may stay undone",
                web=web,
                target=hubspot.Target(port=port, signs_url=False, path=PATH),
                start_worker=lambda: Child("n8n-worker", work, log_dir=home, env=worker_env),
                webhooks=WEBHOOKS,
            )


def _env(home: Path, valkey: Valkey, port: int, database_port: int) -> dict[str, str]:
    return {
        "DB_TYPE": "postgresdb",
        "DB_POSTGRESDB_HOST": HOST,
        "DB_POSTGRESDB_PORT": str(database_port),
        "DB_POSTGRESDB_USER": USER,
        "DB_POSTGRESDB_DATABASE": USER,
        "EXECUTIONS_MODE": "queue",
        "QUEUE_BULL_REDIS_HOST": HOST,
        "QUEUE_BULL_REDIS_PORT": str(valkey.port),
        "QUEUE_BULL_REDIS_DB": "1",  # beside the bridge's data
        "N8N_PORT": str(port),
        "N8N_LISTEN_ADDRESS": HOST,
        "N8N_USER_FOLDER": str(home),
        "N8N_ENCRYPTION_KEY": "bench",
        "N8N_LOG_LEVEL": "warn",
        # The other engine needs a package that is compiled when it is installed.
        "N8N_EXPRESSION_ENGINE": "legacy",
        # Nothing leaves this machine.
        "N8N_DIAGNOSTICS_ENABLED": "false",
        "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
        "N8N_TEMPLATES_ENABLED": "false",
        "N8N_RUNNERS_ENABLED": "false",
        "N8N_COMMUNITY_PACKAGES_ENABLED": "false",
        "EXTERNAL_FRONTEND_HOOKS_URLS": "",
    }


def workflow(call_url: str) -> dict[str, Any]:
    """Return a workflow of two nodes: a webhook that answers at once, and a POST."""
    # Two braces side by side would end the expression.
    made = "{ metadata: { bridge_delivery_id: String($json.body[0].eventId) } }"
    body = f"={{{{ JSON.stringify({made}) }}}}"
    take = {
        "id": "take",
        "name": "Take",
        "type": "n8n-nodes-base.webhook",
        "typeVersion": 2,
        "position": [0, 0],
        "webhookId": "bench",
        "parameters": {
            "httpMethod": "POST",
            "path": PATH.rpartition("/")[2],
            "responseMode": "onReceived",
            "options": {},
        },
    }
    call = {
        "id": "call",
        "name": "Call",
        "type": "n8n-nodes-base.httpRequest",
        "typeVersion": 4.2,
        "position": [200, 0],
        "parameters": {
            "method": "POST",
            "url": call_url,
            "sendBody": True,
            "specifyBody": "json",
            "jsonBody": body,
            "options": {},
        },
    }
    return {
        "id": "bench",
        "name": "bench",
        "active": True,
        "nodes": [take, call],
        "connections": {"Take": {"main": [[{"node": "Call", "type": "main", "index": 0}]]}},
        "settings": {"executionOrder": "v1"},
        "pinData": {},
    }


def _wait_for_workflow(web: Child, port: int) -> None:
    """Wait until the webhook is known. GET is answered 404 in each case, but says which."""
    give_up_at = time.monotonic() + START_S
    while time.monotonic() < give_up_at:
        web.check()
        try:
            answer = requests.get(f"http://{HOST}:{port}{PATH}", timeout=5)
            if "POST" in answer.text:  # "This webhook is not registered for GET requests. …"
                return
        except requests.RequestException:
            pass  # it does not listen yet
        time.sleep(0.5)
    raise BenchError(f"n8n does not take webhooks.\n{web.last_words()}")
