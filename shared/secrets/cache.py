"""Secrets in memory: a read costs a look-up, and the vault is neither the bottleneck nor the outage."""

import asyncio
import random as chance
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from math import inf
from typing import Any, Protocol, TypeVar

from shared.settings import SecretReference

from .errors import SecretError, SecretExpired, UnknownSecret, VaultUnavailable
from .holding import Found
from .policy import Policy
from .secret import Secret, Version
from .shelf import Shelf
from .versions import previous_of, signing_version, still_valid

__all__ = ["SecretCache", "Source"]

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
    """Nothing that Key Vault wouldn't take is sent to it, nor told: it may be a value by mistake."""
    try:
        SecretReference.of(f"secret:{key}")
    except ValueError as error:
        raise UnknownSecret("", str(error)) from None


def _newer(found: Secret, held: Secret | None) -> Secret:
    """What was found, unless it is another vault's older copy of what is held."""
    older = held is not None and held.vault != found.vault and held.created > found.created
    return held if older and held is not None else found


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
        self._single = Shelf(self._read, policy=policy, random=random, clock=clock)
        self._pairs = Shelf(self._read_pair, policy=policy, random=random, clock=clock)
        self._held = self._single.held
        self._to_preload = tuple(preload)
        self._preloading: asyncio.Task[None] | None = None

    async def get(self, name: str) -> Secret:
        """The current version of a secret, or with `name/version` that one.

        Returns at once where a value is held; waits at most `patience` where it has expired, and at most `timeout`
        where there is none.

        Raises
        ------
        SecretError
            It is unknown, disabled or expired, or nothing is held and the vault doesn't answer.
        """
        try:  # costs nothing where the name is held, which it nearly always is
            held = self._held[name]
            if self._clock() < held.refresh_at:
                return held.value  # type: ignore[return-value]  # what is fresh has a value
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
        held = self._pairs.held.get(name)
        if held is not None and self._clock() < held.refresh_at:
            return held.value  # type: ignore[return-value]
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
        """The current version as far as it is held, without asking; the oldest one where several are."""
        known: list[Secret | None] = [held.value for held in self._spelled(self._single.held, name).values()]
        known += [held.value[0] if held.value else None for held in self._spelled(self._pairs.held, name).values()]
        return min((one for one in known if one), key=lambda one: one.created, default=None)

    @staticmethod
    def _spelled(held: dict[str, T], name: str) -> dict[str, T]:
        """Entries of a secret in every spelling: Key Vault doesn't tell upper from lower case."""
        return {key: entry for key, entry in held.items() if key.lower() == name.lower()}

    async def changed(self, name: str) -> bool:
        """Read a secret anew where it is held: its owner has changed it. Waits at most `timeout`.

        Returns whether it is held at all. Callers meanwhile get what is held, or wait at most `patience`.
        """
        shelves: tuple[Shelf[Any], ...] = (self._single, self._pairs)
        changed = [(shelf, key) for shelf in shelves for key in self._spelled(shelf.held, name)]
        for shelf, key in changed:
            shelf.invalidate(key)
        with suppress(VaultUnavailable):  # closing
            await asyncio.gather(*(shelf.refresh(key) for shelf, key in changed))
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
            self._preloading = asyncio.create_task(self.preload(names), name="preload secrets")

    async def _read(self, key: str, held: Secret | None) -> Found[Secret]:
        name, _, version = key.partition("/")
        secret = _newer(await self._source.read(name, version or None), held)
        return Found(secret, self._spent_in(secret))

    def _spent_in(self, secret: Secret) -> float:
        if secret.expires is None:
            return inf
        seconds = (secret.expires - self._now()).total_seconds()
        if seconds <= 0:
            raise SecretExpired(secret.name, f"expired at {secret.expires.isoformat()}")
        return seconds

    async def _read_pair(self, name: str, held: tuple[Secret, ...] | None) -> Found[tuple[Secret, ...]]:
        current = _newer(await self._source.read(name, None), held[0] if held else None)
        spent_in = self._spent_in(current)
        known = {secret.version: secret for secret in held or ()}
        try:
            previous = await self._previous(current, known)
        except VaultUnavailable:
            if not known:
                raise
            previous = next((one for version, one in known.items() if version != current.version), None)
            if previous is not None and not still_valid(previous, current, now=self._now(), policy=self.policy):
                previous = None
        return Found((current,) if previous is None else (current, previous), spent_in)

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
