"""An event is kept with the change that caused it, until its subscriber took it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_azure.keyvault.access import Access, NoKeys, TokenVerifier
from local_azure.keyvault.events import Delivery, NotTaken, Subscription
from local_azure.keyvault.requests import Throttle
from local_azure.keyvault.storage import Storage
from local_azure.keyvault.vault import Vault


class Subscriber:
    """Takes events, or is away."""

    def __init__(self, *, away: bool) -> None:
        self._away = away
        self.tried = asyncio.Event()
        self.taken: list[Mapping[str, Any]] = []

    async def send(self, subscription: Subscription, event: Mapping[str, Any]) -> None:
        self.tried.set()
        if self._away:
            raise NotTaken("away")
        self.taken.append(event)


async def no_keys() -> Mapping[str, Any]:
    raise NoKeys


def start(storage: Storage) -> Vault:
    verifier = TokenVerifier("", (), (), fetch_keys=no_keys, now=lambda: 0.0)
    return Vault(
        storage,
        base="https://127.0.0.1:5320",
        verifier=verifier,
        access=Access(),
        throttle=Throttle(10, lambda: 0.0),
        now=lambda: 1_000_000,
    )


async def test_what_was_not_delivered_is_delivered_once_after_the_next_start(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    first, away = start(storage), Subscriber(away=True)
    first.secrets.collection.add("before", {"value": "v", "contentType": None})
    first.subscribe([Subscription("s", webhook="http://127.0.0.1")])
    delivery = Delivery(away, find=first.subscription, settle=storage.settle, now=lambda: 1_000_000)
    first.deliver(delivery)
    first.secrets.collection.add("told", {"value": "v", "contentType": None})
    await asyncio.wait_for(away.tried.wait(), 5)
    await delivery.close()
    storage.close()

    for expected in (["told"], []):
        storage = Storage(tmp_path)
        vault, back = start(storage), Subscriber(away=False)
        delivery = Delivery(back, find=vault.subscription, settle=storage.settle, now=lambda: 1_000_000)
        vault.deliver(delivery)
        if expected:
            await asyncio.wait_for(back.tried.wait(), 5)
        await asyncio.sleep(0)
        await delivery.close()
        assert [each["subject"] for each in back.taken] == expected
        assert [item.name for item in vault.secrets.collection.present()] == ["before", "told"]
        storage.close()
