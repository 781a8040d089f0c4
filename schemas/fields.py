"""Phone numbers, instants and wall-clock times: strict reading, and masks for phone numbers.

Everything here is pure. No message has the refused value: a message may end in a log line, and
personal data must not.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from marshmallow import ValidationError, fields
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, PhoneNumberType

from schemas.depth import MAX_DEPTH

PhoneReason = Literal["no_number", "invalid_number", "country"]

# CallKaro's own pattern for to_number. Use it with fullmatch: $ accepts a line end, and \d accepts
# digits of other scripts.
E164: Final = re.compile(r"\+[1-9][0-9]{1,14}")

# --- numbers ---------------------------------------------------------------------------------

_KEPT: Final = 512  # numbers as phonenumbers reads them: more than a drain prepares at once
# Long enough for any number as people write it, short enough for every regex on the way.
_LONGEST: Final = 64
_LOOKED_AT: Final = 1000  # characters of a text, with marks and blanks
_LETTER: Final = re.compile(r"[^\W\d_]")
_PLUS: Final = ("+", "\uff0b")  # a full-width keyboard's plus counts too
# What people write around digits: spaces, brackets, dots, slashes, dashes of any width.
_AROUND: Final = r"\s()\[\]./~\-\u2010-\u2015\u2212\uff0d"
# For plain_number() texts. No comma, semicolon or bar: they separate two numbers, and the choice of
# one would be a guess. The same is true of a line end.
_ONE_NUMBER: Final = re.compile(r"[ (\[]*\+{0,2}[0-9 ()\[\]./~\-]+")
# What tools write before a number: Meta's lead forms p:, Twilio's senders whatsapp: and rcs:, links
# sms:, smsto: and callto:, people phone: and mobile:. Never fax:. For tel: see _split_uri().
_PREFIXED: Final = re.compile(
    r"(?:p|whatsapp|rcs|sms|smsto|callto|phone|mobile) ?:(?://)? *(?=[+(\[0-9])", re.IGNORECASE
)
# What spreadsheets write around a number so that it stays text: '+91… and ="+91…".
_QUOTES: Final = "'\"`\u2018\u2019\u201c\u201d"
_SEPARATORS: Final = " ()[]./~-"
_SEPARATOR: Final = rf"[{re.escape(_SEPARATORS)}]"
# The dot, the digits behind it, and what may stand around them: 98765.0, 98765.0/-, (98765).0.
_FRACTION: Final = re.compile(rf"(.*[0-9]{_SEPARATOR}*)\.{_SEPARATOR}*([0-9]+)({_SEPARATOR}*)")
# How a spreadsheet shows a long number: 9.19877E+11.
_SHORTENED: Final = re.compile(r"[0-9](?:[.,][0-9]{1,15})?E\+?[0-9]{1,2}", re.IGNORECASE)


class PhoneError(ValueError):
    """A value that is not a phone number the bridge may call.

    reason is the delivery's reason; message is one sentence for people, without the value.
    """

    def __init__(self, reason: PhoneReason, message: str) -> None:
        super().__init__(message)
        self.reason: PhoneReason = reason
        self.message = message


def e164(raw: object, region: str | None) -> str:
    """Return the number as "+919876543210", or raise; a number is never guessed.

    raw is the record's value: text as people and tools write it (see plain_number()), a tel: URI,
    or a whole JSON number. A fraction of zeros is not a part of the number: a spreadsheet writes
    9876543210.0. Any other fraction is refused. region is the two-letter country ("IN") of a number
    without a country code; None or "" means that there is none. A number that starts with +
    keeps its country, whatever the region is.

    Twelve digits without a plus ("919876543210") come from forms that did not escape the "+".
    phonenumbers removes the region's own country code only where the digits as they are are not a
    number of the region. So under IN they are read as +91. A number of another country that lost
    its plus is refused, unless it is a number of the region, too.

    Raises:
        PhoneError: no_number for None and blank text; invalid_number for everything else: letters
            (vanity numbers), extensions, two numbers in one value, and all that phonenumbers does
            not call valid.
    """
    number = _parsed(raw, region)
    if not _is_valid(number):
        raise _invalid("there is no such number in its country")
    return _in_e164(number)


@lru_cache(maxsize=_KEPT)
def read_e164(number: str) -> PhoneNumber:
    """Return a number in E.164 as phonenumbers reads it; nobody may change it.

    Kept, because a call's number is looked at several times: is it valid, which country and zone.

    Raises:
        NumberParseException: it is not a number.
    """
    return phonenumbers.parse(number, None)


@lru_cache(maxsize=_KEPT)
def number_type(number: str) -> int:
    """Return the PhoneNumberType of a number in E.164; UNKNOWN: there is no such number.

    Raises:
        NumberParseException: it is not a number.
    """
    return phonenumbers.number_type(read_e164(number))


def _is_valid(number: PhoneNumber) -> bool:
    """Say whether there is such a number in its country, as phonenumbers.is_valid_number()."""
    text = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    # Its type is kept with the text, if the text is read as the same number.
    if E164.fullmatch(text) and read_e164(text) == number:
        return number_type(text) != PhoneNumberType.UNKNOWN
    return phonenumbers.is_valid_number(number)


def as_written(raw: object, region: str | None) -> str:
    """Return the digits of one number in E.164, as e164() does, whether there is such a number.

    Raises PhoneError if the value is not one number.
    """
    return _in_e164(_parsed(raw, region))


def _in_e164(number: PhoneNumber) -> str:
    found = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    if not E164.fullmatch(found):
        raise _invalid("it has no international form")
    return found


def _parsed(raw: object, region: str | None) -> PhoneNumber:
    """Return the one number that a value is. Raises PhoneError."""
    text, context = _split_uri(_text(raw))
    if _SHORTENED.fullmatch(text):
        raise _invalid(
            "a spreadsheet has shortened it, and its last digits are lost; format the column as "
            "text and export it again"
        )
    text = _without_fraction(text)
    region = (region or "").strip().upper() or None
    known_region = region if region in phonenumbers.SUPPORTED_REGIONS else None
    try:
        if E164.fullmatch(text):
            number = read_e164(text)
        else:
            number = phonenumbers.parse(text + context, known_region)
    except NumberParseException as error:
        if _LETTER.search(text):
            raise _invalid("it has letters in it") from None
        if error.error_type != NumberParseException.INVALID_COUNTRY_CODE:
            raise _invalid("it is not a phone number") from None
        if text.lstrip("([ ").startswith(_PLUS) or context:
            raise _invalid("its country code does not exist") from None
        if region is None:
            raise _invalid("it has no country code and no default region is set") from None
        raise _invalid("it has no country code and its region is not a known country") from None
    if number.extension:
        raise _invalid("it has an extension, which can't be dialled")
    if _LETTER.search(text):
        # phonenumbers reads 1-800-FLOWERS by its keys, and finds a number in a whole sentence.
        raise _invalid("it has letters in it")
    if not _ONE_NUMBER.fullmatch(text):
        raise _invalid("it has something besides one phone number")
    return number


def _invalid(why: str) -> PhoneError:
    return PhoneError("invalid_number", f"The phone number can't be called: {why}.")


def _text(raw: object) -> str:
    """Return the value as trimmed text. Raises PhoneError if it is empty or of another type."""
    if raw is None:
        raise PhoneError("no_number", "There is no phone number.")
    if isinstance(raw, float) and raw.is_integer() and raw < 2**53:  # a float keeps these exactly
        raw = int(raw)
    if isinstance(raw, int) and not isinstance(raw, bool):
        # The limit comes first: Python does not print integers of more than 4300 digits.
        if not 0 < raw < 10**18:
            raise _invalid("it is not a phone number")
        return str(raw)
    if not isinstance(raw, str):
        raise _invalid("it is neither text nor a whole number")
    text = plain_number(raw[:_LOOKED_AT])
    if not text and len(raw) <= _LOOKED_AT:
        raise PhoneError("no_number", "There is no phone number.")
    if len(raw) > _LOOKED_AT or len(text) > _LONGEST:
        raise _invalid("it is too long")
    return text


def plain_number(text: str) -> str:
    """Return the text of a number without what tools and keyboards add, in ASCII where possible.

    Spaces and dashes of any width become " " and "-", digits of any script 0 to 9, full-width signs
    the usual ones. Removed are invisible marks (direction, zero width), the quotes and the = of a
    spreadsheet, and prefixes such as "p:" and "whatsapp:". All else stays, so a text that is not
    one number does not become one.
    """
    plain = text.replace("\t", " ") if text.isascii() else "".join(map(_plain_char, text))
    plain = plain.strip()
    if plain[:1] == "=" or plain[:1] in tuple(_QUOTES):
        plain = plain.removeprefix("=").strip(_QUOTES + " ")
    return plain[found.end() :] if (found := _PREFIXED.match(plain)) else plain


def _plain_char(char: str) -> str:
    if char.isascii():
        return " " if char == "\t" else char
    if "\uff01" <= char <= "\uff5e":  # full-width forms of all ASCII signs, in the same order
        return chr(ord(char) - 0xFEE0)
    match unicodedata.category(char):
        case "Cf":
            return ""
        case "Zs":
            return " "
        case "Pd":
            return "-"
        case "Nd":
            return str(unicodedata.decimal(char))
    return "-" if char == "\u2212" else char  # the minus sign


def _without_fraction(text: str) -> str:
    """Return a number without a fraction of zeros. Raises PhoneError for another fraction.

    A last dot with one digit behind it begins a fraction. So does the only dot of a text, with one
    or two digits or only zeros behind it. Other dots separate groups: 98765.43210, 044.2345.6789.
    """
    while found := _FRACTION.fullmatch(text):
        whole, fraction, rest = found.groups()
        is_zero = not fraction.strip("0")
        is_only_dot = "." not in whole.rstrip(_SEPARATORS)
        if not (len(fraction) == 1 or (is_only_dot and (len(fraction) == 2 or is_zero))):
            break
        if not is_zero:
            raise _invalid("it has a fraction")
        text = whole + rest
    return text


def _split_uri(text: str) -> tuple[str, str]:
    """Split "tel:98765;phone-context=+91" (RFC 3966) into the number and its context.

    Text that is not a tel: URI is returned unchanged, with an empty context.
    """
    if text[:4].lower() != "tel:":
        return text, ""
    number, *parameters = text[4:].split(";")
    context = ""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.lower() == "ext":
            raise _invalid("it has an extension, which can't be dialled")
        # A domain as context means an internal number of a switchboard.
        if name.lower() != "phone-context" or context or not re.fullmatch(r"\+[0-9]+", value):
            raise _invalid("its tel: URI has a part that can't be read")
        context = f";phone-context={value}"
    number = number.strip()
    return number, "" if number.startswith(_PLUS) else context


class Phone(fields.Field[str]):
    """A number in strict E.164, "+919876543210"; it is checked and never changed. See e164()."""

    default_error_messages = {  # noqa: RUF012  (marshmallow's own way)
        "invalid": 'must be a phone number in E.164: "+", then 2 to 15 digits'
    }

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        if not isinstance(value, str) or not E164.fullmatch(value):
            raise self.make_error("invalid")
        return value


# --- masks -----------------------------------------------------------------------------------

_DOT: Final = "•"
_PHONEISH: Final = re.compile(
    rf"\s*(?:tel:)?[\d+\uff0b{_AROUND}]+(?:(?:extn?\.?|x|#)\s*\d{{1,7}})?", re.IGNORECASE
)
_PIECES: Final = re.compile(r"([,;|\n])")
_EIGHT_DIGITS: Final = re.compile(r"(?:\D*+\d){8}")
# Longer than any number with its prefixes: Zoho's record ids have 18 and 19 digits.
_LONG_RUN: Final = re.compile(r"\d{18}")
# HubSpot writes instants as epoch milliseconds. No country has 13-digit numbers that start with 1.
_MILLIS: Final = re.compile(r"1[0-9]{12}")
_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0?[1-9]|1[0-2])", r"(?:0?[1-9]|[12]\d|3[01])"
_DATE: Final = re.compile(
    rf"{_YEAR}([-/.]){_MONTH}\1{_DAY}|{_DAY}([-/.]){_MONTH}\2{_YEAR}|{_MONTH}/{_DAY}/{_YEAR}"
)
_MARKED: Final = re.compile(r"[+\uff0b][ \t]?\(?\d(?:[ \t()./\-]{0,3}\d){7,}(?!\w)")
# What may stand between two digits in a sentence: blanks, line ends, dashes and invisible marks of
# any width; a comma where a blank follows it, as in a transcription.
_BETWEEN: Final = (
    r"(?:[\s()./\-\u00ad\u00b7\u200b-\u2015\u202a-\u202f\u2060-\u2069\u2212\ufeff\uff0d]{0,3}"
    r"|,\s{1,2})"
)
_IN_TEXT: Final = re.compile(rf"(?<!\w)[+\uff0b]?\(?\d(?:{_BETWEEN}\d){{7,}}(?!\w)")

# JSON inside a text, such as a form's one value. Its numbers stand between other characters.
_JSON_TEXT: Final = re.compile(r"\s*[{\[]")
_RUN: Final = re.compile(r"[+\uff0b]?\(?\d(?:[ \t()./\-]{0,3}\d)*+")


def mask_number(number: str) -> str:
    """Hide a number's middle: "+919876543210" becomes "+91••••••3210".

    The country code is kept where a + marks it, and at most the last four digits: fewer of a short
    number. Separators are removed.
    """
    digits = "".join(char for char in number if char.isdecimal())
    code = ""
    if any(plus in number for plus in _PLUS):
        # No calling code is the beginning of another, so the first match is right.
        heads = (digits[:length] for length in (1, 2, 3) if digits)
        codes = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
        code = next((head for head in heads if int(head) in codes), "")
    local = digits[len(code) :]
    shown = 4 if len(local) >= 8 else 2 if len(local) >= 5 else 0
    hidden = len(local) - shown
    return ("+" + code if code else "") + _DOT * hidden + local[hidden:]


def mask(value: Any) -> Any:
    """Return a JSON value with everything masked that looks like a phone number.

    A value looks like a phone number if it has 8 or more digits, and besides them only characters
    that people write around digits. It may be a string, a whole number or an object's key; commas,
    semicolons or bars may separate several in one string. A masked number is a string. Not masked:
    dates, date-times, epoch milliseconds, text with letters, and runs of 18 digits and more. In a
    text that begins like JSON, every run of 8 digits and more is masked, but dates.

    Limits: a number inside a sentence is not found (see mask_text), and none with fewer than 8
    digits or with letters. Amounts, coordinates and numeric ids of 8 digits and more are masked,
    too. Values deeper than 64 levels are replaced by "…".
    """
    return _mask(value, 0)


def _mask(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        return "…"
    match value:
        case bool():
            return value
        case str():
            return _mask_string(value)
        case int():
            return _mask_whole(value)
        case float() if value.is_integer():
            # The phone column of a spreadsheet arrives as 9876543210.0.
            masked = _mask_whole(int(value))
            return masked if isinstance(masked, str) else value
        case list() | tuple():
            return [_mask(item, depth + 1) for item in value]
        case dict():
            named = ((_mask_string(k) if isinstance(k, str) else k, v) for k, v in value.items())
            return distinct((name, _mask(item, depth + 1)) for name, item in named)
        case _:
            return value


def distinct(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return an object of all pairs: a key that is there already gets a number, "name (2)".

    Two keys may have the same mask, and both must stay. The time is linear: a body may have
    thousands of keys that look alike once they are masked.
    """
    shown: dict[Any, Any] = {}
    latest: dict[Any, int] = {}  # the highest number that a key was given
    for key, value in pairs:
        name = key
        while name in shown:
            latest[key] = latest.get(key, 1) + 1
            name = f"{key} ({latest[key]})"
        shown[name] = value
    return shown


def _mask_whole(value: int) -> int | str:
    # The limits come first: Python does not print integers of more than 4300 digits.
    if not 10**7 <= abs(value) < 10**17:
        return value
    text = str(abs(value))
    return mask_number(text) if _is_phoneish(text) else value


def _mask_string(text: str) -> str:
    pieces = _PIECES.split(text)
    if not any(map(_is_phoneish, pieces)):
        return _RUN.sub(_mask_run, text) if _JSON_TEXT.match(text) else text
    return "".join(mask_number(piece) if _is_phoneish(piece) else piece for piece in pieces)


def _mask_run(found: re.Match[str]) -> str:
    run = found.group()
    return run if sum(map(str.isdecimal, run)) < 8 or is_date(run) else mask_number(run)


def is_date(text: str) -> bool:
    """Say whether a text is a date in figures: 2026-11-28, 28/11/2026, 11/28/2026."""
    return _DATE.fullmatch(text) is not None


def _is_phoneish(text: str) -> bool:
    if len(text) > 4 * _LONGEST or not _EIGHT_DIGITS.match(text):
        return False
    text = plain_number(text)  # with the same digits
    if is_date(text) or _MILLIS.fullmatch(text) or not _PHONEISH.fullmatch(text):
        return False
    return not _LONG_RUN.search(text)


def mask_text(text: str) -> str:
    """Mask every run of 8 or more digits in a sentence, with separators or without.

    For texts of other services, such as an error message that repeats the request. Dates and
    numeric ids are masked, too: in a sentence they can't be told from phone numbers.
    """
    return _IN_TEXT.sub(lambda found: mask_number(found.group()), text)


def runs_of_digits(text: str) -> list[str]:
    """Return what mask_text() masks in a sentence."""
    return [found.group() for found in _IN_TEXT.finditer(text)]


def mask_marked(text: str) -> str:
    """Mask every phone number in a text that begins with a +.

    For ids and types of CRMs, whose other runs of digits are part of the id.
    """
    return _MARKED.sub(lambda found: mask_number(found.group()), text)


# --- instants --------------------------------------------------------------------------------

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class EpochMillis(fields.Field[datetime]):
    """An instant as whole milliseconds since 1970; inside, an aware UTC datetime.

    Strings of digits are accepted, too: HubSpot's property values are strings.
    """

    default_error_messages = {  # noqa: RUF012  (marshmallow's own way)
        "invalid": "must be epoch milliseconds",
        "range": "must be epoch milliseconds within the years 1 to 9999",
    }

    def deserialize(
        self,
        value: Any,
        attr: str | None = None,
        data: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        # A batch has hundreds: without marshmallow's hooks, as crm/fields.py's RecordId.
        if type(value) is int and not self.validators:
            return self._deserialize(value, attr, data)
        return super().deserialize(value, attr, data, **kwargs)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> datetime:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,16}", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.make_error("invalid")
        try:
            return _EPOCH + timedelta(milliseconds=value)
        except OverflowError:
            raise self.make_error("range") from None

    def _serialize(
        self, value: datetime | None, attr: str | None, obj: Any, **kwargs: Any
    ) -> int | None:
        return None if value is None else (value - _EPOCH) // timedelta(milliseconds=1)


_ISO: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
    r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)?",
    re.IGNORECASE,
)
_ISO_DATE: Final = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}")
# 13 digits: from 2001 to 2286. Fewer digits are seconds; read as milliseconds they would mean 1970,
# and so "call at once".
_FIRST_MS, _LAST_MS = 10**12, 10**13 - 1


def to_schedule_at(value: object, zone: str) -> str:
    """Return a time as CallKaro's schedule_at: "2025-12-31T09:30:00", wall-clock time in zone.

    value is an ISO 8601 date-time, epoch milliseconds (13 digits, as a number or a string), or a
    datetime, such as TOML has. With an offset it is converted to zone (an IANA name); without an
    offset it is in zone already. Fractions of a second are removed. In autumn, when clocks repeat
    an hour, the result can't say which of the two hours it is: CallKaro's field has no offset.

    Raises:
        ValidationError: not a time, a date without a time of day, a wall-clock time that the zone
            skips in spring, or an unknown zone.
    """
    try:
        tz = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: "America" is a directory
        raise ValidationError("can't be converted: the time zone is unknown") from None
    try:
        at = _datetime(value)
        if at.tzinfo is not None:
            at = at.astimezone(tz).replace(tzinfo=None)
        elif at.replace(tzinfo=tz).astimezone(UTC).astimezone(tz).replace(tzinfo=None) != at:
            raise ValidationError("does not exist: the clocks skip this time")
    except OverflowError:
        raise ValidationError("is out of range") from None
    return at.replace(microsecond=0, fold=0).isoformat()


def _datetime(value: object) -> datetime:
    """Return the time of a value, naive or aware. Raises ValidationError."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        value = value.strip()
        if _ISO.fullmatch(value):
            try:
                return datetime.fromisoformat(value.upper())
            except ValueError:
                raise ValidationError("is not a real date and time") from None
        if re.fullmatch(r"[0-9]{13}", value):
            value = int(value)
    if isinstance(value, date) or (isinstance(value, str) and _ISO_DATE.fullmatch(value)):
        raise ValidationError("must have a time of day, not only a date")
    if isinstance(value, int) and not isinstance(value, bool):
        if not _FIRST_MS <= value <= _LAST_MS:
            raise ValidationError("must be in milliseconds (13 digits) where it is a number")
        return _EPOCH + timedelta(milliseconds=value)
    raise ValidationError("must be an ISO 8601 date and time or epoch milliseconds")
