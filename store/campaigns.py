"""Campaigns of CallKaro that several calls share: each is created once, over all workers."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from schemas.records import CampaignPage
from schemas.route import is_campaign_of
from store.base import Base, P

PAGE = 500  # campaigns that one answer of Redis has
CAMPAIGN_LOCK_S = 60  # longer than the creation of a campaign can take: see workers/campaigns.py


class CampaignStore(Base):
    """The campaigns that are known, and the lock on creating one."""

    def campaigns_kept(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the batch_id of each of these campaigns that exists."""
        wanted = list(dict.fromkeys(keys))
        if not wanted:
            return {}
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for key in wanted:
                pipe.hget(f"{P}campaign:{key}", "batch_id")
            found = pipe.execute()
        return {key: batch_id for key, batch_id in zip(wanted, found, strict=True) if batch_id}

    def campaign_agents(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the agent of each of these campaigns that has one (v1)."""
        wanted = list(keys)
        if not wanted:
            return {}
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for key in wanted:
                pipe.hget(f"{P}campaign:{key}", "record")
            found = pipe.execute()
        records = {
            key: orjson.loads(record) for key, record in zip(wanted, found, strict=True) if record
        }
        return {key: str(one["agent_id"]) for key, one in records.items() if one.get("agent_id")}

    def campaign_agent(self, batch_id: str) -> str | None:
        """Return the agent of a campaign that the bridge made; None: it made none, or no agent."""
        with self._reached():
            found = self.redis.hget(f"{P}campaign_agents", batch_id)
        return None if found is None else str(found)

    def note_campaign_agent(self, batch_id: str, agent: str) -> None:
        """Keep the agent of a campaign that the bridge made."""
        with self._reached():
            self.redis.hset(f"{P}campaign_agents", batch_id, agent)

    def may_create_campaign(self, key: str) -> bool:
        """Take the lock on creating this campaign, for a minute; False: another worker has it."""
        return bool(self._run("lock", f"campaign-lock:{key}", CAMPAIGN_LOCK_S * 1000))

    def give_up_campaign(self, key: str) -> None:
        """Release the lock on creating this campaign."""
        with self._reached():
            self.redis.delete(f"{P}campaign-lock:{key}")

    def keep_campaign(self, key: str, batch_id: str, record: Mapping[str, Any]) -> str:
        """Keep a campaign, and make due the deliveries that wait for it.

        The first stored batch_id wins and is returned.
        """
        return str(self._run("campaign", key, batch_id, orjson.dumps(record)))

    def campaigns(self, limit: int = 200) -> list[dict[str, Any]]:
        """Return the newest campaigns: key, batch_id and the record that was kept with them."""
        return [dict(one) for one in self.campaign_page(before=None, limit=limit).items]

    def batch_ids_of(self, name: str) -> frozenset[str]:
        """Return the batch_ids of all campaigns with a name, one of each period."""
        found: set[str] = set()
        before: int | None = None
        while True:
            page = self.campaign_page(before=before, limit=PAGE)
            found |= {
                str(one["batch_id"])
                for one in page.items
                if is_campaign_of(str(one.get("name")), name)
            }
            if page.next_cursor is None:
                return frozenset(found)
            before = int(page.next_cursor)

    def campaign_page(self, *, before: int | None, limit: int) -> CampaignPage:
        """Return the newest campaigns that were made before a time (us)."""
        high = "+inf" if before is None else f"({before}"
        with self._reached():
            found: Any = self.redis.zrange(
                f"{P}campaigns",
                high,
                "-inf",
                desc=True,
                byscore=True,
                offset=0,
                num=limit + 1,  # one more says whether another page follows
                withscores=True,
            )
            shown = found[:limit]
            pipe = self.redis.pipeline(transaction=False)
            for key, _ in shown:
                pipe.hgetall(f"{P}campaign:{key}")
            records = pipe.execute()
        items = (
            {"key": str(key), "batch_id": kept["batch_id"], **orjson.loads(kept["record"])}
            for (key, _), kept in zip(shown, records, strict=True)
            if kept
        )
        is_last = len(found) <= limit
        return CampaignPage(
            items=tuple(items), next_cursor=None if is_last else str(int(shown[-1][1]))
        )
