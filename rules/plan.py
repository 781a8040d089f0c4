"""The plan for a delivery: guards, map and schema decide what is sent, or why nothing is.

Nothing here does I/O. It takes a claim, its record, the settings and the time. It returns a Ready
request, or the move of a delivery that is not sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal
from zlib import crc32

import orjson

from rules.candidate import Candidate, Denied, candidate_of
from rules.guards import BEFORE_FETCH, CONSENT, ELIGIBILITY, REACHABILITY, run_guards
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
from rules.person import name_of
from schemas.delivery import Delivery, Reason, Status
from schemas.records import Claim, Move
from schemas.route import Route
from schemas.settings import Settings

SPREAD_S: Final = 300.0  # the calls that waited for an opening are spread over this time after it
# An attempt that CallKaro refuses for its account is not counted, so there may be very many. From
# here on, each attempt replaces the last one kept.
KEPT_ATTEMPTS: Final = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A delivery with its request.

    All pure guards permitted it. Redis checks the rest when it records `sending`.
    """

    claim: Claim
    route: Route
    to: Literal["call", "campaign", "write_back"]
    body: dict[str, Any]
    rings_at: datetime  # the time for which the call is planned, or now
    # The end of the hours: the call must be sent before it. None: the call is planned for a later
    # time, and the hours were checked for that time.
    closes_at: datetime | None = None
    campaign: CampaignNeed | None = None  # None: the call is in no campaign, or names it in body
    # The key by which calls find the campaign that this delivery creates. None: it creates none.
    campaign_key: str | None = None
    consent: Mapping[str, Any] | None = None  # the proof of consent; None: the route needs none
    name: str | None = None  # of the person; None: nothing names the person
    terms: str | None = None  # what people find the delivery by, hashed; None: it is not known

    @property
    def delivery(self) -> Delivery:
        """Return the delivery itself."""
        return self.claim.delivery

    @property
    def at_callkaro(self) -> Literal["call", "campaign"]:
        """Return what CallKaro is asked for; not for a write-back, which asks it for nothing."""
        assert self.to != "write_back"  # noqa: S101  (workers/write_back.py sends those)
        return self.to

    @property
    def number(self) -> int:
        """Return the number of the attempt to come; the first is 1."""
        return min(len(self.delivery.attempts) + 1, KEPT_ATTEMPTS)

    def in_campaign(self, batch_id: str) -> "Ready":
        """Return the same request, in this campaign."""
        return replace(self, body={**self.body, "batch_id": batch_id}, campaign=None)

    @property
    def given_campaign(self) -> str | None:
        """Return the campaign that the record gives: its batch_id; None: the route names one."""
        is_named = self.route.campaign is not None and self.route.campaign.name is not None
        return None if is_named else self.body.get("batch_id")


def screen(claim: Claim, settings: Settings, now: datetime) -> Move | None:
    """Return the move of a delivery whose event is thin, if a guard denies it without the record.

    None: no guard does, so fetch the record.
    """
    try:
        candidate = candidate_of(claim, claim.event and claim.event.data, settings, now)
        run_guards(BEFORE_FETCH, candidate)
    except Denied as denied:
        return _denied(claim.delivery, denied)
    return None


def prepare(claim: Claim, data: Any, settings: Settings, now: datetime) -> Move | Ready:
    """Return the request of a claimed delivery, or the move of a delivery that is not sent.

    data is the event's data, merged with its fetched record.
    """
    try:
        candidate = candidate_of(claim, data, settings, now)
    except Denied as denied:
        return _denied(claim.delivery, denied)
    try:
        run_guards(ELIGIBILITY, candidate)
        if candidate.route.to == "campaign":
            key = campaign_key(candidate.route, data) or own_key(candidate.event.subject)
            body = map_campaign(candidate.route, data)
            return Ready(
                claim=claim,
                route=candidate.route,
                to="campaign",
                body=body,
                rings_at=now,
                campaign_key=key,
            )
        return _prepare_call(claim, candidate)
    except Denied as denied:
        name = _name(candidate, denied.body) if candidate.route.to == "call" else None
        return replace(_denied(claim.delivery, denied), name=name)


def candidate_or_none(
    claim: Claim, data: Any, settings: Settings, now: datetime
) -> Candidate | None:
    """Return what guards check; None: the route or the event is gone."""
    try:
        return candidate_of(claim, data, settings, now)
    except Denied:
        return None


def _prepare_call(claim: Claim, candidate: Candidate) -> Ready:
    body: dict[str, Any] = {}
    need: CampaignNeed | None = None
    try:
        run_guards(CONSENT, candidate)
        body = map_call(candidate)
        need = campaign_need(candidate.route, candidate.data, candidate.settings, candidate.now)
        run_guards(REACHABILITY, candidate)
        body |= redial_times(candidate, body)
    except Denied as denied:
        # A person's test call is for now. Hours later it would surprise that person.
        denial = replace(denied.denial, until=None) if candidate.is_call_me else denied.denial
        given = need.key if need and need.body is None else body.get("batch_id")
        raise Denied(denial, body, campaign=given) from None
    return Ready(
        claim=claim,
        route=candidate.route,
        to="call",
        body=body,
        rings_at=max(candidate.now, candidate.planned or candidate.now),
        closes_at=closes_at(candidate),
        campaign=need,
        consent=None if candidate.is_call_me else proof_of_consent(candidate.route, candidate.data),
        name=_name(candidate, body),
    )


def _name(candidate: Candidate, body: Mapping[str, Any] | None) -> str | None:
    return name_of((body or {}).get("metadata"), candidate.data, candidate.source.kind)


def _denied(delivery: Delivery, denied: Denied) -> Move:
    denial = denied.denial
    if denial.until:
        to = Status.HELD
    else:
        to = Status.FAILED if denial.reason is Reason.BAD_REQUEST else Status.SKIPPED
    fields: dict[str, str | int | None] = {}
    if denied.body:
        fields["request"] = orjson.dumps(denied.body).decode()
    if denied.campaign and to is Status.HELD:
        fields["campaign_key"] = denied.campaign
    return Move(
        id=delivery.id,
        to=to,
        lease=delivery.lease,
        reason=denial.reason,
        message=denial.message,
        due_at=denial.until,
        spread_s=_share(delivery.id) * min(SPREAD_S, denial.open_s / 2),
        fields=fields,
        number=(denied.body or {}).get("to_number"),
    )


def _share(delivery_id: str) -> float:
    """Return a fixed fraction (0 to 1) of this delivery.

    It spreads the deliveries that wait for the same opening, so that they are not all sent in the
    first minute.
    """
    return crc32(delivery_id.encode()) / 2**32
