"""The `context` and output parameters that a function may ask for, as the worker hands them over."""

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from azure.functions import _abc as contracts

from local_azure.host.functions import Function

__all__ = ["NO_TRACE", "InvocationContext", "Out", "Retry", "RetryError", "Trace", "TraceContext"]

_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class RetryError:
    """What the last attempt failed with, in the host's words."""

    message: str = ""
    source: str = ""
    stack_trace: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Where an invocation stands in its retry policy; count 0 is the first attempt. All 0 without a policy."""

    count: int = 0
    maximum: int = 0
    error: RetryError = RetryError()


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace context that the host sends (W3C). Empty where nothing is traced: without Application Insights."""

    parent: str = ""
    state: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def begun(cls, incoming: Mapping[str, str], attributes: Mapping[str, str]) -> "Trace":
        """The caller's trace and flags under a span of the host's own, or a new trace that is not sampled."""
        span = os.urandom(8).hex()
        if found := _TRACE_PARENT.fullmatch(incoming.get("traceparent", "")):
            return cls(f"00-{found[1]}-{span}-{found[2]}", incoming.get("tracestate", ""), attributes)
        return cls(f"00-{os.urandom(16).hex()}-{span}-00", "", attributes)


NO_TRACE = Trace()


class TraceContext(contracts.TraceContext):
    """A trace as the function sees it."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    @property
    def trace_parent(self) -> str:
        return self._trace.parent

    @property
    def trace_state(self) -> str:
        return self._trace.state

    @property
    def attributes(self) -> dict[str, str]:
        return dict(self._trace.attributes)

    # The worker offers the older names as well.
    Traceparent = trace_parent
    Tracestate = trace_state
    Attributes = attributes


class _RpcException(contracts.RpcException):
    def __init__(self, error: RetryError) -> None:
        self._error = error

    @property
    def source(self) -> str:
        return self._error.source

    @property
    def stack_trace(self) -> str:
        return self._error.stack_trace

    @property
    def message(self) -> str:
        return self._error.message


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
        return _RpcException(self._retry.error)


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
