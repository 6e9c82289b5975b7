"""Secrets in memory: a read costs a look-up, and the vault is neither the bottleneck nor the outage."""

import asyncio
import random as chance
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf
from typing import Any, Protocol, TypeVar

from pydantic import SecretStr

from shared.environment import SecretReference

from .entry_cache import EntryCache, ReadResult
from .errors import SecretError, SecretExpired, UnfitSecret, UnknownSecret, VaultUnavailable
from .versions import Policy, Secret, Version, previous_of, signing_version, still_valid

__all__ = ["Keys", "RotatingKey", "SecretCache", "Source"]

T = TypeVar("T")

PRELOADED_AT_ONCE = 8


class Source(Protocol):
    """Where secrets come from."""

    async def read(self, name: str, version: str | None) -> Secret:
        """The current version or a given one."""

    async def versions(self, name: str) -> Sequence[Version]:
        """All versions, in any order."""

    async def close(self) -> None:
        """Let go of what is open."""


def _now() -> datetime:
    return datetime.now(UTC)


def _check(key: str) -> None:
    """Nothing that Key Vault wouldn't take is sent to it, nor logged: it may be a value by mistake."""
    try:
        SecretReference.of(f"secret:{key}")
    except ValueError as error:
        raise UnknownSecret("", str(error)) from None


def _newer(found: Secret, cached: Secret | None) -> Secret:
    """What was found, unless it is another vault's older copy of what is cached."""
    older = cached is not None and cached.vault != found.vault and cached.created > found.created
    return cached if older and cached is not None else found


class SecretCache:
    """Every secret that the app reads, by name.

    Parameters
    ----------
    preload:
        Names to read beside the first one that is asked for, a few at a time.
    """

    def __init__(
        self,
        source: Source,
        policy: Policy,
        *,
        preload: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _now,
        random: Callable[[], float] = chance.random,
    ) -> None:
        self.policy = policy
        self._source = source
        self._clock = clock
        self._now = now
        self._single = EntryCache(self._read, policy=policy, random=random, clock=clock)
        self._pairs = EntryCache(self._read_pair, policy=policy, random=random, clock=clock)
        self._entries = self._single.entries
        self._to_preload = tuple(preload)
        self._preloading: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        """Secrets in memory."""
        return len(self._entries)

    async def get(self, name: str) -> Secret:
        """The current version of a secret, or with `name/version` that one.

        Returns at once where a value is cached; waits at most `patience` where it has expired, and at most `timeout`
        where there is none.

        Raises
        ------
        SecretError
            It is unknown, disabled or expired, or nothing is cached and the vault doesn't answer.
        """
        try:  # costs nothing where the name is cached, which it nearly always is
            entry = self._entries[name]
            if self._clock() < entry.refresh_at:
                return entry.value  # type: ignore[return-value]  # what is fresh has a value
        except KeyError:
            pass
        _check(name)
        self._begin_preload()
        return await self._single.get(name)

    async def both(self, name: str) -> tuple[Secret, ...]:
        """The current version, then the previous one while it is accepted: for checking what either has signed.

        Raises
        ------
        SecretError
            As `get`.
        """
        entry = self._pairs.entries.get(name)
        if entry is not None and self._clock() < entry.refresh_at:
            return entry.value  # type: ignore[return-value]
        _check(name)
        self._begin_preload()
        return await self._pairs.get(name)

    async def signing(self, name: str) -> Secret:
        """The version to sign with: a new one is used once every instance accepts it.

        Raises
        ------
        SecretError
            As `get`.
        """
        return self.signer_of(await self.both(name))

    def signer_of(self, versions: Sequence[Secret]) -> Secret:
        """Of what `both` gave, the version to sign with."""
        return signing_version(versions, now=self._now(), policy=self.policy)

    def known_version(self, name: str) -> Secret | None:
        """The current version as far as it is cached, without asking; the oldest one where several are."""
        known: list[Secret | None] = [entry.value for entry in self._spelled(self._single.entries, name).values()]
        known += [
            entry.value[0] if entry.value else None for entry in self._spelled(self._pairs.entries, name).values()
        ]
        return min((one for one in known if one), key=lambda one: one.created, default=None)

    @staticmethod
    def _spelled(entries: dict[str, T], name: str) -> dict[str, T]:
        """Entries of a secret in every spelling: Key Vault doesn't tell upper from lower case."""
        return {key: entry for key, entry in entries.items() if key.lower() == name.lower()}

    async def changed(self, name: str) -> bool:
        """Read a secret anew where it is cached: its owner has changed it. Waits at most `timeout`.

        Returns whether it is cached at all. Callers meanwhile get what is cached, or wait at most `patience`.
        """
        caches: tuple[EntryCache[Any], ...] = (self._single, self._pairs)
        changed = [(cache, key) for cache in caches for key in self._spelled(cache.entries, name)]
        for cache, key in changed:
            cache.invalidate(key)
        with suppress(VaultUnavailable):  # closing
            await asyncio.gather(*(cache.refresh(key) for cache, key in changed))
        return bool(changed)

    async def preload(self, names: Sequence[str]) -> None:
        """Read secrets before they are needed; those that can't be had are left to whoever asks for them."""
        places = asyncio.Semaphore(PRELOADED_AT_ONCE)

        async def one(name: str) -> None:
            async with places:
                with suppress(SecretError):
                    await self.get(name)

        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(one(name))

    def _begin_preload(self) -> None:
        if self._to_preload:
            names, self._to_preload = self._to_preload, ()
            self._preloading = asyncio.create_task(self.preload(names), name="preload secrets", context=Context())

    async def _read(self, key: str, cached: Secret | None) -> ReadResult[Secret]:
        name, _, version = key.partition("/")
        secret = _newer(await self._source.read(name, version or None), cached)
        return ReadResult(secret, self._spent_in(secret))

    def _spent_in(self, secret: Secret) -> float:
        if secret.expires is None:
            return inf
        seconds = (secret.expires - self._now()).total_seconds()
        if seconds <= 0:
            raise SecretExpired(secret.name, f"expired at {secret.expires.isoformat()}")
        return seconds

    async def _read_pair(self, name: str, cached: tuple[Secret, ...] | None) -> ReadResult[tuple[Secret, ...]]:
        current = _newer(await self._source.read(name, None), cached[0] if cached else None)
        spent_in = self._spent_in(current)
        known = {secret.version: secret for secret in cached or ()}
        try:
            previous = await self._previous(current, known)
        except VaultUnavailable:
            if not known:
                raise
            previous = next((one for version, one in known.items() if version != current.version), None)
            if previous is not None and not still_valid(previous, current, now=self._now(), policy=self.policy):
                previous = None
        return ReadResult((current,) if previous is None else (current, previous), spent_in)

    async def _previous(self, current: Secret, known: dict[str, Secret]) -> Secret | None:
        found = previous_of(
            current,
            await self._source.versions(current.name),
            before=next((version for version in known if version != current.version), None),
            now=self._now(),
            policy=self.policy,
        )
        if found is None:
            return None
        try:
            return known.get(found.version) or await self._source.read(current.name, found.version)
        except SecretError as error:
            if error.definitive:  # switched off since it was listed
                return None
            raise

    async def close(self) -> None:
        """Stop what is being read, and let go of the source."""
        if self._preloading is not None:
            self._preloading.cancel()
            await asyncio.gather(self._preloading, return_exceptions=True)
        await self._single.close()
        await self._pairs.close()
        await self._source.close()


@dataclass(frozen=True, slots=True)
class Keys:
    """What signs, and everything whose signatures are accepted: that, and the versions before or after it."""

    signing: str = field(repr=False)
    accepted: tuple[str, ...] = field(repr=False)


class RotatingKey:
    """The keys of a setting.

    Parameters
    ----------
    setting:
        The key itself, or `secret:<name>`, or `secret:<name>/<version>`.
    secrets:
        Called when a secret is needed, on the event loop.
    least:
        Characters that a key has at least.
    """

    def __init__(self, setting: SecretStr, secrets: Callable[[], SecretCache], *, least: int) -> None:
        text = setting.get_secret_value()
        self.reference = SecretReference.of(text)
        self._secrets = secrets
        self._least = least
        self._fixed = Keys(text, (text,)) if self.reference is None else None
        self._made: tuple[Secret, tuple[Secret, ...], Keys] | None = None

    async def keys(self) -> Keys:
        """The keys of this moment; the same object until there are others.

        Raises
        ------
        SecretError
            They can't be had, or one is too short.
        """
        if self._fixed is not None:
            return self._fixed
        assert self.reference is not None
        cache = self._secrets()
        if self.reference.version is not None:
            pinned = await cache.get(f"{self.reference.name}/{self.reference.version}")
            versions: tuple[Secret, ...] = (pinned,)
        else:
            versions = await cache.both(self.reference.name)
        signer = cache.signer_of(versions)
        if self._made is None or self._made[0] is not signer or self._made[1] != versions:
            self._made = (signer, versions, self._of(signer, versions))
        return self._made[2]

    def _of(self, signer: Secret, versions: tuple[Secret, ...]) -> Keys:
        for secret in versions:
            if len(secret.value) < self._least:
                raise UnfitSecret(secret.name, f"version {secret.version} has fewer than {self._least} characters")
        return Keys(signer.value, (signer.value, *(one.value for one in versions if one is not signer)))
