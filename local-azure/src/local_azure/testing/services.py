"""A loop in a thread of its own: what runs there goes on while a test blocks its own thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Final, TypeVar

__all__ = ["Services"]

T = TypeVar("T")

_SECONDS: Final = 60.0
"""How long anything may take; it is milliseconds, but for keys and certificates on a busy machine."""


class Services:
    """Runs services beside a test; `close` ends them all, the last started first."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="local-azure", daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()

    def start(self, service: AbstractAsyncContextManager[T]) -> T:
        """Start a service, and give what it gives once it listens."""
        return self.run(self._stack.enter_async_context(service))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Have the services' loop do something, and give its result. Not to be called in that loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_SECONDS)

    def close(self) -> None:
        """End what was started, and the thread."""
        try:
            self.run(self._stack.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_SECONDS)
            self._loop.close()
