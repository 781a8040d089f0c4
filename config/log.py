"""Logs: one JSON line for each thing that happened. Ids are fields; personal data is never logged.

The name of a line is `noun.verbed`, such as `delivery.attempted`.
"""

import logging
import sys
import time
from typing import Any

import structlog

REPEAT_S = 300.0  # a noisy line is logged at most once in this time


def configure(level: str = "INFO", *, process: str) -> None:
    """Write all log lines of this process to stdout as JSON, the libraries' lines too."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,  # the id of the request: see request_id.py
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.StackInfoRenderer(),
        _without_values,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _named(process),
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # RQ writes up to four lines for each job, and a drain already logs what it did.
    for noisy in ("flask_wtf", "rq", "rq.worker", "urllib3", "werkzeug"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    # While Redis is away, RQ says so every few seconds.
    logging.getLogger("rq.worker").filters[:] = [_RepeatFilter()]


def get(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


class _RepeatFilter(logging.Filter):
    """Lets a line of one kind through at most once in REPEAT_S."""

    def __init__(self) -> None:
        super().__init__()
        self._logged_at: dict[object, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether this kind of line was not logged for REPEAT_S."""
        now, logged_at = time.monotonic(), self._logged_at.get(record.msg)
        if logged_at is not None and now - logged_at < REPEAT_S:
            return False
        if len(self._logged_at) >= 100:  # kinds, not lines: some texts differ each time
            self._logged_at.clear()
        self._logged_at[record.msg] = now
        return True


def _named(process: str) -> structlog.typing.Processor:
    def add(
        logger: Any, method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        return {"process": process, **event}

    return add


def _without_values(
    logger: Any, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Replace an exception by its class and its place; its text may quote a body."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        frames = []
        trace = error.__traceback__
        while trace:
            code = trace.tb_frame.f_code
            frames.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}")
            trace = trace.tb_next
        event["error"] = type(error).__name__
        event["where"] = frames[-8:]
    return event
