"""In which order Resource Manager creates what a template deploys, and what it may create side by side.

A module is a deployment of its own: who waits for it waits for everything in it. A resource whose condition doesn't
hold is no link of a chain: Resource Manager takes it out of the dependencies of the others, so that what was waiting
for it waits for nothing instead (Microsoft's document on the order of resources).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from local.bicep import Deployment, Module, Resource

__all__ = ["Order", "order_of"]


@dataclass(frozen=True)
class Order:
    """The resources in an order in which they may be created; each with what is there before it is begun.

    `before[n]` has a bit for each resource that is surely there before the resource `n`; `waves[n]` is the length of
    the longest chain that leads to it, from 1.
    """

    resources: tuple[Resource, ...]
    before: tuple[int, ...]
    waves: tuple[int, ...]

    @cached_property
    def numbers(self) -> Mapping[int, int]:
        """`id()` of a resource → its place in the order."""
        return {id(one): number for number, one in enumerate(self.resources)}

    def waits(self, later: int, earlier: int) -> bool:
        """Whether one is created only when the other is there."""
        return bool(self.before[later] >> earlier & 1)

    def together(self, one: int, other: int) -> bool:
        """Whether two may be created at the same time."""
        return one != other and not self.waits(one, other) and not self.waits(other, one)


def order_of(deployment: Deployment, first: Sequence[Resource] = ()) -> Order:
    """The order that dependencies, written and implied, leave open; what comes `first` waits for nothing: wave 0."""
    walk = _Walk()
    walk.deployment(deployment, 0)
    ranked = sorted(range(len(walk.resources)), key=lambda number: walk.waves[number])
    place = {number: at for at, number in enumerate(ranked)}

    def moved(mask: int) -> int:
        return sum(1 << place[number] for number in _bits(mask))

    shift = len(first)
    return Order(
        (*first, *(walk.resources[number] for number in ranked)),
        (*[0] * shift, *(moved(walk.before[number]) << shift for number in ranked)),
        (*[0] * shift, *(walk.waves[number] for number in ranked)),
    )


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


class _Walk:
    def __init__(self) -> None:
        self.resources: list[Resource] = []
        self.before: list[int] = []
        self.waves: list[int] = []

    def deployment(self, deployment: Deployment, entry: int) -> int:
        """Place a file's resources; return the bits of all that is there when it is done."""
        items: dict[str, Resource | Module] = {one.symbol: one for one in deployment.own_resources}
        items |= {one.symbol.rpartition("/")[2]: one for one in deployment.modules}
        rounds: dict[str, list[str]] = {}
        for symbol in items:
            rounds.setdefault(symbol.partition("[")[0], []).append(symbol)
        done: dict[str, int] = {}

        def until(symbol: str) -> int:
            if symbol not in items:  # a whole loop, or what isn't deployed
                mask = 0
                for one in rounds.get(symbol, []) if "[" not in symbol else []:
                    mask |= until(one)
                return mask
            if symbol not in done:
                done[symbol] = 0  # a circle is the compiler's to refuse
                item = items[symbol]
                mask = entry
                for one in item.needs:
                    mask |= until(one)
                if isinstance(item, Module):
                    done[symbol] = self.deployment(item.deployment, mask)
                elif item.existing:
                    done[symbol] = mask
                else:
                    done[symbol] = mask | self._place(item, mask)
            return done[symbol]

        whole = entry
        for symbol in items:
            whole |= until(symbol)
        return whole

    def _place(self, resource: Resource, before: int) -> int:
        number = len(self.resources)
        self.resources.append(resource)
        self.before.append(before)
        self.waves.append(1 + max((self.waves[one] for one in _bits(before)), default=0))
        return 1 << number
