"""What tests of queues do with a driver."""

from __future__ import annotations

import time
from typing import Any

from foreign.driver import Driver

__all__ = ["PATIENCE", "bodies", "dead_letters", "numbered", "one", "receive"]

PATIENCE = 10_000
"""Milliseconds for what has to come; on a busy machine it takes its time."""


def bodies(messages: list[dict[str, Any]]) -> list[str]:
    return [each["body"] for each in messages]


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"id": f"m{number}", "body": f"body {number}"} for number in range(count)]


def receive(client: Driver, handle: str, count: int, wait: int = PATIENCE) -> list[dict[str, Any]]:
    """`count` messages, in as many calls as it takes."""
    found: list[dict[str, Any]] = []
    end = time.monotonic() + wait / 1_000
    while len(found) < count and time.monotonic() < end:
        found += client.call("receive", handle=handle, max=count - len(found), wait=wait)
    return found


def one(client: Driver, handle: str) -> dict[str, Any]:
    """The next message."""
    found = receive(client, handle, 1)
    assert len(found) == 1
    return found[0]


def dead_letters(client: Driver, **entity: str) -> list[dict[str, Any]]:
    """What is in the dead-letter sub-queue, by a receiver of its own; nothing is removed."""
    client.call("open", handle="dead", dead_letters=True, **entity)
    found = receive(client, "dead", 1)
    client.call("close", handle="dead")
    return found
