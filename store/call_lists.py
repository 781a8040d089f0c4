"""What is kept of call lists besides their rows, which are events: the columns of each route."""

from collections.abc import Mapping

import orjson

from store.base import Base, P


class CallListStore(Base):
    """Keeps how the columns of a route's latest list were mapped."""

    def keep_list_mapping(self, route: str, mapping: Mapping[str, str]) -> None:
        """Keep the mapping of a route's list: {path: column}."""
        with self._reached():
            self.redis.hset(f"{P}list_mappings", route, orjson.dumps(dict(mapping)).decode())

    def list_mapping(self, route: str) -> dict[str, str]:
        """Return the mapping of a route's latest list: {path: column}; empty: there was none."""
        with self._reached():
            kept = self.redis.hget(f"{P}list_mappings", route)
        return dict(orjson.loads(str(kept))) if kept else {}
