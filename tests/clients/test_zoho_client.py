"""Zoho's own client reads from the stand-in: `make clients`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from zohocrmsdk.src.com.zoho.api.authenticator.oauth_token import OAuthToken
from zohocrmsdk.src.com.zoho.api.authenticator.store.token_store import TokenStore
from zohocrmsdk.src.com.zoho.crm.api import HeaderMap, ParameterMap
from zohocrmsdk.src.com.zoho.crm.api.dc.data_center import DataCenter
from zohocrmsdk.src.com.zoho.crm.api.exception import SDKException
from zohocrmsdk.src.com.zoho.crm.api.initializer import Initializer
from zohocrmsdk.src.com.zoho.crm.api.record import GetRecordsParam, RecordOperations

from simulator import Simulator
from simulator.zoho import ORGANISATION, USER


class Tokens(TokenStore):  # type: ignore[misc]
    """The tokens that the client saved."""

    def __init__(self) -> None:
        self.saved: list[Any] = []

    def find_token(self, token: Any) -> Any:
        return self.saved[-1] if self.saved else None

    def find_token_by_id(self, id: str) -> Any:
        return self.find_token(id)

    def save_token(self, token: Any) -> None:
        self.saved.append(token)

    def delete_token(self, id: str) -> None:
        self.saved.clear()

    def delete_tokens(self) -> None:
        self.saved.clear()

    def get_tokens(self) -> list[Any]:
        return self.saved


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture(autouse=True)
def _client(simulator: Simulator, tokens: Tokens, tmp_path: Path) -> None:
    """The client has one state for the process. It keeps what it knows of fields in a folder."""
    lead = {"Phone": "+919876543210", "City": "Pune", "Last_Name": "Example"}
    simulator.state.put_record("zoho", "Leads", "5725767000000500007", lead)
    begin(simulator, tokens, tmp_path)


def begin(simulator: Simulator, tokens: Tokens, folder: Path) -> None:
    url = simulator.url
    Initializer.initialize(
        DataCenter.Environment(url, f"{url}/oauth/v2/token", url),
        OAuthToken(client_id="c", client_secret="s", refresh_token="r"),
        store=tokens,
        resource_path=str(folder),
    )


def read(
    module: str = "Leads",
    *,
    ids: Iterable[str] = ("5725767000000500007",),
    fields: Iterable[str] = ("Phone",),
    **more: int,
) -> Any:
    parameters = ParameterMap()
    parameters.add(GetRecordsParam.ids, ",".join(ids))
    parameters.add(GetRecordsParam.fields, ",".join(fields))
    for name, value in more.items():
        parameters.add(getattr(GetRecordsParam, name), value)
    return RecordOperations(module).get_records(parameters, HeaderMap())


def test_it_gets_a_token_and_learns_whose_it_is(simulator: Simulator, tokens: Tokens) -> None:
    [token] = tokens.saved
    assert token.get_user_signature().get_name() == f"{USER['email']}:{ORGANISATION['zgid']}"
    assert [request.status for request in simulator.state.requests] == [200] * 3


def test_it_reads_records(simulator: Simulator) -> None:
    answer = read(ids=("5725767000000500007", "404"), fields=("Phone", "Mobile", "Last_Name"))

    assert answer.get_status_code() == 200
    [record] = answer.get_object().get_data()
    assert record.get_key_values() == {
        "id": 5725767000000500007,
        "Phone": "+919876543210",
        "Mobile": None,
        "Last_Name": "Example",
    }
    info = answer.get_object().get_info()
    assert (info.get_page(), info.get_per_page(), info.get_count()) == (1, 200, 1)
    assert info.get_more_records() is False


def test_it_reads_page_after_page(simulator: Simulator) -> None:
    ids = [str(5725767000000600000 + number) for number in range(5)]
    for record_id in ids:
        simulator.state.put_record("zoho", "Leads", record_id, {"Phone": "+919876543210"})

    found = []
    for page in (1, 2, 3):
        answer = read(ids=ids, page=page, per_page=2).get_object()
        found += [str(record.get_id()) for record in answer.get_data()]
        assert answer.get_info().get_more_records() is (page < 3)

    assert found == ids


@pytest.mark.parametrize("ids", [("404",), ("1", "2", "3")])
def test_no_record_is_204(ids: tuple[str, ...]) -> None:
    answer = read(ids=ids)

    assert answer.get_status_code() == 204
    assert answer.get_object() is None


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ({"ids": [str(number) for number in range(101)]}, "LIMIT_EXCEEDED"),
        ({"fields": [f"Field_{number}" for number in range(51)]}, "LIMIT_EXCEEDED"),
        ({"fields": []}, "REQUIRED_PARAM_MISSING"),
        ({"per_page": 201}, "INVALID_DATA"),
        ({"page": 0}, "INVALID_DATA"),
    ],
)
def test_a_question_that_breaks_a_rule_is_400(question: dict[str, Any], code: str) -> None:
    answer = read(**question)

    assert answer.get_status_code() == 400
    assert answer.get_object().get_code().get_value() == code
    assert answer.get_object().get_status().get_value() == "error"


@pytest.mark.parametrize("module", ["Nonsense", "Leadz"])
def test_an_unknown_module_is_the_clients_exception(module: str) -> None:
    with pytest.raises(SDKException) as raised:
        read(module)

    assert raised.value.details["code"] == "INVALID_MODULE"


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, "TOO_MANY_REQUESTS"), (401, "INVALID_TOKEN"), (403, "NO_PERMISSION")],
)
def test_the_client_reads_a_made_up_refusal(simulator: Simulator, status: int, code: str) -> None:
    read()  # the fields of the module are known from here on
    simulator.state.behave(status, retry_after="1")

    answer = read()

    assert answer.get_status_code() == status
    assert answer.get_object().get_code().get_value() == code


def test_a_token_that_is_over_is_401(simulator: Simulator) -> None:
    simulator.state.expire_zoho_tokens()

    with pytest.raises(SDKException) as raised:
        read()
    assert raised.value.details["code"] == "INVALID_TOKEN"


def test_a_revoked_refresh_token_stops_the_client(simulator: Simulator, tmp_path: Path) -> None:
    simulator.state.revoked_refresh_tokens.add("r")

    with pytest.raises(SDKException, match="invalid_code"):
        begin(simulator, Tokens(), tmp_path)
