"""A vault that can be written, a lease, a record, and events about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from shared import state
from shared.rotation import AuditTrail, Renew, Rotator, SecretEvents
from shared.secrets import Policy, Secret, SecretError, Vault, Version
from tests.unit.shared.secrets.world import World

VAULT = "https://one.vault.example"
OVERLAP = timedelta(seconds=1_000)


class Store:
    """The vault of a `World`, without a cache between."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.failing: SecretError | None = None
        self.garbles = False

    async def read(self, name: str, version: str | None, *, within: float) -> Secret:
        """As the vault."""
        return await self.world.read(name, version)

    async def versions(self, name: str, *, within: float) -> list[Version]:
        """As the vault."""
        return await self.world.versions(name)

    async def write(self, name: str, value: str, *, tags: dict[str, str], expires: datetime | None) -> Secret:
        """A new version."""
        if self.failing is not None:
            raise self.failing
        kept = self.world.kept[name]
        made = Secret(name, "garbled" if self.garbles else value, f"v{len(kept) + 1}", self.world.now(), expires)
        kept.append(made)
        return made

    async def disable(self, name: str, version: str) -> None:
        """Switch it off."""
        self.world.disabled.add(version)


class Lease:
    """Free or taken."""

    def __init__(self) -> None:
        self.taken = False
        self.name = ""

    def __call__(self, name: str) -> Lease:
        self.name = name
        return self

    async def acquire(self) -> bool:
        """Take it."""
        taken, self.taken = self.taken, True
        return not taken

    async def release(self) -> None:
        """Give it up."""
        self.taken = False


class Audit:
    """Records by secret and version."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], dict[str, Any]] = {}

    async def write(self, secret: str, version: str, facts: Mapping[str, Any]) -> None:
        """Add to a record."""
        self.records.setdefault((secret, version), {}).update(facts)


class Rotating:
    """The handler of events on a vault with a secret that is about to expire."""

    def __init__(self, renew: Renew | None = None) -> None:
        self.world = World()
        self.world.rotate("hmac-key", expires=self.world.now() + timedelta(days=20))
        self.store, self.lease, self.audit = Store(self.world), Lease(), Audit()
        self.cache = self.world.cache(policy=Policy(ttl=100))
        rotator = Rotator(
            {} if renew is None else {"HMAC-key": renew},
            store=cast(Vault, self.store),
            lease=cast(Callable[[str], state.Lease], self.lease),
            audit=cast(AuditTrail, self.audit),
            changed=self.cache.changed,
            overlap=OVERLAP,
            actor="an-identity",
            now=self.world.now,
        )
        self.events = SecretEvents(self.cache, rotator, vaults=[VAULT], now=self.world.now)

    def event(self, kind: str = "SecretNearExpiry", version: str = "v1", **changed: Any) -> dict[str, Any]:
        """An event as the vault sends it."""
        data = {
            "Id": f"{VAULT}/secrets/hmac-key/{version}",
            "VaultName": "one",
            "ObjectType": "Secret",
            "ObjectName": "hmac-key",
            "Version": version,
            "NBF": None,
            "EXP": 1,
        }
        event = {
            "id": f"{kind}-{version}",
            "topic": "/subscriptions/x",
            "subject": "hmac-key",
            "eventType": f"Microsoft.KeyVault.{kind}",
            "eventTime": self.world.now().isoformat(),
            "data": data,
            "dataVersion": "1",
        }
        return event | changed
