"""Logs: one JSON line a thing that happened, `noun.verbed`, ids as fields, never people's data."""

import logging
import sys
import time
from typing import Any

import structlog

AGAIN_S = 300.0


def configure(level: str = "INFO", *, process: str) -> None:
    """Send every log line of this process, ours and the libraries', to stdout as JSON."""
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
    # Each RQ job is a line or four of RQ's own; a drain says what it did itself.
    for noisy in ("rq", "rq.worker", "urllib3", "werkzeug"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    # RQ says every few seconds that Redis is away; once in a while is enough.
    logging.getLogger("rq.worker").filters[:] = [_NotAgain()]


def get(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


class _NotAgain(logging.Filter):
    """Lets a line of one kind through once in AGAIN_S."""

    def __init__(self) -> None:
        super().__init__()
        self._said_at: dict[object, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether this line has not been said for a while."""
        now, said_at = time.monotonic(), self._said_at.get(record.msg)
        if said_at is not None and now - said_at < AGAIN_S:
            return False
        if len(self._said_at) >= 100:  # kinds, not lines; a text that varies would be no kind
            self._said_at.clear()
        self._said_at[record.msg] = now
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
    """Keep of an exception where it happened and its class; its text may quote a body."""
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
