"""The store: events, deliveries, what is due, campaigns. Only this package knows our Redis keys.

Truth lives here; the queue is a hint. Every change of more than one key is one script
(store/scripts/*.lua), so nothing is ever half-written, and scripts take the time from Redis.

    bridge:event:<id>            hash: record (JSON), status, source, deliveries ("<id> <route>"
                                 lines)
    bridge:seen:<fingerprint>    the event first stored under it; outlives records (DEDUPE_DAYS)
    bridge:events[:<status>]     zsets: event ids by order (us, strictly rising); also those that
                                 are unrouted or unreadable
    bridge:delivery:<id>         hash: see Delivery
    bridge:deliveries[:<by>:…]   zsets: delivery ids by order; by status, route, source, subject or
                                 phone
    bridge:due, bridge:due:retry zsets: when to look at a delivery next (ms); what is tried again
                                 stands in the second
    bridge:leased                zset: when the lease of a claimed one is over (ms)
    bridge:bell                  set while a drain was asked for and has not started
    bridge:campaigns, bridge:campaign:<key>, bridge:campaign-lock:<key>, bridge:awaiting:<key>
    bridge:callkaro              hash: how it took the latest requests
    bridge:call:<call_sid>       the delivery that it is a call of
    bridge:orphan:<id>           hash: outcomes of a call or delivery that is not known (yet)
    bridge:bulk                  zset: deliveries that wait for a person's release, by order
    bridge:suppressed            hash: keyed hash of a number or a CRM's record -> why it is not to
                                 be called; bridge:suppressions: zset of them by time (us)
    bridge:number:<phone>        hash: what a number was called for; bridge:calls:<day>:<route>: set
                                 of a route's calls of a day
    bridge:errands, bridge:due:errand  hash, zset: what is done besides deliveries, and when (ms)
    bridge:pauses                hash: scope -> why; bridge:breaker: CallKaro's circuit breaker
    bridge:run                   hash: which start of Redis this is, and since when
    bridge:tries:<address>       how often somebody tried to sign in, in a minute; a keyed hash
    bridge:alerts, bridge:alerts:out, bridge:due:alert  hash, hash, zset: what is wrong just now, as
                                 it was told; messages to send; and when (ms)
    bridge:alerts:refused        hash: source -> requests in a row that proved nothing
    bridge:standing              hash: how many deliveries stand there, by "<status> <route>"
    bridge:measured              hash: cumulative counts; bridge:minute:<n>, bridge:ten:<n>,
                                 bridge:hour:<n>: hashes of what happened in the n-th piece of time
                                 since 1970; bridge:refused: when a cause of refusal last was (ms)
    bridge:token:<source>, bridge:token-lock:<source>, bridge:rate, bridge:pepper, bridge:order
"""

from store.alerts import AlertStore
from store.base import FULL_AT, connect
from store.intake import IntakeStore
from store.leases import LeaseStore
from store.metrics import MetricStore
from store.pauses import PauseStore
from store.queries import QueryStore
from store.sign_in_attempts import SignInStore
from store.suppressions import SuppressionStore

__all__ = ["FULL_AT", "Store", "connect"]


class Store(
    IntakeStore,
    LeaseStore,
    SuppressionStore,
    PauseStore,
    AlertStore,
    SignInStore,
    MetricStore,
    QueryStore,
):
    """Everything the bridge remembers. Every method raises StoreUnavailable when Redis is away."""
