"""Runs an invocation under the function's retry policy (timers and Event Hubs have one; Service Bus has not)."""

from collections.abc import Callable
from typing import Any

from local_azure.host.context import Retry
from local_azure.host.functions import Function
from local_azure.host.invocation import InvocationFailed
from local_azure.host.listener import Services, pause
from local_azure.host.logs import HOST_LOGGER

__all__ = ["Interrupted", "invoke_with_retries"]


class Interrupted(Exception):
    """The host ends in the middle of a retry policy, so what triggered the function is not settled."""


async def invoke_with_retries(
    function: Function, services: Services, argument: Callable[[], Any], *, reason: str
) -> bool:
    """Invoke until it succeeds or the policy is used up; True for success.

    Raises
    ------
    Interrupted
        The host is ending before the policy has.
    """
    policy, attempt, last = function.retry, 0, ""
    while True:
        retry = Retry(attempt, policy.max_retry_count if policy else 0, last)
        try:
            await services.invoker.invoke(function, argument, reason=reason, retry=retry)
        except InvocationFailed as failure:
            last = str(failure)
        else:
            return True
        attempt += 1
        if policy is None or -1 < policy.max_retry_count < attempt:
            return False
        seconds = policy.delay_before(attempt)
        HOST_LOGGER.info("Waiting %g s before retry %d of function '%s'", seconds, attempt, function.name)
        if await pause(services.stopping, seconds):
            raise Interrupted
