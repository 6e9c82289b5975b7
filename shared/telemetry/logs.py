"""Structured log lines: an event name and its fields, as JSON locally and as custom dimensions in Azure."""

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO, Any

from opentelemetry.trace import get_current_span

from .redaction import redacted_fields, redacted_stack
from .spans import RecordedSpan

__all__ = ["JsonFormatter", "configure_json", "log_event"]

ROOT = "sluice"
MOST_A_MINUTE, SAMPLED_ONE_IN = 1_000, 100
"""Warnings of one name that a process writes in a minute, and the sample of those beyond."""
CHATTY = ("azure", "uamqp", "uvicorn.access", "httpx", "opentelemetry")
"""Libraries that write a line or more for each request at INFO: the worker sets no levels, and sends all of them."""


def log_event(event: str, *, level: int = logging.INFO, error: BaseException | None = None, **fields: Any) -> None:
    """Write one structured line; `fields` are short and never hold a payload.

    Protected values are left out: those of a model that is given as a field, and those of the message at hand. The line
    has the ids of the trace and of the message that it is written in. Of a storm of warnings of one name only a sample
    is written, each with how many were left out since the last one (`leftOut`): who counts lines adds it.
    """
    logger = logging.getLogger(ROOT)
    if not logger.isEnabledFor(level):
        return
    if level >= logging.WARNING:
        left_out = STORMS.left_out(event, fields.get("leftOut", 0))
        if left_out is None:
            return
        if left_out:
            fields["leftOut"] = left_out
    redacted = redacted_fields(fields)
    if isinstance(current := get_current_span(), RecordedSpan):
        redacted.setdefault("traceId", f"{current.trace_id:032x}")
        if current.journey.message:
            redacted.setdefault("messageId", current.journey.message)
    exc_info = (type(error), error, error.__traceback__) if error is not None else None
    if error is not None and (stack := redacted_stack(error)) is not None:
        redacted["error"], exc_info = stack, None
    logger.log(level, event, extra={"fields": redacted}, exc_info=exc_info)


class _Storms:
    """Counts the lines of each event name in the minute at hand."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._minutes: dict[str, tuple[int, int, int]] = {}

    def left_out(self, event: str, before: int = 0) -> int | None:
        """How many lines of that name a line stands for beside itself; None: leave this one out.

        Parameters
        ----------
        before:
            How many whoever writes the line had left out by themselves.
        """
        minute = int(self._clock() // 60)
        known, count, left_out = self._minutes.get(event, (minute, 0, 0))
        count, left_out = count + 1 if known == minute else 1, left_out + before
        is_written = count <= MOST_A_MINUTE or (count - MOST_A_MINUTE) % SAMPLED_ONE_IN == 0
        self._minutes[event] = (minute, count, 0 if is_written else left_out + 1)
        return left_out if is_written else None


STORMS = _Storms()


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line of JSON; what JSON doesn't have is written as text."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        elif record.exc_text:
            line["error"] = record.exc_text
        try:  # in ASCII: a console of any code page writes it, and no reader sees a line break in it
            return json.dumps(line, default=str, allow_nan=False)
        except ValueError:  # a number that JSON doesn't have
            return json.dumps({name: str(value) for name, value in line.items()})


class _FieldsInText(logging.Filter):
    """Where the platform writes the line, the fields follow the event's name as JSON."""

    def filter(self, record: logging.LogRecord) -> bool:
        fields = getattr(record, "fields", None)
        if fields and not record.args:
            for name, value in fields.items():  # become custom dimensions where OpenTelemetry carries the log
                record.__dict__.setdefault(name, value if isinstance(value, str | int | float | bool) else str(value))
            record.msg = f"{record.msg} {json.dumps(fields, default=str, ensure_ascii=False)}"
        return True


def quiet_libraries() -> None:
    """Have libraries tell of warnings only, where nobody has set a level for them: an idle app writes nothing."""
    for name in CHATTY:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)


def configure_json(stream: IO[str] | None = None) -> None:
    """Write the app's lines to standard output, one JSON object each, once; other loggers are left alone."""
    logger = logging.getLogger(ROOT)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter())
    logger.handlers = [handler]


def configure_platform() -> None:
    """Hand the app's lines to the platform's own handlers."""
    logger = logging.getLogger(ROOT)
    logger.setLevel(logging.INFO)
    logger.filters = [_FieldsInText()]
