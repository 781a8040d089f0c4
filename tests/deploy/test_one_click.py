"""render.yaml and fly.toml: what would go wrong in silence. app.json: test_heroku.py."""

import copy
import json
import shlex
import tomllib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml
from deploy.described import GRACEFUL_S, ROOT, known_variables, procfile, rests
from support import each

from config.settings import NEEDED

RENDER: dict[str, Any] = yaml.safe_load((ROOT / "render.yaml").read_text("utf-8"))
FLY: dict[str, Any] = tomllib.loads((ROOT / "fly.toml").read_text("utf-8"))
MADE = "API_TOKEN"  # by Render, in base64


def check(name: str, content: dict[str, Any]) -> None:
    """Raises jsonschema.ValidationError."""
    schema = json.loads((ROOT / "tests" / "deploy" / "schemas" / f"{name}.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(content)


def of_render(kind: str) -> dict[str, Any]:
    """Return Render's only service of a kind."""
    [found] = [one for one in RENDER["services"] if one["type"] == kind]
    return found


def variables_of(service: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a service's variables by name, those of its groups among them."""
    groups = {group["name"]: group["envVars"] for group in RENDER["envVarGroups"]}
    found = [
        one
        for given in service["envVars"]
        for one in (groups[given["fromGroup"]] if "fromGroup" in given else [given])
    ]
    assert len({one["key"] for one in found}) == len(found)
    return {one["key"]: one for one in found}


@each("name, content", [("render", RENDER), ("fly", FLY)])
def test_every_key_is_one_that_the_vendor_knows(name: str, content: dict[str, Any]) -> None:
    check(name, content)


def of_kind(content: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in content["services"] if one["type"] == kind)
    return found


@each(
    "name, content, mistake",
    [
        ("render", RENDER, lambda all_: of_kind(all_, "web").update(healthcheckPath="/readyz")),
        ("render", RENDER, lambda all_: of_kind(all_, "web").update(maxShutdownDelaySeconds="35s")),
        ("render", RENDER, lambda all_: of_kind(all_, "worker").pop("runtime")),
        ("render", RENDER, lambda all_: of_kind(all_, "keyvalue").pop("ipAllowList")),
        ("render", RENDER, lambda all_: all_["envVarGroups"][0]["envVars"].append({"key": "A"})),
        ("render", RENDER, lambda all_: all_.update(service=[])),
        ("fly", FLY, lambda all_: all_.update(kill_signal="TERM")),
        ("fly", FLY, lambda all_: all_["env"].update(PORT=8000)),
        ("fly", FLY, lambda all_: all_["http_service"].update(auto_stop_machines=False)),
        ("fly", FLY, lambda all_: all_["http_service"]["checks"][0].update(interval=15)),
        ("fly", FLY, lambda all_: all_["deploy"].update(relase_command="true")),
    ],
    ids=str,
)
def test_a_typing_error_fails(
    name: str, content: dict[str, Any], mistake: Callable[[dict[str, Any]], object]
) -> None:
    wrong = copy.deepcopy(content)
    mistake(wrong)
    with pytest.raises(jsonschema.ValidationError):
        check(name, wrong)


def test_each_process_runs_what_the_procfile_says() -> None:
    commands = {name: shlex.split(command) for name, command in FLY["processes"].items()}
    commands["release"] = shlex.split(FLY["deploy"]["release_command"])
    assert commands == procfile()
    assert "dockerCommand" not in of_render("web")  # the image's: test_compose.py
    assert shlex.split(of_render("worker")["dockerCommand"]) == procfile()["worker"]
    assert shlex.split(of_render("web")["preDeployCommand"]) == procfile()["release"]


def test_it_is_given_the_time_to_finish_what_is_on_the_wire() -> None:
    for kind in ("web", "worker"):
        assert of_render(kind)["maxShutdownDelaySeconds"] >= GRACEFUL_S + 5
    assert FLY["kill_timeout"] >= GRACEFUL_S + 5
    assert FLY["kill_signal"] == "SIGTERM"


def test_only_a_web_process_that_can_store_gets_requests() -> None:
    assert of_render("web")["healthCheckPath"] == "/readyz"
    [probe] = FLY["http_service"]["checks"]
    assert probe["path"] == "/readyz"
    assert FLY["http_service"]["processes"] == ["web"]
    assert str(FLY["http_service"]["internal_port"]) == FLY["env"]["PORT"] == rests("EXPOSE")[0]
    # A machine that Fly has stopped would answer a webhook too late, and a worker would not tick.
    assert FLY["http_service"]["auto_stop_machines"] == "off"


def test_every_variable_is_one_that_the_bridge_reads() -> None:
    given = {*FLY["env"], *variables_of(of_render("web")), *variables_of(of_render("worker"))}
    assert given <= known_variables()


def test_render_gives_web_and_worker_the_same_settings() -> None:
    web, worker = variables_of(of_render("web")), variables_of(of_render("worker"))
    assert NEEDED - {"ROUTES"} <= web.keys()
    asked = {name for name, one in web.items() if "sync" in one}
    assert asked == {"CALLKARO_API_KEY", "CALLKARO_WEBHOOK_TOKEN"}
    assert {name for name, one in web.items() if "generateValue" in one} == {MADE}
    name = of_render("web")["name"]
    assert worker == web | {
        key: {"key": key, "fromService": {"type": "web", "name": name, "envVarKey": key}}
        for key in asked
    }
    store = web["REDIS_URL"]["fromService"]
    assert (store["type"], store["name"]) == ("keyvalue", of_render("keyvalue")["name"])


def test_the_store_of_render_keeps_data_and_is_not_open_to_all() -> None:
    store = of_render("keyvalue")
    assert store["maxmemoryPolicy"] == "noeviction"
    assert store["persistenceMode"] == "journal-snapshot"
    assert store["plan"] != "free"  # it keeps nothing
    assert store["ipAllowList"] == []
    assert len({one["region"] for one in RENDER["services"]}) == 1  # or it can't be reached


def test_nobody_is_called_until_a_person_says_so() -> None:
    assert FLY["env"]["DRY_RUN"] == "true"
    for kind in ("web", "worker"):
        assert variables_of(of_render(kind))["DRY_RUN"]["value"] == "true"


def test_fly_has_the_address_of_its_app_and_no_secret() -> None:
    assert urlsplit(FLY["env"]["PUBLIC_URL"]).hostname == f"{FLY['app']}.fly.dev"
    assert not [name for name in FLY["env"] if name.endswith(("TOKEN", "KEY", "SECRET"))]
