"""Makes each part of the app once, when it is first asked for, and closes what was made."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, TypeVar, cast

from shared.messages import Registry
from shared.settings import Settings

__all__ = ["Composition"]

T = TypeVar("T")


class Closes(Protocol):
    """A part that has something open."""

    async def close(self) -> object:
        """Let go of it."""
        ...


Part = TypeVar("Part", bound=Closes)
_NOW = partial(datetime.now, UTC)


class Composition:
    """The parts of one app. A part is named by the function that makes it.

    Parameters
    ----------
    parts:
        Parts to use instead of making them, by the function that would: how tests put memory in place of a store.
        They are closed by whoever made them.

    Example
    -------
    >>> def greeting(composition: Composition) -> str:
    ...     return f"hello from {composition.settings.event_source}"
    >>> Composition(cast(Settings, None), Registry([]), parts={greeting: "hello"}).get(greeting)
    'hello'
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        *,
        parts: Mapping[Any, Any] | None = None,
        now: Callable[[], datetime] = _NOW,
    ) -> None:
        self.settings = settings
        self.registry = registry
        self.now = now
        self._made: dict[Callable[[Composition], Any], Any] = dict(parts or {})
        self._closing = AsyncExitStack()

    def get(self, make: Callable[["Composition"], T]) -> T:
        """The part that a function makes: made by the first who asks."""
        if make not in self._made:
            self._made[make] = make(self)
        return cast(T, self._made[make])

    def closing(self, made: Part) -> Part:
        """The same, closed with the app."""
        self.on_close(made.close)
        return made

    def on_close(self, close: Callable[[], Awaitable[object]]) -> None:
        """Have something closed with the app: what was made last first, and whatever another's closing raises."""
        self._closing.push_async_callback(close)

    async def close(self) -> None:
        """Close what was made; production's worker never calls this, tests, benchmarks and command lines do."""
        await self._closing.aclose()
