"""Campaigns of CallKaro that several calls share: each is created once, over all workers."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from config import log
from schemas.delivery import WAITING
from schemas.records import CampaignCounts, CampaignFilter, CampaignPage
from schemas.route import is_campaign_of
from store.base import Base, P
from store.records import at

logger = log.get(__name__)

CHECKED: Final = 10  # campaigns, or pages of a large one, that a page of the audit checks
COUNTED_ALWAYS: Final = 1000  # calls: a check counts a smaller campaign again in any case
CALLS_COUNTED: Final = 1000  # in a page of a recount, which Redis counts in about 4 ms
PAGE: Final = 500  # campaigns that are indexed in one script
LAST: Final = "\U0010ffff"  # behind every other character in the order of texts
CAMPAIGN_LOCK_S = 60  # longer than the creation of a campaign can take: see workers/campaigns.py


class CampaignStore(Base):
    """The campaigns that are known, what became of their calls, and the lock on creating one."""

    _to_check: Sequence[str] = ()  # campaigns whose counts this round of the audit has to check

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
        name = str(record.get("name") or key)
        return str(self._run("campaign", key, batch_id, orjson.dumps(record), name))

    def campaigns(self, limit: int = 200) -> list[dict[str, Any]]:
        """Return the newest campaigns: key, batch_id and the record that was kept with them."""
        return [dict(one) for one in self.campaign_page(before=None, limit=limit).items]

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
        items = self._campaign_records([str(key) for key, _ in shown])
        is_last = len(found) <= limit
        return CampaignPage(
            items=tuple(items), next_cursor=None if is_last else str(int(shown[-1][1]))
        )

    def campaign(self, batch_id: str) -> dict[str, Any] | None:
        """Return a campaign as campaign_page() does; None: the bridge did not make it."""
        return next(iter(self._campaign_records(self._campaign_keys("batch", batch_id))), None)

    def is_campaign(self, batch_id: str) -> bool:
        """Say whether the bridge made this campaign, or a call ever belonged to it."""
        with self._reached():
            is_used = bool(self.redis.sismember(f"{P}campaigns_used", batch_id))
        return is_used or bool(self._campaign_keys("batch", batch_id))

    def campaigns_called(self, text: str) -> dict[str, str]:
        """Return the batch_id of each campaign with this batch_id or name, by key.

        A name finds the campaigns of all its periods.
        """
        keys = [*self._campaign_keys("batch", text), *self._campaign_keys("name", text)]
        return self.campaigns_kept(keys)

    def campaign_counts(self, campaigns: Sequence[CampaignFilter]) -> list[CampaignCounts]:
        """Return how many calls each of these has."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            pipe.hgetall(f"{P}status_counts")
            for one in (one for only in campaigns for one in sorted(only.campaigns)):
                pipe.hgetall(f"{P}campaign_counts:{one}")
                pipe.hgetall(f"{P}campaign_counts:pruned:{one}")
            by_route, *rest = pipe.execute()
        hashes = iter(rest)
        return [
            _counts(only, by_route, [(next(hashes), next(hashes)) for _ in only.campaigns])
            for only in campaigns
        ]

    def repair_campaigns(self, *, is_first: bool) -> None:
        """Check the counts of some campaigns; the audit does this once a page.

        is_first: a round of the audit begins. Then campaigns of an older release are indexed by
        name, too.
        """
        if is_first:
            self._index_campaigns()
        if is_first and not self._to_check:
            with self._reached():
                self._to_check = list(self.redis.sscan_iter(f"{P}campaigns_used", count=PAGE))
        checked = 0
        for _ in range(CHECKED):
            if checked == len(self._to_check):
                break
            checked += self.recount_campaign(self._to_check[checked])
        self._to_check = self._to_check[checked:]

    def recount_campaign(self, campaign: str) -> bool:
        """Count a page of a campaign's calls again, if its counts are wrong.

        Returns whether they are right now, or can't be read. Any process may go on with the next
        page. Where another campaign is half counted, that one goes on first.
        """
        counted, is_last = self._run("recount_campaign", campaign, COUNTED_ALWAYS, CALLS_COUNTED)
        if isinstance(counted, str):
            # Its name may be a value of a CRM record, so it is not logged.
            logger.error("campaign.unreadable", error=counted)
        return bool(is_last)

    # --- helpers ------------------------------------------------------------------------------

    def _index_campaigns(self) -> None:
        """Index the campaigns by batch_id and by name, unless all are."""
        with self._reached():
            indexed = self.redis.zcard(f"{P}campaign_names")
            if indexed >= 2 * self.redis.zcard(f"{P}campaigns"):
                return
        before: int | None = None
        while True:
            page = self.campaign_page(before=before, limit=PAGE)
            flat = [
                text
                for one in page.items
                for text in (one["key"], one["batch_id"], one.get("name") or one["key"])
            ]
            if flat:
                self._run("name_campaigns", *flat)
            if page.next_cursor is None:
                return
            before = int(page.next_cursor)

    def _campaign_keys(self, by: str, text: str) -> list[str]:
        """Return the keys of campaigns; by: `batch` or `name`, as in campaign_names.lua."""
        ranges = [(f"[{by}\t{text}\t", f"[{by}\t{text}\t{LAST}")]
        if by == "name":
            ranges.append((f"[name\t{text} ", f"[name\t{text} {LAST}"))
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for low, high in ranges:
                pipe.zrange(f"{P}campaign_names", low, high, bylex=True)
            found = [line.split("\t", 2) for lines in pipe.execute() for line in lines]
        return [key for _, name, key in found if is_campaign_of(name, text)]

    def _campaign_records(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """Return the campaigns with these keys: key, batch_id and the record kept with them."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for key in keys:
                pipe.hgetall(f"{P}campaign:{key}")
            records = pipe.execute()
        return [
            {"key": key, "batch_id": kept["batch_id"], **orjson.loads(kept["record"])}
            for key, kept in zip(keys, records, strict=True)
            if kept
        ]


def _counts(
    only: CampaignFilter,
    by_route: Mapping[str, str],
    hashes: Sequence[tuple[Mapping[str, str], Mapping[str, str]]],
) -> CampaignCounts:
    """Return the counts of one; by_route: of all deliveries; hashes: its counts, and the pruned."""
    statuses: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    pruned: Counter[str] = Counter()
    for field, count in by_route.items():
        status, _, route = field.partition(" ")
        if status in WAITING and route in only.routes:
            statuses[status] += int(count)
    for kept, gone in hashes:
        for field, count in (*kept.items(), *gone.items()):
            word, _, name = field.partition(" ")
            if word == "outcome":
                outcomes[name] += int(count)
            elif name and not (word in WAITING and name in only.named):
                statuses[word] += int(count)
        for field, count in gone.items():
            word, _, name = field.partition(" ")
            if word != "outcome":
                pruned[word] += int(count)
    firsts = [int(kept["first_ms"]) for kept, _ in hashes if "first_ms" in kept]
    lasts = [int(kept["last_ms"]) for kept, _ in hashes if "last_ms" in kept]
    return CampaignCounts(
        statuses={status: count for status, count in statuses.items() if count},
        outcomes={place: count for place, count in outcomes.items() if count},
        pruned=dict(pruned),
        first_call_at=at(min(firsts)) if firsts else None,
        last_call_at=at(max(lasts)) if lasts else None,
    )
