"""How gunicorn runs the web process: gunicorn -c gunicorn.conf.py 'bridge.app:create_app()'."""

import logging
import os
import re
import signal
import sys
from collections.abc import Iterable
from datetime import timedelta
from types import FrameType
from typing import Any

import gunicorn.config
import gunicorn.glogging

from bridge.serve import CONCURRENCY, environment_for
from config.settings import load_settings, warnings_of
from schemas.settings import Settings

bind = f"0.0.0.0:{os.environ.get('PORT') or 8000}"


def _processes() -> int:
    """Return one process for each core, but at least 2 and at most 4: four fit into 512 MB."""
    try:
        cores = len(os.sched_getaffinity(0))  # the cores that this process may use
    except AttributeError:  # not on every system
        cores = os.cpu_count() or 1
    return min(max(cores, 2), 4)


# A webhook takes a few ms of work and one wait for Redis: so few processes, and threads to wait.
try:
    workers = int(environment_for(os.environ).get(CONCURRENCY) or _processes())
except ValueError as problem:  # also of a start without bridge.serve
    sys.exit(str(problem))
# gunicorn's gthread, but a thread gets a request only when all of it has arrived.
worker_class = "bridge.web_worker.Worker"
# Below the 1,024 open files that a process may have by default.
worker_connections = 500
# Each thread uses up to two connections to Redis. Small plans of a managed Redis allow 20 or 40.
threads = 8
# For a process that hangs as a whole, and for a request to arrive whole. Its answer takes
# less: Redis has 2 s, `?wait=` at most 25 s, and Heroku's router gives up after 30 s.
timeout = 30
graceful_timeout = 25  # Heroku kills 30 s after its stop signal; Docker after 10 s by default
# Longer than a router keeps an idle connection (Heroku's: 90 s). Otherwise gunicorn might close a
# connection just when the router sends a webhook on it.
keepalive = 95
# A process that leaks memory is replaced before that hurts, and not all processes at the same time.
max_requests = 100_000
max_requests_jitter = 10_000
# Each process opens its own connections, so nothing is loaded before the fork.
preload_app = False
if os.access("/dev/shm", os.W_OK):  # noqa: S108  (gunicorn's own heartbeat files)
    worker_tmp_dir = "/dev/shm"  # noqa: S108  (on a slow disk a heartbeat can block a worker)
# It would put a socket into ~/.gunicorn. Nobody uses it, and the home may not be writable.
control_socket_disable = True
# PROXY_HOPS says which proxies' headers to believe, and ProxyFix counts the hops. Without this line
# gunicorn would believe every address in FORWARDED_ALLOW_IPS, by default all of this machine.
# Heroku's buildpack sets it to *, and then a client's own SCRIPT_NAME header would change our URLs.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}

_LEVEL = os.environ.get("LOG_LEVEL", "").strip().lower()
loglevel = _LEVEL if _LEVEL in ("debug", "warning", "error") else "info"

_URL = re.compile(r"""(?<![\w/.:-])/[^\s'"]*""")


class JsonLogger(gunicorn.glogging.Logger):
    """gunicorn's own log lines in the bridge's format: JSON on stdout, without URLs."""

    def setup(self, cfg: gunicorn.config.Config) -> None:
        """Send all lines to the root logger, which the bridge has set up."""
        from config import log  # only now is this directory on the path

        super().setup(cfg)
        log.configure(loglevel.upper(), process="web")
        for logger, target in ((self.error_log, cfg.errorlog), (self.access_log, cfg.accesslog)):
            if target == "-":
                logger.handlers.clear()
                logger.propagate = True

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Log a request, if --access-logfile or GUNICORN_CMD_ARGS switches that on.

        The line has no path and no query, because they may contain a token. It has the URL rule
        that the app matched.
        """
        if not self.access_log_enabled:
            return
        from bridge.http import request_id
        from config import log

        log.get(self.access_log.name).info(
            "request.answered",
            method=environ.get("REQUEST_METHOD"),
            rule=environ.get(request_id.RULE),
            status_code=resp.status_code,
            duration_ms=round(request_time / timedelta(milliseconds=1)),
            bytes=resp.sent,
            request_id=_value_of(request_id.HEADER, resp.headers),
        )

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log a failure outside the app. gunicorn's own line would contain the URL."""
        super().exception(_URL.sub("/…", str(msg % args if args else msg)), **kwargs)

    def debug(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log a detail. With LOG_LEVEL=DEBUG, gunicorn's own lines would contain every path."""
        if self.error_log.isEnabledFor(logging.DEBUG):
            super().debug("%s", _URL.sub("/…", str(msg % args if args else msg)), **kwargs)

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log a warning, but not the first line of a request that is not HTTP."""
        if str(msg).startswith("Invalid request"):
            msg = str(msg).partition(":")[0]
        super().warning(msg, *args, **kwargs)


def _value_of(name: str, headers: Iterable[tuple[str, str]]) -> str | None:
    return next((value for key, value in headers if key.lower() == name.lower()), None)


logger_class = JsonLogger


def post_worker_init(worker: Any) -> None:
    """Migrate the store beside the requests. At a stop, answer the waiting ones (`?wait=`)."""
    from bridge.api import long_poll as waiting
    from config import tracing
    from store.migration import start_migration

    tracing.start(process="web")  # after the fork: it has a thread of its own
    store = worker.wsgi.extensions.get("store")
    if store is not None:  # the floor of the benchmark has none
        start_migration(store)

    def stop(number: int, frame: FrameType | None) -> None:
        waiting.end_all()
        worker.handle_exit(number, frame)

    signal.signal(signal.SIGTERM, stop)
    signal.siginterrupt(signal.SIGTERM, False)  # as gunicorn: it interrupts no system call


def worker_exit(server: Any, worker: Any) -> None:
    """Send the traces that are left, once the process has answered its last request."""
    from config import tracing

    tracing.finish()


def on_starting(server: Any) -> None:
    """Report what is wrong with the settings or the store once, before every worker meets it."""
    from config import tracing

    _check_store(_check_settings())
    tracing.warm_up()


def _check_settings() -> Settings:
    from config import log
    from schemas.errors import SettingsError
    from store.prefix import check_prefix

    try:
        settings = load_settings()
        check_prefix(settings.redis_url)
        for warning in warnings_of(settings):
            log.get(__name__).warning("settings.warning", message=warning)
        return settings
    except SettingsError as error:
        sys.stderr.write(f"The web process can't start. Fix this, then start it again:\n{error}\n")
        sys.exit(1)


def _check_store(settings: Settings) -> None:
    from config import log
    from store.start import check_at_start

    found = check_at_start(settings.redis_url)
    for warning in found.warnings:
        log.get(__name__).warning("store.warning", message=warning)
    if found.problem:
        sys.stderr.write(f"The web process can't start. {found.problem}\n")
        sys.exit(1)


# on_starting is not called then, and gunicorn would show the traceback of create_app().
if "--check-config" in (*sys.argv, *os.environ.get("GUNICORN_CMD_ARGS", "").split()):
    _check_settings()
