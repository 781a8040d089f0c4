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

from config.settings import load_settings, warnings_of

bind = f"0.0.0.0:{os.environ.get('PORT') or 8000}"


def _processes() -> int:
    """Return how many processes the cores keep busy, from 2 to 4: four fit into 512 MB."""
    try:
        cores = len(os.sched_getaffinity(0))  # those that we may use
    except AttributeError:  # not on every system
        cores = os.cpu_count() or 1
    return min(max(cores, 2), 4)


# A webhook is a few ms of work and one wait for Redis: few processes, and threads for the waits.
_WORKERS = os.environ.get("WEB_CONCURRENCY", "").strip() or str(_processes())
if not re.fullmatch(r"[1-9][0-9]{0,2}", _WORKERS):
    sys.exit("WEB_CONCURRENCY must be a number from 1 to 999.")
workers = int(_WORKERS)
worker_class = "gthread"
# Each holds up to two connections to Redis, and small plans of managed ones allow 20 or 40.
threads = 8
# Of a process that hangs as a whole. A request ends sooner: Redis has 2 s, a `?wait=` 25 s at most,
# and Heroku's router gives up after 30 s.
timeout = 30
graceful_timeout = 25  # Heroku kills 30 s after it asks to stop; Docker after 10 s unless told
# Longer than a router keeps an idle connection (Heroku's: 90 s). Else we close one just as the
# router sends a webhook down it.
keepalive = 95
# A process that leaks would be replaced before it hurts; not all at the same time.
max_requests = 100_000
max_requests_jitter = 10_000
# Each process opens its own connections, so nothing is loaded before the fork.
preload_app = False
if os.access("/dev/shm", os.W_OK):  # noqa: S108  (gunicorn's own heartbeat files)
    worker_tmp_dir = "/dev/shm"  # noqa: S108  (on a slow disk a heartbeat can block a worker)
# Would put a socket into ~/.gunicorn; nobody uses it, and a home may not be writable.
control_socket_disable = True
# Which headers of proxies to believe is PROXY_HOPS' to say, and ProxyFix counts the hops. Else
# gunicorn would believe whoever FORWARDED_ALLOW_IPS names, by default all of this machine; Heroku's
# buildpack sets it to *, and then a client's own SCRIPT_NAME header would move our URLs.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}

_LEVEL = os.environ.get("LOG_LEVEL", "").strip().lower()
loglevel = _LEVEL if _LEVEL in ("debug", "warning", "error") else "info"

_URL = re.compile(r"""(?<![\w/.:-])/[^\s'"]*""")


class JsonLogger(gunicorn.glogging.Logger):
    """gunicorn's own log lines as the bridge writes its: JSON on stdout, without URLs."""

    def setup(self, cfg: gunicorn.config.Config) -> None:
        """Hand everything to the root logger, which the bridge set up."""
        from config import log  # gunicorn has put this directory on the path by now

        super().setup(cfg)
        log.configure(loglevel.upper(), process="web")
        for logger, target in ((self.error_log, cfg.errorlog), (self.access_log, cfg.accesslog)):
            if target == "-":
                logger.handlers.clear()
                logger.propagate = True

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Log a request if that is switched on: --access-logfile - or in GUNICORN_CMD_ARGS.

        No path and no query: a token may stand in them. The rule is what the app matched.
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
        """Log what broke outside the app; gunicorn would name the URL."""
        super().exception(_URL.sub("/…", str(msg % args if args else msg)), **kwargs)

    def debug(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log a detail; with LOG_LEVEL=DEBUG gunicorn would name the path of every request."""
        if self.error_log.isEnabledFor(logging.DEBUG):
            super().debug("%s", _URL.sub("/…", str(msg % args if args else msg)), **kwargs)

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log a warning; that of a request that is no HTTP quotes its first line."""
        if str(msg).startswith("Invalid request"):
            msg = str(msg).partition(":")[0]
        super().warning(msg, *args, **kwargs)


def _value_of(name: str, headers: Iterable[tuple[str, str]]) -> str | None:
    return next((value for key, value in headers if key.lower() == name.lower()), None)


logger_class = JsonLogger


def post_worker_init(worker: Any) -> None:
    """Migrate the store beside the requests; answer requests that wait (`?wait=`) at a stop."""
    from bridge.api import long_poll as waiting
    from store.migration import start_migration

    start_migration(worker.wsgi.extensions["store"])

    def stop(number: int, frame: FrameType | None) -> None:
        waiting.end_all()
        worker.handle_exit(number, frame)

    signal.signal(signal.SIGTERM, stop)
    signal.siginterrupt(signal.SIGTERM, False)  # as gunicorn: a stop cuts no system call off


def on_starting(server: Any) -> None:
    """Say once what is wrong or odd in the settings, before each worker meets it."""
    from config import log
    from schemas.errors import SettingsError

    try:
        for warning in warnings_of(load_settings()):
            log.get(__name__).warning("settings.warning", message=warning)
    except SettingsError as error:
        sys.stderr.write(f"The web process can't start; mend this and start it again:\n{error}\n")
        sys.exit(1)
