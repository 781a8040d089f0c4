"""The bridge as a peer: its web process, its worker, and a CRM that answers at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import hubspot
from bench.checkout import OURS, started_web
from bench.peers.peer import Peer
from bench.processes import Valkey
from bench.setting import bridge_env

WEBHOOKS = 2000


@contextmanager
def bridge(home: Path, valkey: Valkey, api_port: int) -> Iterator[Peer]:
    """Start the web process."""
    env = bridge_env(redis_url=valkey.url, api_port=api_port)
    child, web = started_web(OURS, log_dir=home, env=env)
    with child:
        yield Peer(
            name="bridge",
            promise="on the disk, called at most once",
            web=child,
            target=hubspot.Target(port=web.port, signs_url=True),
            start_worker=lambda: OURS.worker(log_dir=home, env=env),
            webhooks=WEBHOOKS,
        )
