"""Where a running stack is: what the demonstration needs to know of it, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Target"]


@dataclass(frozen=True)
class Target:
    """Addresses of a stack: its functions hosts, its stores, its brokers, its partners, and the logs of its hosts.

    `token` is of somebody who may send and read; `carrier` ships the orders, and is empty where nobody does. `settings`
    is the file by which operators' commands find the stack; the lake is read by one.
    """

    urls: tuple[str, ...]
    token: str = field(repr=False)
    storage: str
    broker: str
    status_url: str
    logs: tuple[Path, ...]
    partners: Mapping[str, str] = field(default_factory=dict)
    carrier: str = ""
    event_hub: str = "events"
    settings: Path | None = None
