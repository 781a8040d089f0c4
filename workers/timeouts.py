"""Rules between the time limits: if they are kept, a crash costs no call. Checked at each start."""

from schemas.settings import Settings
from store.campaigns import CAMPAIGN_LOCK_S
from store.queue import DRAIN_TIMEOUT_S
from workers.campaigns import CAMPAIGN_START_S
from workers.drain import LEASE_S, SLICE_S, STOP_S
from workers.http import CONNECT_S
from workers.sending import MARGIN_S

SHUTDOWN_S = 30.0  # Heroku and Docker kill 30 s (or sooner) after they ask to stop


def violations(settings: Settings) -> list[str]:
    """Return a sentence for each rule that these settings break."""
    request_s = CONNECT_S + settings.callkaro_timeout_s
    rules = {
        "a request can outlast the lease of its delivery, and then be sent twice": (
            request_s + MARGIN_S < LEASE_S
        ),
        "the creation of a campaign can outlast its lock, and then be done twice": (
            CAMPAIGN_START_S + request_s < CAMPAIGN_LOCK_S
        ),
        "RQ can end a drain that has requests on the wire": (
            SLICE_S + request_s + STOP_S + MARGIN_S < DRAIN_TIMEOUT_S
        ),
        "a stop can be cut off with requests on the wire": (
            request_s <= STOP_S and STOP_S < SHUTDOWN_S
        ),
    }
    return [f"CALLKARO_TIMEOUT_S: {what}" for what, is_kept in rules.items() if not is_kept]
