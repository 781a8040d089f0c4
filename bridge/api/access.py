"""The API's tokens, and what is kept of each look at whole phone numbers."""

from collections.abc import Sequence

from flask import request

from bridge.access import let_in, note_act, token_of
from config import log
from schemas.access import Action
from schemas.errors import Unauthorized
from schemas.settings import Settings

logger = log.get(__name__)


def check_token(settings: Settings) -> None:
    """Raise Unauthorized unless the request has a token, or Forbidden if its role is too low."""
    given = request.headers.get("Authorization", "")
    scheme, _, token = given.partition(" ")
    found = token_of(token, settings.tokens()) if scheme.lower() == "bearer" else None
    if found is None:
        raise Unauthorized("Send the API token as `Authorization: Bearer <API_TOKEN>`.")
    let_in(found)


def note_revealed(what: str, *ids: str) -> None:
    """Log that whole numbers were shown: with the ids of the records, never with the numbers."""
    logger.info("number.revealed", what=what, ids=ids)
    note_act(Action.REVEAL, what, *ids)


def note_many_revealed(what: str, ids: Sequence[str]) -> None:
    """Log that a file has whole numbers: the log has the ids, and the audit how many.

    The audit keeps a limited number of entries. With one for each row, a few files would push out
    what people did before.
    """
    logger.info("number.revealed", what=what, ids=ids)
    note_act(Action.REVEAL, what, count=len(ids))
