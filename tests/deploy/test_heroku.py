"""app.json, Procfile and .python-version: what Heroku reads, and what would go wrong in silence."""

import json
import re
from typing import Any

import pytest
from deploy.described import ROOT, known_variables, procfile

from config.settings import NEEDED

# https://devcenter.heroku.com/articles/app-json-schema: the keys that Heroku knows. It says
# nothing of any other.
KEYS = {
    *("name", "description", "keywords", "website", "repository", "logo", "success_url"),
    *("scripts", "env", "formation", "addons", "buildpacks", "environments", "stack", "image"),
}
OF_A_VARIABLE = {"description", "value", "required", "generator"}
GIVEN = {"REDIS_URL", "PORT"}  # by the add-on and by the dyno; a value of ours would be in the way


@pytest.fixture(scope="module")
def app() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "app.json").read_text("utf-8"))
    return found


def test_every_key_is_one_that_heroku_knows(app: dict[str, Any]) -> None:
    assert app.keys() <= KEYS
    for name, variable in app["env"].items():
        assert variable.keys() <= OF_A_VARIABLE, name
        assert variable["description"], name


def test_every_variable_is_one_that_the_bridge_reads(app: dict[str, Any]) -> None:
    assert app["env"].keys() <= known_variables() - GIVEN


def test_what_the_bridge_needs_is_asked_for_and_nothing_else_must_be_typed(
    app: dict[str, Any],
) -> None:
    # Heroku takes a variable for required unless it is said not to be, or has a value.
    typed = {
        name
        for name, variable in app["env"].items()
        if variable.get("required", not variable.keys() & {"value", "generator"})
    }
    made = {name for name, variable in app["env"].items() if "generator" in variable}
    assert typed == {"CALLKARO_API_KEY"}
    assert made == {"API_TOKEN", "CALLKARO_WEBHOOK_TOKEN"}
    # REDIS_URL is the add-on's, and the routes are in the repository.
    assert NEEDED - {"REDIS_URL", "ROUTES"} <= typed | made
    assert (ROOT / "routes.toml").exists()


def test_nobody_is_called_until_a_person_says_so(app: dict[str, Any]) -> None:
    assert app["env"]["DRY_RUN"]["value"] == "true"


def test_what_is_run_is_what_the_procfile_has(app: dict[str, Any]) -> None:
    assert app["formation"].keys() == procfile().keys() - {"release"}
    assert all(one["quantity"] == 1 for one in app["formation"].values())


def test_the_add_on_is_one_that_keeps_data(app: dict[str, Any]) -> None:
    """Heroku's mini plan, the default, loses all of it at a restart."""
    [addon] = app["addons"]
    assert re.fullmatch(r"heroku-redis:premium-[0-9]+", addon["plan"])


def test_the_python_is_one_that_the_bridge_runs_on() -> None:
    # Major and minor alone: https://devcenter.heroku.com/articles/python-runtimes
    asked = re.fullmatch(r"3\.([0-9]+)\n", (ROOT / ".python-version").read_text("utf-8"))
    assert asked
    assert 11 <= int(asked[1]) <= 13
    # It comes before .python-version, and is no longer meant to be used.
    assert not (ROOT / "runtime.txt").exists()
