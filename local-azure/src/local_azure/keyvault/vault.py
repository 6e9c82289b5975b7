"""The vault: who asks, whether they may, what they get, and who is notified of it."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable
from typing import Any

from local_azure.keyvault.access import Access, TokenVerifier
from local_azure.keyvault.backups import Backups
from local_azure.keyvault.errors import VaultError
from local_azure.keyvault.events import Delivery, Subscription, event_of
from local_azure.keyvault.items import Collection, Item, Kind, Occurrence, Version
from local_azure.keyvault.keys import Keys
from local_azure.keyvault.operations import Operation, check_api_version
from local_azure.keyvault.requests import Throttle
from local_azure.keyvault.secrets import Secrets
from local_azure.keyvault.storage import Storage
from local_azure.keyvault.wire import Answer, Asked

__all__ = ["Vault"]


class Vault:
    """Answers requests; `now` gives whole seconds since the epoch, `base` is the vault's own address."""

    def __init__(
        self,
        storage: Storage,
        *,
        base: str,
        verifier: TokenVerifier,
        access: Access,
        throttle: Throttle,
        now: Callable[[], int],
    ) -> None:
        self._storage = storage
        self._base = base
        self._verifier = verifier
        self.access = access
        self._throttle = throttle
        self._now = now
        self.delivery: Delivery | None = None
        self._subscriptions = {each.name: each for each in storage.subscriptions()}
        backups = Backups(storage.backup_key())
        self.secrets = Secrets(self._collection(Kind.SECRETS), backups)
        self.keys = Keys(self._collection(Kind.KEYS), backups, now)

    def _collection(self, kind: Kind) -> Collection:
        return Collection(kind, self._storage.items(kind), keeper=self, now=self._now, new_id=lambda: uuid.uuid4().hex)

    async def answer(self, asked: Asked, operation: Operation | None) -> Answer:
        """Answer one request; whatever it holds, there is an answer."""
        try:
            check_api_version(asked.query)
            self._throttle.take()
            caller = await self._verifier.verify(asked.headers.get("authorization", ""), asked.base)
            if operation is None:
                raise VaultError(404, "NotFound", "There is nothing here.")
            self.access.check(caller.object_id, caller.application, operation.right, asked.path)
            return await self._run(asked, operation)
        except VaultError as error:
            return Answer(error.status, error.body(), error.headers)

    async def _run(self, asked: Asked, operation: Operation) -> Answer:
        group: Any = self.secrets if operation.kind is Kind.SECRETS else self.keys
        result = getattr(group, operation.name)(asked, operation.item, operation.version)
        answer = await result if inspect.isawaitable(result) else result
        assert isinstance(answer, Answer)
        return answer

    def sweep(self, near_seconds: int) -> None:
        """Tell of what expires and purge what was deleted long ago; to be called now and then."""
        self.secrets.collection.sweep(near_seconds)
        self.keys.collection.sweep(near_seconds)

    # -- subscribers -------------------------------------------------------------------------------
    @property
    def subscriptions(self) -> list[Subscription]:
        """Who is notified."""
        return list(self._subscriptions.values())

    def subscription(self, name: str) -> Subscription | None:
        """Who is notified under a name, if anybody."""
        return self._subscriptions.get(name)

    def subscribe(self, subscriptions: list[Subscription]) -> None:
        """Tell these from now on, and no others."""
        self._storage.subscribe(subscriptions)
        self._subscriptions = {each.name: each for each in subscriptions}

    def deliver(self, delivery: Delivery) -> None:
        """Deliver through this from now on, first what was left when the vault ended."""
        self.delivery = delivery
        for number, subscription, event in self._storage.undelivered():
            delivery.add(number, subscription, event)

    # -- the collections' keeper -----------------------------------------------------------------------
    def keep(self, kind: Kind, item: Item, announcement: tuple[Occurrence, Version] | None) -> None:
        """Store an item, and its event for each subscriber, in one step; then begin to deliver."""
        event: dict[str, Any] | None = None
        if announcement is not None:
            happened, version = announcement
            identity = str(uuid.uuid4())
            event = event_of(kind, item, version, happened, base=self._base, identity=identity, at=self._now())
        receivers = [] if event is None else self.subscriptions
        numbers = self._storage.put(kind, item, [(each.name, event or {}) for each in receivers])
        if self.delivery is not None:
            for number, receiver in zip(numbers, receivers, strict=True):
                self.delivery.add(number, receiver.name, event or {})

    def drop(self, kind: Kind, name: str) -> None:
        """Forget an item."""
        self._storage.remove(kind, name)
