"""Links straight to the storage: shared access signatures for one blob, signed with a key that it lends an identity.

They hold no account key, end soon, and end with the identity's role: taking that away is how all of them are withdrawn
at once.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import ResourceExistsError

if TYPE_CHECKING:
    from azure.storage.blob import UserDelegationKey
    from azure.storage.blob.aio import BlobServiceClient, ContainerClient

__all__ = ["LentKey", "Links", "ReadLinks"]

_LIVES = timedelta(hours=1)
_KEY_LIVES = timedelta(hours=8)
"""Longer than any link by this; the service lends one for seven days at most."""
_SKEW = timedelta(minutes=5)
"""A clock that is behind ours must not take a new link for one of tomorrow."""


class LentKey:
    """A user-delegation key, asked for again when a link would outlive it.

    Parameters
    ----------
    service:
        Makes the client of the account with the app's identity; called with the first link.
    """

    def __init__(self, service: Callable[[], "BlobServiceClient"], *, timeout: float = 10.0) -> None:
        self._make = service
        self._service: BlobServiceClient | None = None
        self._timeout = timeout
        self._key: UserDelegationKey | None = None
        self._ends: datetime | None = None

    async def get(self, *, now: datetime, until: datetime) -> "tuple[UserDelegationKey, bool]":
        """The key for a link that ends then, and whether it is a new one."""
        if self._service is None:
            self._service = self._make()
        if self._key is not None and self._ends is not None and self._ends >= until:
            return self._key, False
        ends = until + _KEY_LIVES
        async with asyncio.timeout(self._timeout):
            self._key = await self._service.get_user_delegation_key(now - _SKEW, ends)
        self._ends = ends
        return self._key, True

    async def close(self) -> None:
        """Close the account's HTTP session."""
        if self._service is not None:
            await self._service.close()


class Links:
    """Makes links with which a blob can be written.

    Parameters
    ----------
    service:
        Makes the client of the account with the app's identity; called with the first link.
    """

    def __init__(self, service: Callable[[], "BlobServiceClient"], *, timeout: float = 10.0) -> None:
        self._lent = LentKey(service, timeout=timeout)
        self._timeout = timeout

    async def writing(self, container: "ContainerClient", name: str, *, now: datetime) -> tuple[str, datetime]:
        """A link with which one blob can be written, over HTTPS alone, and when it ends."""
        ends = now + _LIVES
        key, is_new = await self._lent.get(now=now, until=ends)
        if is_new:
            with suppress(ResourceExistsError):  # who has a link only can't make the container
                async with asyncio.timeout(self._timeout):
                    await container.create_container()
        return _signed(container, name, now, ends, create=True, write=True, user_delegation_key=key), ends

    async def close(self) -> None:
        """Close the account's HTTP session."""
        await self._lent.close()


class ReadLinks:
    """Makes links with which a blob can be read, by GET and HEAD, and nothing else.

    Parameters
    ----------
    lent:
        The key that the storage lends the app's identity; None where the container is reached by a connection string,
        whose key signs then.
    """

    def __init__(self, container: "ContainerClient", lent: LentKey | None) -> None:
        self._container = container
        self._lent = lent

    async def until(self, ends: datetime, *, now: datetime) -> Callable[[str], str]:
        """What makes links that end then, from the names of blobs."""
        if self._lent is not None:
            key: dict[str, Any] = {"user_delegation_key": (await self._lent.get(now=now, until=ends))[0]}
        else:
            key = {"account_key": self._container.credential.account_key}
        return lambda name: _signed(self._container, name, now, ends, read=True, **key)

    async def close(self) -> None:
        """Close what the key is asked of."""
        if self._lent is not None:
            await self._lent.close()


def _signed(
    container: "ContainerClient",
    name: str,
    now: datetime,
    ends: datetime,
    *,
    read: bool = False,
    create: bool = False,
    write: bool = False,
    **key: Any,
) -> str:
    """A link for one blob; over HTTPS alone, but on a laptop's storage that has none."""
    from azure.storage.blob import BlobSasPermissions, generate_blob_sas

    url = container.get_blob_client(name).url
    sas = generate_blob_sas(
        account_name=str(container.account_name),
        container_name=container.container_name,
        blob_name=name,
        permission=BlobSasPermissions(read=read, create=create, write=write),
        start=now - _SKEW,
        expiry=ends,
        protocol="https" if url.startswith("https://") else "https,http",
        **key,
    )
    return f"{url}?{sas}"
