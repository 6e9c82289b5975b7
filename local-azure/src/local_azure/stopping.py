"""How a service's process learns that it is to end."""

from __future__ import annotations

import asyncio
import signal

__all__ = ["stop_on_signals", "stopped_or_failed"]


def stop_on_signals(stopped: asyncio.Event) -> None:
    """Set `stopped` on SIGTERM or SIGINT; to be called in the main thread, with the loop running."""
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(name, stopped.set)
        except NotImplementedError:  # Windows: signal handlers run in the main thread instead
            signal.signal(name, lambda *_: loop.call_soon_threadsafe(stopped.set))


async def stopped_or_failed(stopped: asyncio.Event, failed: asyncio.Future[None]) -> None:
    """Wait until a service is to end; raise what it failed with, if that comes first."""
    stopping = asyncio.ensure_future(stopped.wait())
    await asyncio.wait((stopping, failed), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if failed.done():
        failed.result()
