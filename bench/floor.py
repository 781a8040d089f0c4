"""The floors of the intake, on the same gunicorn. They store nothing and promise nothing.

create_app: Flask, the HMAC over the raw body, json.loads; no intake in Flask can be faster.
create_bare_app: a view that only answers; what Flask and gunicorn take of it.
"""

import hmac
import json

from flask import Flask, request

from bench.hubspot import PATH, signature


def create_app() -> Flask:
    """Build the view that checks the signature and parses."""
    app = Flask(__name__)

    @app.post(PATH)
    def receive() -> tuple[dict[str, int], int]:
        body = request.get_data(cache=False)
        expected = signature("", body, request.headers["X-HubSpot-Request-Timestamp"])
        if not hmac.compare_digest(request.headers["X-HubSpot-Signature-v3"], expected):
            return {"accepted": 0}, 401
        return {"accepted": len(json.loads(body))}, 202

    return app


def create_bare_app() -> Flask:
    """Build the view that only answers."""
    app = Flask(__name__)

    @app.post(PATH)
    def receive() -> tuple[dict[str, int], int]:
        return {"accepted": 1}, 202

    return app
