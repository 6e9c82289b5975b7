"""HTTP connections that are open, by host and state, counted whenever somebody reads the metrics."""

from collections import Counter
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from .metrics import Metrics

__all__ = ["watch_connections"]

_pools: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def watch_connections(connector: Any, host: str) -> None:
    """Count the connections of an aiohttp connector as those to a host, until it is closed.

    The names are those of OpenTelemetry's conventions for HTTP clients (`http.client.open_connections`).
    """
    _pools[connector] = host
    Metrics.open_connections.watch(_counted)


def _counted() -> Iterator[tuple[float, dict[str, str]]]:
    found: Counter[tuple[str, str]] = Counter()
    for connector, host in list(_pools.items()):
        if not connector.closed:
            # aiohttp has no public count of them.
            found[host, "active"] += len(connector._acquired)
            found[host, "idle"] += sum(map(len, connector._conns.values()))
    for (host, state), connections in found.items():
        yield connections, {"server.address": host, "http.connection.state": state}
