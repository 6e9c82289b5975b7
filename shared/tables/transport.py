"""The HTTP connections of tables, measured; loaded with the first table, since aiohttp is."""

import time
from types import SimpleNamespace
from typing import Any

from aiohttp import ClientSession, TraceConfig
from azure.core.pipeline.transport import AioHttpTransport

from shared.telemetry import Metrics, watch_connections

__all__ = ["MeasuredTransport"]


class MeasuredTransport(AioHttpTransport):  # type: ignore[misc]  # the SDK loads it by name
    """Measures how long a request waits for a connection, and how many there are, where metrics are on.

    Parameters
    ----------
    host:
        The account's, for the count.
    """

    def __init__(self, host: str, **options: Any) -> None:
        super().__init__(**options)
        self._host = host

    async def open(self) -> None:
        """See the SDK's."""
        is_new = self.session is None
        await super().open()
        if is_new and self.session is not None and Metrics.connection_wait.is_on:
            self.session.trace_configs.append(_trace())
            watch_connections(self.session.connector, self._host)


def _trace() -> TraceConfig:
    async def began(_: ClientSession, context: SimpleNamespace, __: Any) -> None:
        context.began = time.perf_counter()

    async def made(_: ClientSession, context: SimpleNamespace, __: Any) -> None:
        Metrics.connection_wait.record(time.perf_counter() - context.began, connection="new")

    async def reused(_: ClientSession, context: SimpleNamespace, __: Any) -> None:
        Metrics.connection_wait.record(time.perf_counter() - context.began, connection="reused")

    trace = TraceConfig()
    trace.on_request_start.append(began)
    trace.on_connection_create_end.append(made)
    trace.on_connection_reuseconn.append(reused)
    trace.freeze()
    return trace
