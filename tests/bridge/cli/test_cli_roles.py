"""The command line with a named token: it may do what the token's role may."""

import pytest
from support import CALL_BACK, Web, lead
from support.commandline import Cli

from schemas.access import NamedToken, Role

ASHA = NamedToken(name="asha", role=Role.VIEWER, token="asha-looks-at-everything")
BELA = NamedToken(name="bela", role=Role.OPERATOR, token="bela-calls-and-cancels")
NUMBER = "+919876543210"


@pytest.fixture
def settings(make_settings):
    return make_settings(CALL_BACK, named_tokens=(ASHA, BELA))


@pytest.mark.parametrize(
    ("command", "needed"),
    [
        (["retry", "DELIVERY"], "operator"),
        (["cancel", "DELIVERY"], "operator"),
        (["pause", "all"], "operator"),
        (["suppress", NUMBER], "operator"),
        (["refused"], "operator"),
        (["erase", NUMBER, "--yes"], "admin"),
        (["suppress", "--remove", NUMBER], "admin"),
    ],
)
def test_a_command_beyond_the_role_fails_and_says_which_role_it_needs(
    cli: Cli, url: str, web: Web, command: list[str], needed: str
) -> None:
    delivery = web.send("website", lead(NUMBER))[0]
    told = [delivery if word == "DELIVERY" else word for word in command]
    token = ASHA if needed == "operator" else BELA
    result = cli(*told, "--url", url, env={"API_TOKEN": token.token}, typed="y\n")
    assert result.exit_code == 1, result.output
    assert f"403: The token {token.name} has the role {token.role}." in result.stderr
    assert f"needs the role {needed}" in result.stderr
    assert token.token not in result.output


def test_a_command_within_the_role_works_also_beside_the_servers_own_tokens(
    cli: Cli, url: str, web: Web
) -> None:
    delivery = web.send("website", lead(NUMBER))[0]
    # On the server, API_TOKENS has the same token.
    beside = {"API_TOKENS": f"bela:operator:{BELA.token}"}
    for token, words in ((ASHA, ["status"]), (BELA, ["cancel", delivery])):
        env = {"API_TOKEN": token.token, **beside}
        result = cli(*words, "--url", url, env=env)
        assert result.exit_code == 0, result.output
    line = web.get(f"/api/deliveries/{delivery}").json["timeline"][-1]
    assert (line["status"], line["actor"]) == ("cancelled", "bela")
