"""Dockerfile and compose.yaml: what would go wrong in silence, or only on somebody's server."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deploy.described import (
    GRACEFUL_S,
    ROOT,
    VARIABLE,
    command_of,
    compose,
    dockerfile,
    environment_of,
    known_variables,
    procfile,
    rests,
    services,
)
from support import each

from config.settings import load_settings, warnings_of
from demo.processes import environment
from schemas.crm import kinds
from source_lists import STAND_IN

OURS = sorted(name for name, one in services().items() if "build" in one)
LASTING = [name for name in OURS if name != "check"]
VALKEYS = sorted(services().keys() - set(OURS))
TRYOUT = sorted(name for name, one in services().items() if one.get("profiles") == ["tryout"])
VERSION = re.compile(r"[a-z/]+:\d+\.\d+\.\d+(?:-[a-z0-9.-]+)?")


def tool(name: str) -> str:
    """Return a program that came with the tests' own packages."""
    return str(Path(sys.executable).parent / name)


def copied() -> set[str]:
    """Return what the Dockerfile copies from the folder it is built in."""
    froms = [shlex.split(rest) for rest in rests("COPY")]
    return {name for words in froms if not words[0].startswith("--") for name in words[:-1]}


@pytest.mark.parametrize(
    "command",
    [
        ("hadolint", "Dockerfile"),
        ("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"),
    ],
    ids=lambda command: command[0],
)
def test_the_linter_has_nothing_to_say(command: tuple[str, ...]) -> None:
    ran = subprocess.run(  # noqa: S603
        [tool(command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_each_process_is_started_as_the_procfile_says() -> None:
    assert json.loads(rests("CMD")[-1]) == procfile()["web"]
    found = services()
    for name in ("web", "tryout"):
        assert command_of(found[name]) == []  # the image's
    for name in ("worker", "tryout-worker"):
        assert command_of(found[name]) == procfile()["worker"]
    assert command_of(found["check"]) == procfile()["release"]


def test_every_image_is_of_one_exact_version() -> None:
    bases = {words.split()[0] for words in rests("FROM")}
    assert bases == {"${BASE}"}
    [base] = [rest.partition("=")[2] for rest in rests("ARG") if rest.startswith("BASE=")]
    given = [base, *(services()[name]["image"] for name in VALKEYS)]
    assert [one for one in given if not VERSION.fullmatch(one)] == []
    assert {services()[name]["image"] for name in OURS} == {"callkaro-bridge:local"}


def imported() -> Iterator[str]:
    """Yield every top-level name that what is copied imports."""
    files = [one for name in copied() for one in (ROOT / name).rglob("*.py")]
    for file in [*files, ROOT / "gunicorn.conf.py"]:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from (one.name.partition(".")[0] for one in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


def test_all_that_is_imported_is_copied() -> None:
    names = set(imported())
    assert {"bridge", "schemas", "flask"} <= names
    here = {
        name for name in names if list(ROOT.glob(f"{name}/*.py")) or (ROOT / f"{name}.py").is_file()
    }
    assert here <= copied()
    started = {
        procfile()["worker"][2],
        *(c[2] for c in map(command_of, services().values()) if c[1:2] == ["-m"]),
    }
    assert started <= copied()


def test_the_build_sees_what_is_copied_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied()
    assert {"**/__pycache__", "**/*.pyc", "**/.env*"} <= set(lines)


def test_the_image_runs_as_a_user_that_kubernetes_knows_is_not_root() -> None:
    last = max(number for number, step in enumerate(dockerfile()) if step.word == "FROM")
    [user] = [step.rest for step in dockerfile()[last:] if step.word == "USER"]
    assert re.fullmatch(r"[1-9]\d*", user)
    assert f"--uid {user} " in " ".join(rests("RUN"))


def test_every_variable_is_one_that_something_reads() -> None:
    text = (ROOT / "compose.yaml").read_text("utf-8")
    given = {name for one in OURS for name in environment_of(services()[one])}
    assert given <= known_variables()
    assert {name for name, _ in VARIABLE.findall(text)} <= known_variables() | {"VALKEY_MAXMEMORY"}
    assert not text.replace("$${", "").count("$") - len(VARIABLE.findall(text))
    image = {word.partition("=")[0] for rest in rests("ENV") for word in shlex.split(rest)}
    pip = {"PIP_NO_CACHE_DIR", "PIP_DISABLE_PIP_VERSION_CHECK"}
    assert image <= known_variables() | pip | {"PATH", "PYTHONUNBUFFERED"}


def test_the_try_out_starts_with_no_setting_of_ones_own_and_no_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    for name in ("tryout", "tryout-worker"):
        with environment({"PATH": os.environ["PATH"], **environment_of(services()[name])}):
            settings = load_settings()
        assert warnings_of(settings) == []
        hosts = [settings.callkaro_base_url]
        hosts += [
            value
            for given in settings.variables.values()
            for value in given.values()
            if value.startswith("http")
        ]
        assert set(hosts) == {STAND_IN}
        assert settings.secrets.keys() >= kinds().keys()
        assert all(settings.secrets.values())


def test_nothing_of_the_try_out_touches_the_real_one() -> None:
    assert TRYOUT == ["simulator", "tryout", "tryout-valkey", "tryout-worker"]
    named = set(compose()["volumes"])
    for name in TRYOUT:
        one = services()[name]
        assert "env_file" not in one
        assert set(one.get("depends_on", {})) <= set(TRYOUT)
        assert not [mount for mount in one.get("volumes", []) if mount.split(":")[0] in named]
    for name in services().keys() - set(TRYOUT):
        assert not set(services()[name].get("depends_on", {})) & set(TRYOUT)


@each("name", sorted(services()))
def test_what_is_waited_for_can_come_true(name: str) -> None:
    for other, how in services()[name].get("depends_on", {}).items():
        waited_for = services()[other]
        match how["condition"]:
            case "service_healthy":
                assert waited_for.get("healthcheck", {}).get("test") or "build" in waited_for
            case "service_completed_successfully":
                assert waited_for["restart"] == "no"
                assert "--scale" not in waited_for
            case condition:
                assert condition == "service_started"


def test_web_and_worker_wait_for_the_check_and_valkey() -> None:
    for name in ("web", "worker"):
        waits = {other: how["condition"] for other, how in services()[name]["depends_on"].items()}
        assert waits == {
            "valkey": "service_healthy",
            "check": "service_completed_successfully",
        }
        assert services()[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", VALKEYS)
def test_valkey_keeps_every_accepted_event(name: str) -> None:
    command = " ".join(command_of(services()[name]))
    for setting in ("appendonly yes", "appendfsync always", "maxmemory-policy noeviction"):
        assert f"--{setting}" in command
    assert re.search(r"--maxmemory \d+[mg]b ", command)
    assert "ports" not in services()[name]  # it asks for no password


def test_a_real_valkey_keeps_its_data_in_a_volume_with_a_name() -> None:
    assert services()["valkey"]["volumes"] == ["valkey:/data"]
    assert services()["valkey"]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", OURS)
def test_it_can_write_nowhere_and_may_do_nothing_but_its_work(name: str) -> None:
    one = services()[name]
    assert one["read_only"] is True
    assert one["tmpfs"] == ["/tmp"]  # noqa: S108
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in one
    assert "user" not in one
    assert all(mount.endswith(":ro") for mount in one.get("volumes", []))


@pytest.mark.parametrize("name", LASTING)
def test_it_is_given_the_time_to_finish_what_is_on_the_wire(name: str) -> None:
    assert int(services()[name]["stop_grace_period"].removesuffix("s")) >= GRACEFUL_S + 5
    [line] = re.findall(r"^graceful_timeout = (\d+)", (ROOT / "gunicorn.conf.py").read_text(), re.M)
    assert int(line) <= GRACEFUL_S


def test_workers_can_be_many() -> None:
    for name in ("worker", "tryout-worker"):
        assert not services()[name].keys() & {"ports", "container_name", "hostname"}


def published() -> Iterator[Any]:
    for name, one in services().items():
        for port in one.get("ports", []):
            yield pytest.param(port, id=name)


@pytest.mark.parametrize("port", list(published()))
def test_a_port_is_published_to_this_machine_only(port: str) -> None:
    assert port.startswith("127.0.0.1:")


def test_nothing_that_runs_together_has_the_same_port() -> None:
    for names in (TRYOUT, sorted(services().keys() - set(TRYOUT))):
        ports = [
            port.rpartition(":")[0] for one in names for port in services()[one].get("ports", [])
        ]
        assert len(ports) == len(set(ports)) >= 1


def compose_commands() -> Iterator[Any]:
    text = (ROOT / "docs" / "deploy-docker.md").read_text("utf-8")
    for found in dict.fromkeys(re.findall(r"docker compose ([^`#&\n]+)", text)):
        yield pytest.param(shlex.split(found), id=found.strip())


@each("words", list(compose_commands()))
def test_a_command_of_the_page_names_services_that_there_are(words: list[str]) -> None:
    plain = [word for word in words if not word.startswith("-")]
    plain = [word for word in plain if word not in TRYOUT or "--profile" not in words]
    verb, *rest = plain
    assert verb in {
        "build",
        "config",
        "exec",
        "logs",
        "ps",
        "restart",
        "rm",
        "run",
        "start",
        "stop",
        "up",
        "version",
    }
    named = rest[:1] if verb in {"exec", "run"} else rest
    assert {word.partition("=")[0] for word in named} <= services().keys()
