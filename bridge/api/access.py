"""The API's token, and the log line for each look at whole phone numbers."""

from flask import request

from config import log
from schemas.errors import Unauthorized
from schemas.settings import Settings
from schemas.signatures import is_one_of

logger = log.get(__name__)


def check_token(settings: Settings) -> None:
    """Raise Unauthorized unless the request has the API token."""
    given = request.headers.get("Authorization", "")
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer" or not is_one_of(token.strip(), settings.api_tokens):
        raise Unauthorized("Send the API token as `Authorization: Bearer <API_TOKEN>`.")


def note_revealed(what: str, *ids: str) -> None:
    """Log that whole numbers were shown: with the ids of the records, never with the numbers."""
    logger.info("number.revealed", what=what, ids=ids)
