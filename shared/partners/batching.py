"""Batch calls: what the messages of one trigger batch want of a partner is asked together, and answered one by one.

Handlers of a batch run side by side. The first item waits for others for a moment; then all that came go together,
and each handler gets the outcome of its own.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel

from .errors import InvalidAnswer
from .paths import endpoint_of

__all__ = ["BatchCall", "BatchItem", "Batches"]

In = TypeVar("In", bound=BaseModel)
Out = TypeVar("Out")
_MOST = 1_000


class BatchItem(NamedTuple, Generic[In]):
    """One message's part.

    Attributes
    ----------
    key:
        The same whenever the message runs again, whatever else is in its batch then: send it with the item, so that a
        partner that knows keys does each item once.
    """

    key: str
    value: In


@dataclass(frozen=True, eq=False)
class BatchCall(Generic[In, Out]):
    """A request for many items; declare it in the partner's module.

    Parameters
    ----------
    path:
        Where it is posted to.
    write:
        From the items to the request's body.
    answer:
        The model of the answer.
    read:
        From the answer to the outcomes, in the order of the items; an exception among them is raised for its item.
    most:
        Items of a request.
    wait:
        Seconds that the first item waits for others.
    """

    path: str
    _: KW_ONLY
    write: Callable[[Sequence[BatchItem[In]]], BaseModel]
    answer: type[BaseModel]
    read: Callable[[Any], Sequence[Out | Exception]]
    most: int = 100
    wait: float = 0.01

    def __post_init__(self) -> None:
        if isinstance(self.most, bool) or not 1 <= self.most <= _MOST or not 0 <= self.wait <= 1:
            raise ValueError(f"BatchCall({self.path}): most is 1 to {_MOST}, wait at most a second")


class _Pending(NamedTuple):
    items: list[BatchItem[Any]]
    futures: list[asyncio.Future[Any]]


Send = Callable[[BatchCall[Any, Any], Sequence[BatchItem[Any]]], Any]
"""Makes one request, for the message whose item was the first."""


class Batches:
    """The items of one partner that wait for others."""

    def __init__(self, partner: str) -> None:
        self._partner = partner
        self._pending: dict[BatchCall[Any, Any], _Pending] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def add(self, call: BatchCall[In, Out], item: BatchItem[In], send: Send) -> Out:
        """The outcome of an item.

        Raises
        ------
        PartnerError, PartnerUnavailable
            The request's, for all of its items; or what `read` makes of this one.
        """
        pending = self._pending.get(call)
        if pending is None:
            pending = self._pending[call] = _Pending([], [])
            task = asyncio.create_task(self._after_a_while(call, pending, send), name=f"batch call {call.path}")
            self._sending.add(task)
            task.add_done_callback(partial(self._ended, call, pending))
        future: asyncio.Future[Out] = asyncio.get_running_loop().create_future()
        pending.items.append(item)
        pending.futures.append(future)
        if len(pending.items) >= call.most:  # those that come now are for the next request
            del self._pending[call]
        return await future

    async def _after_a_while(self, call: BatchCall[Any, Any], pending: _Pending, send: Send) -> None:
        await asyncio.sleep(call.wait)
        if self._pending.get(call) is pending:
            del self._pending[call]
        waiting = [(one, future) for one, future in zip(*pending, strict=True) if not future.done()]
        if not waiting:  # everybody's time was over
            return
        try:
            answer = await send(call, [one for one, _ in waiting])
            outcomes = list(call.read(answer))
            if len(outcomes) != len(waiting):
                reason = f"answered {len(waiting)} items with {len(outcomes)} outcomes"
                raise InvalidAnswer(self._partner, endpoint_of(call.path), reason)
        except Exception as error:
            outcomes = [error] * len(waiting)
        for (_, future), outcome in zip(waiting, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _ended(self, call: BatchCall[Any, Any], pending: _Pending, task: asyncio.Task[None]) -> None:
        """Nobody waits for a request that was stopped, be it before it began."""
        self._sending.discard(task)
        if self._pending.get(call) is pending:
            del self._pending[call]
        for future in pending.futures:
            future.cancel()

    async def close(self) -> None:
        """Stop what is in progress."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
