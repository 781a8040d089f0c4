"""Notification channels: what is known of them, and the background task that renews them."""

import orjson

from schemas.channel import Channel, channel_record, read_channel
from schemas.records import BackgroundTask
from store.base import P
from store.suppressions import SuppressionStore

TASK = "channel:"


class ChannelStore(SuppressionStore):
    """The notification channel of each source that has one."""

    def watch(self, source: str) -> None:
        """Have a worker make the channel of a source, or renew it now, and then again and again."""
        with self._reached():
            empty = orjson.dumps(channel_record(Channel(source=source)))
            self.redis.hsetnx(f"{P}channels", source, empty.decode())
        self.renew_channel(source, in_s=0)

    def renew_channel(self, source: str, *, in_s: float) -> None:
        """Have a worker renew the channel of a source in in_s seconds."""
        task = BackgroundTask(id=f"{TASK}{source}", what="channel", key=source)
        self.put_background_task(task, in_s=in_s)

    def channel_id(self, source: str, first: str) -> str:
        """Return the id of the channel of a source: `first`, or the one that it had before.

        It outlives a new PUBLIC_URL and the channel itself: a CRM would notify by both ids until
        the old one expires, and nothing says that two notifications are of one change.
        """
        with self._reached():
            pipe = self.redis.pipeline()
            pipe.hsetnx(f"{P}channels:ids", source, first)
            pipe.hget(f"{P}channels:ids", source)
            return str(pipe.execute()[1])

    def keep_channel(self, channel: Channel) -> bool:
        """Keep what is known of a channel; False: a person has stopped it meanwhile."""
        with self._reached():
            if not self.redis.hexists(f"{P}channels", channel.source):
                return False
            record = orjson.dumps(channel_record(channel)).decode()
            self.redis.hset(f"{P}channels", channel.source, record)
            return True

    def stop_watching(self, source: str) -> bool:
        """Renew the channel of a source no longer; False: there was none."""
        with self._reached():
            pipe = self.redis.pipeline()
            pipe.hdel(f"{P}channels", source)
            pipe.hdel(f"{P}channels:notified", source)
            was_there = bool(pipe.execute()[0])
        self.end_background_task(f"{TASK}{source}")
        return was_there

    def channels(self) -> dict[str, Channel]:
        """Return the channels by source."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            pipe.hgetall(f"{P}channels")
            pipe.hgetall(f"{P}channels:notified")
            kept, notified = pipe.execute()
        return {
            source: read_channel(source, orjson.loads(record), notified.get(source))
            for source, record in sorted(kept.items())
        }

    def renew_all_channels(self) -> None:
        """Have each channel renewed now, because the routes may want other events."""
        for source in self.channels():
            self.renew_channel(source, in_s=0)
