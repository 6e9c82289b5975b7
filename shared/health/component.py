"""What is known of one dependency, and what many of them amount to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Component", "Status", "overall"]


class Status(StrEnum):
    """How something is, from best to worst."""

    HEALTHY = "Healthy"
    DEGRADED = "Degraded"
    UNHEALTHY = "Unhealthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One dependency, or one thing that is measured.

    Attributes
    ----------
    description:
        For operators: one or two sentences, without addresses and secrets.
    data:
        For operators: figures with their units, as JSON.
    weight:
        The share of the instance's work that fails while this is unhealthy, from 0 to 1.
    """

    name: str
    status: Status
    description: str
    data: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 1.0


def overall(components: Iterable[Component]) -> Status:
    """Unhealthy where what is unhealthy weighs 1 together; degraded where anything isn't healthy.

    Example
    -------
    >>> away = Component(name="vault", status=Status.UNHEALTHY, description="", weight=0.5)
    >>> overall([away]).value, overall([away, away]).value
    ('Degraded', 'Unhealthy')
    """
    found = list(components)
    if sum(one.weight for one in found if one.status is Status.UNHEALTHY) >= 1:
        return Status.UNHEALTHY
    return Status.HEALTHY if all(one.status is Status.HEALTHY for one in found) else Status.DEGRADED
