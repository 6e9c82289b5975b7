"""The `context` and output parameters that a function may ask for, as the worker hands them over."""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azure.functions import _abc as contracts

from local_azure.host.functions import Function

__all__ = ["InvocationContext", "Out", "Retry", "TraceContext"]


@dataclass(frozen=True, slots=True)
class Retry:
    """Where an invocation stands in its retry policy; count 0 is the first attempt."""

    count: int = 0
    maximum: int = 0
    exception: str = ""


class TraceContext(contracts.TraceContext):
    """The caller's trace with a span of the host's own, or a new trace (W3C trace context)."""

    def __init__(self, incoming: Mapping[str, str]) -> None:
        span = os.urandom(8).hex()
        parts = incoming.get("traceparent", "").split("-")
        if len(parts) == 4 and len(parts[1]) == 32:
            self._parent, self._state = f"00-{parts[1]}-{span}-{parts[3]}", incoming.get("tracestate", "")
        else:
            self._parent, self._state = f"00-{os.urandom(16).hex()}-{span}-00", ""

    @property
    def trace_parent(self) -> str:
        return self._parent

    @property
    def trace_state(self) -> str:
        return self._state

    @property
    def attributes(self) -> dict[str, str]:
        return {}

    # The worker offers the older names as well.
    Traceparent = trace_parent
    Tracestate = trace_state
    Attributes = attributes


class _RpcException(contracts.RpcException):
    def __init__(self, message: str) -> None:
        self._message = message

    @property
    def source(self) -> str:
        return ""

    @property
    def stack_trace(self) -> str:
        return ""

    @property
    def message(self) -> str:
        return self._message


class _RetryContext(contracts.RetryContext):
    def __init__(self, retry: Retry) -> None:
        self._retry = retry

    @property
    def retry_count(self) -> int:
        return self._retry.count

    @property
    def max_retry_count(self) -> int:
        return self._retry.maximum

    @property
    def exception(self) -> contracts.RpcException:
        return _RpcException(self._retry.exception)


class InvocationContext(contracts.Context):
    """The `context` parameter."""

    def __init__(self, function: Function, invocation_id: str, trace: TraceContext, retry: Retry) -> None:
        self._function = function
        self._invocation_id = invocation_id
        self._trace = trace
        self._retry = retry
        self._local: Any = threading.local()
        self._local.invocation_id = invocation_id

    @property
    def invocation_id(self) -> str:
        return self._invocation_id

    @property
    def thread_local_storage(self) -> Any:
        return self._local

    @property
    def function_name(self) -> str:
        return self._function.name

    @property
    def function_directory(self) -> str:
        return self._function.directory

    @property
    def trace_context(self) -> contracts.TraceContext:
        return self._trace

    @property
    def retry_context(self) -> contracts.RetryContext:
        return _RetryContext(self._retry)


class Out(contracts.Out[Any]):
    """An output parameter."""

    def __init__(self) -> None:
        self._value: Any = None

    def set(self, val: Any) -> None:
        self._value = val

    def get(self) -> Any:
        return self._value
