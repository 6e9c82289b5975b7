"""Faults on purpose: what goes wrong with the next requests, how often, and with which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final

__all__ = ["Fault", "FaultKind", "Faults"]

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
