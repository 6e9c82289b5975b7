"""Runs one invocation as the Python worker does: threads for sync functions, a time limit, log lines."""

import asyncio
import logging
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import azure.functions as func

from local_azure.host.context import NO_TRACE, InvocationContext, Out, Retry, Trace, TraceContext
from local_azure.host.errors import SettingError
from local_azure.host.functions import Function, Parameter
from local_azure.host.logs import HOST_LOGGER

__all__ = ["Invocation", "InvocationFailed", "Invoker", "decode", "encode", "is_traced", "thread_count"]

_NOTHING: Mapping[str, str] = {}
_INSIGHTS = ("APPLICATIONINSIGHTS_CONNECTION_STRING", "APPINSIGHTS_INSTRUMENTATIONKEY")
_FIRST_ATTEMPT = Retry()


class InvocationFailed(Exception):
    """The function raised, ran out of time, or gave back what its bindings cannot take; already logged."""

    def __init__(self, message: str, invocation_id: str = "") -> None:
        super().__init__(message)
        self.invocation_id = invocation_id


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a finished invocation left: its return value and output bindings in wire form.

    An HTTP function that streams leaves its return value as it is.
    """

    id: str
    returned: Any
    outputs: Mapping[str, Any]


def thread_count(settings: Mapping[str, str]) -> int | None:
    """Threads for sync functions from PYTHON_THREADPOOL_THREAD_COUNT; None leaves it to Python (cores + 4).

    Raises
    ------
    SettingError
        The setting is no whole number between 1 and 32, the documented range.
    """
    text = settings.get("PYTHON_THREADPOOL_THREAD_COUNT", "").strip()
    if not text:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 32:
        raise SettingError(f"PYTHON_THREADPOOL_THREAD_COUNT is {text!r}, it must be a whole number between 1 and 32")
    return int(text)


def is_traced(settings: Mapping[str, str]) -> bool:
    """Whether the host sends trace contexts: only with Application Insights configured, as recorded."""
    return any(settings.get(name, "").strip() for name in _INSIGHTS)


def decode(parameter: Parameter, datum: Any, metadata: Mapping[str, Any]) -> Any:
    """What the function receives for a wire value, by the converters of `azure.functions`."""
    if parameter.converter == "generic":
        return None if datum is None else datum.value
    return func.get_binding_registry().get(parameter.converter).decode(datum, trigger_metadata=metadata)


def encode(parameter: Parameter, value: Any) -> Any:
    """The wire value of something a function gave out.

    Raises
    ------
    TypeError
        The binding cannot carry a value of that type.
    """
    registered = func.get_binding_registry().get(parameter.binding["type"])
    try:
        return registered.encode(value, expected_type=parameter.annotation)
    except NotImplementedError:
        raise TypeError(
            f"unable to encode outgoing TypedData: unsupported type {parameter.binding['type']!r} "
            f"for Python type {type(value).__name__!r}"
        ) from None


class Invoker:
    """Runs functions on the one event loop and its thread pool, and knows how many are running."""

    def __init__(
        self, *, threads: int | None, timeout: timedelta | None, traced: bool = False, quiet_timers: bool = False
    ) -> None:
        self._quiet_timers = quiet_timers
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="function")
        self._timeout = timeout.total_seconds() if timeout else None
        self._traced = traced
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        """Invocations that have begun and not ended."""
        return self._running

    def trace(self, *, incoming: Mapping[str, str] = _NOTHING, attributes: Mapping[str, str] = _NOTHING) -> Trace:
        """The trace context of an invocation, or of all attempts under a retry policy.

        Parameters
        ----------
        incoming
            The caller's `traceparent` and `tracestate`.
        attributes
            Tags of the activity, which the host sends for everything but HTTP.
        """
        return Trace.begun(incoming, attributes) if self._traced else NO_TRACE

    async def wait_idle(self, seconds: float) -> bool:
        """Wait until nothing runs; False when that took too long."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Give up the threads; a sync function that still runs is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def invoke(
        self,
        function: Function,
        argument: Callable[[], Any],
        *,
        reason: str = "(null)",
        retry: Retry = _FIRST_ATTEMPT,
        trace: Trace = NO_TRACE,
        invocation_id: str | None = None,
    ) -> Invocation:
        """Make the trigger's argument, call the function, and encode what it gave out.

        Parameters
        ----------
        argument
            Makes the argument; what it raises fails the invocation, as a converter's error does in Azure.
        trace
            As `trace` made it.

        Raises
        ------
        InvocationFailed
            With the cause; the failure has been logged.
        """
        id_ = invocation_id or str(uuid.uuid4())
        quiet = self._quiet_timers and function.trigger_type == "timerTrigger"
        says = HOST_LOGGER.isEnabledFor(logging.INFO) and not quiet
        started = time.perf_counter()
        self._running += 1
        self._idle.clear()
        try:
            if says:
                HOST_LOGGER.info("Executing 'Functions.%s' (Reason='%s', Id=%s)", function.name, reason, id_)
            result = await self._call(function, argument(), id_, retry, trace)
        except Exception as error:
            self._log_failure(function, id_, started, error)
            raise InvocationFailed(f"{type(error).__name__}: {error}", id_) from error
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()
        if says:
            duration = (time.perf_counter() - started) * 1000
            HOST_LOGGER.info(
                "Executed 'Functions.%s' (Succeeded, Id=%s, Duration=%.0fms)", function.name, id_, duration
            )
        return result

    @staticmethod
    def never_called(function: Function, error: Exception) -> None:
        """Log the failure of an invocation whose function wasn't called."""
        HOST_LOGGER.error(
            "Executed 'Functions.%s' (Failed, Id=%s, Duration=0ms)\n%s", function.name, uuid.uuid4(), error
        )

    async def _call(self, function: Function, argument: Any, id_: str, retry: Retry, trace: Trace) -> Invocation:
        arguments: dict[str, Any] = {function.trigger.name: argument}
        outputs = {parameter.name: Out() for parameter in function.outputs}
        arguments.update(outputs)
        if function.wants_context:
            arguments["context"] = InvocationContext(function, id_, TraceContext(trace), retry)
        returned = await self._run(function, arguments)
        if returned is not None and function.returns is None:
            raise RuntimeError(f"function {function.name} without a $return binding returned a non-None value")
        if function.returns is not None and not function.streams_http:
            returned = encode(function.returns, returned)
        given = ((parameter, outputs[parameter.name].get()) for parameter in function.outputs)
        return Invocation(id_, returned, {each.name: encode(each, value) for each, value in given if value is not None})

    async def _run(self, function: Function, arguments: dict[str, Any]) -> Any:
        async with asyncio.timeout(self._timeout):
            if function.is_async:
                return await function.call(**arguments)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, lambda: function.call(**arguments))

    def _log_failure(self, function: Function, id_: str, started: float, error: Exception) -> None:
        duration = (time.perf_counter() - started) * 1000
        if self._timeout is not None and isinstance(error, TimeoutError) and duration >= self._timeout * 1000:
            HOST_LOGGER.error(
                "Timeout value of %gs exceeded by function 'Functions.%s' (Id: '%s')", self._timeout, function.name, id_
            )
        trace = "".join(traceback.format_exception(error)).rstrip()
        HOST_LOGGER.error(
            "Executed 'Functions.%s' (Failed, Id=%s, Duration=%.0fms)\n%s", function.name, id_, duration, trace
        )
