"""A refused request: a webhook that proved its source, and whose body could not be parsed."""

from dataclasses import dataclass
from datetime import UTC, datetime


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
