"""A vault in memory, and clocks that are moved."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

from shared.secrets import Policy, Secret, SecretCache, SecretError, UnknownSecret, Version

BIRTH = datetime(2026, 1, 1, tzinfo=UTC)
VALUE = "planted-value"
POLICY = Policy(ttl=100, jitter=0.1, stale=1_000, negative=15, patience=0.05, timeout=0.2, overlap=10_000)


class World:
    """Time, and what the vault holds; `failing` is raised by every read, `gate` holds reads up."""

    def __init__(self, *names: str, value: str = VALUE) -> None:
        self.value = value
        self.seconds = 1_000.0
        self.kept: dict[str, list[Secret]] = {}
        self.disabled: set[str] = set()
        self.reads: Counter[str] = Counter()
        self.failing: SecretError | None = None
        self.lists_failing: SecretError | None = None
        self.gate: asyncio.Event | None = None
        self.at_once = 0
        self.most_at_once = 0
        for name in names:
            self.rotate(name)

    def clock(self) -> float:
        """As `time.monotonic`."""
        return self.seconds

    def now(self) -> datetime:
        """The same moment on the wall."""
        return BIRTH + timedelta(seconds=self.seconds)

    def rotate(self, name: str, *, expires: datetime | None = None, vault: str = "one") -> Secret:
        """A new version."""
        versions = self.kept.setdefault(name, [])
        number = len(versions) + 1
        made = Secret(name, f"{self.value}-{name}-{number}", f"v{number}", self.now(), expires, vault)
        versions.append(made)
        return made

    async def read(self, name: str, version: str | None) -> Secret:
        """As the vault."""
        self.reads[name] += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await (self.gate.wait() if self.gate is not None else asyncio.sleep(0))
        finally:
            self.at_once -= 1
        if self.failing is not None:
            raise self.failing
        for secret in reversed(self.kept.get(name, [])):
            if version in (None, secret.version):
                return secret
        raise UnknownSecret(name, "there is no such secret")

    async def versions(self, name: str) -> list[Version]:
        """As the vault."""
        if self.lists_failing is not None:
            raise self.lists_failing
        return [
            Version(one.version, one.created, one.version not in self.disabled, one.expires) for one in self.kept[name]
        ]

    async def close(self) -> None:
        """Nothing is open."""

    def cache(self, *preload: str, policy: Policy = POLICY) -> SecretCache:
        """A cache over it, whose chance is always a half."""
        return SecretCache(self, policy, preload=preload, clock=self.clock, now=self.now, random=lambda: 0.5)
