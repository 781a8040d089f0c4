"""Fields that the CRM modules share, and marshmallow's messages as one sentence."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from marshmallow import Schema, ValidationError, fields

from schemas.event_time import read_time
from schemas.expression import Expression
from schemas.source import id_text


class RecordId(fields.Field[str]):
    """A CRM's id: text inside; in JSON, text or a number.

    Nobody calculates with ids, and HubSpot's and Zoho's are longer than 32 bits.
    """

    default_error_messages = {  # noqa: RUF012  (marshmallow's own way)
        "required": "is missing",
        "null": "is null",
        "invalid": "must be an id",
    }

    def deserialize(
        self,
        value: Any,
        attr: str | None = None,
        data: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        # Nearly every id is a plain integer, and a batch has hundreds. Without marshmallow's hooks
        # before and after, loading takes a third less time.
        if type(value) is int:
            return str(value)
        return super().deserialize(value, attr, data, **kwargs)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        text = id_text(value)
        if text is None:
            raise self.make_error("invalid")
        return text


class Word(fields.String):
    """Text, as fields.String reads it, but without the hooks, as in RecordId."""

    default_error_messages = {  # noqa: RUF012  (marshmallow's own way)
        "required": "is missing",
        "null": "is null",
        "invalid": "must be text",
    }

    def deserialize(
        self,
        value: Any,
        attr: str | None = None,
        data: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        if type(value) is str and not self.validators:
            return value
        return super().deserialize(value, attr, data, **kwargs)


def plain_reader(schema: Schema) -> Callable[[Any], dict[str, Any] | None]:
    """Return a function that loads an object as the schema does, in a third of the time.

    It answers None where marshmallow has more to do than to ask each field: a value is wrong, null
    or required and missing. The schema must leave out what it does not know, and have no hooks.
    """
    wanted = tuple(
        (name, field.data_key or name, field.required, field.deserialize)
        for name, field in schema.load_fields.items()
    )

    def read(original: Any) -> dict[str, Any] | None:
        if type(original) is not dict:
            return None
        found = {}
        try:
            for name, key, is_required, deserialize in wanted:
                value = original.get(key)
                if value is not None:
                    found[name] = deserialize(value)
                elif is_required or key in original:
                    return None
        except ValidationError:
            return None
        return found

    return read


# How a flag that is off is written, as a value or as a word.
_OFF: Final = '`[null, false, 0, "0", "", "false", "False", "N", "n", "No", "no"]`'


def one_is_on(*flags: str) -> Expression:
    """Return an expression: whether one of these flags of a record is on.

    Of a do-not-call flag, a value that is not known to be off counts as on: a wrong guess would
    call the person. `contains` searches our own list, so a value of any type is no error.
    """
    return Expression.of(" || ".join(f"!contains({_OFF}, {flag})" for flag in flags))


def sentence(what: str, messages: Any) -> str:
    """Return one sentence on why `what` could not be read: fields and causes, never values.

    messages is marshmallow's: by field, each with a list of causes.
    """
    if not isinstance(messages, Mapping) or "_schema" in messages:
        return f"The {what} is not a JSON object."
    causes = (
        f"{name} {found[0] if isinstance(found, list) and found else 'is invalid'}"
        for name, found in sorted(messages.items())
    )
    return f"The {what} can't be read: {', '.join(causes)}."


def instant(value: Any) -> datetime | None:
    """Return a time of a record, aware UTC; None: it is not given, or is a day alone."""
    found = read_time(value)
    return found if isinstance(found, datetime) else None
