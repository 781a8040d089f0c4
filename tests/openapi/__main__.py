"""`python -m tests.openapi`: print the API's description, as GET /openapi.json gives it."""

import json
import sys
from pathlib import Path

# As pytest does: the tests' own modules are found from their folder.
sys.path.insert(0, str(Path(__file__).parent.parent))

from support import ALL_ROUTES

from bridge.api.openapi import make_spec
from bridge.app import create_app
from schemas.crm import kinds
from schemas.routes_toml import load_routes
from schemas.settings import Settings


def main() -> None:
    """Print it. Nothing is connected to: the settings only need to be complete."""
    settings = Settings(
        redis_url="redis://127.0.0.1:9/0",
        api_tokens=("an-api-token",),
        callkaro_api_key="a-key",
        callkaro_webhook_tokens=("a-callback-token",),
        routes=load_routes(ALL_ROUTES, file="routes.toml", kinds=kinds()),
    )
    json.dump(make_spec(create_app(settings)), sys.stdout, indent=1)


main()
