"""The store: events, deliveries, what is due, campaigns. Only this package knows our Redis keys.

Truth is in the store, the queue is a hint. Every change of more than one key is one script
(store/scripts/*.lua), so nothing is ever half-written, and scripts take the time from Redis.

In a cluster, all of them begin with {bridge}: or {bridge-<name>}: instead; see store/prefix.py.

    bridge:event:<id>            hash: record (JSON), status, source, deliveries ("<id> <route>"
                                 lines), is_test (1: a person's test call)
    bridge:seen:<fingerprint>    the event first stored under it; outlives its record (DEDUPE_DAYS)
    bridge:events[:<status>]     zsets: event ids by order (us, strictly rising): all, and the
                                 unrouted or unreadable ones
    bridge:delivery:<id>         hash: see read_delivery() in store/records.py
    bridge:deliveries[:<by>:…]   zsets: delivery ids by order; by status, route, source, subject,
                                 phone, outcome (see outcome_index.lua) or campaign (see
                                 campaign_index.lua)
    bridge:indexed, bridge:indexing  whether an audit has indexed all, and how many until then
    bridge:write_back:<id>       hash: as a delivery's; the call has their ids in `write_backs`
    bridge:write_backs[:status:…] zsets: write-backs by order; bridge:due:write_back: zset: when a
                                 worker looks at each next (ms); bridge:write_back_on: hash: route
                                 -> the moments that it tells its CRM; bridge:write_back_record:…:
                                 see write_back_record.lua; bridge:write_back_sent:<id>: Redis
                                 lost this one while it was sent
    bridge:crm_turns:<source>    list: the times of the latest requests to a CRM (ms), newest first;
                                 bridge:crm_slow:<source>: set while the CRM wants none
    bridge:due, bridge:due:retry zsets: when a worker looks at a delivery next (ms); retries are
                                 in the second
    bridge:broken                hash: the deliveries that no script can read or write -> the error
    bridge:leased                zset: when the lease of a claimed delivery ends (ms)
    bridge:wakeup                set while a requested drain has not started
    bridge:campaigns, bridge:campaign:<key>, bridge:campaign-lock:<key>, bridge:awaiting:<key>
    bridge:campaign_names        zset: see campaign_names.lua
    bridge:campaigns_used        set of the campaigns that calls belong to, by key or batch_id
    bridge:campaign_counts:[pruned:]<campaign>  hash: how many those are; see campaign_index.lua;
                                 bridge:campaign_recount: hash: while one is counted again
    bridge:campaign_agents       hash: batch_id -> the agent that the bridge made it with (v1)
    bridge:callkaro              hash: how CallKaro answered the latest requests
    bridge:call:<call_sid>       the delivery that the call belongs to
    bridge:early_outcome:<id>    hash: outcomes of a call or delivery that is not known yet
    bridge:bulk                  zset: deliveries that wait for a person's release, by order
    bridge:list_mappings         hash: route -> the columns of its latest call list, by path (JSON)
    bridge:suppressed            hash: keyed hash of a number or a CRM's record -> why it must not
                                 be called; bridge:suppressions: zset of them by time (us)
    bridge:number:<phone>        hash: the claims of calls on a number (the name is that of the
                                 first release: there may be many, and they guard people);
                                 bridge:calls:<day>:<route>: set of a route's calls of a day
    bridge:background_tasks      hash: work besides deliveries; bridge:due:background_task: zset:
                                 when (ms); bridge:background_tasks:failing: hash of id -> what
    bridge:pauses                hash: scope -> why; bridge:breaker: CallKaro's circuit breaker
    bridge:failing               hash: route -> its calls that failed in a row
    bridge:mark                  written before replicas are waited for: see mark.lua
    bridge:run                   hash: the start of Redis that we know, and since when
    bridge:acts                  stream: what people did (AUDIT_DAYS); see store/acts.py
    bridge:session:<id>          who opened a session of the dashboard, by a keyed hash of its id
    bridge:sign_in_attempts:<address>  how often a keyed address tried to sign in, in a minute
    bridge:alerts, bridge:alerts:out, bridge:due:alert  hash, hash, zset: what is wrong now; the
                                 messages to send; and when (ms)
    bridge:alerts:summary        the last day on which the daily summary was put (2026-01-31)
    bridge:alerts:refused        hash: source -> requests in a row that did not prove it;
                                 bridge:alerts:unparsed: that did, and could not be parsed
    bridge:refused_request:<id>  hash: such a request (see store/refused.py);
                                 bridge:refused_requests: set of sources that have some;
                                 bridge:refused_requests:<source>: zset of their ids by order
    bridge:find:<letters>        zset of deliveries' orders: what people find them by; see
                                 store/search.py
    bridge:status_counts         hash: how many deliveries there are, by "<status> <route>";
                                 bridge:status_recount: hash: while they are counted again
    bridge:metrics               hash: cumulative counts; bridge:bucket:<minute|ten|hour>:<n>:
                                 hashes of what happened in the n-th minute, ten minutes or hour
                                 since 1970; bridge:refused: the latest refusal by cause (ms)
    bridge:figures:<day>         hash: the figures of a day since 1970: see includes/figures.lua;
                                 bridge:figures:changed: hash: day -> when they changed (us)
    bridge:happening:<webhook|reconcile>:<hash>
                                 zset of events, by when they happened: what a webhook and a
                                 reconcile have in common; see accept.lua
    bridge:happenings_since      number: since when these are noted (ms); 0: always
    bridge:channels, bridge:channels:notified, bridge:channels:ids  hashes: source -> its
                                 notification channel; when its latest webhook came (ms); and
                                 the CRM's id of the channel; see store/channels.py
    bridge:reconciles            hash: source -> its latest reconcile; see store/reconciles.py
    bridge:reconciled            hash: source -> the day of its latest daily reconcile
    bridge:schema                number: the layout of these keys; see store/migration.py
    bridge:born                  when this store was first used (ms); bridge:closed: hash: why no
                                 script may run: see store/moving.py
    bridge:migration, bridge:migration-lock  how far a migration has got, and which process runs it
    bridge:token:<source>, bridge:token-lock:<source>, bridge:token-user:<source>, bridge:rate,
    bridge:pepper, bridge:order
"""

from store.acts import ActStore
from store.alerts import AlertStore
from store.base import FULL_AT, connect
from store.call_lists import CallListStore
from store.callkaro_health import CallKaroStore
from store.campaigns import CampaignStore
from store.channels import ChannelStore
from store.figures import FigureStore
from store.intake import IntakeStore
from store.leases import LeaseStore
from store.metrics import MetricStore
from store.pauses import PauseStore
from store.queries import QueryStore
from store.reconciles import ReconcileStore
from store.refused import RefusedStore
from store.sessions import SessionStore
from store.sign_in_attempts import SignInStore
from store.start import StartStore
from store.summary import SummaryStore
from store.tokens import TokenStore
from store.write_backs import WriteBackStore

__all__ = ["FULL_AT", "Store", "connect"]


class Store(
    ActStore,
    IntakeStore,
    WriteBackStore,
    LeaseStore,
    TokenStore,
    CallKaroStore,
    CallListStore,
    ChannelStore,
    ReconcileStore,
    PauseStore,
    AlertStore,
    SignInStore,
    SummaryStore,
    MetricStore,
    FigureStore,
    RefusedStore,
    SessionStore,
    StartStore,
    QueryStore,
    CampaignStore,
):
    """Everything that the bridge keeps. Each method raises StoreUnavailable if Redis is away."""
