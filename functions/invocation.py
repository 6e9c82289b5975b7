"""Around every invocation: the span that the host has begun for it is the parent of what is traced in it."""

import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import azure.functions as func

from shared.telemetry import invoked_by

__all__ = ["with_host_trace"]


def with_host_trace(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The function as it is registered: the worker hands it the invocation's context, and it passes the rest on.

    Of all workers Python's alone has no middleware, and attaches no context by itself; what it sends is empty where the
    host traces nothing.
    """
    signature = inspect.signature(call)
    takes_context = "context" in signature.parameters

    @wraps(call)
    async def invoked(*given: Any, context: func.Context | None = None, **named: Any) -> Any:
        if takes_context:
            named["context"] = context
        with invoked_by(None if context is None else context.trace_context.trace_parent):
            return await call(*given, **named)

    asked = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=func.Context)
    if takes_context:
        return invoked
    registered: Any = invoked
    registered.__signature__ = signature.replace(parameters=[*signature.parameters.values(), asked])
    registered.__annotations__ = {**call.__annotations__, "context": func.Context}
    return invoked
