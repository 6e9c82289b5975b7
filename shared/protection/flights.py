"""One call at a time for each name: whoever asks meanwhile gets the answer of the call that is on its way."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["Flights"]

T = TypeVar("T")


class Flights(Generic[T]):
    """Calls on their way, by name; nothing is remembered of one that has ended."""

    def __init__(self) -> None:
        self._flying: dict[str, asyncio.Future[T]] = {}

    def flying(self, name: str) -> bool:
        """A call is on its way."""
        return name in self._flying

    async def join(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        """The answer of the call that is on its way, or of `call`; its error is everybody's error."""
        while (flight := self._flying.get(name)) is not None:
            try:
                return await asyncio.shield(flight)
            except asyncio.CancelledError:
                if not flight.cancelled():  # it is we who are cancelled
                    raise
        flight = self._flying[name] = asyncio.get_running_loop().create_future()
        try:
            answer = await call()
        except Exception as error:
            flight.set_exception(error)
            flight.exception()  # nobody may have joined; that is no forgotten error
            raise
        except BaseException:
            flight.cancel()  # those who joined start one of their own
            raise
        else:
            flight.set_result(answer)
            return answer
        finally:
            del self._flying[name]
