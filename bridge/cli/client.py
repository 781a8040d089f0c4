"""A running bridge's API, as the commands use it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import click
import requests

from bridge.cli.times import utc_text
from config.settings import load_settings
from schemas.errors import SettingsError
from schemas.settings import Settings
from schemas.visible import visible

TIMEOUT_S = 30.0


class Failure(click.ClickException):
    """An expected failure that ends a command: only its message is shown."""

    def format_message(self) -> str:
        """Return the message as a terminal may show it: a bridge or a CRM wrote parts of it."""
        return visible(self.message, keeps="\n")


@dataclass(frozen=True, kw_only=True)
class Api:
    """A running bridge's API."""

    base_url: str
    token: str = field(repr=False)
    timezone: str = "UTC"  # of the times that people type and see
    timeout_s: float = TIMEOUT_S

    def get(self, path: str, *, or_none: bool = False) -> Any:
        """Return a response's JSON; None for a 404 if or_none. Raises Failure."""
        return self.request("GET", path, or_none=or_none)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Post a body and return the response's JSON. Raises Failure."""
        return self.request("POST", path, body)

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        or_none: bool = False,
    ) -> Any:
        """Return a response's JSON; None for a 404 if or_none. Raises Failure."""
        response = self._answer(method, path, body)
        if response.status_code == 404 and or_none:
            return None
        content = json_of(response)
        self._check(response, content)
        if not content:
            raise Failure(f"The program that answers at {self.base_url} is not a bridge.")
        return content

    def text(self, path: str) -> str:
        """Return a response that is no JSON, as /metrics answers. Raises Failure."""
        response = self._answer("GET", path, None)
        self._check(response, json_of(response))
        return response.text

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | None) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return http_request(
            method, self.base_url + path, timeout_s=self.timeout_s, headers=headers, json=body
        )

    def _check(self, response: requests.Response, content: Mapping[str, Any]) -> None:
        if response.status_code == 401:
            raise Failure(f"The bridge at {self.base_url} does not accept this API_TOKEN.")
        if not response.ok:
            message = content.get("message") or response.reason
            raise Failure(
                f"The bridge at {self.base_url} answered {response.status_code}: {message}"
            )

    def filters(self, options: Mapping[str, str | datetime | None]) -> dict[str, str]:
        """Return the filters that were given, as the API reads them."""
        return {
            name: utc_text(value, self.timezone) if isinstance(value, datetime) else value
            for name, value in options.items()
            if value is not None
        }


def open_api(url: str | None, *, token: str = "") -> Api:
    """Return the API of the bridge at url; None: at PUBLIC_URL, else on this machine.

    token: used in the place of API_TOKEN; "": API_TOKEN is. Raises Failure if there is neither.
    """
    settings = read_settings(needs=frozenset() if token else frozenset({"API_TOKEN"}))
    return Api(
        base_url=address_of(url or settings.public_url or f"http://localhost:{settings.port}"),
        token=token or settings.api_tokens[0],
        timezone=settings.callkaro_timezone,
    )


def quoted(text: str) -> str:
    """Return a text as a part of a path."""
    return quote(text, safe="")


def id_in(text: str) -> str:
    """Return the ID that a person typed; a pasted status_url gives the ID at its end."""
    return re.split(r"[?#]", text)[0].rstrip("/").rpartition("/")[2] or text


def read_settings(*, needs: frozenset[str]) -> Settings:
    """Return the settings, of which a command needs these. Raises Failure."""
    try:
        return load_settings(needs=needs)
    except SettingsError as error:
        raise Failure(f"The settings can't be used. Fix this:\n{error}") from None


def http_request(
    method: str, url: str, *, timeout_s: float = TIMEOUT_S, **options: Any
) -> requests.Response:
    """Make one request. Raises Failure when there is no answer."""
    with requests.Session() as session:
        session.trust_env = not is_here(url)  # a proxy can't reach this machine for us
        try:
            return session.request(method, url, timeout=timeout_s, allow_redirects=False, **options)
        except requests.RequestException as error:
            where = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
            raise Failure(
                f"No bridge answers at {where} ({type(error).__name__}). Does it run there? "
                "Give another address with --url."
            ) from None


def address_of(url: str) -> str:
    """Return a bridge's address as the bridge will see it: with a scheme, without a default port.

    HTTP clients leave a default port out of Host, and some CRMs sign the Host. Raises Failure.
    """
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError:  # an open bracket, a port that is not a number
        raise Failure(f"{url} is not an address. Write it as http://localhost:8000") from None
    netloc = parts.netloc
    if port == {"http": 80, "https": 443}.get(parts.scheme):
        netloc = netloc.removesuffix(f":{port}")
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))


def is_here(url: str) -> bool:
    """Return whether an address is on this machine."""
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def json_of(response: requests.Response) -> dict[str, Any]:
    """Return a response's JSON object; an empty one if it has none."""
    try:
        content = response.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
