"""A cluster of the tests' own: primaries and replicas of Valkey on loopback, and what befalls it.

Nothing here waits for a time: each step is awaited by what the nodes say of themselves.
"""

import contextlib
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import redis

from store.base import P
from support import Valkey, folder_in_memory, free_port, until

NODE_TIMEOUT_S = 2.0  # a node that is silent for so long is taken for dead
SLOTS = 16_384
TAGGED = re.compile(r"\{bridge(-[a-z0-9-]+)?\}:")
MOVED_AT_ONCE = 20  # keys of one MIGRATE


def is_over_cluster() -> bool:
    """Say whether the tests of this process run over a cluster, as `make cluster` has it.

    The prefix of the keys is settled for the life of a process, and is a cluster's or is not.
    """
    return P.startswith("{")


# For a test that has one Redis of its own: the keys of this process are for a cluster.
not_over_cluster = pytest.mark.skipif(is_over_cluster(), reason="it has one Redis of its own")


class Node(Valkey):
    """A Valkey that is one node of a cluster."""

    def __init__(self, folder: Path, *, timeout_s: float) -> None:
        folder.mkdir()
        self.bus_port = free_port()
        options = ["--cluster-enabled", "yes", "--cluster-port", str(self.bus_port)]
        options += ["--cluster-node-timeout", str(round(timeout_s * 1000))]
        # A replica is in step soon after its start, and notices soon that its link is gone.
        options += ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"]
        super().__init__(folder, options=options)

    @property
    def id(self) -> str:
        """The name that it has in the cluster."""
        return str(self.client.execute_command("CLUSTER MYID"))

    @property
    def role(self) -> str:
        """What it says of itself: master or slave, in the words of the protocol."""
        return str(self.client.execute_command("ROLE")[0])

    def cluster(self, *words: object) -> Any:
        """Run CLUSTER with these words on this node."""
        return self.client.execute_command("CLUSTER", *words)

    def known(self) -> dict[str, dict[str, Any]]:
        """Return the nodes that it knows by their address, as redis-py reads CLUSTER NODES."""
        found: dict[str, dict[str, Any]] = self.client.execute_command("CLUSTER NODES")
        return {address.partition("@")[0]: node for address, node in found.items()}

    def all_keys(self) -> set[str]:
        """Return all keys that it has."""
        return set(self.client.scan_iter(count=1000))

    def drop_replicas(self) -> None:
        """Cut the links of its replicas. One that stands still does not come back by itself."""
        self.client.execute_command("CLIENT", "KILL", "TYPE", "replica")


class Cluster:
    """Some primaries that share all slots, each with replicas, all on free loopback ports.

    A node that is killed stays away until revive(). timeout_s: how long a node may be silent.
    """

    def __init__(
        self,
        folder: Path,
        *,
        primaries: int = 3,
        replicas: int = 1,
        timeout_s: float = NODE_TIMEOUT_S,
    ) -> None:
        count = primaries * (1 + replicas)
        self._folder = folder
        self._timeout_s = timeout_s
        self.nodes = [self._node(number) for number in range(count)]
        self._primaries = primaries
        addresses = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        self.url = f"cluster://{addresses}"

    def start(self) -> Self:
        """Start all nodes, let them meet, share the slots out, and wait until all are in step."""
        for node in self.nodes:
            node.start()
        first, *others = self.nodes
        primaries = self.nodes[: self._primaries]
        for number, node in enumerate(primaries):
            node.cluster("ADDSLOTSRANGE", *_share(number, self._primaries))
            node.cluster("SET-CONFIG-EPOCH", number + 1)
        for node in others:
            first.cluster("MEET", "127.0.0.1", node.port, node.bus_port)
        until(self._all_have_met, what="the meeting of all nodes")
        for number, node in enumerate(self.nodes[self._primaries :]):
            node.cluster("REPLICATE", primaries[number % self._primaries].id)
        self.await_whole()
        return self

    def stop(self) -> None:
        """End all nodes; a second time does nothing."""
        for node in self.nodes:
            if node.is_running:
                node.go_on()
            # Nothing of it is wanted any more, so none need close its files in peace.
            node.stop(by=signal.SIGKILL)

    def await_whole(self) -> None:
        """Wait until every node that runs is content, and each replica is in step."""
        until(self._is_whole, what="a cluster that is whole")

    # --- who is who -----------------------------------------------------------------------------

    @property
    def running(self) -> tuple[Node, ...]:
        """The nodes that were not killed."""
        return tuple(node for node in self.nodes if node.is_running)

    def primaries(self) -> tuple[Node, ...]:
        """Return the nodes that run and say of themselves that they are primaries."""
        return tuple(node for node in self.running if node.role == "master")

    def owner(self, key: str = P) -> Node:
        """Return the node that has the slot of a key, as the primaries of most nodes see it."""
        return until(lambda: self._owner(key), what=f"an owner of {key}")

    def replicas_of(self, owner: Node) -> tuple[Node, ...]:
        """Return the replicas of a node that run."""
        known = owner.known()
        own_id = owner.id
        return tuple(
            node
            for node in self.running
            if known.get(f"127.0.0.1:{node.port}", {}).get("master_id") == own_id
        )

    def slot_of(self, key: str = P) -> int:
        """Return the slot of a key."""
        return int(self.running[0].cluster("KEYSLOT", key))

    # --- what befalls it ------------------------------------------------------------------------

    def kill_owner(self) -> Node:
        """Kill -9 the node that has our keys, and return it."""
        owner = self.owner()
        owner.stop(by=signal.SIGKILL)
        return owner

    def kill(self) -> None:
        """Kill -9 the node that has our keys, and wait until a replica has taken its place."""
        self.kill_owner()
        self.owner()

    def revive(self) -> None:
        """Start the nodes that were killed, and wait until all are in step again."""
        for node in self.nodes:
            if not node.is_running:
                node.start()
        self.await_whole()

    @contextlib.contextmanager
    def replicas_standing_still(self) -> Iterator[Node]:
        """Have the replicas of our owner stand still, with their links cut; yield the owner.

        A replica that only stands still loses nothing: what was sent to it reaches it later, from
        the buffers of the system.
        """
        owner = self.owner()
        replicas = self.replicas_of(owner)
        for node in replicas:
            node.stand_still()
        try:
            owner.drop_replicas()
            yield owner
        finally:
            for node in replicas:
                node.go_on()

    def begin_move(self) -> tuple[Node, Node]:
        """Begin to move our slot to another primary; return the node that has it and that one."""
        source = self.owner()
        target = next(node for node in self.primaries() if node is not source)
        slot = self.slot_of()
        target.cluster("SETSLOT", slot, "IMPORTING", source.id)
        source.cluster("SETSLOT", slot, "MIGRATING", target.id)
        return source, target

    def move_keys(self, source: Node, target: Node, *, most: int | None = None) -> int:
        """Move keys of our slot, all of them or some; return how many."""
        slot, moved = self.slot_of(), 0
        while most is None or moved < most:
            count = MOVED_AT_ONCE if most is None else min(MOVED_AT_ONCE, most - moved)
            keys = source.cluster("GETKEYSINSLOT", slot, count)
            if not keys:
                break
            words = ("127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            source.client.execute_command("MIGRATE", *words)
            moved += len(keys)
        return moved

    def end_move(self, source: Node, target: Node) -> None:
        """Give our slot to its new owner, and wait until all know of it."""
        slot = self.slot_of()
        for node in (target, source, *self.primaries()):
            node.cluster("SETSLOT", slot, "NODE", target.id)
        until(lambda: self._owner(P) is target, what="the slot's new owner")

    def move_slot(self) -> int:
        """Move our slot to another primary, while whoever uses it goes on; return how many keys."""
        source, target = self.begin_move()
        moved = self.move_keys(source, target)
        self.end_move(source, target)
        return moved

    def heal(self) -> None:
        """Undo what was done to it: start who was killed, and move no slot any more."""
        self.revive()
        for node in self.primaries():
            node.cluster("SETSLOT", self.slot_of(), "STABLE")

    # --- what is in it --------------------------------------------------------------------------

    def empty(self) -> None:
        """Make it a store of this release without events; no key may lie outside of the tag."""
        stray = self.stray_keys()
        for node in self.primaries():
            node.client.config_set("maxmemory", 0)
            node.client.execute_command("FLUSHALL", "SYNC")
        self.owner().client.set(f"{P}schema", 2)
        assert not stray, f"these have no tag: {stray}"

    def run(self, *command: str) -> None:
        """Run a command on every node, such as one that makes a user."""
        for node in self.nodes:
            node.run(*command)

    def all_keys(self) -> set[str]:
        """Return all keys of all shards."""
        return {key for node in self.primaries() for key in node.all_keys()}

    def stray_keys(self) -> set[str]:
        """Return the keys of all shards that carry no bridge's tag."""
        return {key for key in self.all_keys() if not TAGGED.match(key)}

    def content(self) -> dict[str, bytes]:
        """Return all keys of all shards with what Redis would dump of each."""
        found: dict[str, bytes] = {}
        for node in self.primaries():
            with redis.Redis.from_url(node.url, single_connection_client=True) as client:
                for key in node.all_keys():
                    client.execute_command("ASKING")  # else who is yet to get the slot refuses
                    found[key] = client.dump(key)
        return found

    def _node(self, number: int) -> Node:
        return Node(self._folder / f"node-{number}", timeout_s=self._timeout_s)

    def _all_have_met(self) -> bool:
        return all(map(self._has_met_all, self.nodes))

    def _has_met_all(self, node: Node) -> bool:
        """Tell whether a node knows all by their names; until hands are shaken it makes one up."""
        known = node.known().values()
        return len(known) == len(self.nodes) and not any(
            "handshake" in one["flags"] for one in known
        )

    def _is_whole(self) -> bool:
        with contextlib.suppress(redis.RedisError):
            return all(map(self._is_in_step, self.running))
        return False

    def _is_in_step(self, node: Node) -> bool:
        """Tell whether a node knows the whole cluster and, as a replica, has all of its data."""
        if node.client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
            return False
        known = node.known().values()
        replicas = sum("slave" in one["flags"] and "fail" not in one["flags"] for one in known)
        role = node.client.execute_command("ROLE")
        followed = role[0] == "master" or role[3] == "connected"
        return followed and replicas == len(self.running) - len(self.primaries())

    def _owner(self, key: str) -> Node | None:
        """Return who has the slot of a key; None: the nodes don't agree, or nobody has."""
        found = set()
        with contextlib.suppress(redis.RedisError):
            for node in self.primaries():
                if str(node.client.execute_command("CLUSTER INFO")["cluster_state"]) != "ok":
                    return None
                slot = int(node.cluster("KEYSLOT", key))
                found |= {
                    int(owner[1])
                    for start, end, owner, *_ in node.client.execute_command(
                        "CLUSTER SLOTS", never_decode=True
                    )
                    if start <= slot <= end
                }
        by_port = {node.port: node for node in self.running}
        return by_port.get(found.pop()) if len(found) == 1 else None


@contextlib.contextmanager
def cluster_in_memory(**options: Any) -> Iterator[Cluster]:
    """Start a cluster whose folders are in memory, if there is room; options: as Cluster's."""
    with folder_in_memory() as folder:
        cluster = Cluster(folder, **options)
        try:
            yield cluster.start()
        finally:
            cluster.stop()


def _share(number: int, count: int) -> tuple[int, int]:
    """Return the first and the last slot of one of so many primaries."""
    return SLOTS * number // count, SLOTS * (number + 1) // count - 1
