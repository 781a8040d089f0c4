"""Search: the texts that a delivery is found by, and what a typed text asks for. Pure.

A text is folded before it is compared: case, width and the accents of Latin letters do not count.
The vowel signs of Indic scripts do count, because without them different names become equal.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby, islice
from typing import Any, Final

from rules.person import as_digits, digits_of, email_of, last_digits, name_of, tells_of_person
from schemas.errors import BadQuery
from schemas.event import CALL_ME, Event
from schemas.expression import ExpressionError
from schemas.route import Route, Routes, Value
from schemas.search import FoundBy, Need, Needs
from schemas.source import Kind, id_text

MOST_WORDS: Final = 6  # of a name, and of a search
LONGEST: Final = 200  # characters of a search
FEWEST_DIGITS, MOST_DIGITS = 4, 10  # of a number, that a search compares
# Stands before digits that are only compared. No id and no word has a capital letter, so that the
# hash of an id that a person types is not that of a number.
COMPARED: Final = "N"
MOST_IDS: Final = 4  # of records: the delivery's own, and those that were merged into it

# Accents of Latin, Greek and Cyrillic letters, once NFKD has parted them from their letters.
_ACCENTS: Final = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
# Letters that NFKD leaves whole.
_WHOLE: Final = str.maketrans(
    {
        "ø": "o",
        "đ": "d",
        "ð": "d",
        "ł": "l",
        "\u0131": "i",
        "ħ": "h",
        "æ": "ae",
        "œ": "oe",
        "þ": "th",
    }
)
_APOSTROPHES: Final = re.compile("['`\u00b4\u2018\u2019\u02bc\uff07]")
_ASCII_WORD: Final = re.compile("[a-zA-Z0-9]+")
_IN_NUMBER: Final = re.compile(r"[\d+()./\-\u2010-\u2015]+")


def fold(text: str) -> str:
    """Return a text as it is compared: without case, width, accents and invisible characters."""
    if text.isascii():
        return text.casefold().strip()
    parted = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    plain = _ACCENTS.sub("", as_digits(parted)).translate(_WHOLE)
    return "".join(one for one in plain if unicodedata.category(one) != "Cf").strip()


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a folded text, at most MOST_WORDS, each of them once."""
    text = _APOSTROPHES.sub("", text)
    if text.isascii():
        return tuple(islice(dict.fromkeys(_ASCII_WORD.findall(text)), MOST_WORDS))
    runs = ("".join(run) for is_word, run in groupby(text, _is_in_word) if is_word)
    return tuple(islice(dict.fromkeys(runs), MOST_WORDS))


def _is_in_word(character: str) -> bool:
    # Letters, marks and numbers. Python's \w has no vowel signs.
    return unicodedata.category(character)[0] in "LMN"


# --- what a delivery is found by ------------------------------------------------------------------


def found_by(
    event: Event, kind: Kind, route: Route | None, *, data: Any = None, request: Any = None
) -> FoundBy:
    """Return what a delivery of an event is found by.

    route: it says where name and number are; None: routes.toml has it no more. data: the event's,
    hydrated; None: the event's own. request: as it was mapped; None: nothing was mapped yet.
    """
    if data is None:
        data = event.data
        if event.hydrate is not None:
            route = None  # it reads the record, which is not there
    asked = request if isinstance(request, dict) else {}
    to_number: Value | str | None = asked.get("to_number")
    if event.type == CALL_ME and isinstance(event.data, dict):
        to_number = to_number or event.data.get("to_number")
        data = event.data.get("record")
    elif not isinstance(to_number, str):
        to_number = route.request.get("to_number") if route else None
    if route is None and not asked and to_number is None and not tells_of_person(data, kind):
        return FoundBy(indexed=_only_once(map(_id, _ids(event, kind))))
    metadata = asked.get("metadata") or mapped_person(route, data)
    digits = digits_of(data, kind, to_number)
    indexed = [
        *words_of(fold(name_of(metadata, data, kind) or "")),
        fold(email_of(metadata, data, kind) or ""),
        *(one[-FEWEST_DIGITS:] for one in digits),
        *map(_id, _ids(event, kind)),
    ]
    return FoundBy(
        indexed=_only_once(indexed),
        compared=tuple(dict.fromkeys(_endings(digits))),
    )


def found_again(routes: Routes, event: Event, route: str, request: Any) -> FoundBy:
    """Return what a stored delivery is found by; route: its route's name. See found_by()."""
    source = routes.sources.get(event.source)
    if source is None:
        return FoundBy(indexed=tuple(dict.fromkeys(map(_id, _subjects(event)))))
    return found_by(event, source.kind, routes.named(route), request=request)


def _only_once(texts: Iterable[str]) -> tuple[str, ...]:
    """Return texts in their order, without empty ones and repetitions."""
    return tuple(dict.fromkeys(filter(None, texts)))


def _subjects(event: Event) -> list[str]:
    """Return the ids of the CRM's records that an event is about."""
    return [one for one in (event.subject, *event.merged_from) if one][:MOST_IDS]


def mapped_person(route: Route | None, data: Any) -> dict[str, Any]:
    """Return what a route maps of the person to metadata, for a record that is not mapped yet."""
    found: dict[str, Any] = {}
    if route is None or not route.metadata:
        return found
    for name in ("name", "first_name", "last_name", "email"):
        if name in route.metadata:
            with suppress(ExpressionError):
                found[name] = route.metadata[name].search(data)
    return found


def endings(number: str) -> FoundBy:
    """Return what a number alone is found by: its last 4 to 10 digits."""
    digits = last_digits(number) or ""
    return FoundBy(indexed=(digits[-FEWEST_DIGITS:],), compared=tuple(_endings([digits])))


def _endings(digits: Iterable[str]) -> Iterator[str]:
    for one in digits:
        for length in range(FEWEST_DIGITS + 1, min(len(one), MOST_DIGITS) + 1):
            yield COMPARED + one[-length:]


def _ids(event: Event, kind: Kind) -> list[str]:
    """Return the ids of the CRM's records, then the CRM's own id of the event if it has one.

    source_event_id is not among them: our id of the event is derived from it.
    """
    ids = _subjects(event)
    if kind.event_id is None:
        return ids
    try:
        found = id_text(kind.event_id.search(event.data))
    except ExpressionError:
        return ids
    if found and len(found) <= LONGEST:
        ids.append(found)
    return ids


def _id(text: str) -> str:
    """Return an id as it is compared."""
    return text.strip().casefold()


# --- what is searched for -------------------------------------------------------------------------


def read_text(text: str, *, may_reveal: bool = True) -> tuple[Needs, ...]:
    """Return what a typed text asks for: a delivery matches that has all of one entry.

    The text may be an id, a number, or words: names, e-mails and numbers, in any order.
    may_reveal: whether the person may see whole numbers. For others, 5 to 9 digits find as much as
    the last four of them, which a masked number shows: else each digit more that finds somebody
    would tell the next digit.

    Raises BadQuery for a text that is too long. Its message does not repeat the text.
    """
    text = text.strip()
    if len(text) > LONGEST:
        raise BadQuery(f"A search has at most {LONGEST} characters.")
    found: list[Needs] = []
    if text and not any(map(str.isspace, text)):
        found.append(((_id(text), _id(text)),))
    needs = tuple(dict.fromkeys(_needs(text)))[:MOST_WORDS]
    if not may_reveal:
        needs = tuple(
            dict.fromkeys((need[0], need[0]) if _is_part(need) else need for need in needs)
        )
    if needs:
        found.append(needs)
    return tuple(dict.fromkeys(found))


def _is_part(need: Need) -> bool:
    """Say whether a need is of digits that a masked number hides, and not of all of them."""
    wanted = need[1]
    return wanted.startswith(COMPARED) and len(wanted) < len(COMPARED) + MOST_DIGITS


def _needs(text: str) -> Iterator[tuple[str, str]]:
    tokens = fold(text).split()
    for is_number, run in groupby(tokens, lambda one: bool(_IN_NUMBER.fullmatch(one))):
        if is_number:
            yield from _number_needs("".join(run))
            continue
        for token in run:
            words = (token.strip("<>,;()"),) if "@" in token else words_of(token)
            yield from ((word, word) for word in words)


def _number_needs(text: str) -> Iterator[tuple[str, str]]:
    digits = re.sub(r"\D", "", text)[-MOST_DIGITS:]
    if len(digits) > FEWEST_DIGITS:
        yield digits[-FEWEST_DIGITS:], COMPARED + digits
    elif digits:
        yield digits, digits
