"""A running bridge's API, as the commands ask it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import click
import requests

from config.settings import load_settings
from schemas.errors import SettingsError
from schemas.settings import Settings

TIMEOUT_S = 30.0


class Failure(click.ClickException):
    """What stops a command and was to be expected: its message is all that is shown."""


@dataclass(frozen=True, kw_only=True)
class Api:
    """A running bridge's API."""

    base_url: str
    token: str = field(repr=False)

    def get(self, path: str, *, or_none: bool = False) -> Any:
        """Return an answer's JSON; None for a 404 if or_none. Raises Failure."""
        return self.ask("GET", path, or_none=or_none)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Have something done, and return the answer's JSON. Raises Failure."""
        return self.ask("POST", path, body)

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        or_none: bool = False,
    ) -> Any:
        """Return an answer's JSON; None for a 404 if or_none. Raises Failure."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = ask(method, self.base_url + path, headers=headers, json=body)
        if answer.status_code == 404 and or_none:
            return None
        content = json_of(answer)
        if answer.status_code == 401:
            raise Failure(f"API_TOKEN is not the one of the bridge at {self.base_url}.")
        if not answer.ok:
            message = content.get("message") or answer.reason
            raise Failure(f"The bridge at {self.base_url} answered {answer.status_code}: {message}")
        if not content:
            raise Failure(f"What answers at {self.base_url} is no bridge.")
        return content


def open_api(url: str | None) -> Api:
    """Return the API of the bridge at url; None: at PUBLIC_URL, else on this machine."""
    settings = read_settings(needs=frozenset({"API_TOKEN"}))
    return Api(
        base_url=address_of(url or settings.public_url or f"http://localhost:{settings.port}"),
        token=settings.api_tokens[0],
    )


def quoted(text: str) -> str:
    """Return a text as a part of a path."""
    return quote(text, safe="")


def id_in(text: str) -> str:
    """Return the ID that somebody gave, be it as a pasted status_url."""
    return re.split(r"[?#]", text)[0].rstrip("/").rpartition("/")[2] or text


def read_settings(*, needs: frozenset[str]) -> Settings:
    """Return the settings, of which a command needs these. Raises Failure."""
    try:
        return load_settings(needs=needs)
    except SettingsError as error:
        raise Failure(f"The settings can't be used; mend this:\n{error}") from None


def ask(method: str, url: str, **options: Any) -> requests.Response:
    """Make one request. Raises Failure when nobody answers."""
    with requests.Session() as session:
        session.trust_env = not is_here(url)  # a proxy can't reach this machine for us
        try:
            return session.request(method, url, timeout=TIMEOUT_S, allow_redirects=False, **options)
        except requests.RequestException as error:
            where = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
            raise Failure(
                f"No bridge answers at {where} ({type(error).__name__}). Does it run there? "
                "--url says where to look."
            ) from None


def address_of(url: str) -> str:
    """Return a bridge's address as it will see it: with a scheme, without a default port.

    HTTP clients leave a default port out of Host, over which some CRMs sign. Raises Failure.
    """
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError:  # an open bracket, a port that is no number
        raise Failure(f"{url} is no address; write it as http://localhost:8000") from None
    netloc = parts.netloc
    if port == {"http": 80, "https": 443}.get(parts.scheme):
        netloc = netloc.removesuffix(f":{port}")
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))


def is_here(url: str) -> bool:
    """Say whether an address is of this machine."""
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def json_of(answer: requests.Response) -> dict[str, Any]:
    """Return an answer's JSON object; an empty one if it has none."""
    try:
        content = answer.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
