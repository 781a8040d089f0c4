"""What a person asks of a CRM: a reconcile, a notification channel. A worker does it."""

from collections.abc import Callable
from datetime import UTC, datetime

from bridge.access import current_name, note_act
from bridge.operations.base import Base
from config import log
from rules.channel import why_not
from rules.reconcile import wanted_of
from schemas.access import Action
from schemas.channel import Channel
from schemas.errors import BadQuery, Conflict, NotFound
from schemas.nearest import did_you_mean
from schemas.reconcile import ReconcileRun, longest_back
from schemas.source import Kind, Source

logger = log.get(__name__)


class CrmOperations(Base):
    """Operations that ask a CRM."""

    __slots__ = ()

    def reconcile(self, name: str, since: datetime, *, dry_run: bool) -> ReconcileRun:
        """Ask the CRM of a source for what was created or changed since a time and never arrived.

        dry_run: only count. Raises NotFound, BadQuery or Conflict.
        """
        source, now = self.reconcilable(name), datetime.now(UTC)
        self._check_since(since, now)
        if not wanted_of(source, self.settings.routes):
            raise Conflict(
                f"No route takes new or changed records of '{name}' by a type such as "
                "contact.created, so there is nothing to look for."
            )
        run = ReconcileRun(
            source=source.name, since=since, started_at=now, dry_run=dry_run, actor=current_name()
        )
        if not self.store.start_reconcile(run):
            raise Conflict("A reconcile of this source runs already. Wait until it has ended.")
        self.wake()
        logger.info("operation.reconcile", source=source.name, dry_run=dry_run)
        if not dry_run:
            note_act(Action.RECONCILE, "source", source.name)
        return run

    def _check_since(self, since: datetime, now: datetime) -> None:
        """Raise BadQuery if the bridge does not know what arrived since a time."""
        days = self.settings.dedupe_days
        if since > now:
            raise BadQuery("since is in the future. Send a time that has passed.")
        if now - since > longest_back(days):
            raise BadQuery(
                f"since must be less than {days} days ago (DEDUPE_DAYS, without an hour): of what "
                "came before, the bridge does not know whether it arrived."
            )
        noted_since = self.store.happenings_since()
        if noted_since is not None and since < noted_since:
            raise BadQuery(
                f"since must not be before {noted_since.isoformat(timespec='seconds')}: an older "
                "release took webhooks until then, and did not note what a reconcile compares."
            )

    def reconcile_of(self, name: str) -> ReconcileRun:
        """Return the latest reconcile of a source. Raises NotFound."""
        found = self.store.reconcile(self.reconcilable(name).name)
        if found is None:
            raise NotFound("There was no reconcile of this source.")
        return found

    def reconcilable(self, name: str) -> Source:
        """Return a source whose CRM can be asked for what never arrived. Raises NotFound."""
        what = "a CRM that can be asked for what never arrived"
        return self._source_with(name, lambda kind: kind.reconcile is not None, what)

    def _watchable(self, name: str) -> Source:
        return self._source_with(
            name, lambda kind: kind.channels is not None, "notification channels"
        )

    def _source_with(self, name: str, suits: Callable[[Kind], bool], what: str) -> Source:
        """Return a source of a kind that suits. Raises NotFound, with those that do."""
        sources = self.settings.routes.sources
        known = [one.name for one in sources.values() if suits(one.kind)]
        if name not in known:
            raise NotFound(
                f"No source of this name has {what}. "
                f"{did_you_mean(name, known)}Known: {', '.join(sorted(known))}."
            )
        return sources[name]

    def watch(self, name: str) -> Channel:
        """Have a worker make or renew the channel of a source. Raises NotFound or Conflict."""
        source = self._watchable(name)
        secret = next(iter(self.settings.secrets.get(name, ())), None)
        if problem := why_not(source, secret, self.settings.public_url):
            raise Conflict(problem)
        self.store.watch(name)
        self.wake()
        logger.info("operation.watch", source=name)
        note_act(Action.WATCH, "source", name)
        return self.channel(name)

    def channel(self, name: str) -> Channel:
        """Return the channel of a source. Raises NotFound."""
        found = self.store.channels().get(self._watchable(name).name)
        if found is None:
            raise NotFound("The bridge has no channel of this source. Make one with POST.")
        return found

    def stop_watching(self, name: str) -> Channel:
        """Renew the channel of a source no longer, and return it as it was. Raises NotFound."""
        channel = self.channel(name)
        self.store.stop_watching(name)
        logger.info("operation.stop_watching", source=name)
        note_act(Action.WATCH, "source", name)
        return channel
