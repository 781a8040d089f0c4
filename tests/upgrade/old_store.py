"""What an earlier release left in Redis: make_records.py had it write records-<release>.json."""

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support import AGENT

from simulator import Simulator
from simulator.state import Campaign
from store import Store

HERE = Path(__file__).parent
*_OLDER, _NEWEST = sorted(HERE.glob("records-*.json"))
# The everyday suite upgrades from one release, `make slow` from the others.
RELEASES = [*(pytest.param(file, marks=pytest.mark.slow) for file in _OLDER), _NEWEST]
ROUTES = (HERE / "routes.toml").read_text("utf-8")
CALLBACK_TOKEN = "a-callback-token"
# Names that a migrated store does not have: keys, beginnings of keys, fields of deliveries.
OLD_KEYS = frozenset(
    f"bridge:{name}" for name in ("bell", "errands", "due:errand", "standing", "measured")
)
OLD_PREFIXES = tuple(f"bridge:{name}:" for name in ("orphan", "minute", "ten", "hour", "tries"))
OLD_FIELDS = frozenset({"asked", "asked_for", "asked_since_ms", "word", "rings"})


class Old:
    """What an earlier release left, with its times moved: it was a moment ago."""

    def __init__(self, file: Path) -> None:
        content = json.loads(file.read_text("utf-8"))
        self.keys: dict[str, Any] = _moved(content["keys"], content["made_at_ms"])
        self.made: dict[str, dict[str, Any]] = content["deliveries"]
        self.events: dict[str, str] = content["events"]
        self.numbers: dict[str, str] = content["numbers"]
        self.posted: dict[str, dict[str, str]] = content["posted"]

    def id(self, name: str) -> str:
        """Return the id of a delivery."""
        found: str = self.made[name]["id"]
        return found

    def load(self, store: Store) -> None:
        """Write it all into an empty store."""
        store.redis.flushall()
        for key, kept in self.keys.items():
            write: dict[str, Callable[[Any], object]] = {
                "string": lambda value, key=key: store.redis.set(key, value),
                "hash": lambda value, key=key: store.redis.hset(key, mapping=value),
                "set": lambda value, key=key: store.redis.sadd(key, *value),
                "zset": lambda value, key=key: store.redis.zadd(key, dict(value)),
            }
            write[kept["type"]](kept["value"])
            if kept["ttl_ms"] > 0:
                store.redis.pexpire(key, kept["ttl_ms"])
        # It is the same Redis, not one that was started again: claims need not wait.
        store.redis.hset("bridge:run", "id", store.run_id())

    def keep_campaigns(self, store: Store, simulator: Simulator) -> None:
        """Let CallKaro's stand-in have the campaigns that were made then."""
        for one in store.campaigns():
            simulator.state._campaigns[one["batch_id"]] = Campaign(
                batch_id=one["batch_id"], at=datetime.now(UTC), name=one["name"], agent_id=AGENT
            )


def _moved(keys: object, made_ms: int) -> Any:
    """Return what there was with its times (ms, us and ISO 8601) as if it were made 10 s ago."""
    by_ms = int(time.time() * 1000) - 10_000 - made_ms

    def number(found: re.Match[str]) -> str:
        value, per_ms = int(found[0]), 1 if len(found[0]) == 13 else 1000
        is_time = abs(value // per_ms - made_ms) < 60 * 86_400_000
        return str(value + by_ms * per_ms) if is_time else found[0]

    def written(found: re.Match[str]) -> str:
        return (datetime.fromisoformat(found[0]) + timedelta(milliseconds=by_ms)).isoformat()

    text = re.sub(r"(?<!\d)\d{13}(?:\d{3})?(?!\d)", number, json.dumps(keys))
    return json.loads(re.sub(r"20\d\d-\d\d-\d\dT[\d:.]+\+00:00", written, text))


def old_names(store: Store) -> set[str]:
    """Return the names of an earlier release that the store still has."""
    found = set()
    for key in store.redis.scan_iter("bridge:*"):
        if key in OLD_KEYS or key.startswith(OLD_PREFIXES):
            found.add(key)
        if key.startswith("bridge:delivery:"):
            found |= {f"{key} {name}" for name in store.redis.hkeys(key) if name in OLD_FIELDS}
    return found
