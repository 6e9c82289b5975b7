"""One way for every event about a secret, whichever trigger brings it."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from shared.resilience import BoundedCache
from shared.secrets import SecretCache
from shared.telemetry import log_event

from .events import BadEvent, EventKind, SecretEvent, read_event
from .rotator import Rotator

__all__ = ["SecretEvents"]

REMEMBERED = 2_000
LONGEST_BODY = 65_536


class SecretEvents:
    """Has a changed secret read anew, and one that is about to expire rotated.

    Attributes
    ----------
    counts:
        Events by what became of them.
    """

    def __init__(
        self, cache: SecretCache, rotator: Rotator, *, vaults: Collection[str], now: Callable[[], datetime]
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._cache = cache
        self._rotator = rotator
        self._vaults = frozenset(vaults)
        self._now = now
        self._seen: BoundedCache[tuple[str, str], bool] = BoundedCache(REMEMBERED)

    async def take_body(self, body: bytes) -> None:
        """An event, or an array of events, as Event Grid brings them to a queue.

        Raises
        ------
        ExceptionGroup
            Events are to come again.
        """
        content = _parsed(body)
        failures: list[Exception] = []
        for event in content if isinstance(content, list) else [content]:
            try:
                await self.take(event)
            except Exception as error:  # the others of the array are tried all the same
                failures.append(error)
        if failures:
            raise ExceptionGroup("secret events are to come again", failures)

    async def take(self, content: object) -> str:
        """Do what an event asks for; returns what became of it.

        One that is forged, repeated, late or out of order changes nothing and is counted.

        Raises
        ------
        RotationFailed
            The event is to come again.
        """
        try:
            event = read_event(content, vaults=self._vaults, now=self._now())
        except BadEvent as error:
            return self._count("refused", level=logging.WARNING, reason=str(error))
        if event is None:
            return self._count("about something else")
        seen = (event.id, event.version)
        if seen in self._seen:
            return self._count("repeated", secret=event.name)
        outcome = await self._act(event)
        self._seen.put(seen, True)
        return self._count(outcome, secret=event.name, version=event.version, kind=event.kind.value)

    async def _act(self, event: SecretEvent) -> str:
        if event.kind is EventKind.NEW_VERSION:
            return await self._refresh(event)
        because = f"{event.kind.value} {event.id}"
        outcome = await self._rotator.rotate(event.name, event.version, because=because)
        if event.kind is EventKind.EXPIRED and outcome == "not registered":
            return await self._refresh(event)
        return outcome

    async def _refresh(self, event: SecretEvent) -> str:
        known = self._cache.known_version(event.name)
        if known is not None and event.kind is EventKind.NEW_VERSION:
            if known.version == event.version:
                return "known before"
            if event.time < known.created:
                return "out of order"
        return "read anew" if await self._cache.changed(event.name) else "not cached"

    def _count(self, outcome: str, *, level: int = logging.INFO, **fields: Any) -> str:
        self.counts[outcome] += 1
        log_event("secret event", level=level, outcome=outcome, **fields)
        return outcome


def _parsed(body: bytes) -> object:
    """What a body holds; None, which is no event, where it is too large or no JSON."""
    if len(body) > LONGEST_BODY:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
