"""How the worker logs in at a CRM's API: the header is data of the CRM's module."""

from dataclasses import replace
from typing import Any, cast

import pytest
from support.samples import source_of

from config.settings import NO_ROUTES
from schemas.crm import kinds
from schemas.crm_api import BearerLogin, HeadersLogin
from schemas.http_result import HttpResult
from schemas.settings import Settings
from schemas.source import Source
from store import Store
from workers.crm import CrmClient, FetchFailed
from workers.http import HttpClient

API = "https://api.crm.example"


class Http:
    """A CRM's API that has no record; it remembers the headers of each request."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []

    def request(self, method: str, url: str, *, headers: Any, **more: Any) -> HttpResult:
        self.headers.append(dict(headers))
        status = 404 if method == "GET" else 200  # asked for one record, then for many
        return HttpResult(sent=True, duration_ms=1, status_code=status, body=b'{"results": []}')


def source_with(login: BearerLogin | HeadersLogin) -> Source:
    """Return a source of a CRM that is HubSpot but for its login."""
    kind = kinds()["hubspot"]
    assert kind.hydration
    return source_of(replace(kind, hydration=replace(kind.hydration, login=login)))


def fetch(source: Source, **variables: str) -> tuple[Http, Any]:
    """Fetch a record with these variables set; return what the API saw, and what came of it."""
    settings = Settings(
        redis_url="redis://x",
        api_tokens=("x",),
        callkaro_api_key="x",
        routes=NO_ROUTES,
        variables={source.name: variables},
    )
    http = Http()
    client = CrmClient(cast(HttpClient, http), cast(Store, None), settings)
    return http, client.fetch(source, "contacts", ["1"], ["phone"])


@pytest.mark.parametrize(
    ("login", "headers"),
    [
        (BearerLogin(token="ACCESS_TOKEN"), {"Authorization": "Bearer a-token"}),
        (
            BearerLogin(token="ACCESS_TOKEN", header="x-api-token", prefix=""),
            {"x-api-token": "a-token"},
        ),
        (
            BearerLogin(token="ACCESS_TOKEN", prefix="Token token="),
            {"Authorization": "Token token=a-token"},
        ),
        (
            HeadersLogin(keys={"x-one": "ACCESS_TOKEN", "x-two": "API_URL"}),
            {"x-one": "a-token", "x-two": API},
        ),
    ],
)
def test_a_token_travels_in_the_header_that_the_module_names(
    login: BearerLogin | HeadersLogin, headers: dict[str, str]
) -> None:
    http, found = fetch(source_with(login), ACCESS_TOKEN="a-token", API_URL=API)
    assert http.headers == [headers, headers], "the batch read, then the id that it left out"
    assert found == {}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"API_URL": API},
            "HUBSPOT_ACCESS_TOKEN is not set, so HubSpot can't be asked.",
        ),
        (
            {},
            "HUBSPOT_ACCESS_TOKEN, HUBSPOT_API_URL are not set, so HubSpot can't be asked.",
        ),
    ],
)
def test_a_variable_that_is_not_set_is_named_and_nothing_is_sent(
    variables: dict[str, str], message: str
) -> None:
    http, found = fetch(source_with(BearerLogin(token="ACCESS_TOKEN")), **variables)
    assert http.headers == []
    assert found == {"1": FetchFailed(message=message, is_account=True)}
