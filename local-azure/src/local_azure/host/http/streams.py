"""HTTP streams: hands functions a Starlette request, through the streams extension's own web app."""

import importlib
import socket
from typing import Any

from local_azure.host.context import Trace
from local_azure.host.functions import Function
from local_azure.host.http.exchange import AsgiExchange, ConnectedRequest
from local_azure.host.invocation import InvocationFailed, Invoker

__all__ = ["INVOCATION_HEADER", "HttpStreams"]

INVOCATION_HEADER = "x-ms-invocation-id"


class HttpStreams:
    """Runs functions inside the extension's catch-all FastAPI app, as the Python worker does.

    The app turns whatever a function returns into the answer, so a dict, a string or a Pydantic model
    becomes what it becomes in Azure. An invocation is finished when its function returns; the answer's
    body follows after.
    """

    def __init__(self, invoker: Invoker) -> None:
        from azurefunctions.extensions.base import ModuleTrackerMeta, RequestTrackerMeta

        self._invoker = invoker
        # The worker's own address, at which nobody but the host can reach it: here nobody at all.
        self._reserved = socket.socket()
        self._reserved.bind(("127.0.0.1", 0))
        self._address: tuple[str, int] = self._reserved.getsockname()
        self._pending: dict[str, tuple[Function, dict[str, str], Trace]] = {}
        web_app = importlib.import_module(ModuleTrackerMeta.get_module()).WebApp()
        self._synchronizer = RequestTrackerMeta.get_synchronizer()
        request_type = RequestTrackerMeta.get_request_type()

        async def catch_all(request: request_type) -> Any:  # type: ignore[valid-type]
            return await self._invoke(request)

        # Without this FastAPI would take the annotation for a response model.
        catch_all.__annotations__.pop("return")
        web_app.route(catch_all)
        self._app = web_app.get_app()

    async def _invoke(self, request: Any) -> Any:
        invocation_id = request.headers[INVOCATION_HEADER]
        function, route_values, trace = self._pending.pop(invocation_id)
        self._synchronizer.sync_route_params(request, route_values)
        try:
            invocation = await self._invoker.invoke(
                function, lambda: request, invocation_id=invocation_id, trace=trace,
                reason="This function was programmatically called via the host APIs.",
            )  # fmt: skip
        except InvocationFailed as failure:
            # The app answers what was raised: an HTTPException by its status, anything else by 500.
            raise failure.__cause__ or failure from None
        return invocation.returned

    async def handle(
        self, request: ConnectedRequest, function: Function, *, path: str, route_values: dict[str, str],
        invocation_id: str, body_limit: int,
    ) -> Any:  # fmt: skip
        """Run one request through a function and stream its answer; raises BodyFailed as the exchange does."""
        trace = self._invoker.trace(incoming=request.headers)
        extra = {INVOCATION_HEADER: invocation_id}
        if trace.parent:
            extra |= {"traceparent": trace.parent} | ({"tracestate": trace.state} if trace.state else {})
        exchange = AsgiExchange(request, path=path, address=self._address, extra_headers=extra, body_limit=body_limit)
        await exchange.read_whole()
        self._pending[invocation_id] = (function, route_values, trace)
        error: Exception | None = None
        try:
            await self._app(exchange.scope(), exchange.receive, exchange.send)
        except Exception as raised:  # the web app has answered it, and the invoker has logged it
            error = raised
        finally:
            self._pending.pop(invocation_id, None)
        return await exchange.finish(error)
