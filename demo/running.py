"""A bridge that runs, with stand-ins in the place of CallKaro and the CRMs."""

from dataclasses import dataclass

import requests
from rich.console import Console

from bridge.cli import Api, post_signed
from demo.processes import Children
from demo.programs import Simulator
from schemas.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """All programs of a demo, once they answer."""

    settings: Settings
    api: Api
    simulator: Simulator
    children: Children
    screen: Console
    url: str  # where the bridge is

    def post(self, source: str, body: bytes, content_type: str) -> requests.Response:
        """Post a webhook, signed as its source does it. Raises Failure."""
        found = self.settings.routes.sources[source]
        return post_signed(self.settings, found, body, content_type, base_url=self.url)
