"""The RQ jobs, a few lines each. Queued jobs contain their dotted paths, so keep the paths."""

from datetime import UTC, datetime
from functools import cache

import phonenumbers

from config import log, tracing
from config.settings import load_settings
from rules.numbers import choose_number
from schemas.errors import StoreUnavailable
from schemas.hours import Hours, Rule, open_at, zones_of
from schemas.settings import Settings
from store import Store, connect
from store.queue import Wakeup, connect_queue, open_queue
from workers.callkaro import CallKaro
from workers.crm import CrmClient
from workers.drain import Drain
from workers.http import HttpClient
from workers.journal import JournalWriter
from workers.shutdown import ShutdownSignal
from workers.standby import Standby

logger = log.get(__name__)

REDIS_TIMEOUT_S = 5.0
CRM_TIMEOUT_S = 10.0


@cache
def settings() -> Settings:
    """Return the settings, read once; the supervisor reads them before it forks."""
    found = load_settings()
    log.configure(found.log_level, process="worker")
    return found


def warm_up() -> None:
    """Prepare, once before the fork, what each drain would else prepare.

    phonenumbers reads and compiles the patterns of a region at their first use: 35 ms. To import
    what traces need takes longer.
    """
    tracing.warm_up()
    current = settings()
    region = current.default_region or "IN"
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    if example is not None:
        zones = zones_of(choose_number(_digits(example), region=None, countries=None))
        rule = Rule(hours=Hours(window=current.calling_hours), zones=zones)
        open_at([rule], datetime.now(UTC))


def _digits(number: phonenumbers.PhoneNumber) -> str:
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def is_migrated(store: Store) -> bool:
    """Say whether all records have the names of this release; False also if Redis is away."""
    try:
        return store.is_migrated()
    except StoreUnavailable:
        return False


def is_suspended(wakeup: Wakeup) -> bool:
    """Say whether `rq suspend` stopped the workers; True also if Redis is away.

    RQ looks before it waits for a job, and then waits for minutes: it may pop one long after that.
    """
    try:
        return wakeup.is_suspended()
    except StoreUnavailable:
        return True


def drain() -> None:
    """Deliver what is due."""
    current = settings()
    journal_writer = JournalWriter()
    journal_writer.stir()
    # Connections are opened in this process: a connection from before the fork would be shared.
    store = Store(
        connect(current.redis_url, timeout_s=REDIS_TIMEOUT_S),
        max_rate=current.max_rate,
        zone=current.callkaro_timezone,
        acks=current.redis_acks,
    )
    wakeup = Wakeup(open_queue(connect_queue(current.redis_url)))
    if not is_migrated(store) or is_suspended(wakeup):
        return  # the supervisor migrates, and asks for a drain as long as something is due
    http = HttpClient(timeout_s=current.callkaro_timeout_s)
    callkaro = CallKaro(http, base_url=current.callkaro_base_url, api_key=current.callkaro_api_key)
    crm_client = CrmClient(HttpClient(timeout_s=CRM_TIMEOUT_S), store, current)
    tracing.start(process="worker")
    with ShutdownSignal().installed() as should_stop:
        try:
            Drain(
                store,
                current,
                callkaro,
                crm_client,
                should_stop=should_stop,
                remember=journal_writer.write,
                stir=journal_writer.stir,
                standby=Standby(store, wakeup, should_stop),
            ).run()
        except Exception as error:
            # RQ would log the error's text, which may quote a record. Nothing is lost: the leases
            # run out, and the ticker requests the next drain.
            logger.error("drain.crashed", exc_info=error)
        finally:
            journal_writer.finish()
            tracing.finish()  # RQ ends this process at once, without the usual clean-up
