"""Reads the API's requests: filters, cursors and limits, in the query string or a JSON body."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from flask import Request
from marshmallow import Schema, ValidationError
from werkzeug.datastructures import MultiDict

from bridge.access import may
from bridge.http.body import read_body
from bridge.http.incoming import read_all
from schemas.callkaro import describe
from schemas.delivery import KINDS, WRITE_BACK, Reason, Status
from schemas.errors import BadPayload, BadQuery
from schemas.event import EventStatus, event_ids
from schemas.fields import PhoneError
from schemas.nearest import did_you_mean
from schemas.outcome import Result
from schemas.records import NO_OUTCOME, EventFilters, Filters
from schemas.requests import (
    LIMIT,
    LIMIT_MAX,
    LONGEST_WAIT_S,
    CampaignsQuery,
    DeliveriesQuery,
    DeliveriesTableQuery,
    DeliveryQuery,
    EventsQuery,
    LookQuery,
    RefusedQuery,
    SuppressionsQuery,
)
from schemas.settings import Settings
from schemas.spellings import person_number
from store import Store

Args = MultiDict[str, str]
PHONE_KEY: Final = re.compile(r"[0-9a-f]{24}")  # the result of Store.phone_key()
# These choose how much and how far, not which: alone they would mean everything.
NO_FILTERS: Final = frozenset({"cursor", "limit", "dry_run", "call_again"})

ANY_OF: Final = frozenset({"status", "outcome", "to"})  # filters that may have several words

# --- lists --------------------------------------------------------------------------------------


def read_query(args: Args, region: str | None) -> tuple[Filters, int | None, int]:
    """Return the filters, the cursor and the limit of a list of deliveries. Raises BadQuery."""
    refuse_unknown(args, DeliveriesQuery())
    return (
        read_filters(args, region),
        read_cursor(args.get("cursor")),
        read_limit(args.get("limit")),
    )


def read_campaigns_query(args: Args) -> tuple[int | None, int]:
    """Return the cursor and the limit of the list of campaigns. Raises BadQuery."""
    refuse_unknown(args, CampaignsQuery())
    return read_cursor(args.get("cursor")), read_limit(args.get("limit"))


def read_table_query(args: Args, region: str | None) -> tuple[Filters, bool]:
    """Return the filters of a file of deliveries, and whether to unmask. Raises BadQuery."""
    refuse_unknown(args, DeliveriesTableQuery())
    return read_filters(args, region), read_reveal(args)


def read_event_query(args: Args, sources: Iterable[str]) -> tuple[EventFilters, int | None, int]:
    """Return the filters, the cursor and the limit of a list of events. Raises BadQuery."""
    refuse_unknown(args, EventsQuery())
    return (
        read_event_filters(args, sources),
        read_cursor(args.get("cursor")),
        read_limit(args.get("limit")),
    )


def read_refused_query(args: Args) -> tuple[str | None, int | None, int]:
    """Return the source, the cursor and the limit of refused requests. Raises BadQuery."""
    refuse_unknown(args, RefusedQuery())
    source = args.get("source") or None
    return source, read_cursor(args.get("cursor")), read_limit(args.get("limit"))


def read_look(args: Args) -> bool:
    """Return whether numbers are to be unmasked. Raises BadQuery."""
    refuse_unknown(args, LookQuery())
    return read_reveal(args)


def read_delivery_look(args: Args) -> tuple[bool, int]:
    """Return whether to unmask numbers, and for how many seconds to wait (0: not at all).

    Raises BadQuery.
    """
    refuse_unknown(args, DeliveryQuery())
    raw = args.get("wait")
    if not raw:
        return read_reveal(args), 0
    if not re.fullmatch(r"\d{1,2}", raw, re.ASCII) or not 1 <= int(raw) <= LONGEST_WAIT_S:
        raise BadQuery(f"wait must be a number of seconds from 1 to {LONGEST_WAIT_S}.")
    return read_reveal(args), int(raw)


def read_reveal(args: Args) -> bool:
    """Return whether numbers are to be unmasked. Raises BadQuery."""
    raw = args.get("reveal")
    if raw not in (None, "", "true", "false"):
        raise BadQuery("reveal must be true or false.")
    return raw == "true"


def read_filters(args: Args, region: str | None) -> Filters:
    """Return the filters of deliveries; region is that of a number without a country code."""
    phone, of = args.get("phone"), args.get("of") or None
    return Filters(
        status=_words(args, "status", Status),
        reason=_reason(args.get("reason")),
        route=args.get("route") or None,
        source=args.get("source") or None,
        subject=args.get("subject") or None,
        phone=read_phone(phone, region) if phone else None,
        since=read_instant(args, "since"),
        until=read_instant(args, "until"),
        outcome=_words(args, "outcome", (*Result, NO_OUTCOME)),
        to=_words(args, "to", KINDS) or ((WRITE_BACK,) if of else ()),
        of=of,
    )


def with_search(filters: Filters, typed: str | None, settings: Settings, store: Store) -> Filters:
    """Return the filters with what a person typed into a search. Raises BadQuery."""
    if not typed or not typed.strip():
        return filters
    found = store.search(typed, settings.routes.sources, may_reveal=may("reveal"))
    return replace(filters, search=found)


def read_phone(text: str, region: str | None) -> str:
    """Return a person's number in E.164; region is that of a number without a country code.

    Raises BadQuery.
    """
    try:
        # A + in a query string arrives as a space unless it was encoded.
        return person_number(f"+{text.strip()}" if text.startswith(" ") else text, region)
    except PhoneError as error:
        raise BadQuery(
            "This is not a valid phone number. Write it in full, such as +919876543210. In a URL, "
            "write + as %2B."
        ) from error


def read_page(args: Args) -> tuple[int | None, int]:
    """Return the cursor and the limit of the list of suppressions. Raises BadQuery."""
    refuse_unknown(args, SuppressionsQuery())
    return read_cursor(args.get("cursor")), read_limit(args.get("limit"))


def read_event_filters(args: Args, sources: Iterable[str] = ()) -> EventFilters:
    """Return the filters of events; sources: where to look for a CRM's id without a source."""
    source, theirs = args.get("source") or None, args.get("source_event_id") or None
    return EventFilters(
        status=_words(args, "status", EventStatus),
        source=source,
        source_event_id=theirs,
        ids=event_ids(theirs, [source] if source else sources) if theirs else (),
        since=read_instant(args, "since"),
        until=read_instant(args, "until"),
    )


def read_instant(args: Args, name: str) -> datetime | None:
    """Return the time of a filter in UTC; a time without a zone is UTC; None: it is not given."""
    raw = args.get(name)
    if not raw:
        return None
    try:
        # A + in a query string arrives as a space unless it was encoded.
        parsed = datetime.fromisoformat(raw.replace(" ", "+") if "T" in raw else raw)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadQuery(f"{name} must be a time such as 2026-01-31T09:30:00Z.") from error


def read_cursor(raw: str | None) -> int | None:
    """Return where the last page ended. Raises BadQuery."""
    if not raw:
        return None
    if not re.fullmatch(r"\d{1,17}", raw, re.ASCII):
        raise BadQuery("cursor must be the next_cursor of an earlier page.")
    return int(raw)


def read_limit(raw: str | None) -> int:
    """Return how long a page is. Raises BadQuery."""
    if not raw:
        return LIMIT
    if not re.fullmatch(r"\d{1,4}", raw, re.ASCII) or not 1 <= int(raw) <= LIMIT_MAX:
        raise BadQuery(f"limit must be a number from 1 to {LIMIT_MAX}.")
    return int(raw)


def refuse_unknown_names(filters: Filters | EventFilters, settings: Settings, store: Store) -> None:
    """Raise BadQuery for a route or source that neither routes.toml nor any delivery has."""
    routes = [route.name for route in settings.routes.routes]
    for by, known, name in (
        ("route", routes, getattr(filters, "route", None)),
        ("source", list(settings.routes.sources), filters.source),
    ):
        if name and name not in known and not store.counts_of(by, [name])[name]:
            names = ", ".join(map(repr, known)) or "none"
            # Without the name that was given: it may be a person's, typed into the wrong field.
            near = did_you_mean(name, known)
            raise BadQuery(f"There is no {by} with this name. {near}Known: {names}.")


# --- bodies -------------------------------------------------------------------------------------


def read_command(request: Request, schema: Schema) -> dict[str, Any]:
    """Return the options of a command, from its body; no body means no options.

    Raises BadQuery or BadPayload. A query string is refused: ignored, it would mislead its sender.
    """
    if request.args:
        raise BadQuery("Send the options as a JSON body, not in the query string.")
    return _loaded(schema, _json_object(request))


def read_bulk(request: Request, schema: Schema) -> tuple[Args, dict[str, Any]]:
    """Return the filters of a command on many, and its options, from the query string and the body.

    Raises BadQuery also where a filter is empty (most likely a shell variable that was not set), is
    in both, or where there is no filter: without one, a command would change everything.
    """
    body = _json_object(request)
    if twice := body.keys() & request.args.keys():
        raise BadQuery(f"Given twice, in the query string and in the body: {_listed(twice)}.")
    given = _loaded(schema, {**body, **_from_query(request)})
    options = {name: given.pop(name) for name in list(given) if isinstance(given[name], bool | int)}
    args: Args = MultiDict(given)
    if empty := [name for name, value in args.items(multi=True) if not value.strip(", \t\n")]:
        raise BadQuery(f"This filter is empty: {_listed(empty)}.")
    if not args.keys() - NO_FILTERS:
        raise BadQuery(f"Give at least one filter: {_listed(schema.fields.keys() - NO_FILTERS)}.")
    return args, options


def _from_query(request: Request) -> dict[str, Any]:
    """Return the query string as a body would have it: true and false are not texts there."""
    found: dict[str, Any] = {}
    for name, values in request.args.lists():
        if len(values) > 1 and name not in ANY_OF:
            raise BadQuery(f"Given twice: {name}.")
        words = {"true": True, "false": False} if name in ("dry_run", "call_again") else {}
        found[name] = values if name in ANY_OF else words.get(values[0], values[0])
    return found


def _json_object(request: Request) -> dict[str, Any]:
    """Return the body as JSON, whatever its Content-Type: `curl -d` calls JSON a form."""
    raw = read_all(request)
    content = read_body(raw, "application/json") if raw.strip() else {}
    if not isinstance(content, dict):
        raise BadPayload("The body must be a JSON object.")
    return content


def _loaded(schema: Schema, content: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := content.keys() - {f.data_key or name for name, f in schema.fields.items()}:
        known = _listed(field.data_key or name for name, field in schema.fields.items())
        near = did_you_mean(min(unknown), known.split(", "))
        raise BadQuery(f"Unknown: {_listed(unknown)}. {near}Known: {known or 'nothing'}.")
    try:
        return dict(schema.load(content))
    except ValidationError as error:
        raise BadQuery(f"{describe(error).rstrip('.')}.") from error


# --- helpers ------------------------------------------------------------------------------------


def refuse_unknown(args: Args, query: Schema) -> None:
    """Raise BadQuery for an argument that a query does not have."""
    if unknown := set(args) - query.fields.keys():
        near = did_you_mean(min(unknown), query.fields)
        raise BadQuery(f"Unknown filter: {_listed(unknown)}. {near}Known: {_listed(query.fields)}.")


def _words(args: Args, name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return the words of a filter of which any may match. Raises BadQuery."""
    words = tuple(word for part in args.getlist(name) for word in part.split(",") if word)
    if wrong := set(words) - set(known):
        near = did_you_mean(min(wrong), known)
        raise BadQuery(f"Unknown {name}: {_listed(wrong)}. {near}Known: {_listed(known)}.")
    return tuple(dict.fromkeys(words))  # a word that is given twice is listed once


def _reason(word: str | None) -> str | None:
    if word and word not in set(Reason):
        near = did_you_mean(word, Reason)
        raise BadQuery(f"Unknown reason: {word}. {near}Known: {_listed(Reason)}.")
    return word or None


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))
