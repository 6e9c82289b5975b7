"""The host's own endpoints: /admin/host/status, /admin/functions, and the Event Grid webhook."""

import asyncio
import json
import os
import time
from collections.abc import Sequence
from typing import Any

from local_azure.host.eventgrid.webhook import Handshake, Refusal, read_request
from local_azure.host.functions import Function
from local_azure.host.http.classic import Answer
from local_azure.host.http.exchange import ConnectedRequest
from local_azure.host.http.server import route_of
from local_azure.host.invocation import InvocationFailed, Invoker
from local_azure.host.keys import Keys, key_of
from local_azure.host.listener import Listener, WebhookListener
from local_azure.host.logs import HOST_LOGGER
from local_azure.host.retrying import Interrupted
from local_azure.host.trigger_data.net_json import json_text

__all__ = ["HOST_VERSION", "PlatformEndpoints"]

# Of the host whose behaviour was recorded.
HOST_VERSION = "4.1037.0"

_JSON = [("Content-Type", "application/json; charset=utf-8")]
_PLAIN = [("Content-Type", "text/plain; charset=utf-8")]
_INPUT_LIMIT = 1_048_576
# Event Grid's documented limit for one batch of events, with room for its envelope.
_EVENT_LIMIT = 2 * 1_048_576


class PlatformEndpoints:
    """Answers `/admin/...` and `/runtime/...`; without keys none is asked for, as in Core Tools."""

    def __init__(
        self,
        functions: Sequence[Function],
        listeners: Sequence[Listener],
        invoker: Invoker,
        *,
        disabled: frozenset[str],
        keys: Keys | None = None,
    ) -> None:
        self._functions = {function.name.lower(): function for function in functions}
        self._listeners = {listener.name.lower(): listener for listener in listeners}
        self._webhooks = {
            (each.webhook, each.webhook_name): each for each in listeners if isinstance(each, WebhookListener)
        }
        self._invoker = invoker
        self._disabled = disabled
        self._keys = keys
        self._started = time.monotonic()
        self._manual: set[asyncio.Task[None]] = set()
        self.base_url = ""
        self.route_prefix = ""

    async def __call__(self, request: ConnectedRequest, path: str) -> Answer:
        """The answer for a path below /admin or /runtime."""
        parts = path.strip("/").lower().split("/")
        given = key_of(request)
        match request.method, parts:
            case "GET" | "POST", ["admin", "host", "ping"]:
                return Answer(200, [("Cache-Control", "no-store,no-cache"), ("Pragma", "no-cache")])
            case _, ["runtime", "webhooks", kind]:
                if self._keys is not None and not self._keys.opens_webhook(kind, given):
                    return Answer(401)
                return await self._webhook(request, kind)
            case _, ["admin", *_] if self._keys is not None and not self._keys.opens_admin(given):
                return Answer(401)
            case "GET", ["admin", "host", "status"]:
                return _json(self._status())
            case "GET", ["admin", "functions"]:
                return _json([self._description(each) for each in self._functions.values()])
            case "GET", ["admin", "functions", name] if name in self._functions:
                return _json(self._description(self._functions[name]))
            case "GET", ["admin", "functions", name, "status"] if name in self._functions:
                return _json({})
            case "POST", ["admin", "functions", name]:
                return await self._run(request, name)
        return Answer(404)

    async def _webhook(self, request: ConnectedRequest, kind: str) -> Answer:
        """A request of Event Grid to `/runtime/webhooks/KIND?functionName=NAME`; the name's case counts."""
        if kind not in {webhook for webhook, _ in self._webhooks}:
            return Answer(404)
        name = request.rel_url.query.get("functionName", "")
        listener = self._webhooks.get((kind, name))
        if listener is None:
            return Answer(404, _PLAIN, f"cannot find function: '{name}'".encode())
        if request.content_length is not None and request.content_length > _EVENT_LIMIT:
            return Answer(413)
        body = (await request.content.read()).decode("utf-8", "replace")
        given = read_request(request.method, request.headers, body)
        if isinstance(given, Refusal):
            return Answer(given.status)
        if isinstance(given, Handshake):
            return Answer(200, [*given.headers, *(_PLAIN if given.body else [])], given.body.encode())
        if await listener.deliver(given.events):
            return Answer(202)
        return Answer(500, _PLAIN, f"Exception while executing function: Functions.{listener.function.name}".encode())

    def _status(self) -> dict[str, Any]:
        return {
            "id": f"local-{os.getpid()}",
            "state": "Running",
            "version": f"{HOST_VERSION}.0",
            "versionDetails": HOST_VERSION,
            "platformVersion": "",
            "instanceId": "",
            "computerName": "",
            "processUptime": int((time.monotonic() - self._started) * 1000),
            "functionAppContentEditingState": "Unknown",
        }

    def _description(self, function: Function) -> dict[str, Any]:
        bindings = [function.trigger, *function.outputs, *([function.returns] if function.returns else [])]
        is_http = function.trigger_type == "httpTrigger"
        url = f"{self.base_url}/admin"
        return {
            "name": function.name,
            "script_root_path_href": None,
            "script_href": f"{url}/vfs/home/site/wwwroot/function_app.py",
            "config_href": None,
            "test_data_href": f"{url}/vfs/home/data/Functions/sampledata/{function.name}.dat",
            "href": f"{url}/functions/{function.name}",
            "invoke_url_template": f"{self.base_url}/{route_of(function, self.route_prefix)}" if is_http else None,
            "language": "python",
            "config": {
                "name": function.name,
                "entryPoint": function.call.__name__,
                "scriptFile": "function_app.py",
                "language": "python",
                "bindings": [dict(each.binding) for each in bindings],
            },
            "isDisabled": function.name in self._disabled,
        }

    async def _run(self, request: ConnectedRequest, name: str) -> Answer:
        """Start a function by hand; like the platform, answer before it has run."""
        if request.content_type != "application/json" and not request.content_type.endswith("+json"):
            return Answer(415)
        if (request.content_length or 0) > _INPUT_LIMIT:
            return Answer(413)
        try:
            given = json.loads(await request.content.read())
            text = given.get("input")
        except (ValueError, AttributeError, RecursionError):
            return Answer(400)
        if name not in self._functions:
            return Answer(404)
        if name in self._listeners and (text is None or isinstance(text, str)):
            task = asyncio.create_task(self._invoke(self._listeners[name], text or ""))
            self._manual.add(task)
            task.add_done_callback(self._manual.discard)
        elif name not in self._listeners:
            HOST_LOGGER.error("Function '%s' cannot be started by hand: it needs an HTTP request", name)
        else:
            return Answer(400)
        return Answer(202)

    @staticmethod
    async def _invoke(listener: Listener, text: str) -> None:
        try:
            await listener.run_manually(text)
        except (InvocationFailed, Interrupted):
            return  # the invoker has logged it
        except Exception as error:  # nobody waits for it
            HOST_LOGGER.error("Function '%s' could not be started by hand: %s", listener.name, error)


def _json(content: Any) -> Answer:
    return Answer(200, _JSON, json_text(content).encode())
