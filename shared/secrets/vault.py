"""Key Vault by its SDK: one client per vault and process, and what its answers mean."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from math import ceil
from typing import TYPE_CHECKING, Any, TypeVar

from shared.resilience import TokenBucket

from .errors import (
    MalformedAnswer,
    SecretDisabled,
    SecretError,
    UnknownSecret,
    VaultDenied,
    VaultThrottled,
    VaultUnavailable,
)
from .versions import Secret, Version

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.keyvault.secrets import KeyVaultSecret
    from azure.keyvault.secrets.aio import SecretClient

__all__ = ["Vault", "VaultPair", "read_bucket"]

T = TypeVar("T")

LONGEST_PAUSE = 60.0
"""Seconds of a Retry-After that are believed."""
WINDOW = 10.0
"""Seconds over which Key Vault counts (4,000 secret reads per vault: "Key Vault service limits")."""
WRITE_WAIT = 2.0
"""Seconds for which a write waits for its turn behind the reads."""
MOST_VERSIONS = 1_000
"""Versions of a secret that are looked through."""


class Vault:
    """One vault.

    Parameters
    ----------
    credential:
        Called when the first secret is read, on the event loop.
    reads_per_10_seconds:
        This instance's share of the vault's limit.
    options:
        Further ones of the SDK's client.
    """

    def __init__(
        self,
        address: str,
        credential: "Callable[[], AsyncTokenCredential]",
        *,
        reads_per_10_seconds: int,
        clock: Callable[[], float] = time.monotonic,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.address = address
        self._credential = credential
        self._reads = read_bucket(reads_per_10_seconds, clock)
        self._options = dict(options or {})
        self._client: SecretClient | None = None

    def _open(self) -> "SecretClient":
        if self._client is None:
            from azure.keyvault.secrets.aio import SecretClient  # slow to import: with the first secret

            # no retries of its own: the cache spaces the tries, and a caller's wait stays bounded
            options = {"retry_total": 0, **self._options}
            self._client = SecretClient(self.address, self._credential(), **options)
        return self._client

    async def read(self, name: str, version: str | None, *, within: float) -> Secret:
        """The current version of a secret or a given one.

        Raises
        ------
        SecretError
        """
        return await self._ask(name, lambda client: client.get_secret(name, version), self._secret, within)

    async def versions(self, name: str, *, within: float) -> list[Version]:
        """The versions of a secret, in any order.

        Raises
        ------
        SecretError
        """

        async def listed(client: "SecretClient") -> list[Any]:
            found: list[Any] = []
            async for properties in client.list_properties_of_secret_versions(name):
                found.append(properties)
                if len(found) == MOST_VERSIONS:
                    break
            return found

        return await self._ask(name, listed, _versions, within)

    async def write(self, name: str, value: str, *, tags: dict[str, str], expires: datetime | None) -> Secret:
        """Store a new version.

        Raises
        ------
        SecretError
        """

        async def stored(client: "SecretClient") -> "KeyVaultSecret":
            return await client.set_secret(name, value, tags=tags, expires_on=expires)

        return await self._ask(name, stored, self._secret, within=WRITE_WAIT)

    async def disable(self, name: str, version: str) -> None:
        """Switch a version off.

        Raises
        ------
        SecretError
        """

        async def updated(client: "SecretClient") -> None:
            await client.update_secret_properties(name, version, enabled=False)

        await self._ask(name, updated, lambda _name, _answer: None, within=WRITE_WAIT)

    async def _ask(
        self,
        name: str,
        call: "Callable[[SecretClient], Awaitable[Any]]",
        understand: Callable[[str, Any], T],
        within: float,
    ) -> T:
        wait = self._reads.reserve(within=within)
        if wait is None:
            raise VaultThrottled(name, "too many reads on this instance, or the vault asked for a pause")
        if wait > 0:
            await asyncio.sleep(wait)
        try:
            return understand(name, await call(self._open()))
        except SecretError:
            raise
        except Exception as failure:
            error = _meaning(name, failure)
        if isinstance(error, VaultThrottled):
            self.pause(min(error.after or 1.0, LONGEST_PAUSE))
        raise error  # outside of the handler: what the SDK raised may quote the answer

    def _secret(self, name: str, answer: Any) -> Secret:
        properties = answer.properties
        value, version, created = answer.value, properties.version, properties.created_on
        if not (isinstance(value, str) and isinstance(version, str) and version and isinstance(created, datetime)):
            raise MalformedAnswer(name, "the answer has no value, version or time")
        if str(properties.name).lower() != name.lower():
            raise MalformedAnswer(name, "the answer is about another secret")
        if properties.enabled is False:
            raise SecretDisabled(name, "is disabled")
        return Secret(name, value, version, created, properties.expires_on, self.address)

    def pause(self, seconds: float) -> None:
        """Send nothing for a while."""
        self._reads.pause(seconds)

    async def close(self) -> None:
        """Close the HTTP session."""
        if self._client is not None:
            await self._client.close()


def read_bucket(limit: int, clock: Callable[[], float]) -> TokenBucket:
    """A bucket of at most `limit` reads within any ten seconds, four fifths of them at once.

    Of n reads and one more the last comes at least a window after the first: capacity + rate × window is n + 1.
    """
    if isinstance(limit, bool) or limit < 1:
        raise ValueError(f"limit is {limit!r}, must be 1 or more")
    capacity = ceil(0.8 * limit)
    return TokenBucket(capacity=capacity, rate=(limit + 1 - capacity) / WINDOW, clock=clock)


class VaultPair:
    """A vault, and the one of another region that is asked while the first doesn't answer.

    Parameters
    ----------
    timeout:
        Seconds for a read in all; with two vaults each has half of it.
    rest:
        Seconds for which a vault that didn't answer is left alone, where there is another one.
    """

    def __init__(self, vaults: Sequence[Vault], *, timeout: float, rest: float = 5.0) -> None:
        self._vaults = tuple(vaults)
        self._share = timeout / len(self._vaults)
        self._rest = rest

    async def read(self, name: str, version: str | None) -> Secret:
        """From the first vault that answers.

        Raises
        ------
        SecretError
            The first vault's, unless only the second had something to say.
        """
        return await self._first(name, lambda vault: vault.read(name, version, within=self._share))

    async def versions(self, name: str) -> Sequence[Version]:
        """From the first vault that answers.

        Raises
        ------
        SecretError
        """
        return await self._first(name, lambda vault: vault.versions(name, within=self._share))

    async def _first(self, name: str, ask: Callable[[Vault], Awaitable[T]]) -> T:
        first: SecretError | None = None
        for vault in self._vaults:
            try:
                async with asyncio.timeout(self._share):
                    return await ask(vault)
            except TimeoutError:
                error: SecretError = VaultUnavailable(name, f"no answer within {self._share:g} s")
            except SecretError as refused:
                if refused.definitive and first is None:
                    raise
                error = refused
            if not isinstance(error, VaultThrottled) and len(self._vaults) > 1:
                vault.pause(self._rest)
            first = first or error  # the second's copy may be older: that it misses a secret says nothing
        assert first is not None
        raise first

    async def close(self) -> None:
        """Close both."""
        for vault in self._vaults:
            await vault.close()


def _versions(name: str, answer: Any) -> list[Version]:
    found = []
    for one in answer:
        if not (isinstance(one.version, str) and one.version and isinstance(one.created_on, datetime)):
            raise MalformedAnswer(name, "the list of versions has one without version or time")
        found.append(Version(one.version, one.created_on, one.enabled is not False, one.expires_on))
    return found


def _meaning(name: str, failure: Exception) -> SecretError:
    """What a failure of the SDK means; nothing is quoted but its kind and its status."""
    from azure.core.exceptions import (
        HttpResponseError,
        ServiceRequestError,
        ServiceResponseError,
    )

    kind = type(failure).__name__
    if isinstance(failure, ServiceRequestError | ServiceResponseError):
        return VaultUnavailable(name, f"the vault can't be reached ({kind})")
    if isinstance(failure, ValueError | TypeError | AttributeError | LookupError):  # from taking the answer apart
        return MalformedAnswer(name, f"the answer can't be read ({kind})")
    status = failure.status_code if isinstance(failure, HttpResponseError) else None
    if status is None:  # a credential without a token comes here too
        return VaultUnavailable(name, f"could not be read ({kind})")
    if status == 200:
        return MalformedAnswer(name, f"the answer can't be read ({kind})")
    if status == 404:
        return UnknownSecret(name, "there is no such secret")
    if status == 403 and _inner_code(failure) == "SecretDisabled":
        return SecretDisabled(name, "is disabled")
    if status in (401, 403):
        return VaultDenied(name, f"the app's identity may not do this, or not from here ({status})")
    if status == 429:
        return VaultThrottled(name, "the vault has too many requests (429)", after=_retry_after(failure))
    return VaultUnavailable(name, f"the vault answered {status}")


def _inner_code(failure: Any) -> str:
    inner = getattr(failure.error, "innererror", None)
    return str(inner.get("code", "")) if isinstance(inner, dict) else ""


def _retry_after(failure: Any) -> float | None:
    headers = getattr(failure.response, "headers", None) or {}
    try:
        seconds = float(headers.get("Retry-After", ""))
    except (TypeError, ValueError):
        return None
    return seconds if seconds >= 0 else None
