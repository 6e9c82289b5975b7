"""Wraps data keys anew once their wrapping key has a new version, so that the old one can be given up.

A pass is safe to repeat and to break off: each row is replaced only as it was read, and both forms hold the same key.
"""

import asyncio
import logging
from dataclasses import dataclass, replace

from shared.telemetry import log_event

from .errors import KeysUnavailable, ProtectionError
from .key_rows import KeyRow, KeyTable, columns_of, infrastructure, wrapped_of
from .wrapping import KeyWrapper

__all__ = ["Rewrapped", "Rewrapping"]

_AT_ONCE = 4
_SECONDS_EACH = 20.0


@dataclass(slots=True)
class Rewrapped:
    """What a pass did.

    Attributes
    ----------
    lost:
        Keys that can't be unwrapped; they are left as they are.
    failure:
        Why some weren't done.
    """

    seen: int = 0
    changed: int = 0
    lost: int = 0
    failure: KeysUnavailable | None = None


class Rewrapping:
    """Passes over the rows of wrapped keys."""

    def __init__(self, rows: KeyTable, wrapper: KeyWrapper) -> None:
        self._rows = rows
        self._wrapper = wrapper

    async def run(self) -> Rewrapped:
        """Wrap anew what isn't wrapped by the current version.

        Raises
        ------
        KeysUnavailable
            Some rows may be done; the next pass goes on with the others.
        """
        done = Rewrapped()
        slots = asyncio.Semaphore(_AT_ONCE)
        async with infrastructure("the wrapping key can't be asked now", _SECONDS_EACH):
            version = await self._wrapper.version()
        async with asyncio.TaskGroup() as tasks:
            async for row in self._rows.every():
                done.seen += 1
                wrapped = wrapped_of(row)
                if wrapped is not None and wrapped.version != version:
                    await slots.acquire()
                    tasks.create_task(self._one(row, done, slots))
        if done.changed or done.lost:
            log_event("data keys wrapped anew", seen=done.seen, changed=done.changed, lost=done.lost)
        if done.failure is not None:
            raise done.failure
        return done

    async def _one(self, row: KeyRow, done: Rewrapped, slots: asyncio.Semaphore) -> None:
        wrapped = wrapped_of(row)
        if wrapped is None:
            return
        try:
            async with infrastructure("a data key can't be wrapped anew now", _SECONDS_EACH):
                secret = await self._wrapper.unwrap(wrapped)
                new = await self._wrapper.wrap(secret)
                changed = replace(row, columns={**row.columns, **columns_of(new)})
                replaced = await self._rows.replace(changed)
            done.changed += replaced
        except ProtectionError as error:
            done.lost += 1
            log_event("data key lost", level=logging.ERROR, keyId=str(row.columns["keyId"]), error=error)
        except KeysUnavailable as error:  # the other rows may fare better
            done.failure = error
        finally:
            slots.release()
