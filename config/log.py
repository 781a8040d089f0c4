"""Logs: one JSON line for each thing that happened. Ids are fields; personal data is never logged.

The name of a line is `noun.verbed`, such as `delivery.attempted`.
"""

import contextlib
import json
import logging
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TextIO

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
    rendered = (_named(process), structlog.processors.JSONRenderer(_as_json))
    handler = logging.StreamHandler(sys.stdout)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            _written_to(handler, *rendered),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
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


def _written_to(
    handler: "logging.StreamHandler[TextIO]", *processors: structlog.typing.Processor
) -> structlog.typing.Processor:
    """Return a last processor: it writes a line of ours where only this handler would get it.

    The standard library's way there makes two records of each line and looks for its caller, which
    takes five times as long. Lines that others listen to go that way: see docs/decisions/0025.
    """

    def write(
        logger: logging.Logger, method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        if not _goes_only_to(handler, logger):
            return event
        line: Any = event
        try:
            for processor in processors:
                line = processor(logger, method, line)
            with handler.lock or contextlib.nullcontext():
                handler.stream.write(line + handler.terminator)
                handler.flush()
        except RecursionError:
            raise
        except Exception:
            handler.handleError(logging.makeLogRecord({"msg": event.get("event")}))
        raise structlog.DropEvent

    return write


def _goes_only_to(handler: logging.Handler, logger: logging.Logger) -> bool:
    """Say whether a line of this logger reaches this handler, and no other one."""
    if logger.filters:
        return False
    at: logging.Logger | None = logger
    while at is not None and not at.handlers and at.propagate:
        at = at.parent
    return at is not None and at.parent is None and at.handlers == [handler]


def _as_json(event: structlog.typing.EventDict, default: Callable[[Any], Any]) -> str:
    return _encoder(default).encode(event)


@lru_cache(maxsize=4)  # json.dumps() makes a new one for each line
def _encoder(default: Callable[[Any], Any]) -> json.JSONEncoder:
    return json.JSONEncoder(default=default)


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
