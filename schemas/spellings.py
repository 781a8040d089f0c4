"""The spellings of a number: some countries write one phone in several ways, all in E.164. Pure.

phonenumbers calls them different numbers, and some of them invalid. But they are one phone.
"""

import re
from typing import Final

import phonenumbers

from schemas.fields import PhoneError, as_written, e164

# A pattern for all spellings of a number, and the spellings: first the one of today.
_RULES: Final = tuple(
    (re.compile(pattern), spellings)
    for pattern, *spellings in (
        # Argentina: 9 only for mobile phones, and only in calls from abroad.
        (r"\+549?([1-3][0-9]{9})", "+549{0}", "+54{0}"),
        # Mexico: until August 2019, 1 for mobile phones. WhatsApp still writes it.
        (r"\+521?([2-9][0-9]{9})", "+52{0}", "+521{0}"),
        # Brazil: since 2016 all mobile numbers have a 9 after the area code.
        (r"\+55([1-9]{2})9?([6-9][0-9]{7})", "+55{0}9{1}", "+55{0}{1}"),
        # Benin: since November 2024, 01 before all numbers.
        (r"\+229(?:01)?([2-9][0-9]{7})", "+22901{0}", "+229{0}"),
        # Ivory Coast: since January 2021, two digits of the operator before mobile numbers, which
        # follow from the second digit of the old number.
        (r"\+225(?:01)?([04-9][0-3][0-9]{6})", "+22501{0}", "+225{0}"),
        (r"\+225(?:05)?([04-9][4-6][0-9]{6})", "+22505{0}", "+225{0}"),
        (r"\+225(?:07)?([04-9][7-9][0-9]{6})", "+22507{0}", "+225{0}"),
        # Gabon: since November 2019, the operator's digit in place of 0; both worked until 2024.
        (r"\+241[01]?(1[0-9]{6})", "+2411{0}", "+2410{0}", "+241{0}"),
        (r"\+241[06]?([256][0-9]{6})", "+2416{0}", "+2410{0}", "+241{0}"),
        (r"\+241[07]?([47][0-9]{6})", "+2417{0}", "+2410{0}", "+241{0}"),
        # Colombia: since September 2021, 60 before landline numbers.
        (r"\+57(?:60)?([1-8][0-9]{7})", "+5760{0}", "+57{0}"),
    )
)


def spellings(number: str) -> tuple[str, ...]:
    """Return all spellings of a number (E.164), and first the one of today.

    Most numbers have one spelling. The spellings of all spellings of a number are the same.
    """
    for pattern, templates in _RULES:
        if found := pattern.fullmatch(number):
            return tuple(template.format(*found.groups()) for template in templates)
    return (number,)


def person_number(raw: object, region: str | None) -> str:
    """Return the number of a person who is to be suppressed, erased or found, in E.164.

    As e164(), but it also takes an old spelling that can't be called any more: the person has the
    same phone under its spelling of today, which is returned then.

    Raises:
        PhoneError: as e164().
    """
    try:
        return e164(raw, region)
    except PhoneError:
        for number in spellings(as_written(raw, region)):
            if phonenumbers.is_valid_number(phonenumbers.parse(number, None)):
                return number
        raise
