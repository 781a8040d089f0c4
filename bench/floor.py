"""The floor of the intake: Flask on the same gunicorn, the HMAC over the raw body, json.loads.

It checks nothing else, stores nothing and promises nothing. No intake in Flask can be faster.
"""

import hmac
import json

from flask import Flask, request

from bench.hubspot import PATH, signature


def create_app() -> Flask:
    """Build the view."""
    app = Flask(__name__)

    @app.post(PATH)
    def receive() -> tuple[dict[str, int], int]:
        body = request.get_data(cache=False)
        expected = signature("", body, request.headers["X-HubSpot-Request-Timestamp"])
        if not hmac.compare_digest(request.headers["X-HubSpot-Signature-v3"], expected):
            return {"accepted": 0}, 401
        return {"accepted": len(json.loads(body))}, 202

    return app
