"""Answers in JSON, written once: no text between orjson's bytes and those that are sent."""

from typing import Any

import orjson
from flask import Response
from werkzeug.datastructures import Headers


class JsonAnswer(Response):
    """An answer whose headers are whole: its length is among them, and no Location is."""

    def get_wsgi_headers(self, environ: dict[str, Any]) -> Headers:
        """Return the headers as they are; werkzeug copies them to add a length and a Location."""
        return self.headers


def json_answer(content: Any, status: int) -> JsonAnswer:
    """Return an answer as Flask's jsonify() writes it; status: one that may have a body."""
    body = orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS)
    return JsonAnswer(body + b"\n", status, content_type="application/json")
