"""One running host: indexes the app, starts its listeners and its HTTP front, and ends them in order."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from local_azure.host.admin import PlatformEndpoints
from local_azure.host.functions import Function
from local_azure.host.host_json import HostOptions, load_host_json
from local_azure.host.http.exchange import body_limit
from local_azure.host.http.server import HttpServer, http_methods, route_of
from local_azure.host.indexing import index_app, load_app
from local_azure.host.invocation import Invoker, is_traced, thread_count
from local_azure.host.keys import load_keys
from local_azure.host.listener import Listener, Services, make_listener, supervise
from local_azure.host.logs import HOST_LOGGER, capture_app_logs, keep_app_logs_single, say
from local_azure.host.settings import AppSettings, load_settings

__all__ = ["HostArguments", "function_table", "run_host"]

# Azure gives an instance that scales in about this long (the platform's drain mode).
_DRAIN_SECONDS = 30.0
# For listeners to settle and to close their links once nothing runs any more; they look up every second.
_SETTLE_SECONDS = 5.0
_FOR_EVER = timedelta(days=365)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostArguments:
    """What the command line says. `keys` is a file of function keys; None asks for none."""

    app: Path
    host: str
    port: int
    instance: str
    keys: Path | None = None
    hang_forged_ids: bool = False
    quiet_timers: bool = False
    json_log: bool = False


async def run_host(arguments: HostArguments, stop: asyncio.Event) -> None:
    """Run until `stop` is set; then let what runs end, within a bounded time.

    Raises
    ------
    HostError
        The app, a setting or the port keeps the host from starting.
    """
    settings = load_settings(arguments.app)
    options = load_host_json(arguments.app / "host.json", settings)
    invoker = Invoker(
        threads=thread_count(settings),
        timeout=options.function_timeout,
        traced=is_traced(settings),
        quiet_timers=arguments.quiet_timers,
    )
    capture_app_logs(as_json=arguments.json_log)
    functions, warnings = index_app(load_app(arguments.app, settings), settings)
    keep_app_logs_single()
    for warning in (*options.warnings, *warnings):
        HOST_LOGGER.warning(warning)
    disabled = _disabled(functions, options, settings)
    enabled = [function for function in functions if function.name not in disabled]
    services = Services(
        settings=settings, options=options, invoker=invoker, instance=arguments.instance, stopping=asyncio.Event()
    )
    listeners = [listener for function in enabled if (listener := make_listener(function, services)) is not None]
    keys = None if arguments.keys is None else load_keys(arguments.keys)
    platform = PlatformEndpoints(functions, listeners, invoker, disabled=disabled, keys=keys)
    http = [function for function in enabled if function.trigger_type == "httpTrigger"]
    server = HttpServer(
        http, invoker, options.http, platform, body_limit=body_limit(settings), keys=keys,
        hang_forged_ids=(options.function_timeout or _FOR_EVER) if arguments.hang_forged_ids else None,
    )  # fmt: skip
    port = await server.start(arguments.host, arguments.port)
    url = f"http://{'localhost' if arguments.host in ('127.0.0.1', '0.0.0.0', '::') else arguments.host}:{port}"  # noqa: S104
    platform.base_url, platform.route_prefix = url, options.http.route_prefix
    for line in function_table(functions, base_url=url, prefix=options.http.route_prefix, disabled=disabled):
        say(line)
    for line in keys.lines() if keys is not None else ():
        say(line)
    tasks = [asyncio.create_task(supervise(listener, services.stopping), name=listener.name) for listener in listeners]
    say(f"ready http={port}")
    try:
        await stop.wait()
    finally:
        await _end(server, services, tasks, listeners)


async def _end(
    server: HttpServer, services: Services, tasks: Sequence[asyncio.Task[None]], listeners: Sequence[Listener]
) -> None:
    """Stop taking work, wait for what has begun and its settlement, give up on the rest."""
    services.stopping.set()
    await server.stop_accepting()
    if not await services.invoker.wait_idle(_DRAIN_SECONDS):
        HOST_LOGGER.warning("%d invocations did not end within %.0f s", services.invoker.running, _DRAIN_SECONDS)
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=_SETTLE_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    for listener in listeners:
        with contextlib.suppress(Exception):
            await listener.close()
    await server.stop()
    services.invoker.close()


def _disabled(functions: Sequence[Function], options: HostOptions, settings: AppSettings) -> frozenset[str]:
    """Functions switched off by a setting, or left out by the `functions` list of host.json."""
    chosen = None if options.functions is None else {name.lower() for name in options.functions}
    return frozenset(
        each.name
        for each in functions
        if settings.flag(f"AzureWebJobs.{each.name}.Disabled")
        or settings.flag(f"AzureWebJobs_{each.name}_Disabled")
        or (chosen is not None and each.name.lower() not in chosen)
    )


def function_table(functions: Sequence[Function], *, base_url: str, prefix: str, disabled: frozenset[str]) -> list[str]:
    """As Core Tools print it: HTTP functions with methods and URLs first, then the others as `name: trigger type`."""
    http = [each for each in functions if each.trigger_type == "httpTrigger"]
    lines = ["Functions:", ""]
    for function in (*http, *(each for each in functions if each not in http)):
        what = _address(function, base_url, prefix) if function in http else function.trigger_type
        note = " (disabled)" if function.name in disabled else ""
        lines += [f"\t{function.name}{note}: {what}", ""]
    return lines


def _address(function: Function, base_url: str, prefix: str) -> str:
    methods = http_methods(function)
    shown = f"[{','.join(sorted(methods, key=_position))}] " if methods else ""
    return f"{shown}{base_url}/{route_of(function, prefix)}"


def _position(method: str) -> int:
    return _METHODS.index(method) if method in _METHODS else len(_METHODS)
