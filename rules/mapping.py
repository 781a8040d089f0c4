"""The request to CallKaro: a route's map over a record, checked by CallKaro's schemas.

Nothing here does I/O. A value that can't be worked out raises Denied.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
from marshmallow import ValidationError

from rules.candidate import Candidate, Denial, Denied, bad_request, is_blank, search
from rules.guards import closed_until
from schemas.callkaro import (
    CALL_FIELDS,
    METADATA_ID,
    CampaignV1Schema,
    CampaignV2Schema,
    OutboundCallSchema,
)
from schemas.delivery import Reason
from schemas.hours import Rule, next_opening, open_span, trigger_times
from schemas.route import CampaignChoice, Route
from schemas.settings import Settings
from schemas.source import id_text

CARRIED_DAYS: Final = 7  # days ahead that are checked for redials that CallKaro carries over
V1, V2 = CampaignV1Schema(), CampaignV2Schema()  # made once: 70 us each


OWN_KEY = "key/"  # of a campaign that a route with `to = "campaign"` makes


@dataclass(frozen=True, kw_only=True, slots=True)
class CampaignNeed:
    """A campaign that must exist before its call is sent."""

    key: str  # its name in the store
    body: dict[str, Any] | None  # None: another event's delivery makes it, so we can only wait


def map_call(candidate: Candidate) -> dict[str, Any]:
    """Return the wire body of the call that the route makes of the record. Raises Denied."""
    number = candidate.number
    mapped = mapped_fields(candidate.route, candidate.data)
    mapped["to_number"] = number
    mapped["schedule_at"] = candidate.schedule_at
    metadata = {
        name: search(f"metadata.{name}", value, candidate.data)
        for name, value in candidate.route.metadata.items()
    }
    mapped["metadata"] = {**metadata, METADATA_ID: candidate.delivery.id}
    return _wire_body(_call_schema(frozenset(mapped)), mapped)


@lru_cache(maxsize=64)
def _call_schema(mapped: frozenset[str]) -> OutboundCallSchema:
    """Return a call's schema with the mapped fields and the required ones.

    Kept by the fields that routes map: a schema looks for each of its fields, 3 us for each.
    """
    return OutboundCallSchema(only=(CALL_FIELDS & mapped) | {"to_number", "agent_id"})


def map_campaign(route: Route, data: Any) -> dict[str, Any]:
    """Return the wire body of the campaign that the route makes of the record."""
    mapped = mapped_fields(route, data)
    if is_blank(mapped.get("agent_id")):
        mapped.pop("agent_id", None)
        return _wire_body(V2, mapped)
    return _wire_body(V1, mapped)


def mapped_fields(route: Route, data: Any) -> dict[str, Any]:
    """Return the values of the route's expressions, unchecked."""
    return {name: search(name, value, data) for name, value in route.request.items()}


def _wire_body(schema: Any, mapped: dict[str, Any]) -> dict[str, Any]:
    try:
        body: dict[str, Any] = schema.dump(schema.load(mapped))
        orjson.dumps(body)
    except ValidationError as error:
        raise bad_request(error) from None
    except TypeError:
        # JMESPath's to_number() can make a number of any length from a record's text.
        message = "A number in the request is longer than 64 bits."
        raise Denied(Denial(reason=Reason.BAD_REQUEST, message=message)) from None
    return body


def padding_of(candidate: Candidate, body: Mapping[str, Any]) -> str | None:
    """Return a sentence if the body has more gap_between_retries than the route gave; else None."""
    value = candidate.route.request.get("gap_between_retries")
    given = search("gap_between_retries", value, candidate.data) if value else None
    sent = body.get("gap_between_retries")
    if not isinstance(given, list) or not isinstance(sent, list) or len(given) == len(sent):
        return None
    return (
        f"gap_between_retries has {len(given)} of {len(sent)} entries; its last one, {sent[-1]}, "
        "is repeated"
    )


# --- the trigger times ----------------------------------------------------------------------------


def redial_times(candidate: Candidate, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the trigger times of a call: CallKaro redials by itself, within these hours.

    They are in CallKaro's zone, for the day of the call. On other days the hours may differ, so
    CallKaro may carry redials over only if the route says so and the hours are the same each day.
    """
    rules = candidate.rules
    if all(rule.hours.always for rule in rules):
        return {}
    at = max(candidate.now, candidate.planned or candidate.now)
    zone = candidate.settings.callkaro_timezone
    times = _times_of_day(rules, at, zone)
    is_now = at == candidate.now
    # In the last minute before midnight, CallKaro has no way to write when that minute ends.
    if times is None or (is_now and f"{at.astimezone(ZoneInfo(zone)):%H:%M}" >= times[1]):
        raise Denied(_no_time_today(candidate, zone))
    opens = max(times[0], _clock(body.get("min_trigger_time"), times[0]))
    closes = min(times[1], _clock(body.get("max_trigger_time"), times[1]))
    if opens >= closes:
        message = (
            "The route's min_trigger_time and max_trigger_time leave no time within the calling "
            "hours. Fix them in routes.toml."
        )
        raise Denied(Denial(reason=Reason.OUTSIDE_HOURS, message=message))
    own = candidate.route.hours.hours if candidate.route.hours else None
    is_daily = own is None or (len(own.days) == 7 and not own.holidays)
    is_whole = times[0] != "00:00" and times[1] != "23:59"  # midnight cuts nothing off
    carries_over = bool(body.get("carry_over")) and is_daily and is_whole
    if carries_over:
        # Before a change of clocks, the same hours are at other times in CallKaro's zone.
        days = (at + timedelta(days=n) for n in range(1, CARRIED_DAYS + 1))
        carries_over = all(_times_of_day(rules, day, zone) == times for day in days)
    return {"min_trigger_time": opens, "max_trigger_time": closes, "carry_over": carries_over}


def closes_at(candidate: Candidate) -> datetime | None:
    """Return when the hours of a call for now end; None: the call is planned for later."""
    if candidate.planned and candidate.planned > candidate.now:
        return None
    open_ = open_span(candidate.rules, candidate.now)
    return open_[1] if open_ else candidate.now


def _times_of_day(rules: Sequence[Rule], at: datetime, zone: str) -> tuple[str, str] | None:
    open_ = open_span(rules, at)
    return trigger_times(open_, at, zone) if open_ else None


def _clock(text: str | None, default: str) -> str:
    """Return a time of day with a two-digit hour, because "9:00" sorts after "21:00"."""
    return default if text is None else text.zfill(5)


def _no_time_today(candidate: Candidate, zone: str) -> Denial:
    """Return the denial of a call that has no trigger times today: it waits for the next ones.

    Either less than a minute is left of the hours or of CallKaro's day; or CallKaro's clocks are
    about to go back, and the repeated times are partly outside the hours.
    """
    if candidate.planned and candidate.planned > candidate.now:
        message = (
            "In CallKaro's time zone, no minute around schedule_at is surely in the calling hours."
        )
        return Denial(reason=Reason.OUTSIDE_HOURS, message=message)
    open_ = open_span(candidate.rules, candidate.now)
    tomorrow = candidate.now.astimezone(ZoneInfo(zone)).date() + timedelta(days=1)
    midnight = datetime.combine(tomorrow, time(), tzinfo=ZoneInfo(zone)).astimezone(UTC)
    opening = next_opening(candidate.rules, min(open_[1], midnight) if open_ else midnight)
    if opening is None:
        message = "No time in the coming weeks is within the calling hours."
        return Denial(reason=Reason.OUTSIDE_HOURS, message=message)
    message = "In CallKaro's time zone, no minute of today is surely in the calling hours."
    return closed_until(opening, candidate.rules, message)


# --- the proof of consent, the campaign -----------------------------------------------------------


def proof_of_consent(route: Route, data: Any) -> dict[str, Any] | None:
    """Return what the route's consent read in the record, by path; None: the route has none."""
    if route.consent is None:
        return None
    paths = sorted(route.consent.paths)
    # Only the ends of the paths: `properties` would be everything that is known of the person.
    ends = [
        path
        for path in paths
        if not any(path == other[: len(path)] for other in paths if other != path)
    ]
    return {"expression": route.consent.text, "read": dict(_read(data, path) for path in ends)}


def _read(data: Any, path: tuple[str, ...]) -> tuple[str, Any]:
    """Return a path as far as its plain names go, that is up to a list, and the value there."""
    for depth, name in enumerate(path):
        if isinstance(data, list):
            return ".".join(path[:depth]), data
        data = data.get(name) if isinstance(data, dict) else None
    return ".".join(path), data


def campaign_need(
    route: Route, data: Any, settings: Settings, now: datetime
) -> CampaignNeed | None:
    """Return the campaign of a call; None: it has none, or its request names it."""
    if route.campaign is None:
        return None
    if route.campaign.key is not None:
        key = campaign_key(route, data)
        if key is None:
            message = "campaign.key: its value is neither text nor a number. Fix it in routes.toml."
            raise Denied(Denial(reason=Reason.BAD_REQUEST, message=message))
        return CampaignNeed(key=key, body=None)
    return _named(route, route.campaign, settings, now)


def _named(
    route: Route, campaign: CampaignChoice, settings: Settings, now: datetime
) -> CampaignNeed:
    """Return the campaign that a route names, in its period of now."""
    name = campaign.full_name(now, settings.callkaro_timezone)
    agent = settings.routes.campaign_agent(route)
    if agent is None:
        return CampaignNeed(key=f"v2/{name}", body={"name": name})
    return CampaignNeed(key=f"v1/{agent}/{name}", body={"name": name, "agent_id": agent})


def is_campaign_key(text: str) -> bool:
    """Say whether a text is the key of a campaign, not CallKaro's batch_id."""
    return text.startswith((OWN_KEY, "v1/", "v2/"))


def campaigns_of_now(settings: Settings, now: datetime) -> dict[str, str]:
    """Return the key of the campaign that the calls of a route join now, by route.

    Only the routes that name their campaign are in it.
    """
    return {
        route.name: _named(route, route.campaign, settings, now).key
        for route in settings.routes.routes
        if route.to == "call" and route.campaign and route.campaign.name
    }


def campaign_key(route: Route, data: Any) -> str | None:
    """Return the key by which calls find their campaign; None: the route has none."""
    if route.campaign is None or route.campaign.key is None:
        return None
    return own_key(search("campaign.key", route.campaign.key, data))


def own_key(found: Any) -> str | None:
    """Return the key made of an id; None: it is not an id."""
    text = id_text(found)
    return None if is_blank(text) else f"{OWN_KEY}{text}"
