"""What befalls requests beside an answer: they are counted, limited, and on purpose made to fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final

from local_azure.keyvault.errors import VaultError

__all__ = ["Counters", "Fault", "FaultKind", "Faults", "Throttle", "throttled"]


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


_WINDOW_SECONDS: Final = 10.0


class Throttle:
    """Counts requests in windows of ten seconds, as the service's limits are stated; `now` counts seconds."""

    def __init__(self, limit: int, now: Callable[[], float]) -> None:
        if limit < 1:
            raise ValueError(f"The limit must be at least 1, not {limit}.")
        self._limit = limit
        self._now = now
        self._began = now()
        self._count = 0

    def take(self) -> None:
        """Count one request.

        Raises
        ------
        VaultError
            429 with `Retry-After`, in whole seconds, if there were too many.
        """
        now = self._now()
        if now - self._began >= _WINDOW_SECONDS:
            self._began, self._count = now, 0
        self._count += 1
        if self._count > self._limit:
            raise throttled(max(1, round(self._began + _WINDOW_SECONDS - now)))


def throttled(retry_after: int) -> VaultError:
    """The service's answer to too many requests."""
    message = "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"
    return VaultError(429, "Throttled", message, headers=(("Retry-After", str(retry_after)),))


_LONGEST_SECONDS: Final = 600.0


class FaultKind(StrEnum):
    """What goes wrong."""

    THROTTLE = "throttle"
    ERROR = "error"
    HANG = "hang"
    MALFORMED = "malformed"
    LATENCY = "latency"


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    Attributes
    ----------
    status
        Of an `error`.
    seconds
        How long a `hang` is silent before the connection breaks, a `latency` lasts, or `Retry-After` says.
    requests
        How many requests it strikes; None is no end.
    share
        How many of the requests it could strike it does, from 0 to 1.
    operation
        Only this one, such as `secrets/get`; empty is all.
    item
        Only the item of this name; empty is all.
    """

    kind: FaultKind
    status: int = 503
    seconds: float = 1.0
    requests: int | None = None
    share: float = 1.0
    operation: str = ""
    item: str = ""

    def __post_init__(self) -> None:
        if not 500 <= self.status <= 599:
            raise ValueError(f"status must be from 500 to 599, not {self.status}.")
        if not 0 <= self.seconds <= _LONGEST_SECONDS:
            raise ValueError(f"seconds must be from 0 to {_LONGEST_SECONDS:.0f}, not {self.seconds}.")
        if self.requests is not None and self.requests < 1:
            raise ValueError(f"requests must be at least 1, not {self.requests}.")
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be from 0 to 1, not {self.share}.")

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Fault:
        """The fault that an object describes.

        Raises
        ------
        ValueError
            If it does not.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(content) - known):
            raise ValueError(f"{unknown[0]} is unknown: use {', '.join(sorted(known))}.")
        types: dict[str, type | tuple[type, ...]] = {
            "status": int,
            "seconds": (int, float),
            "requests": (int, type(None)),
            "share": (int, float),
            "operation": str,
            "item": str,
        }
        for name, value in content.items():
            if name != "kind" and (isinstance(value, bool) or not isinstance(value, types[name])):
                raise ValueError(f"{name} has the wrong type.")
        return cls(**{**content, "kind": FaultKind(content.get("kind", ""))})


class Faults:
    """The faults in force, tried in the order in which they came; `random` gives numbers from 0 to 1."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._left: list[tuple[Fault, int | None]] = []

    def add(self, fault: Fault) -> None:
        """Have it strike from the next request on."""
        self._left.append((fault, fault.requests))

    def clear(self) -> None:
        """Have nothing go wrong any more."""
        self._left.clear()

    def strike(self, operation: str, item: str) -> Fault | None:
        """The fault of the next request, or None."""
        for index, (fault, left) in enumerate(self._left):
            if fault.operation not in ("", operation) or fault.item.lower() not in ("", item.lower()):
                continue
            if fault.share < 1 and self._random() >= fault.share:
                continue
            if left == 1:
                del self._left[index]
            elif left is not None:
                self._left[index] = (fault, left - 1)
            return fault
        return None
