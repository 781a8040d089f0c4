"""The number guard: which of a record's numbers may be called, if any.

Pure. No message contains a digit of the number that was refused: messages may be logged.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberType, shortnumberinfo

from schemas.fields import E164, PhoneError, e164, number_type, plain_number, read_e164

_REFUSED: Final = {
    PhoneNumberType.PREMIUM_RATE: "it is a premium-rate number",
    PhoneNumberType.SHARED_COST: "it is a shared-cost number",
    PhoneNumberType.PAGER: "it is a pager",
    PhoneNumberType.VOICEMAIL: "it is a voicemail access number",
}
_EMERGENCY: Final = "it is an emergency number"
_SHORT: Final = "it is a short number, such as services use"

_EVERYWHERE: Final = frozenset({"112", "911"})
"""Mobile phones and networks connect these to an emergency service in any country."""

_CANDIDATES: Final = 50
_STEPS: Final = 1000
"""How many items are looked at to find the candidates: lists may contain empty lists."""

_LONGEST_SHORT: Final = 6
_LONGEST_IN_E164: Final = 1 + 3 + _LONGEST_SHORT  # with its plus and a calling code
_LOOKED_AT: Final = 100  # characters of a text that may be a short number
_DIGITS: Final = re.compile(r"\s*(\+|00|)([\d\s()./\-]{1,24})")


def choose_number(raw: Any, *, region: str | None, countries: frozenset[str] | None) -> str:
    """Return the first of a record's numbers that may be called, in E.164 ("+919876543210").

    raw is one value as e164() takes it, or a list of candidates, best first. Lists in it are
    flattened, and the first 50 candidates are looked at. region is the country (two capital
    letters) of a number without a country code; None: it is not known. countries may be called;
    None: all. phonenumbers decides the country of a number: Jersey (JE) is not GB, and all of
    +1 800 is US.

    Raises:
        PhoneError: no candidate may be called. no_number if there is no candidate that is not
            blank; else the reason of the first that is not blank: country, or invalid_number, which
            includes premium-rate, shared-cost, pager, voicemail, short and emergency numbers.
    """
    refusal = PhoneError("no_number", "There is no phone number.")
    for candidate in candidates_of(raw):
        try:
            return _check(candidate, region, countries)
        except PhoneError as error:
            if refusal.reason == "no_number":
                refusal = error
    raise refusal


def country_of(number: str) -> str | None:
    """Return the country of a number in E.164, by two capital letters.

    None: the number belongs to no country (such as +800), or it is not a number.
    """
    try:
        region = phonenumbers.region_code_for_number(read_e164(number))
    except NumberParseException:
        return None
    # phonenumbers writes 001 for the whole world.
    return None if region == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY else region


def candidates_of(raw: Any) -> Iterator[Any]:
    """Yield the candidates in a list of lists, in order, at most 50."""
    return islice(_leaves(raw), _CANDIDATES)


def _leaves(raw: Any) -> Iterator[Any]:
    # Without recursion: a record may nest lists deeper than Python's stack.
    open_lists = [iter([raw])]
    for _ in range(_STEPS):
        item = next(open_lists[-1], _END)
        if item is _END:
            open_lists.pop()
            if not open_lists:
                return
        elif isinstance(item, list | tuple):
            open_lists.append(iter(item))
        else:
            yield item


_END: Final = object()


def _check(raw: Any, region: str | None, countries: frozenset[str] | None) -> str:
    """Return one candidate in E.164. Raises PhoneError if it may not be called."""
    try:
        number = e164(raw, region)
    except PhoneError as error:
        kind = _short_kind(raw, region) if error.reason == "invalid_number" else None
        raise _invalid(kind) if kind else error from None
    # CallKaro dials the E.164 text, so that must be valid, not only the value it was read from.
    try:
        found = number_type(number)
    except NumberParseException:
        found = PhoneNumberType.UNKNOWN
    if found == PhoneNumberType.UNKNOWN:
        raise _invalid("no such number exists in its country")
    why = _REFUSED.get(found) or _short_kind(number, None)
    if why:
        raise _invalid(why)
    country = country_of(number)
    if countries is not None and country not in countries:
        raise _foreign(country)
    return number


def _invalid(why: str) -> PhoneError:
    return PhoneError("invalid_number", f"The phone number can't be called: {why}.")


def _foreign(country: str | None) -> PhoneError:
    if country is None:
        message = "The number belongs to no country, and this route calls only some countries."
    else:
        message = f"The number is in {country}, and this route does not call that country."
    return PhoneError("country", message)


def _short_kind(raw: Any, region: str | None) -> str | None:
    """Say in words if a value is an emergency or another short number; None: it is neither.

    With or without a country code: "+91 112" may reach an emergency service, too.
    """
    readings = _short_readings(raw, region)
    if any(_is_emergency(digits, place) for digits, place in readings):
        return _EMERGENCY
    if any(_is_short(digits, place) for digits, place in readings):
        return _SHORT
    return None


def _short_readings(raw: Any, region: str | None) -> list[tuple[str, str | None]]:
    """Return the ways to read a value as a short number: its digits, and the country they mean."""
    if isinstance(raw, str) and len(raw) > _LONGEST_IN_E164 and E164.fullmatch(raw):
        return []
    # The bound is checked first: Python refuses to print integers of more than 4300 digits.
    text = str(raw) if isinstance(raw, int) and 0 < raw < 10**9 else raw
    found = _DIGITS.fullmatch(plain_number(text[:_LOOKED_AT])) if isinstance(text, str) else None
    if found is None:
        return []
    prefix, digits = found[1], phonenumbers.normalize_digits_only(found[2])
    home = (region or "").strip().upper() or None
    readings: list[tuple[str, str | None]] = [(prefix.strip("+") + digits, home), (digits, home)]
    for length in (1, 2, 3):
        places = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(digits[:length] or 0), ())
        # Without a plus, only the region's own country code counts: 1800 is not +1 800.
        readings += [(digits[length:], place) for place in places if prefix or place == home]
    return [(short, place) for short, place in readings if 0 < len(short) <= _LONGEST_SHORT]


def _is_emergency(digits: str, region: str | None) -> bool:
    if digits in _EVERYWHERE:
        return True
    return region is not None and shortnumberinfo.is_emergency_number(digits, region)


def _is_short(digits: str, region: str | None) -> bool:
    """Say whether digits have the length of a region's short numbers, in use or not."""
    if region not in shortnumberinfo.SUPPORTED_SHORT_REGIONS:
        return False
    national = int(digits)
    zeros = len(digits) - len(str(national))
    number = PhoneNumber(
        country_code=phonenumbers.country_code_for_region(region),
        national_number=national,
        italian_leading_zero=zeros > 0,
        number_of_leading_zeros=zeros or None,
    )
    return shortnumberinfo.is_possible_short_number_for_region(number, region)
