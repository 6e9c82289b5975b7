"""Single-flight: one call at a time for each key; whoever asks meanwhile gets the answer of the call in progress."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["SingleFlight"]

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Calls in progress, by key; nothing is remembered of one that has ended, least of all a failure."""

    def __init__(self) -> None:
        self._calls: dict[Hashable, asyncio.Future[T]] = {}

    def in_progress(self, key: Hashable) -> bool:
        """Whether a call for the key is in progress."""
        return key in self._calls

    async def call(self, key: Hashable, function: Callable[[], Awaitable[T]]) -> T:
        """The answer of the call in progress, or of `function`; its error is everybody's error.

        The first caller makes the call itself; one that is cancelled leaves it to the next of those who wait.
        """
        while (waiting := self._calls.get(key)) is not None:
            try:
                return await asyncio.shield(waiting)
            except asyncio.CancelledError:
                if not waiting.cancelled():  # it is we who are cancelled
                    raise
        future = self._calls[key] = asyncio.get_running_loop().create_future()
        try:
            answer = await function()
        except Exception as error:
            future.set_exception(error)
            future.exception()  # nobody may have joined; that is no forgotten error
            raise
        except BaseException:
            future.cancel()  # those who joined start one of their own
            raise
        else:
            future.set_result(answer)
            return answer
        finally:
            del self._calls[key]
