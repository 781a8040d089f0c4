"""How gunicorn runs the web process: gunicorn -c gunicorn.conf.py 'bridge.app:create_app()'."""

import logging
import os
import re
import sys
from typing import Any

import gunicorn.config
import gunicorn.glogging

bind = f"0.0.0.0:{os.environ.get('PORT') or 8000}"
# A webhook is a few ms of work and one wait for Redis: two processes, and threads for the waits.
_WORKERS = os.environ.get("WEB_CONCURRENCY", "").strip() or "2"
if not re.fullmatch(r"[1-9][0-9]{0,2}", _WORKERS):
    sys.exit("WEB_CONCURRENCY must be a number from 1 to 999.")
workers = int(_WORKERS)
worker_class = "gthread"
threads = 8
timeout = 30
graceful_timeout = 25  # Heroku and Docker kill 30 s (or sooner) after they ask to stop
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
# Off; switched on (--access-logfile -) it shows no URL, for a token may stand in one.
access_log_format = "%(m)s %(s)s %(B)s bytes %(M)s ms"

_LEVEL = os.environ.get("LOG_LEVEL", "").strip().lower()
loglevel = _LEVEL if _LEVEL in ("debug", "warning", "error") else "info"

_URL = re.compile(r"""(?<![\w/.:-])/[^\s'"]*""")


class JsonLogger(gunicorn.glogging.Logger):
    """gunicorn's own log lines as the bridge writes its: JSON on stdout, without URLs."""

    def setup(self, cfg: gunicorn.config.Config) -> None:
        """Hand everything to the root logger, which the bridge set up."""
        from bridge import log  # gunicorn has put this directory on the path by now

        super().setup(cfg)
        log.configure(loglevel.upper(), process="web")
        for logger, target in ((self.error_log, cfg.errorlog), (self.access_log, cfg.accesslog)):
            if target == "-":
                logger.handlers.clear()
                logger.propagate = True

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


logger_class = JsonLogger


def on_starting(server: Any) -> None:
    """Say once what is wrong or odd in the settings, before each worker meets it."""
    from bridge import log
    from bridge.errors import SettingsError
    from bridge.settings import Settings

    try:
        for warning in Settings.from_env().warnings():
            log.get(__name__).warning("settings.warning", message=warning)
    except SettingsError as error:
        sys.stderr.write(f"The web process can't start; mend this and start it again:\n{error}\n")
        sys.exit(1)
