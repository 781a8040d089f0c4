"""`connect`: what to enter, and what became of the first webhook."""

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
import requests
from click.testing import Result
from dotenv import dotenv_values
from support import API_TOKEN, SECRETS, each, route, until
from support.commandline import Cli, Serve

from bridge.cli import connect as connecting
from schemas.crm import kinds
from schemas.settings import Settings
from schemas.signatures import check_secret

LEAD = {"phone": "+919876500001", "name": "Asha"}
FORM = '[[source]]\nname = "website"\nkind = "generic"\n'
CALL_BACK = FORM + route("call back")
ENV = {"API_TOKEN": API_TOKEN, "ROUTES_TOML": CALL_BACK}
Connect = Callable[..., Result]


@pytest.fixture
def settings(make_settings: Any) -> Settings:
    found: Settings = make_settings(CALL_BACK)
    return found


@pytest.fixture
def connect(cli: Cli, url: str, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Run the command; at its first look for something new, do what a vendor does then."""

    def run(
        *arguments: object, then: Callable[[str], object] = lambda url: None, **more: Any
    ) -> Result:
        left = [lambda: then(url)]

        def sleep(_: float) -> None:
            assert left, "it looked again after the webhook"
            left.pop()()

        monkeypatch.setattr(connecting, "sleep", sleep)
        monkeypatch.setattr("bridge.cli.call_me.WAIT_S", 0.0)
        env = {**ENV, "WEBSITE_WEBHOOK_SECRET": SECRETS["website"], **more.pop("env", {})}
        return cli("connect", *arguments, "--url", url, env=env, **more)

    return run


def post(url: str, body: Any, secret: str = SECRETS["website"]) -> int:
    headers = {"X-Webhook-Token": secret}
    answer = requests.post(f"{url}/webhooks/website", json=body, headers=headers, timeout=30)
    return answer.status_code


def test_the_first_webhook_is_told_with_its_route(connect: Connect, url: str) -> None:
    assert post(url, {**LEAD, "of": "an earlier one"}) == 202
    result = connect("website", then=lambda url: post(url, LEAD))
    assert result.exit_code == 0, result.output
    assert f"Address  {url}/webhooks/website\n" in result.stdout
    assert f"X-Webhook-Token: {SECRETS['website']}\n" in result.stdout
    assert "examples/generic/README.md" in result.stdout
    assert "\nIt arrived: form.submitted is routed. Event " in result.stdout
    assert "\nRoute 'call back': The delivery is still queued." in result.stdout
    assert "+9198" not in result.output


def test_a_delivery_that_has_ended_is_told_with_its_reason(
    cli: Cli, connect: Connect, settings: Settings, run_drain: Any
) -> None:
    def arrive(url: str) -> None:
        assert post(url, {"name": "Asha"}) == 202
        run_drain(settings)

    result = connect("website", then=arrive)
    assert "Route 'call back': The delivery is skipped (no_number)." in result.stdout


def test_a_call_that_was_accepted_is_told(
    connect: Connect, settings: Settings, run_drain: Any
) -> None:
    def arrive(url: str) -> None:
        assert post(url, LEAD) == 202
        run_drain(settings)

    result = connect("website", then=arrive)
    assert "Route 'call back': CallKaro accepted the call." in result.stdout


def test_a_list_is_told_by_its_first_event_and_an_unreadable_one_by_its_problem(
    connect: Connect,
) -> None:
    result = connect("website", then=lambda url: post(url, ["no lead", LEAD]))
    assert "is unreadable. Event " in result.stdout
    assert "It can't be read, so nobody is called. The body is not a JSON object." in result.stdout


@each(
    ("toml", "says"),
    [
        (FORM + route("call back", event="x.y"), "its routes want x.y, not form.submitted."),
        (FORM, "no route of routes.toml has source = 'website'."),
        (
            FORM + route("call back", match="\"city == 'Pune'\""),
            "match is not true, or the person must not be called: call back.",
        ),
    ],
)
def test_an_event_without_a_route_is_told_with_why(
    cli: Cli,
    serve: Serve,
    make_settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    toml: str,
    says: str,
) -> None:
    url = serve(make_settings(toml))
    left = [{**LEAD, "of": says}]
    monkeypatch.setattr(connecting, "sleep", lambda _: post(url, left.pop()))
    env = {**ENV, "ROUTES_TOML": toml, "WEBSITE_WEBHOOK_SECRET": SECRETS["website"]}
    result = cli("connect", "website", "--url", url, env=env)
    assert f"Nobody is called: {says}" in result.stdout


def test_a_refused_request_is_told_at_once_and_at_the_end(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = [False]
    monkeypatch.setattr(connecting, "monotonic", lambda: 1e9 if over[0] else 0.0)

    def counted(url: str) -> bool:
        headers = {"Authorization": f"Bearer {API_TOKEN}"}
        found = requests.get(f"{url}/metrics", headers=headers, timeout=30).text
        return connecting.refused_of(found, "website").total() == 1

    def arrive(url: str) -> None:
        assert post(url, LEAD, secret="another one") == 401
        until(lambda: counted(url), what="that the refusal is counted")
        over[0] = True

    result = connect("website", "--wait", 5, then=arrive)
    assert result.exit_code == 1
    assert "A request was refused with 401. The signature or token is missing" in result.stderr
    assert "No event of your form or program came in 5 s. Check:" in result.stderr
    assert "Refused requests: 1 with 401 bad_signature. Compare the secret" in result.stderr
    assert SECRETS["website"] not in result.stderr


def test_where_nothing_came_it_says_what_to_check(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, 0.0])
    monkeypatch.setattr(connecting, "monotonic", lambda: next(times, 1e9))
    result = connect("website", "--wait", 5)
    assert result.exit_code == 1
    assert "No request was refused." in result.stderr
    assert "/webhooks/website" in result.stderr


def test_it_waits_while_the_bridge_is_restarted_with_the_secret(
    cli: Cli, serve: Serve, make_settings: Any, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    url = serve(make_settings(CALL_BACK, secrets={}))
    gone = f"http://127.0.0.1:{free_port}"
    looks: list[str] = []  # one of each look that is over

    class Restarted(connecting.Api):
        """The address of a bridge that runs without the secret, ends, and starts with it."""

        def get(self, path: str, *, or_none: bool = False) -> Any:
            stage = min(len(looks), 2)
            base = (url, gone, self.base_url)[stage]
            return connecting.Api(base_url=base, token=self.token, timezone=self.timezone).get(
                path, or_none=or_none
            )

    now = serve(make_settings(CALL_BACK))

    def sleep(_: float) -> None:
        assert len(looks) < 4, "it looked again after the webhook"
        looks.append("x")
        if len(looks) == 3:
            assert post(now, LEAD) == 202

    monkeypatch.setattr(connecting, "sleep", sleep)
    monkeypatch.setattr("bridge.cli.call_me.WAIT_S", 0.0)
    opened = Restarted(base_url=now, token=API_TOKEN)
    monkeypatch.setattr(connecting, "open_api", lambda url, token: opened)
    result = cli("connect", "website", "--url", now, env=ENV)
    assert result.exit_code == 0, result.output
    assert "The running bridge has no WEBSITE_WEBHOOK_SECRET yet." in result.stderr
    assert f"No bridge answers at {gone}" in result.stderr
    assert "Trying again" in result.stderr
    assert "It arrived: form.submitted is routed." in result.stdout


def test_without_an_api_token_it_makes_one_and_waits_with_it(
    cli: Cli, serve: Serve, make_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = "0123456789abcdef" * 3
    monkeypatch.setattr(connecting.secrets, "token_hex", lambda _: made)
    url = serve(make_settings(CALL_BACK, api_tokens=(made,)))
    monkeypatch.setattr(connecting, "sleep", lambda _: post(url, LEAD))
    monkeypatch.setattr("bridge.cli.call_me.WAIT_S", 0.0)
    env = {"ROUTES_TOML": CALL_BACK, "WEBSITE_WEBHOOK_SECRET": SECRETS["website"]}
    result = cli("connect", "website", "--url", url, env=env)
    assert result.exit_code == 0, result.output
    assert f"\n  API_TOKEN={made}\n" in result.stdout
    assert "It arrived: form.submitted is routed." in result.stdout


def test_where_nobody_can_answer_it_asks_for_the_name(cli: Cli) -> None:
    result = cli("connect", env={"ROUTES_TOML": CALL_BACK}, typed="")
    assert result.exit_code == 2
    assert "Name the source: python -m bridge connect SOURCE" in result.stderr


def test_a_bridge_with_other_routes_is_told(cli: Cli, url: str, monkeypatch: Any) -> None:
    times = iter([0.0])
    monkeypatch.setattr(connecting, "monotonic", lambda: next(times, 1e9))
    toml = CALL_BACK + '\n[[source]]\nname = "other"\n'
    result = cli("connect", "other", "--url", url, env={**ENV, "ROUTES_TOML": toml})
    assert result.exit_code == 1
    assert "The running bridge has no source 'other'. Restart it" in result.stderr
    assert "No request was refused" not in result.stderr


@each(
    ("is_there", "says"),
    [
        (False, "No bridge answers at http://127.0.0.1:"),
        (True, "The running bridge has no WEBSITE_WEBHOOK_SECRET yet."),
    ],
)
def test_what_kept_it_from_looking_is_the_first_thing_to_check(
    cli: Cli,
    serve: Serve,
    make_settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    free_port: int,
    is_there: bool,
    says: str,
) -> None:
    url = serve(make_settings(CALL_BACK, secrets={}))
    times = iter([0.0])
    monkeypatch.setattr(connecting, "monotonic", lambda: next(times, 1e9))
    result = cli(
        "connect", "website", "--url", url if is_there else f"http://127.0.0.1:{free_port}", env=ENV
    )
    assert result.exit_code == 1
    assert f"Check:\n  - {says}" in result.stderr
    assert "No request was refused" not in result.stderr


# --- before it waits ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", kinds())
def test_each_source_gets_a_secret_that_suits_it_and_its_address(cli: Cli, name: str) -> None:
    kind = kinds()[name]
    result = cli("connect", name, "--wait", 0, env={"PUBLIC_URL": "https://bridge.example"})
    assert result.exit_code == 0, result.output
    variable = f"{name.upper().replace('-', '_')}_WEBHOOK_SECRET"
    line = next(one for one in result.stdout.splitlines() if f"  {variable}=" in one)
    secret = line.partition("=")[2]
    if kind.secret_is_chosen is False:  # a made-up one would have each webhook refused
        assert secret == "…"
        assert f"{kind.title} shows what belongs in the place of …" in result.stdout
    else:
        assert check_secret(kind.auth, secret) is None
        entered = result.stdout.partition("Enter at ")[2]
        assert all(one in entered for one in secret.split(":"))  # of Basic, user and password
    assert f"https://bridge.example/webhooks/{name}\n" in result.stdout
    assert kind.guide_path in result.stdout
    assert "Nobody else can reach" not in result.stdout
    login = kind.hydration.login.needs if kind.hydration else ()
    prefix = variable.removesuffix("WEBHOOK_SECRET")
    assert all(f"  {prefix}{suffix}=…\n" in result.stdout for suffix in login)
    assert result.stdout.count("restart web and worker") == 1
    # What is to be put into .env can be copied as it is.
    copied = result.stdout.partition(":\n\n")[2].partition("\n\n")[0]
    values = dotenv_values(stream=io.StringIO(copied))
    assert values[variable] == secret
    assert None not in values.values()


def test_the_token_of_a_challenge_is_made_or_shown(cli: Cli) -> None:
    toml = '[[source]]\nname = "meta"\n'
    env = {"ROUTES_TOML": toml, "META_ACCESS_TOKEN": "a-page-token"}
    made = cli("connect", "meta", "--wait", 0, env=env)
    [token] = re.findall(r"^  META_VERIFY_TOKEN=([0-9a-f]{32})$", made.stdout, re.MULTILINE)
    assert f"  Verify   {token} (the token with which Meta Lead Ads asks" in made.stdout
    assert "META_ACCESS_TOKEN" not in made.stdout
    shown = cli("connect", "meta", "--wait", 0, env={**env, "META_VERIFY_TOKEN": "mine"})
    assert "META_VERIFY_TOKEN" not in shown.stdout
    assert "  Verify   mine (" in shown.stdout


def test_without_routes_it_says_where_there_are_some(cli: Cli) -> None:
    result = cli("connect", "zoho", "--wait", 0, env={"ROUTES_FILE": "no-such-file.toml"})
    assert result.exit_code == 1
    assert "no-such-file.toml: can't be read" in result.stderr
    assert "examples/<source> has a routes.toml for each source" in result.stderr


def test_a_jwt_is_in_its_header_and_its_vendor_shows_the_secret(cli: Cli) -> None:
    result = cli("connect", "monday", "--wait", 0)
    assert "\n  MONDAY_WEBHOOK_SECRET=…\n" in result.stdout
    assert "  Signed   in the header Authorization\n" in result.stdout
    assert "Secret   " not in result.stdout


def test_a_secret_that_is_known_is_shown_where_a_person_enters_it(cli: Cli) -> None:
    chosen = cli("connect", "typeform", "--wait", 0, env={"TYPEFORM_WEBHOOK_SECRET": "my-secret"})
    assert "  Secret   my-secret\n" in chosen.stdout
    env = {"SHOPIFY_WEBHOOK_SECRET": "of-the-shop"}
    assert "of-the-shop" not in cli("connect", "shopify", "--wait", 0, env=env).stdout


def test_a_signature_of_an_unknown_vendor_may_have_its_secret_from_either_side(cli: Cli) -> None:
    toml = '[[source]]\nname = "website"\nkind = "generic"\nauth = "standard"\n'
    result = cli("connect", "website", "--wait", 0, env={"ROUTES_TOML": toml})
    assert "If your form or program shows one, put that one here\n" in result.stdout
    assert re.search(r"^  Secret   whsec_.{40,}$", result.stdout, re.MULTILINE)


def test_basic_is_a_user_and_a_password(cli: Cli) -> None:
    toml = '[[source]]\nname = "website"\nkind = "generic"\nauth = "basic"\n'
    env = {"ROUTES_TOML": toml, "WEBSITE_WEBHOOK_SECRET": "crm:open:sesame"}
    result = cli("connect", "website", "--wait", 0, env=env)
    assert "  User     crm\n  Password open:sesame\n" in result.stdout
    assert "Nobody else can reach this address." in result.stdout


def test_it_asks_for_the_source_again_until_it_knows_it(cli: Cli) -> None:
    result = cli("connect", "--wait", 0, typed="zohoo\nzoho\n")
    assert result.exit_code == 0, result.output
    assert "There is no source 'zohoo'. Did you mean 'zoho'?" in result.output
    assert "  website              Generic JSON or form, no secret yet\n" in result.stdout
    assert "ZOHO_WEBHOOK_SECRET=" in result.stdout


def test_an_unknown_source_is_a_wrong_use(cli: Cli) -> None:
    result = cli("connect", "nope", "--wait", 0)
    assert result.exit_code == 2
    assert "There is no source 'nope'." in result.stderr
