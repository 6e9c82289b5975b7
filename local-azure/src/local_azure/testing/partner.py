"""A partner for a test: it answers as the test says, and tells what it was asked."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from typing import Any

from local_azure.partner.book import Asked
from local_azure.partner.script import Rule, Script
from local_azure.partner.server import running_partner
from local_azure.testing.services import Services

__all__ = ["Partner"]


class Partner:
    """Somebody else's API.

    Attributes
    ----------
    url
        Its base URL.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        script = Script(random=random.Random(0).random)  # noqa: S311
        self._running = services.start(running_partner(script=script, clock=time.monotonic))
        self.url = self._running.url

    def answers(self, method: str = "*", path: str = "*", **behaviour: Any) -> None:
        """Have it answer so from now on, before all earlier rules; see `local_azure.partner.script`.

        Raises
        ------
        WrongScript
            There is no such behaviour.
        """
        rule = Rule.of({"method": method, "path": path, **behaviour})
        self._services.run(self._put(rule))

    async def _put(self, rule: Rule) -> None:
        self._running.script.rules.insert(0, rule)

    def reset(self) -> None:
        """Forget rules and calls."""

        async def forget() -> None:
            self._running.script.rules.clear()
            self._running.book.clear()

        self._services.run(forget())

    def calls(self, method: str = "*", path: str | None = None) -> Sequence[Asked]:
        """What it was asked so far, in order."""

        async def copied() -> list[Asked]:
            return list(self._running.book.asked)

        return [one for one in self._services.run(copied()) if method in ("*", one.method) and path in (None, one.path)]

    def made(self, collection: str) -> list[dict[str, Any]]:
        """What it made in a collection, for example `labels`."""

        async def copied() -> str:
            return json.dumps(self._running.book.made.get(collection, []))

        found: list[dict[str, Any]] = json.loads(self._services.run(copied()))
        return found
