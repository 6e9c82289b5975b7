"""Redaction of telemetry: while a message is processed, its protected values stay out of logs, spans and stacks."""

import json
import logging
import re
import traceback
from collections.abc import Iterator, Mapping
from contextvars import ContextVar, Token
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from opentelemetry.trace import Span
from pydantic import BaseModel

from shared.classification import HIDDEN, Scrubber, plan_of, redacted, secrets_of

__all__ = [
    "guard_log_records",
    "hide",
    "hiding",
    "record_exception",
    "redact",
    "redacted_error",
    "redacted_fields",
    "redacted_stack",
]

_INNERMOST: "ContextVar[hiding | None]" = ContextVar("hidden", default=None)
_INPUT = re.compile(r"input_value=.*?, input_type=", re.DOTALL)
"""How pydantic quotes what it refuses, shortened in the middle, so that no search for the whole value finds it."""
_MARK = "__sluice_hides__"
_CHAIN = 50
_READ, _SHOWN = 16_000, 2_000


class hiding:  # noqa: N801 - a context manager, named for what it does
    """While it is entered, the protected values of a model stay out of log lines, span attributes and stacks.

    So do values that `hide` adds. An error that leaves it keeps out of them for good, wherever it is logged later.
    Costs nothing where there is nothing to hide; the values are gathered only once something is logged.
    """

    __slots__ = ("__dict__", "_also", "_data", "_outer", "_protects", "_token")

    def __init__(self, data: BaseModel) -> None:
        self._data = data
        self._protects = plan_of(type(data)).protects
        self._also: set[str] = set()
        self._outer: hiding | None = None
        self._token: Token[hiding | None]

    @cached_property
    def _scrubber(self) -> Scrubber:
        return Scrubber(secrets_of(self._data) | self._also)

    @property
    def hides(self) -> bool:
        """Whether there is anything to keep out."""
        return self._protects or bool(self._also) or (self._outer is not None and self._outer.hides)

    def add(self, value: str) -> None:
        """Keep this out too, from now on."""
        if value not in self._also:
            self._also.add(value)
            self.__dict__.pop("_scrubber", None)

    def __call__(self, text: str) -> str:
        """The text without protected values."""
        text = self._scrubber(_INPUT.sub(f"input_value={HIDDEN}, input_type=", text))
        return text if self._outer is None else self._outer(text)

    def __enter__(self) -> Self:
        self._outer = _INNERMOST.get()
        self._token = _INNERMOST.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        _INNERMOST.reset(self._token)
        if error is not None and self.hides:
            try:
                setattr(error, _MARK, self)
            except Exception:  # an exception that takes no attributes
                error.args = tuple(self(str(argument)) for argument in error.args)


def hide(value: str) -> None:
    """Keep a value out of telemetry as long as the message at hand is worked on; where there is none, do nothing."""
    if (hidden := _INNERMOST.get()) is not None:
        hidden.add(value)


def _current() -> "hiding | None":
    hidden = _INNERMOST.get()
    return hidden if hidden is not None and hidden.hides else None


def redact(text: str) -> str:
    """The text without the protected values of the message at hand."""
    hidden = _current()
    return text if hidden is None else hidden(text)


def redacted_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a log line redacted."""
    hidden = _current()
    return {
        name: _redacted_model(value)
        if isinstance(value, BaseModel)
        else value
        if hidden is None
        else _redacted(value, hidden)
        for name, value in fields.items()
    }


def _redacted_model(data: BaseModel) -> Any:
    return redacted(plan_of(type(data)), data.model_dump(mode="json", by_alias=True))


def _redacted(value: Any, hidden: hiding) -> Any:
    """Text without protected values; what isn't text stays as it is where there was nothing to take out."""
    if value is None or isinstance(value, bool):
        return value
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    redacted_text = hidden(text)
    return value if redacted_text == text else redacted_text


def redacted_stack(error: BaseException) -> str | None:
    """The error with its stack, where protected values had to be redacted; else None."""
    hidden = _hidden_of(error)
    return _without(hidden, "".join(traceback.format_exception(error))) if hidden else None


def redacted_error(error: BaseException) -> str:
    """Name and text of an error without protected values."""
    try:
        return _without(_hidden_of(error), f"{type(error).__name__}: {error}"[:_READ])[:_SHOWN]
    except Exception:  # it can't even say what it is
        return type(error).__name__


def _hidden_of(error: BaseException) -> "list[hiding]":
    current = _current()
    return [*_marks(error), *([] if current is None else [current])]


def _without(hidden: "list[hiding]", text: str) -> str:
    for one in hidden:
        text = one(text)
    return text


def _marks(error: BaseException) -> Iterator[hiding]:
    """What an error, those behind it and those grouped in it must redact."""
    pending: list[BaseException] = [error]
    seen: set[int] = set()
    while pending and len(seen) < _CHAIN:
        one = pending.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        mark = getattr(one, _MARK, None)
        if isinstance(mark, hiding):
            yield mark
        behind = (one.__cause__, one.__context__, *(one.exceptions if isinstance(one, BaseExceptionGroup) else ()))
        pending += [other for other in behind if other is not None]


def record_exception(span: Span, error: BaseException) -> None:
    """Record an error on a span, without the protected values of the message that met it."""
    stack = redacted_stack(error)
    if stack is None:
        span.record_exception(error)
    else:
        message = redacted_error(error).partition(": ")[2]
        span.record_exception(error, {"exception.message": message, "exception.stacktrace": stack})


def guard_log_records() -> None:
    """Have every log record, whoever writes it, leave out the protected values of the message at hand."""
    make = logging.getLogRecordFactory()
    if getattr(make, _MARK, False):
        return

    def guarded(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = make(*arguments, **named)
        hidden = _current()
        if hidden is not None:
            try:
                record.msg = hidden(record.getMessage())
            except Exception:  # its text and its arguments don't go together
                record.msg = HIDDEN
            record.args = None
            if record.exc_info and record.exc_info[1] is not None:
                record.exc_text = redacted_stack(record.exc_info[1])
                record.exc_info = None
        return record

    setattr(guarded, _MARK, True)
    logging.setLogRecordFactory(guarded)
