"""What the simulated carriers say of the orders' parcels: labels, calls, and webhooks that they have still to send."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from local.demo.target import Target

__all__ = ["Parcels", "read_parcels"]

_KEPT = {"express": ("labels", "reference"), "post": ("consignments", "id")}
"""Carrier → the collection that holds its labels, and the field that names the order."""
_MAKES = ("POST", "PUT")


@dataclass(frozen=True)
class Parcels:
    """Labels by order, requests for one, and webhooks on their way; `expected` says that each order gets a label."""

    labels: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    pending: int = 0
    expected: bool = False

    def missing(self, orders: Collection[str]) -> set[str]:
        """The orders without a label, where each gets one."""
        return {one for one in orders if not self.labels[one]} if self.expected else set()

    def duplicates(self, orders: Collection[str]) -> int:
        """Labels of these orders beyond the first of each."""
        return sum(max(0, self.labels[one] - 1) for one in orders)


async def read_parcels(session: aiohttp.ClientSession, target: Target) -> Parcels:
    """Ask every carrier there is.

    Raises
    ------
    aiohttp.ClientError, TimeoutError
        One can't be asked.
    """
    known = [name for name in _KEPT if name in target.partners]
    found = await asyncio.gather(*(_read(session, target.partners[name], *_KEPT[name]) for name in known))
    labels: Counter[str] = Counter()
    for one in found:
        labels.update(one.labels)
    return Parcels(labels, sum(one.calls for one in found), sum(one.pending for one in found), bool(target.carrier))


async def _read(session: aiohttp.ClientSession, url: str, collection: str, reference: str) -> Parcels:
    made: Mapping[str, list[dict[str, Any]]] = await _json(session, f"{url}/-/made")
    told = await _json(session, f"{url}/-/webhooks")
    calls = await _json(session, f"{url}/-/calls")
    asked = sum(one["method"] in _MAKES and one["path"].startswith(f"/{collection}") for one in calls)
    return Parcels(Counter(str(one[reference]) for one in made.get(collection, [])), asked, told["pending"])


async def _json(session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url) as answer:
        answer.raise_for_status()
        return await answer.json()
