"""Where a running stack is: what the demonstration needs to know of it, and no more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Target"]


@dataclass(frozen=True)
class Target:
    """Addresses of a stack: its functions hosts, its stores, its brokers, and the logs of its hosts."""

    urls: tuple[str, ...]
    storage: str
    broker: str
    status_url: str
    logs: tuple[Path, ...]
    event_hub: str = "events"
