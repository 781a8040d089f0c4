"""Channels: the events that a CRM is asked to tell us of. Pure."""

from hashlib import blake2b

from schemas.crm_api import Channels
from schemas.route import Routes
from schemas.source import Source

CHANNEL_ID_FROM = 10**12


def wanted_events(source: Source, how: Channels, routes: Routes) -> tuple[str, ...]:
    """Return what the routes and the opt_out of a source want, in the CRM's words, sorted."""
    found = {
        f"{crm_object}.{theirs}"
        for word, crm_object in how.objects.items()
        for ours, theirs in how.happened.items()
        if routes.for_event(source.name, f"{word}.{ours}")
    }
    if source.opt_out is not None:
        found |= {f"{one.partition('.')[0]}.{how.happened['updated']}" for one in found}
    return tuple(sorted(found))


def channel_id(source: str, public_url: str) -> str:
    """Return the id of a new channel of a source: a whole number.

    Two bridges that use one account have different ones.
    """
    digest = blake2b(f"{public_url}\0{source}".encode(), digest_size=5).digest()
    return str(CHANNEL_ID_FROM + int.from_bytes(digest, "big") % (9 * CHANNEL_ID_FROM))


def why_not(source: Source, secret: str | None, public_url: str | None) -> str | None:
    """Return why a source can have no channel, a sentence that says what to do; None: it can."""
    how = source.kind.channels
    if how is None:
        return f"{source.kind.title} has no notification channels that the bridge makes."
    name = f"{source.variable_prefix}WEBHOOK_SECRET"
    if not secret:
        return f"{name} is not set. Set it: {source.kind.title} proves itself with it."
    if len(secret) > how.longest_token:
        return (
            f"{name} has more than {how.longest_token} characters, which is the most that "
            f"{source.kind.title} sends back. Choose a shorter one."
        )
    if not public_url:
        return f"PUBLIC_URL is not set. Set it: {source.kind.title} has to know where to post."
    return None
