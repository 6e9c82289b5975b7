"""Where a running stack is: what the demonstration needs to know of it, and no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Target"]


@dataclass(frozen=True)
class Target:
    """Addresses of a stack: its functions hosts, its stores, its brokers, and the logs of its hosts.

    `token` is the bearer token of somebody who may send.
    """

    urls: tuple[str, ...]
    token: str = field(repr=False)
    storage: str
    broker: str
    status_url: str
    logs: tuple[Path, ...]
    event_hub: str = "events"
