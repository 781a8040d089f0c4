"""Procfile, gunicorn.conf.py, .env.example and Makefile: what starts the bridge."""

import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support import LONGEST_S
from support.commandline import PLAIN, ROOT, SAMPLES, Cli, read_until, start

from schemas.crm import kinds
from simulator import Simulator

GUNICORN = (
    *(sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"),
    "bridge.app:create_app()",
)


def test_honcho_runs_the_procfile(
    cli: Cli, tmp_path: Path, free_port: int, redis_url: str, simulator: Simulator
) -> None:
    env = {
        "REDIS_URL": redis_url,
        "API_TOKEN": "tok",
        "CALLKARO_API_KEY": "key",
        "CALLKARO_BASE_URL": simulator.url,
        "CALLING_HOURS": "always",
        "WEBSITE_WEBHOOK_SECRET": "website-secret",
        "PORT": str(free_port),
    }
    dotenv = tmp_path / ".env"
    dotenv.write_text("".join(f"{name}={value}\n" for name, value in env.items()))
    command = (sys.executable, "-m", "honcho", "-e", str(dotenv), "start")
    with start(*command, env={"HOME": str(tmp_path)}) as honcho:
        # The release line ends well, and that must not end the others.
        output = read_until(honcho, "Listening at", "worker.started", "are in order")
        sent = cli("send", "website", SAMPLES / "website.json", env=env)
        assert sent.exit_code == 0, sent.output
        assert simulator.state.wait_for_calls(1, timeout_s=LONGEST_S)
        honcho.send_signal(signal.SIGINT)
        output += honcho.communicate(timeout=60)[0]
    assert "Traceback" not in output
    assert not (tmp_path / ".gunicorn").exists()


def test_gunicorn_says_what_is_missing_once_and_ends() -> None:
    with start(*GUNICORN) as gunicorn:
        output, _ = gunicorn.communicate(timeout=60)
    assert gunicorn.returncode == 1
    assert output.count("API_TOKEN: is not set") == 1
    assert "Traceback" not in output


def test_a_web_concurrency_of_none_is_one_sentence() -> None:
    with start(*GUNICORN, env={"WEB_CONCURRENCY": "0"}) as gunicorn:
        output, _ = gunicorn.communicate(timeout=60)
    assert gunicorn.returncode == 1
    assert output == "WEB_CONCURRENCY must be a number from 1 to 999.\n"


SERVE = (sys.executable, "-m", "bridge.serve")


@pytest.mark.parametrize("value", ["abc", "0", "1.5", "-2", "1000", "2 3"])
def test_the_start_refuses_a_wrong_number_of_processes_in_a_sentence(value: str) -> None:
    with start(*SERVE, env={"WEB_CONCURRENCY": value}) as serve:
        output, _ = serve.communicate(timeout=60)
    assert serve.returncode == 1
    assert output == "WEB_CONCURRENCY must be a number from 1 to 999.\n"


@pytest.mark.parametrize(
    ("command", "env"),
    [
        (GUNICORN, {"PORT": "abc"}),
        (GUNICORN, {"REDIS_URL": "nonsense"}),
        (SERVE, {"PORT": "abc", "REDIS_URL": "nonsense"}),
    ],
)
def test_checking_the_configuration_says_what_is_wrong_in_sentences(
    command: tuple[str, ...], env: dict[str, str]
) -> None:
    with start(*command, "--check-config", env=env) as gunicorn:
        output, _ = gunicorn.communicate(timeout=60)
    assert gunicorn.returncode == 1
    assert output.startswith("The web process can't start. Fix this, then start it again:\n")
    assert "API_TOKEN: is not set" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("value", [pytest.param("", marks=pytest.mark.slow), " 2 "])
def test_checking_good_settings_with_an_empty_number_of_processes_succeeds(value: str) -> None:
    env = {"REDIS_URL": "redis://127.0.0.1:9/0", "API_TOKEN": "tok", "CALLKARO_API_KEY": "key"}
    with start(*SERVE, "--check-config", env={**env, "WEB_CONCURRENCY": value}) as serve:
        output, _ = serve.communicate(timeout=60)
    assert serve.returncode == 0, output
    assert "Traceback" not in output


def test_no_log_line_of_gunicorn_names_a_url(free_port: int, redis_url: str) -> None:
    env = {
        "REDIS_URL": redis_url,
        "API_TOKEN": "tok",
        "CALLKARO_API_KEY": "key",
        "PORT": str(free_port),
    }
    with start(*GUNICORN, "--access-logfile", "-", env=env) as gunicorn:
        output = read_until(gunicorn, "Listening at")
        for line, logged in (
            (b"GET /sekrit-1?token=sekrit-2 HTTP/1.1", '"status_code": 404'),
            (b"nonsense /sekrit-3 x y", "Invalid request from ip=127.0.0.1"),
        ):
            with socket.create_connection(("127.0.0.1", free_port), timeout=LONGEST_S) as client:
                client.sendall(line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert client.recv(65536)
            output += read_until(gunicorn, logged)
        gunicorn.terminate()
        output += gunicorn.communicate(timeout=60)[0]
    assert "sekrit" not in output
    assert all(line.startswith("{") for line in output.splitlines())


def test_the_env_example_names_every_variable() -> None:
    named = set(re.findall(r"^#? ?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M))
    source = (ROOT / "config" / "settings.py").read_text()
    read = set(re.findall(r'reader\.\w+\(\s*"([A-Z_]+)"', source)) | {"ROUTES_FILE", "ROUTES_TOML"}
    for kind in kinds().values():
        suffixes = ["WEBHOOK_SECRET", *(variable.suffix for variable in kind.variables)]
        read |= {f"{kind.name.upper().replace('-', '_')}_{suffix}" for suffix in suffixes}
    assert read - named == set()


@pytest.fixture
def make(tmp_path: Path):
    """Run make where there is nothing but a shell and the given pythons."""

    def run(**pythons: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "bin"
        folder.mkdir()
        for tool in ("make", "sh", "touch", "echo"):
            (folder / tool).symlink_to(str(shutil.which(tool)))
        for name, script in pythons.items():
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)
        for name in ("Makefile", "requirements.txt"):
            shutil.copy(ROOT / name, tmp_path)
        return subprocess.run(  # noqa: S603
            [str(folder / "make"), "run"],
            cwd=tmp_path,
            env={**PLAIN, "PATH": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_python_that_is_too_old_is_one_sentence(make) -> None:
    result = make(python3='[ "$1" = --version ] && echo Python 3.9.2 && exit 0; exit 1')
    assert result.returncode != 0
    assert "needs Python 3.11 or newer. This machine has Python 3.9.2." in result.stderr


def test_no_python_is_one_sentence(make) -> None:
    result = make()
    assert result.returncode != 0
    assert "needs Python 3.11 or newer. This machine has none." in result.stderr


def test_a_python_without_venv_and_pip_is_one_sentence(make) -> None:
    script = (
        'case "$*" in --version) echo Python 3.12.1;; *version_info*) exit 0;; *) exit 1;; esac'
    )
    result = make(python3=script)
    assert result.returncode != 0
    assert "Python 3.12.1 has neither venv nor pip." in result.stderr


def test_a_pip_that_fails_asks_for_the_network(make, tmp_path: Path) -> None:
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\ncase "$*" in *install*) exit 1;; *) exit 0;; esac\n')
    python.chmod(0o755)
    result = make()
    assert result.returncode != 0
    assert "Is the network there?" in result.stderr
