"""A bridge that runs, with stand-ins in the place of CallKaro and the CRMs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
from rich.console import Console

from bridge.cli import Api, Failure, post_signed
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

    def end_call(self, call_sid: str, dial: Mapping[str, Any]) -> None:
        """Have CallKaro's stand-in report the end of a dial. Raises Failure.

        dial: fields of CallKaro's call_ended that differ from those of a call that was connected.
        """
        token = self.settings.callkaro_webhook_tokens[0]
        to = f"{self.url}/callbacks/callkaro/{token}"
        answer = self.simulator.tell("POST", "call-ended", {"to": to, "call_sid": call_sid, **dial})
        if answer.json()["status"] >= 300:
            raise Failure(f"The bridge answered {answer.json()['status']} to an outcome.")
