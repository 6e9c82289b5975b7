"""Runs an invocation under the function's retry policy (timers and Event Hubs have one; Service Bus has not)."""

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from local_azure.host.context import NO_TRACE, Retry, RetryError
from local_azure.host.functions import Function
from local_azure.host.invocation import InvocationFailed
from local_azure.host.listener import Services, pause
from local_azure.host.logs import HOST_LOGGER

__all__ = ["Interrupted", "invoke_with_retries"]

# Where the real host's own stack begins; what follows there is .NET's alone.
_STACK = "   at Microsoft.Azure.WebJobs.Host.Executors.FunctionExecutor.ExecuteWithLoggingAsync"


class Interrupted(Exception):
    """The host ends in the middle of a retry policy, so what triggered the function is not settled."""


async def invoke_with_retries(
    function: Function,
    services: Services,
    argument: Callable[[], Any],
    *,
    reason: str,
    attributes: Mapping[str, str] | None = None,
) -> bool:
    """Invoke until it succeeds or the policy is used up; True for success.

    Parameters
    ----------
    attributes
        Tags of the activity; all attempts are of one trace. None for what was started by hand, which has none.

    Raises
    ------
    Interrupted
        The host is ending before the policy has.
    """
    policy, attempt, error = function.retry, 0, RetryError()
    trace = NO_TRACE if attributes is None else services.invoker.trace(attributes=attributes)
    while True:
        retry = Retry(attempt, policy.max_retry_count if policy else 0, error)
        started = time.perf_counter()
        try:
            await services.invoker.invoke(function, argument, reason=reason, retry=retry, trace=trace)
        except InvocationFailed as failure:
            error = _in_the_hosts_words(function.name, failure)
            if trace.parent:
                tags = _result_tags(function.name, failure, time.perf_counter() - started)
                trace = replace(trace, attributes={**trace.attributes, **tags})
        else:
            return True
        attempt += 1
        if policy is None or -1 < policy.max_retry_count < attempt:
            return False
        seconds = policy.delay_before(attempt)
        HOST_LOGGER.info("Waiting %g s before retry %d of function '%s'", seconds, attempt, function.name)
        if await pause(services.stopping, seconds):
            raise Interrupted


def _in_the_hosts_words(function: str, failure: InvocationFailed) -> RetryError:
    cause = failure.__cause__ or failure
    stack = "".join(traceback.format_tb(cause.__traceback__)).rstrip()
    message = (
        "Microsoft.Azure.WebJobs.Host.FunctionInvocationException : Exception while executing function: "
        f"Functions.{function} ---> Microsoft.Azure.WebJobs.Script.Workers.Rpc.RpcException : Result: Failure\n"
        f"Exception: {type(cause).__name__}: {cause}\nStack: {stack}"
    )
    return RetryError(message, "System.Private.CoreLib", _STACK)


def _result_tags(function: str, failure: InvocationFailed, seconds: float) -> dict[str, str]:
    """What the host's log of a failed attempt leaves among the activity's tags."""
    return {
        "Name": function,
        "FullName": f"Functions.{function}",
        "InvocationId": failure.invocation_id,
        "Succeeded": "False",
        "Category": "Host.Results",
        "LogLevel": "Error",
        "FunctionExecutionTimeMs": f"{seconds * 1000:.4f}",
        "{OriginalFormat}": "Result '{Name}' (started at={StartTime}, duration={Duration}, succeeded={Succeeded})",
    }
