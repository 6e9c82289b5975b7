"""A clock to move, secrets to rotate, and keys on top of them, all in memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from shared.encryption import DataKeys, KeyTable, SecretWrapper, SubjectKeys
from shared.secrets import Secret
from shared.tables import MemoryTable

__all__ = ["Clock", "MemorySecrets", "World"]


MADE = datetime(2026, 1, 1, tzinfo=UTC)


class MemorySecrets:
    """Secrets with versions, which may be away."""

    def __init__(self, **values: str) -> None:
        self.versions: dict[str, list[Secret]] = {}
        for name, value in values.items():
            self.versions[name.replace("_", "-")] = [Secret(name, value, "v1", MADE)]
        self.away = False
        self.reads = 0

    def rotate(self, name: str, value: str) -> None:
        """Give a secret a new version."""
        known = self.versions[name]
        known.append(Secret(name, value, f"v{len(known) + 1}", MADE))

    async def get(self, name: str) -> Secret:
        """The current version, or `name/version`."""
        await self._meet()
        bare, _, version = name.partition("/")
        return next(one for one in reversed(self.versions[bare]) if version in ("", one.version))

    async def both(self, name: str) -> tuple[Secret, ...]:
        """Current and previous."""
        await self._meet()
        return tuple(reversed(self.versions[name][-2:]))

    async def _meet(self) -> None:
        self.reads += 1
        await asyncio.sleep(0)
        if self.away:
            raise ConnectionError("the vault is away")


@dataclass
class Clock:
    """Time that tests move."""

    moment: datetime = datetime(2026, 5, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        """The wall clock."""
        return self.moment

    def seconds(self) -> float:
        """The clock that only goes forward."""
        return self.moment.timestamp()

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.moment += timedelta(seconds=seconds)


@dataclass
class World:
    """One table, one vault, and as many instances as are asked for."""

    secrets: MemorySecrets = field(default_factory=lambda: MemorySecrets(data_key="k" * 40, token_key="t" * 40))
    rows: KeyTable = field(default_factory=lambda: KeyTable(MemoryTable()))
    clock: Clock = field(default_factory=Clock)

    @property
    def wrapper(self) -> SecretWrapper:
        """Wraps under the secret `data-key`."""
        return SecretWrapper(self.secrets, "data-key")

    def data_keys(self, **changed: object) -> DataKeys:
        """The data keys of an instance that has just started."""
        return DataKeys(self.rows, self.wrapper, now=self.clock, clock=self.clock.seconds, **changed)  # type: ignore[arg-type]

    def subject_keys(self, **changed: object) -> SubjectKeys:
        """The subjects' keys of an instance that has just started."""
        return SubjectKeys(self.rows, self.wrapper, now=self.clock, clock=self.clock.seconds, **changed)  # type: ignore[arg-type]
