"""Links into the storage for those who have no identity there: signed by a key that the app's identity is lent."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from azure.core.exceptions import ResourceExistsError

if TYPE_CHECKING:
    from azure.storage.blob import UserDelegationKey
    from azure.storage.blob.aio import BlobServiceClient, ContainerClient

__all__ = ["Links"]

_LIVES = timedelta(hours=1)
_KEY_LIVES = timedelta(hours=8)
_SKEW = timedelta(minutes=5)
"""A clock that is behind ours must not take a new link for one of tomorrow."""


class Links:
    """Makes user-delegation SAS links.

    They hold no account key, end within the hour, and end with the identity's role: taking that away is how all of
    them are withdrawn at once.

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
        self._key_ends: datetime | None = None

    async def writing(self, container: "ContainerClient", name: str, *, now: datetime) -> tuple[str, datetime]:
        """A link with which one blob can be written, over HTTPS alone, and when it ends."""
        from azure.storage.blob import BlobSasPermissions, generate_blob_sas

        ends = now + _LIVES
        key = await self._lent_key(container, now, ends)
        blob = container.get_blob_client(name)
        sas = generate_blob_sas(
            account_name=str(container.account_name),
            container_name=container.container_name,
            blob_name=name,
            user_delegation_key=key,
            permission=BlobSasPermissions(create=True, write=True),
            start=now - _SKEW,
            expiry=ends,
            protocol="https",
        )
        return f"{blob.url}?{sas}", ends

    async def _lent_key(self, container: "ContainerClient", now: datetime, needed: datetime) -> "UserDelegationKey":
        if self._service is None:
            self._service = self._make()
        if self._key is None or self._key_ends is None or self._key_ends < needed:
            ends = now + _KEY_LIVES
            async with asyncio.timeout(self._timeout):
                key = await self._service.get_user_delegation_key(now - _SKEW, ends)
                with suppress(ResourceExistsError):  # who has a link only can't make the container
                    await container.create_container()
            self._key, self._key_ends = key, ends
        return self._key

    async def close(self) -> None:
        """Close the account's HTTP session."""
        if self._service is not None:
            await self._service.close()
