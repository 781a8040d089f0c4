"""A Valkey with replicas, and stores of it that wait for them."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from store import Store, connect
from support import LONGEST_S, Valkey, until

AT_ONCE = ("--repl-diskless-sync-delay", "0")


class Replicated:
    """A primary and its replicas, each a Valkey of its own."""

    def __init__(self, primary: Valkey, replicas: list[Valkey]) -> None:
        self.primary = primary
        self.replicas = replicas
        self.url = primary.url

    @contextlib.contextmanager
    def store(self, *, acks: int = 1) -> Iterator[Store]:
        """Open a store that waits for so many replicas."""
        with connect(self.url, timeout_s=LONGEST_S) as client:
            yield Store(client, acks=acks)

    def empty(self) -> None:
        """Make all of them a store of this release without events, and wait until they are."""
        self.primary.empty()
        with connect(self.url, timeout_s=LONGEST_S) as client:
            client.set("bridge:emptied", "1")
            assert client.wait(len(self.replicas), int(LONGEST_S * 1000)) == len(self.replicas)
            client.delete("bridge:emptied")


@contextlib.contextmanager
def replicated(replica_count: int = 1) -> Iterator[Replicated]:
    """Start a primary and its replicas, and wait until they are in step."""
    with tempfile.TemporaryDirectory(prefix="replicas-") as folder, contextlib.ExitStack() as stack:

        def start(name: str, *options: str) -> Valkey:
            place = Path(folder) / name
            place.mkdir()
            server = Valkey(place, fsync="everysec", options=(*AT_ONCE, *options))
            stack.callback(server.stop)
            return server.start()

        primary = start("primary")
        replicaof = ("--replicaof", "127.0.0.1", str(primary.port))
        replicas = [start(f"replica{n}", *replicaof) for n in range(replica_count)]
        with connect(primary.url, timeout_s=LONGEST_S) as client:
            until(lambda: _online(client.info("replication")) == replica_count, what="the replicas")
        yield Replicated(primary, replicas)


def _online(told: dict[str, object]) -> int:
    replicas = (one for name, one in told.items() if name.startswith("slave"))
    return sum(isinstance(one, dict) and one.get("state") == "online" for one in replicas)
