"""Challenges: a vendor asks whether a URL is ours. The answer repeats a text of the request."""

from collections.abc import Mapping
from typing import Final

from flask import Response

from bridge.http.answers import json_answer
from bridge.http.body import read_body
from schemas.errors import BadSignature, RequestError
from schemas.signatures import is_one_of
from schemas.source import Challenge, Incoming, Source

LONGEST: Final = 1000  # characters of the text
LONGEST_BODY: Final = 4096  # bytes; a webhook may have a key of the same name, and much more


def answer_to(source: Source, request: Incoming, variables: Mapping[str, str]) -> Response | None:
    """Return the answer to a challenge; None: the request is none.

    variables: the source's, by suffix. Raises BadSignature if its token is wrong.
    """
    challenge = source.kind.challenge
    text = (
        _text_of(challenge, request) if challenge and challenge.method == request.method else None
    )
    if challenge is None or text is None:
        return None
    if challenge.token is not None:
        argument, suffix = challenge.token
        if not is_one_of(request.query.get(argument, ""), [variables.get(suffix, "")]):
            name = source.variable_prefix + suffix
            raise BadSignature(f"The token is not that of {name}.", why="wrong_token")
    if challenge.as_json:
        return json_answer({challenge.echo: text}, 200)
    return Response(text, status=200, mimetype="text/plain")


def _text_of(challenge: Challenge, request: Incoming) -> str | None:
    """Return the text that the answer repeats; None: this is no challenge."""
    if any(request.query.get(name) != value for name, value in challenge.only_with.items()):
        return None
    is_get = challenge.method == "GET"
    text = request.query.get(challenge.echo) if is_get else _of_body(challenge.echo, request)
    return text if isinstance(text, str) and len(text) <= LONGEST else None


def _of_body(key: str, request: Incoming) -> object:
    """Return the text of a body that is a challenge and nothing else."""
    if len(request.body) > LONGEST_BODY:
        return None
    try:
        content = read_body(request.body, "application/json")
    except RequestError:
        return None
    return content[key] if isinstance(content, dict) and content.keys() == {key} else None
