"""The host's own endpoints: /admin/host/status, /admin/functions, and the Event Grid webhook."""

import asyncio
import json
import os
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from local_azure.host.eventgrid.webhook import Handshake, Refusal, read_request
from local_azure.host.functions import Function
from local_azure.host.http.classic import Answer
from local_azure.host.http.exchange import ConnectedRequest
from local_azure.host.invocation import InvocationFailed, Invoker
from local_azure.host.listener import Listener, WebhookListener

__all__ = ["PlatformEndpoints"]

_JSON = [("Content-Type", "application/json; charset=utf-8")]
_PLAIN = [("Content-Type", "text/plain; charset=utf-8")]
_INPUT_LIMIT = 1_048_576
# Event Grid's documented limit for one batch of events, with room for its envelope.
_EVENT_LIMIT = 2 * 1_048_576


class PlatformEndpoints:
    """Answers `/admin/...` and `/runtime/...`; no key is asked for, as in Core Tools."""

    def __init__(
        self,
        functions: Sequence[Function],
        listeners: Sequence[Listener],
        invoker: Invoker,
        *,
        disabled: frozenset[str],
    ) -> None:
        self._functions = {function.name.lower(): function for function in functions}
        self._listeners = {listener.name.lower(): listener for listener in listeners}
        self._invoker = invoker
        self._disabled = disabled
        self._started = time.monotonic()
        self._manual: set[asyncio.Task[None]] = set()
        self.base_url = ""

    async def __call__(self, request: ConnectedRequest, path: str) -> Answer:
        """The answer for a path below /admin or /runtime."""
        match request.method, path.strip("/").lower().split("/"):
            case "GET", ["admin", "host", "status"]:
                return _json(self._status())
            case "GET" | "POST", ["admin", "host", "ping"]:
                return Answer(200)
            case "GET", ["admin", "functions"]:
                return _json([self._description(each) for each in self._functions.values()])
            case "GET", ["admin", "functions", name] if name in self._functions:
                return _json(self._description(self._functions[name]))
            case "GET", ["admin", "functions", name, "status"] if name in self._functions:
                return _json({})
            case "POST", ["admin", "functions", name] if name in self._listeners:
                return await self._run(request, self._listeners[name])
            case _, ["runtime", "webhooks", kind]:
                return await self._webhook(request, kind)
        return Answer(404)

    async def _webhook(self, request: ConnectedRequest, kind: str) -> Answer:
        """A request of Event Grid to `/runtime/webhooks/KIND?functionName=NAME`."""
        name = request.rel_url.query.get("functionName", "").lower().removeprefix("host.functions.")
        listener = self._listeners.get(name)
        if not isinstance(listener, WebhookListener) or listener.webhook != kind:
            return Answer(404, _PLAIN, f"no function {name!r} listens here".encode())
        if request.content_length is not None and request.content_length > _EVENT_LIMIT:
            return Answer(413)
        given = read_request(request.method, request.headers, await request.content.read())
        if isinstance(given, Refusal):
            return Answer(400, _PLAIN, given.reason.encode())
        if isinstance(given, Handshake):
            body = b"" if given.body is None else json.dumps(given.body).encode()
            return Answer(200, [*given.headers, *(_JSON if body else [])], body)
        return Answer(202 if await listener.deliver(given.events) else 500)

    def _status(self) -> dict[str, Any]:
        return {
            "id": f"local-{os.getpid()}",
            "state": "Running",
            "version": version("azure-functions"),
            "processUptime": int((time.monotonic() - self._started) * 1000),
            "runningInvocations": self._invoker.running,
        }

    def _description(self, function: Function) -> dict[str, Any]:
        bindings = [function.trigger, *function.outputs, *([function.returns] if function.returns else [])]
        return {
            "name": function.name,
            "config": {"bindings": [dict(each.binding) for each in bindings]},
            "isDisabled": function.name in self._disabled,
            "language": "python",
            "href": f"{self.base_url.rsplit('/', 1)[0]}/admin/functions/{function.name}",
        }

    async def _run(self, request: ConnectedRequest, listener: Listener) -> Answer:
        """Start a function by hand; like the platform, answer before it has run."""
        if (request.content_length or 0) > _INPUT_LIMIT:
            return Answer(413)
        text = (await request.content.read()).decode("utf-8", "replace")
        try:
            given = json.loads(text) if text.strip() else {}
        except ValueError:
            return Answer(400, body=b'the body must be JSON like {"input": "..."}')
        value = given.get("input", "") if isinstance(given, dict) else ""
        task = asyncio.create_task(self._invoke(listener, value if isinstance(value, str) else json.dumps(value)))
        self._manual.add(task)
        task.add_done_callback(self._manual.discard)
        return Answer(202)

    @staticmethod
    async def _invoke(listener: Listener, text: str) -> None:
        try:
            await listener.run_manually(text)
        except InvocationFailed:
            return  # the invoker has logged it


def _json(content: Any) -> Answer:
    return Answer(200, _JSON, json.dumps(content).encode())
