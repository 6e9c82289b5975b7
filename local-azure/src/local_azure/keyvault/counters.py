"""Counts what was asked of the vault, so that a test can say how often a client really read."""

from __future__ import annotations

from collections import Counter
from typing import Any

__all__ = ["Counters"]


class Counters:
    """Requests by operation and outcome, and by item; challenges are counted as status 401."""

    def __init__(self) -> None:
        self._statuses: Counter[tuple[str, str]] = Counter()
        self._items: Counter[tuple[str, str]] = Counter()

    def count(self, operation: str, item: str, outcome: str) -> None:
        """One request; `outcome` is a status or the name of a fault. Requests without a token are no reads."""
        self._statuses[operation, outcome] += 1
        if item and outcome != "401":
            self._items[operation, item] += 1

    def clear(self) -> None:
        """Begin at zero."""
        self._statuses.clear()
        self._items.clear()

    def snapshot(self) -> dict[str, Any]:
        """`{"operations": {OPERATION: {OUTCOME: N}}, "items": {OPERATION: {NAME: N}}}`."""
        found: dict[str, dict[str, dict[str, int]]] = {"operations": {}, "items": {}}
        for part, counter in (("operations", self._statuses), ("items", self._items)):
            for (operation, name), number in sorted(counter.items()):
                found[part].setdefault(operation, {})[name] = number
        return found
