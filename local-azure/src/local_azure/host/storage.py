"""What the host keeps in AzureWebJobsStorage: leases that make one instance the only one, and small records."""

import asyncio
import contextlib
import json
import re
import uuid
from collections.abc import AsyncIterator
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobLeaseClient, BlobServiceClient

from local_azure.host.settings import AppSettings, Connection

__all__ = ["HOST_CONTAINER", "HostStorage", "LeaseLost", "host_id", "open_blob_service"]

HOST_CONTAINER = "azure-webjobs-hosts"

# The platform's singleton lock period, in seconds; storage allows 15 to 60.
_LEASE_SECONDS = 15
_RENEW_SECONDS = 5.0


class LeaseLost(Exception):
    """Another instance holds the lease now, or the storage could not be reached in time."""


def host_id(settings: AppSettings) -> str:
    """Names this app in shared storage; the platform derives it from the site's name."""
    name = settings.get("AzureFunctionsWebHost__hostid") or settings.get("WEBSITE_SITE_NAME") or "local"
    return re.sub(r"[^a-z0-9-]", "-", name.lower())[:32].strip("-") or "local"


@contextlib.asynccontextmanager
async def open_blob_service(connection: Connection) -> AsyncIterator[BlobServiceClient]:
    """A Blob client for a connection, closed in the end."""
    if connection.connection_string is not None:
        async with BlobServiceClient.from_connection_string(connection.connection_string) as client:
            yield client
        return
    from azure.identity.aio import DefaultAzureCredential

    async with (
        DefaultAzureCredential() as credential,
        BlobServiceClient(str(connection.service_uri), credential=credential) as client,
    ):
        yield client


class HostStorage:
    """The container `azure-webjobs-hosts` of one storage account."""

    def __init__(self, service: BlobServiceClient, *, host: str, instance: str) -> None:
        self._container = service.get_container_client(HOST_CONTAINER)
        self._host = host
        # A restarted instance proposes the same id, and so takes up its own lease again.
        self._lease_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{host}/{instance}"))

    async def ensure_container(self) -> None:
        """Create the container where it is missing."""
        with contextlib.suppress(ResourceExistsError):
            await self._container.create_container()

    async def read(self, path: str) -> dict[str, Any] | None:
        """A record, or None where there is none or it cannot be understood."""
        try:
            stream = await self._container.download_blob(self._path(path))
            content = json.loads(await stream.readall())
        except (ResourceNotFoundError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    async def write(self, path: str, record: dict[str, Any]) -> None:
        """Replace a record."""
        await self._container.upload_blob(self._path(path), json.dumps(record).encode(), overwrite=True)

    @contextlib.asynccontextmanager
    async def hold(self, path: str) -> AsyncIterator[asyncio.Event | None]:
        """Hold a lease for as long as the block runs; None if another instance has it.

        The event is set when the lease was lost.
        """
        lease = await self._acquire(path)
        if lease is None:
            yield None
            return
        lost = asyncio.Event()
        renewing = asyncio.create_task(_renew(lease, lost))
        try:
            yield lost
        finally:
            renewing.cancel()
            with contextlib.suppress(AzureError, asyncio.CancelledError):
                await lease.release()

    async def _acquire(self, path: str) -> BlobLeaseClient | None:
        blob = self._container.get_blob_client(self._path(path))
        with contextlib.suppress(ResourceExistsError):
            await blob.upload_blob(b"", overwrite=False)
        lease = BlobLeaseClient(blob, lease_id=self._lease_id)
        try:
            await lease.acquire(lease_duration=_LEASE_SECONDS)
        except HttpResponseError as error:
            if error.status_code == 409:
                return None
            raise
        return lease

    def _path(self, path: str) -> str:
        first, _, rest = path.partition("/")
        return f"{first}/{self._host}/{rest}"


async def _renew(lease: BlobLeaseClient, lost: asyncio.Event) -> None:
    while True:
        await asyncio.sleep(_RENEW_SECONDS)
        try:
            await lease.renew()
        except AzureError:
            lost.set()
            return
