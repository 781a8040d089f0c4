"""`make run` and `make demo`: start everything as child processes, send samples, follow them.

Stand-ins take the place of CallKaro and the CRMs, unless the demo serves and CALLKARO_API_KEY is
set. Stand-ins forget everything when they end, so then the store is emptied at each start: it
would name campaigns that the stand-ins do not know. With the real CallKaro the store is kept, and
no sample is sent.
"""

import contextlib
import os
import secrets
import time
from pathlib import Path

from rich.markup import escape

from bridge.cli import Api, Failure, address_of, console
from demo.day import Day
from demo.environment import (
    checked_web_concurrency,
    is_set,
    missing_secrets,
    refuse_real_data,
    settings_of,
    simulated,
    without,
)
from demo.guide import Guide
from demo.processes import (
    Children,
    Stopped,
    check_port,
    environment,
    free_port,
    fresh,
    lock,
    stop_signals,
)
from demo.programs import POLL_S, Programs, Simulator, data_folder
from demo.rehearsal import Rehearsal
from demo.running import Running
from schemas.settings import Settings

REAL = (
    *("CALLKARO_API_KEY", "CALLKARO_BASE_URL"),
    *("REDIS_URL", "BRIDGE_NAME", "REDIS_ACKS", "REDIS_DURABLE"),
)


def run(*, serve: bool, with_day: bool, port: int, data: Path) -> int:
    """Run the demo; return the exit code. Raises Failure.

    with_day: whether a day of invented leads follows the samples.
    """
    env = dict(os.environ)
    if not serve:
        # A demo that ends by itself is a rehearsal. A worker on the real store would deliver what
        # waits there.
        env = without(env, REAL)
    is_simulated = not is_set(env, "CALLKARO_API_KEY")
    if with_day and not is_simulated:
        raise Failure("DEMO_DAY sends invented leads. Unset it, or unset CALLKARO_API_KEY.")
    env = checked_web_concurrency(env)
    with stop_signals() as should_stop:
        try:
            with contextlib.ExitStack() as stack:
                # The store takes the prefix of its keys from there, when it is imported.
                stack.enter_context(environment(env))
                # First of all: a second run must be told about the first one, not about its port.
                stack.enter_context(lock(data))
                check_port(port, command="make run" if serve else "make demo")
                logs = fresh(data / "logs")
                children = Children(logs=logs, env=env, should_stop=should_stop)
                stack.callback(children.stop)
                demo = Demo(children, port=port, data=data, is_simulated=is_simulated)
                return demo.run(serve=serve, with_day=with_day)
        except Stopped:
            console().print("Stopped.")
            return 0 if serve else 130


class Demo:
    """One run of everything."""

    def __init__(self, children: Children, *, port: int, data: Path, is_simulated: bool) -> None:
        self.children = children
        self.port = port
        self.data = data
        self.url = address_of(f"http://localhost:{port}")
        self.simulator = Simulator(f"http://127.0.0.1:{free_port()}") if is_simulated else None
        self.generated: dict[str, str] = {}  # the variables that were not set, by name
        self.screen = console()
        self.programs = Programs(children, self.screen)

    def run(self, *, serve: bool, with_day: bool) -> int:
        """Start, send, show and serve; return the exit code."""
        settings = self._start_store_and_stand_ins()
        api = Api(base_url=self.url, token=settings.api_tokens[0])
        self.programs.start_bridge(api, url=self.url, port=self.port)
        ok = True
        if self.simulator:
            running = Running(
                settings=settings,
                api=api,
                simulator=self.simulator,
                children=self.children,
                screen=self.screen,
                url=self.url,
            )
            ok = Rehearsal(running).run(own_routes=serve)
            if with_day:
                Day(running).fill()
        else:
            self.screen.print(
                f"\nCALLKARO_API_KEY is set, so calls go to {escape(settings.callkaro_base_url)}. "
                "No sample is sent, because a phone may ring.",
                soft_wrap=True,
            )
        if not serve:
            return 0 if ok else 1
        Guide(
            settings=settings,
            url=self.url,
            logs=self.children.logs,
            generated=self.generated,
            simulator=self.simulator.url if self.simulator else None,
        ).show(self.screen)
        while True:
            self.children.check()
            time.sleep(POLL_S)

    def _start_store_and_stand_ins(self) -> Settings:
        """Start Valkey and the stand-ins if they are needed; return the bridge's settings.

        The children get the environment that leads to these settings.
        """
        env = {**self.children.env, "PORT": str(self.port), "PYTHONUNBUFFERED": "1"}
        if self.simulator:
            env = simulated(env, self.simulator.url)
        if not is_set(env, "API_TOKEN"):
            env["API_TOKEN"] = self.generated["API_TOKEN"] = secrets.token_urlsafe(16)
        own_valkey = not is_set(env, "REDIS_URL")
        password, port = secrets.token_hex(16), free_port()
        if own_valkey:
            env["REDIS_URL"] = f"redis://:{password}@127.0.0.1:{port}/0"
        # Before anything is started: this finds everything that is wrong.
        settings = settings_of(env)
        if self.simulator:
            missing = missing_secrets(settings)
            if not settings.callkaro_webhook_tokens:
                missing["CALLKARO_WEBHOOK_TOKEN"] = secrets.token_urlsafe(16)
            self.generated |= missing
            env |= missing
            settings = settings_of(env)
        if self.simulator and not own_valkey:
            refuse_real_data(settings)
        self.children.env = env
        if own_valkey:
            folder = data_folder(self.data, is_simulated=self.simulator is not None)
            self.programs.start_valkey(
                folder, redis_url=settings.redis_url, password=password, port=port
            )
        if self.simulator:
            self.programs.start_simulator(env, self.simulator.url)
        return settings
