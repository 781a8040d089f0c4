"""The request and the answer of /api/stats."""

from typing import Any

from marshmallow import Schema, fields, validate

from schemas.fields import mask_text
from schemas.figures import By, FigureTable
from schemas.requests import TIME
from schemas.responses import ResponseSchema, doc


class StatsQuery(Schema):
    """By what, from when, and of what: at most one of route, source and campaign."""

    by = fields.String(
        required=True,
        validate=validate.OneOf([str(by) for by in By]),
        metadata={"description": "Days, hours and weekdays are those of CALLKARO_TIMEZONE."},
    )
    since = fields.String(metadata=TIME)
    until = fields.String(metadata=TIME)
    route = fields.String()
    source = fields.String()
    campaign = fields.String(metadata={"description": "A batch_id, or a name: all its periods."})


class FiguresResponse(ResponseSchema):
    """Sums over calls, test calls left out."""

    events = fields.Integer(metadata=doc("Deliveries that were made."))
    accepted = fields.Integer(metadata=doc("Of them: ever accepted by CallKaro."))
    skipped = fields.Integer(metadata=doc("Are skipped now."))
    failed = fields.Integer(metadata=doc("Are failed now."))
    unknown = fields.Integer(  # type: ignore[assignment]  # a name of Schema, too
        metadata=doc("Are unknown now.")
    )
    dialled = fields.Integer(metadata=doc("CallKaro dialled the number."))
    ended = fields.Integer(metadata=doc("No redial follows."))
    connected = fields.Integer(metadata=doc("Of those that ended, as the next four."))
    voicemail = fields.Integer()
    not_reached = fields.Integer()
    wrong_number = fields.Integer()
    other = fields.Integer(metadata=doc("With any other result."))
    converted = fields.Integer(metadata=doc("Ended, with CallKaro's conversion_status."))
    talked_s = fields.Integer(metadata=doc("Seconds, in all dials."))
    answer_rate = fields.Float(
        allow_none=True, metadata=doc("connected / dialled; null: none was dialled.")
    )
    conversion_rate = fields.Float(
        allow_none=True, metadata=doc("converted / connected; null: none was connected.")
    )


class FiguresOfKeyResponse(FiguresResponse):
    """The figures of one key."""

    key = fields.String(metadata=doc("none: without a value; (other): the smallest keys of a day."))


class StatsResponse(ResponseSchema):
    """Figures by key: by time in its order, else the largest key first."""

    items = fields.List(fields.Nested(FiguresOfKeyResponse))
    total = fields.Nested(FiguresResponse)


def stats_answer(table: FigureTable, by: By) -> dict[str, Any]:
    """Return figures as StatsResponse has them."""
    # One schema for all rows: to make one takes as long as to dump several rows.
    *rows, total = FiguresResponse(many=True).dump([*(of for _, of in table.items), table.total])
    keys = (shown_key(key, by) for key, _ in table.items)
    return {
        "items": [{"key": key, **row} for key, row in zip(keys, rows, strict=True)],
        "total": total,
    }


def shown_key(key: str, by: By) -> str:
    """Return a key as it is shown: CallKaro may write a phone number into a version."""
    return mask_text(key) if by is By.VERSION else key
