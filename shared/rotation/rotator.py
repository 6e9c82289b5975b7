"""Gives a secret its next version: make it, store it, read it back, keep the one before while it may be in use.

Who changed which secret when and why is a row of the table `audit` for each rotation; it never holds a value.
"""

import asyncio
import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from shared.secrets import Secret, SecretError, UnfitSecret, Vault
from shared.state import Lease
from shared.tables import Create, Replace, Table, again_on_conflict
from shared.telemetry import log_event

__all__ = ["AuditTrail", "Renew", "RotationFailed", "Rotator", "random_key"]

Renew = Callable[[Secret], Awaitable[str]]
"""Makes the next value, given the current version."""


def random_key(size: int = 32) -> Renew:
    """A symmetric key at random, for signing (HMAC) or as a shared secret: `size` bytes as URL-safe text.

    Raises
    ------
    ValueError
        Fewer than 16 bytes could be guessed.
    """
    if isinstance(size, bool) or not 16 <= size <= 1_024:
        raise ValueError(f"size is {size!r}, must be 16 to 1024 bytes")

    async def renew(current: Secret) -> str:
        return secrets.token_urlsafe(size)

    return renew


PARTITION = "rotation"


class AuditTrail:
    """Keeps the record of a rotation; its key is the secret and the version that was replaced."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def write(self, secret: str, version: str, columns: Mapping[str, Any]) -> None:
        """Add columns to the record: it is begun before the secret is changed, so that a crash leaves a trace."""
        key = f"{secret}:{version}"

        async def add() -> None:
            known = await self._table.get(PARTITION, key)
            row = {"PartitionKey": PARTITION, "RowKey": key, "secret": secret, "fromVersion": version}
            if known is None:
                await self._table.submit([Create({**row, **columns})])
            else:
                await self._table.submit([Replace({**known, **row, **columns}, known.etag)])

        await again_on_conflict(add, subject=f"the record {key}")

    async def close(self) -> None:
        """Close the HTTP session."""
        await self._table.close()


LATEST = timedelta(days=31)
"""Key Vault tells of an expiry at most 30 days ahead; nobody else has a reason to rotate earlier."""
USUAL_LIFE = timedelta(days=90)
ROTATION_SECONDS = 60.0
"""For one rotation in all: shorter than its lease."""
LONGEST_VALUE = 25_000
"""Bytes of a secret's value: Key Vault's limit."""


class RotationFailed(RuntimeError):
    """A secret has no next version; the current one is as it was."""


class Rotator:
    """Rotates the secrets that a way to renew is registered for.

    Parameters
    ----------
    lease:
        Makes the lease of a secret.
    changed:
        Called with a secret with a new version, so that this instance reads it.
    overlap:
        A version is switched off only when its successor is older than this.
    actor:
        Who does it: the app's identity in the vault.
    """

    def __init__(
        self,
        renewals: Mapping[str, Renew],
        *,
        store: Vault,
        lease: Callable[[str], Lease],
        audit: AuditTrail,
        changed: Callable[[str], Awaitable[object]],
        overlap: timedelta,
        actor: str,
        now: Callable[[], datetime],
    ) -> None:
        self._renewals = {name.lower(): renew for name, renew in renewals.items()}
        self._store = store
        self._lease = lease
        self._audit = audit
        self._changed = changed
        self._overlap = overlap
        self._actor = actor
        self._now = now

    async def rotate(self, name: str, version: str, *, because: str) -> str:
        """Replace a version that is about to expire or has; returns what was done, in a word or two.

        Raises
        ------
        RotationFailed
            It couldn't be done; the event is to come again.
        """
        renew = self._renewals.get(name.lower())
        if renew is None:
            return "not registered"
        lease = self._lease(name.lower())
        if not await lease.acquire():
            raise RotationFailed(f"secret {name!r}: another instance is at it, or has died at it")
        try:
            async with asyncio.timeout(ROTATION_SECONDS):
                return await self._rotate(name, version, renew, because)
        except (SecretError, TimeoutError) as error:
            self._log(name, version, logging.ERROR, outcome="failed", reason=_reason(error))
            raise RotationFailed(f"secret {name!r}: {_reason(error)}") from None
        finally:
            await lease.release()

    async def _rotate(self, name: str, version: str, renew: Renew, because: str) -> str:
        current = await self._store.read(name, None, within=ROTATION_SECONDS)
        if current.version != version:
            return "rotated before"
        if current.expires is None or current.expires - self._now() > LATEST:
            return "not near its expiry"
        started = {"outcome": "started", "actor": self._actor, "because": because, "startedAt": self._now()}
        await self._audit.write(name, version, started)
        try:
            made = await self._store_next(current, renew)
        except Exception as error:
            await self._audit.write(name, version, {"outcome": "failed", "reason": _reason(error)})
            raise
        retired = await self._retire(current, made)
        done = {"outcome": "rotated", "toVersion": made.version, "retired": ",".join(retired)}
        await self._audit.write(name, version, {**done, "finishedAt": self._now()})
        self._log(name, version, logging.INFO, because=because, **done)
        await self._changed(name)
        return "rotated"

    async def _store_next(self, current: Secret, renew: Renew) -> Secret:
        try:
            value = await renew(current)
        except (SecretError, TimeoutError):
            raise
        except Exception as error:  # its message may hold anything
            raise UnfitSecret(current.name, f"its way to renew failed ({type(error).__name__})") from None
        fit = isinstance(value, str) and 0 < len(value.encode("utf-8", "replace")) <= LONGEST_VALUE
        if not fit or hmac.compare_digest(value.encode("utf-8", "replace"), current.value.encode("utf-8", "replace")):
            raise UnfitSecret(current.name, "its way to renew made no new value")
        life = max(current.expires - current.created, timedelta(days=1)) if current.expires else USUAL_LIFE
        made = await self._store.write(
            current.name, value, tags={"rotatedFrom": current.version}, expires=self._now() + life
        )
        found = await self._store.read(current.name, made.version, within=ROTATION_SECONDS)
        if not hmac.compare_digest(found.value.encode(), value.encode()):
            await self._store.disable(current.name, made.version)
            raise UnfitSecret(current.name, "what was read back is not what was stored")
        return made

    async def _retire(self, current: Secret, made: Secret) -> list[str]:
        """Switch off what was replaced so long ago that nobody uses it; whatever fails waits for the next rotation."""
        if self._now() - current.created <= self._overlap:
            return []
        retired = []
        try:
            versions = await self._store.versions(current.name, within=ROTATION_SECONDS)
        except SecretError as error:
            self._log(current.name, current.version, logging.WARNING, outcome="not retired", reason=error.reason)
            return []
        for one in versions:
            if one.enabled and one.version not in (current.version, made.version) and one.created < current.created:
                try:
                    await self._store.disable(current.name, one.version)
                except SecretError as error:  # the others are switched off all the same
                    self._log(current.name, one.version, logging.WARNING, outcome="not retired", reason=error.reason)
                else:
                    retired.append(one.version)
        return retired

    def _log(self, name: str, version: str, level: int, **fields: Any) -> None:
        log_event("secret rotation", level=level, secret=name, fromVersion=version, actor=self._actor, **fields)


def _reason(error: BaseException) -> str:
    return error.reason if isinstance(error, SecretError) else type(error).__name__
