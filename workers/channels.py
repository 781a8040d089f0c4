"""Notification channels: the worker makes them, and renews them well before they expire."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from config import log
from rules.backoff import doubled_s
from rules.channel import channel_id, wanted_events, why_not
from schemas.channel import Channel
from schemas.crm_api import Channels as HowToWatch
from schemas.crm_api import CrmRequest, Watched
from schemas.reconcile import ReconcileRun, longest_back
from schemas.settings import Settings
from schemas.source import Source
from store import Store
from workers.crm import CrmClient, FetchFailed

logger = log.get(__name__)

FIRST_AGAIN_S: Final = 60.0  # until the next try after one that failed
LONGEST_AGAIN_S: Final = 900.0
# The gap of a channel that lapsed begins before the time at which it did: clocks differ, and what
# was told last may not have arrived.
OVERLAP: Final = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A channel that the CRM made or renewed."""

    granted: Watched
    is_new: bool = False  # it was made; before, the CRM had none of this id


class Channels:
    """Makes and renews the channels of one drain."""

    def __init__(self, store: Store, settings: Settings, crm_client: CrmClient) -> None:
        self._store = store
        self._settings = settings
        self._crm_client = crm_client

    def renew(self, name: str) -> float | None:
        """Make or renew the channel of a source.

        Returns in how many seconds it is renewed next; None: a person has stopped it.
        """
        channel = self._store.channels().get(name)
        if channel is None:
            return None
        answer = self._asked(name, channel)
        now = datetime.now(UTC)
        if isinstance(answer, FetchFailed):
            logger.warning("channel.failed", source=name, message=answer.message)
            failed = replace(channel, failures=channel.failures + 1, message=answer.message)
            wait_s = doubled_s(FIRST_AGAIN_S, channel.failures, LONGEST_AGAIN_S)
            return max(wait_s, answer.retry_after_s or 0) if self._keep(failed) else None
        renewed = replace(
            channel,
            events=answer.granted.events,
            renewed_at=now,
            expires_at=answer.granted.expires_at,
            lapsed_at=channel.lapsed_at or (_last_alive(channel, now) if answer.is_new else None),
            failures=0,
            message=None,
        )
        if not self._keep(renewed):
            return None
        logger.info("channel.renewed", source=name, events=renewed.events)
        is_closed = renewed.lapsed_at is None or self._close_gap(renewed, now)
        how = self._settings.routes.sources[name].kind.channels
        most_s = how.renew_s if how and is_closed else LONGEST_AGAIN_S
        # A CRM may have granted less than was asked for.
        left_s = (answer.granted.expires_at - now).total_seconds()
        return min(most_s, max(left_s / 2, FIRST_AGAIN_S))

    def _keep(self, channel: Channel) -> bool:
        return self._store.keep_channel(channel)

    def _asked(self, name: str, channel: Channel) -> Answer | FetchFailed:
        """Have the CRM make or renew a channel."""
        source = self._settings.routes.sources.get(name)
        if source is None:
            return FetchFailed(message="The source is not in routes.toml any more.")
        secret = next(iter(self._settings.secrets.get(name, ())), None)
        url = self._settings.public_url
        problem = why_not(source, secret, url)
        how = source.kind.channels
        if problem or how is None or secret is None or url is None:
            return FetchFailed(message=problem or "The source has no channels.")
        events = wanted_events(source, how, self._settings.routes)
        if not events:
            return FetchFailed(message="No route wants an event that a channel tells of.")
        now = datetime.now(UTC)
        request = Watched(
            channel_id=self._store.channel_id(name, channel_id(name, url)),
            events=events,
            url=f"{url.rstrip('/')}/webhooks/{name}",
            token=secret,
            expires_at=(now + timedelta(seconds=how.lifetime_s)).replace(microsecond=0),
        )
        if channel.renewed_at and not channel.has_lapsed(now):
            answer = self._ask(source, how, how.renew(request), request)
            # Only if the CRM does not know the channel any more, it is made again.
            if not isinstance(answer, FetchFailed):
                return Answer(granted=answer)
            if answer.is_account or not answer.is_broken:
                return answer
        answer = self._ask(source, how, how.make(request), request)
        return answer if isinstance(answer, FetchFailed) else Answer(granted=answer, is_new=True)

    def _ask(
        self, source: Source, how: HowToWatch, request: CrmRequest, wanted: Watched
    ) -> Watched | FetchFailed:
        answer = self._crm_client.ask(source, request)
        if isinstance(answer, FetchFailed):
            if not answer.is_account:
                return answer
            message = f"{answer.message} Does the login have the scope {how.scope}?"
            return replace(answer, message=message)
        # It may have been answered with 202, and be a refusal all the same.
        why = how.refusal(answer)
        if why is not None:
            message = f"{source.kind.title} made no channel: {why}"
            return FetchFailed(message=message, is_broken=True)
        return replace(wanted, expires_at=how.expiry(answer) or wanted.expires_at)

    def _close_gap(self, channel: Channel, now: datetime) -> bool:
        """Ask for what the CRM did not tell of since a channel lapsed.

        Returns False if another reconcile of the source runs, which may be past it already. Then
        the gap is kept, and closed after the next renewal.
        """
        lapsed_at = channel.lapsed_at or now
        since = max(lapsed_at - OVERLAP, now - longest_back(self._settings.dedupe_days))
        run = ReconcileRun(source=channel.source, since=since, started_at=now)
        is_started = self._store.start_reconcile(run)
        logger.warning("channel.lapsed", source=channel.source, is_reconciled=is_started)
        if is_started:
            self._keep(replace(channel, lapsed_at=None))
        return is_started


def _last_alive(channel: Channel, now: datetime) -> datetime | None:
    """Return when a channel that the CRM has lost was surely alive; None: it was never made."""
    if channel.has_lapsed(now):
        return channel.expires_at
    return channel.renewed_at
