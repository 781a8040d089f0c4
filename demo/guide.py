"""What `make run` prints once it serves: where everything is, and what to try."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from bridge.cli import incoming
from config.settings import warnings_of
from schemas.settings import Settings
from schemas.signatures import sign
from schemas.source import Basic, Signatures, Source

FORM = "website"  # the source that a lead of the user's own is posted to


@dataclass(frozen=True, kw_only=True, slots=True)
class Guide:
    """A bridge that serves."""

    settings: Settings
    url: str
    logs: Path
    # The variables that nobody had set, by name, with their generated values.
    generated: Mapping[str, str]
    # Where the stand-ins are; None: calls go to the real CallKaro.
    simulator: str | None

    def show(self, screen: Console) -> None:
        """Print it."""
        screen.print(f"\nThe bridge serves at {self.url} until Ctrl-C.")
        screen.print("Open it in a browser, and sign in with the API token below.")
        for heading, lines in self._sections():
            if lines:
                screen.print(f"\n{heading}")
            for line in lines:
                screen.print(f"  {escape(line)}", soft_wrap=True)

    def _sections(self) -> Iterator[tuple[str, list[str]]]:
        is_generated = "API_TOKEN" in self.generated
        token = self.settings.api_tokens[0] if is_generated else "$API_TOKEN"
        curl = f'curl -H "Authorization: Bearer {token}" {self.url}'
        yield "Addresses for your CRMs", list(self._addresses())
        note = " (generated for this run; set API_TOKEN to keep one)" if is_generated else ""
        yield f"API token{note}", [token]
        yield "Post a lead of your own", list(self._own_lead())
        yield "Ask what became of an event", [f"{curl}/api/deliveries", f"{curl}/api/status"]
        if self.simulator:
            yield "What CallKaro and the CRMs received", [f"{self.simulator}/simulator"]
        yield "Logs", [f"{self.logs}/*.log"]
        yield "Warnings", warnings_of(self.settings)

    def _addresses(self) -> Iterator[str]:
        """Yield the URL of each source that is on, with its secret if that is generated."""
        for source in self.settings.routes.sources.values():
            if not self.settings.secrets.get(source.name):
                continue
            name = secret_name(source)
            secret = f"   {name}={self.generated[name]}" if name in self.generated else ""
            yield f"{self.settings.public_url or self.url}/webhooks/{source.name}{secret}"
        if not self.settings.public_url:
            yield "(A CRM needs a public https address, such as a tunnel's. Set it as PUBLIC_URL.)"

    def _own_lead(self) -> Iterator[str]:
        """Yield a command that posts a lead to the web form's source, if that source is on.

        There is none with the real CallKaro, because the number might be somebody's. There is
        none for a signature either: it is for one body only, and for a few minutes.
        """
        source = self.settings.routes.sources.get(FORM)
        given = self.settings.secrets.get(FORM)
        if not (self.simulator and source and given) or isinstance(source.auth, Signatures):
            return
        lead = {
            "submission_id": f"my-form-{int(time.time())}",
            "name": "Asha Example",
            "phone": "+91 98765 43216",
            "message": "a lead of my own",
        }
        body = json.dumps(lead)
        name = secret_name(source)
        # A secret that somebody chose is not printed; the shell fills it in.
        secret = given[0] if name in self.generated else f"${name}"
        yield (
            f'curl {self._proof(source, secret, body)} -H "Content-Type: application/json" '
            f"-d '{body}' {self.url}/webhooks/{source.name}"
        )

    def _proof(self, source: Source, secret: str, body: str) -> str:
        """Return curl's options that prove who sends a body."""
        if isinstance(source.auth, Basic):
            return f'-u "{secret}"'
        request = incoming(source, body.encode(), "application/json", base_url=self.url)
        headers = sign(source.auth, secret, request, now=datetime.now(UTC))
        return " ".join(f'-H "{key}: {value}"' for key, value in headers.items())


def secret_name(source: Source) -> str:
    """Return the name of the variable with a source's webhook secret."""
    return f"{source.variable_prefix}WEBHOOK_SECRET"
