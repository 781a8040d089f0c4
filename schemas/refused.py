"""A refused request: why it was refused; and one that proved its source and can't be parsed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

# Why a webhook request was refused, by the error word of its answer (schemas/errors.py).
CAUSES: Final = {
    "bad_signature": "The signature or token is missing or wrong, the request is too old, or the "
    "body is of another account. The web process logs which of these it is: the field why of "
    "webhook.rejected.",
    "unknown_source": "There is no source with this name, or it has no secret.",
    "too_large": "The body is too large.",
    "unsupported_media": "The body is not JSON or a form, or not what its CRM sends.",
    "bad_payload": "The body can't be parsed.",
    "store_unavailable": "Redis did not answer, or was nearly full.",
    "store_unfit": "This Redis can't be the store: `python -m bridge check` says why.",
    "internal": "The bridge had an error of its own. The log says more.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedRequest:
    """A refused request as it is kept. It can't be replayed: nobody knows what its sender meant."""

    id: str = ""  # the store chooses it
    source: str
    at: datetime = datetime(1970, 1, 1, tzinfo=UTC)  # when it was kept, by Redis' clock
    content_type: str  # the whole header, cut
    bytes: int  # of the whole body, as it came
    problem: str  # the sentence that its sender got
    place: str  # where in the body, such as "line 1, column 5"; "": not known
    head: str  # the beginning of the body, for lists
    # The first 64 kB as text, without the secrets that the bridge knows. "": it could not be
    # decompressed, so nobody could read it and no erasure could search it.
    body: str

    def __repr__(self) -> str:
        # The body is personal; a traceback or a log line must not contain it.
        return f"RefusedRequest(id={self.id!r}, source={self.source!r}, bytes={self.bytes})"


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedPage:
    """A page of refused requests, newest first; next_cursor None: this is the last page."""

    items: tuple[RefusedRequest, ...]
    next_cursor: str | None
