"""`python -m bridge.healthcheck`: the HEALTHCHECK of the image."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from rq import Worker
from support import ROOT, free_port

from bridge.healthcheck import problem_of, role_of
from schemas.settings import Settings
from simulator import Simulator
from store.queue import connect_queue, open_queue


@pytest.mark.parametrize(
    ("command", "role"),
    [
        ("gunicorn -c gunicorn.conf.py bridge.app:create_app()", "web"),
        ("tini -- python -m bridge.serve --workers 3", "web"),
        ("tini -- gunicorn --workers 3 bridge.app:create_app()", "web"),
        ("python -m workers", "worker"),
        ("tini -- python -m workers", "worker"),
        ("python -m bridge check", ""),
        ("python -m simulator", ""),
    ],
)
def test_what_runs_is_known_by_its_command(command: str, role: str) -> None:
    assert role_of("\0".join(command.split()).encode()) == role


def test_both_processes_of_the_procfile_are_known() -> None:
    lines = (ROOT / "Procfile").read_text("utf-8").splitlines()
    found = {name: role_of("\0".join(shlex.split(rest)).encode()) for name, rest in pairs(lines)}
    assert found == {"web": "web", "worker": "worker", "release": ""}


def pairs(lines: list[str]) -> list[tuple[str, str]]:
    return [(name, rest) for name, _, rest in (line.partition(":") for line in lines)]


def test_a_web_process_that_is_not_there_or_answers_otherwise_is_not_healthy(
    settings: Settings, simulator: Simulator
) -> None:
    gone = replace(settings, port=free_port())
    assert "does not answer" in str(problem_of("web", gone))
    other = replace(settings, port=simulator.port)
    assert "answers 404" in str(problem_of("web", other))


def test_a_worker_is_healthy_while_it_is_registered_and_when_redis_is_away(
    settings: Settings, make_settings: Callable[..., Settings]
) -> None:
    assert problem_of("worker", settings) == "no RQ worker of this machine is registered in Redis"
    queue = open_queue(connect_queue(settings.redis_url))
    worker = Worker([queue], connection=queue.connection, serializer=queue.serializer)
    worker.register_birth()
    assert problem_of("worker", settings) is None
    worker.register_death()
    elsewhere = Worker([queue], connection=queue.connection, serializer=queue.serializer)
    elsewhere.hostname = "another-machine"
    elsewhere.register_birth()
    assert problem_of("worker", settings) is not None
    away = make_settings(redis_url=f"redis://127.0.0.1:{free_port()}/0")
    assert problem_of("worker", away) is None


def test_what_is_neither_web_nor_worker_has_nothing_to_ail(settings: Settings) -> None:
    assert problem_of("", replace(settings, port=free_port())) is None


@pytest.mark.parametrize("name", ["bridge.healthcheck", "bridge.healthy"])
def test_the_command_says_what_is_wrong_also_by_its_old_name(name: str) -> None:
    port = free_port()
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", name, "web"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"/healthz at port {port} does not answer (ConnectionRefusedError)\n"
