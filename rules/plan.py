"""What to send for a delivery, and whether: when, guards, map, schema.

Nothing here does I/O: what goes in is the claim, the record, the settings and the time; what comes
out is a request that is ready, or the move that the delivery ends in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal
from zlib import crc32

import orjson

from rules.candidate import (
    BEFORE_FETCH,
    CONSENT,
    ELIGIBILITY,
    REACHABILITY,
    Candidate,
    Denied,
    candidate_of,
    run_guards,
)
from rules.mapping import (
    CampaignNeed,
    campaign_key,
    campaign_need,
    closes_at,
    map_call,
    map_campaign,
    own_key,
    proof_of_consent,
    redial_times,
)
from schemas.delivery import Delivery, Reason, Status
from schemas.records import Claim, Move
from schemas.route import Route
from schemas.settings import Settings

SPREAD_S: Final = 300.0  # after an opening, over how long what waited for it is sent
# An account that is refused spends no attempt, so their number has no end. From here on the last
# one kept is written over.
KEPT_ATTEMPTS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A delivery with its request, past all guards but those of the number's history.

    rings_at is when the phone is to ring. closes_at: the hours end then, so it must be sent before;
    None: it is for a later time, which was judged. consent is what the route's consent read, as
    proof; None: it asks for none.
    """

    claim: Claim
    route: Route
    to: Literal["call", "campaign"]
    body: dict[str, Any]
    rings_at: datetime
    closes_at: datetime | None = None
    campaign: CampaignNeed | None = None
    makes: str | None = None  # the key under which this campaign can be found by calls
    consent: Mapping[str, Any] | None = None

    @property
    def delivery(self) -> Delivery:
        """Return the delivery itself."""
        return self.claim.delivery

    @property
    def number(self) -> int:
        """Return the number of the attempt to come; the first is 1."""
        return min(len(self.delivery.attempts) + 1, KEPT_ATTEMPTS)

    def in_campaign(self, batch_id: str) -> "Ready":
        """Return the same, in a campaign that is there now."""
        return replace(self, body={**self.body, "batch_id": batch_id}, campaign=None)


def screen(claim: Claim, settings: Settings, now: datetime) -> Move | None:
    """Return the move of a thin delivery that needs no record to be fetched; None: it does."""
    try:
        candidate = candidate_of(claim, claim.event and claim.event.data, settings, now)
        run_guards(BEFORE_FETCH, candidate)
    except Denied as denied:
        return _ended(claim.delivery, denied)
    return None


def prepare(claim: Claim, data: Any, settings: Settings, now: datetime) -> Move | Ready:
    """Decide what a claimed delivery comes to: `when`, own change, age, guards, map, schema.

    data is the event's, hydrated. Returns a request that is ready, or the move it ends in.
    """
    try:
        candidate = candidate_of(claim, data, settings, now)
        run_guards(ELIGIBILITY, candidate)
        if candidate.route.to == "campaign":
            makes = campaign_key(candidate.route, data) or own_key(candidate.event.subject)
            body = map_campaign(candidate.route, data)
            return Ready(
                claim=claim,
                route=candidate.route,
                to="campaign",
                body=body,
                rings_at=now,
                makes=makes,
            )
        return _prepare_call(claim, candidate)
    except Denied as denied:
        return _ended(claim.delivery, denied)


def candidate_or_none(
    claim: Claim, data: Any, settings: Settings, now: datetime
) -> Candidate | None:
    """Return what guards judge; None: there is no such route, or the event's record is gone."""
    try:
        return candidate_of(claim, data, settings, now)
    except Denied:
        return None


def _prepare_call(claim: Claim, candidate: Candidate) -> Ready:
    body: dict[str, Any] = {}
    try:
        run_guards(CONSENT, candidate)
        body = map_call(candidate)
        need = campaign_need(candidate.route, candidate.data, candidate.settings, candidate.now)
        run_guards(REACHABILITY, candidate)
        body |= redial_times(candidate, body)
    except Denied as denied:
        # A person's test call is for now: hours later it would surprise them.
        denial = replace(denied.denial, until=None) if candidate.is_call_me else denied.denial
        raise Denied(denial, body) from None
    return Ready(
        claim=claim,
        route=candidate.route,
        to="call",
        body=body,
        rings_at=max(candidate.now, candidate.planned or candidate.now),
        closes_at=closes_at(candidate),
        campaign=need,
        consent=None if candidate.is_call_me else proof_of_consent(candidate.route, candidate.data),
    )


def _ended(delivery: Delivery, denied: Denied) -> Move:
    denial = denied.denial
    if denial.until:
        to = Status.HELD
    else:
        to = Status.FAILED if denial.reason is Reason.BAD_REQUEST else Status.SKIPPED
    return Move(
        id=delivery.id,
        to=to,
        lease=delivery.lease,
        reason=denial.reason,
        message=denial.message,
        due_at=denial.until,
        spread_s=_share(delivery.id) * min(SPREAD_S, denial.open_s / 2),
        fields={"request": orjson.dumps(denied.body).decode()} if denied.body else {},
    )


def _share(delivery_id: str) -> float:
    """Return where a delivery stands, from 0 to 1, among those that wait for the same opening.

    So that the opening minute does not get them all; the same at each look.
    """
    return crc32(delivery_id.encode()) / 2**32
