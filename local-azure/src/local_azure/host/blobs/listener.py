"""Invokes a function for every new version of a blob, once, by receipts in AzureWebJobsStorage."""

import asyncio
from collections.abc import Sequence
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import BlobServiceClient

from local_azure.host.blobs.path import BlobPath, blob_of_url
from local_azure.host.errors import IndexingError
from local_azure.host.functions import Function
from local_azure.host.invocation import InvocationFailed, decode
from local_azure.host.listener import Services, pause
from local_azure.host.logs import HOST_LOGGER
from local_azure.host.storage import HostStorage, host_id, open_blob_service
from local_azure.host.trigger_data.blobs import ReceivedBlob
from local_azure.host.trigger_data.blobs import blob as sent

__all__ = ["BlobListener"]

# Seconds between two scans of a container. In Azure a scan can lag by minutes.
_SCAN_SECONDS = 2.0


class BlobListener:
    """One blob function.

    By default the container is scanned; with source EventGrid it listens behind
    `/runtime/webhooks/blobs?functionName=Host.Functions.NAME`. A blob that fails `poisonBlobThreshold` times
    is given up, with an error in the log; the platform's poison queue is not written.
    """

    webhook = "blobs"

    def __init__(self, function: Function, services: Services) -> None:
        self.function = function
        self._services = services
        where = f"function {function.name}"
        settings = services.settings
        self._connection = settings.connection(function.setting("connection") or "AzureWebJobsStorage", where)
        self._storage = settings.connection("AzureWebJobsStorage", where)
        self._by_event_grid = function.setting("source").lower() == "eventgrid"
        try:
            self._path = BlobPath(function.setting("path"))
        except ValueError as error:
            raise IndexingError(f"{where}: {error}") from None
        self._seen: dict[str, str] = {}
        self._slots = asyncio.Semaphore(services.options.blobs.max_degree_of_parallelism)

    @property
    def name(self) -> str:
        return self.function.name

    @property
    def webhook_name(self) -> str:
        return f"Host.Functions.{self.function.name}"

    async def run(self) -> None:
        """Scan until the host ends, or wait for its end if Event Grid tells of blobs."""
        if self._by_event_grid:
            await self._services.stopping.wait()
            return
        async with open_blob_service(self._connection) as service, open_blob_service(self._storage) as host:
            storage = await self._receipts(host)
            while not self._services.stopping.is_set():
                await self._scan(service, storage)
                await pause(self._services.stopping, _SCAN_SECONDS)

    async def close(self) -> None:
        """Nothing is left open after `run`."""

    async def run_manually(self, text: str) -> None:
        """Invoke for one blob given as `container/name`, as the admin endpoint does."""
        async with open_blob_service(self._connection) as service:
            container, _, blob = text.partition("/")
            await self._invoke(service, container, blob, self._path.match(blob) or {})

    async def deliver(self, events: Sequence[dict[str, Any]]) -> bool:
        """Process the blobs that BlobCreated events tell of; False if any is to be sent again."""
        async with open_blob_service(self._connection) as service, open_blob_service(self._storage) as host:
            storage = await self._receipts(host)
            found = [blob for event in events if (blob := self._blob_of(event))]
            return all(await asyncio.gather(*(self._once(service, storage, blob, "") for blob in found)))

    async def _receipts(self, host: BlobServiceClient) -> HostStorage:
        storage = HostStorage(host, host=host_id(self._services.settings), instance=self._services.instance)
        await storage.ensure_container()
        return storage

    def _blob_of(self, event: dict[str, Any]) -> str | None:
        kind = str(event.get("eventType") or event.get("type"))
        data = event.get("data")
        if not kind.endswith("BlobCreated") or not isinstance(data, dict):
            return None
        blob = blob_of_url(str(data.get("url", "")))
        if blob is None or blob[0] != self._path.container or self._path.match(blob[1]) is None:
            return None
        return blob[1]

    async def _scan(self, service: BlobServiceClient, storage: HostStorage) -> None:
        container = service.get_container_client(self._path.container)
        work: list[asyncio.Task[bool]] = []
        try:
            async with asyncio.TaskGroup() as group:
                async for blob in container.list_blobs(name_starts_with=self._path.prefix or None):
                    if self._seen.get(blob.name) == blob.etag or self._path.match(blob.name) is None:
                        continue
                    await self._slots.acquire()
                    task = group.create_task(self._once(service, storage, blob.name, blob.etag))
                    task.add_done_callback(lambda _: self._slots.release())
                    work.append(task)
                    if self._services.stopping.is_set():
                        break
        except* ResourceNotFoundError:
            self._seen.clear()  # no container (any more): nothing to do until there is one

    async def _once(self, service: BlobServiceClient, storage: HostStorage, blob: str, etag: str) -> bool:
        """Process one version of a blob unless its receipt says that it is done; False to try again later."""
        values = self._path.match(blob) or {}
        try:
            client = service.get_blob_client(self._path.container, blob)
            etag = etag or str((await client.get_blob_properties()).etag)
        except ResourceNotFoundError:
            return True
        version = etag.strip('"')
        receipt = f"blobreceipts/Host.Functions.{self.name}/{version}/{self._path.container}/{blob}"
        async with storage.hold(f"{receipt}.lock") as lost:
            if lost is None:
                return False  # another instance is at it
            record = await storage.read(receipt) or {"failures": 0, "completed": False}
            if not record["completed"]:
                record = await self._attempt(service, blob, values, record)
                await storage.write(receipt, record)
        if record["completed"]:
            self._seen[blob] = etag
        return bool(record["completed"])

    async def _attempt(
        self, service: BlobServiceClient, blob: str, values: dict[str, str], record: dict[str, Any]
    ) -> dict[str, Any]:
        threshold = self._services.options.blobs.poison_blob_threshold
        try:
            await self._invoke(service, self._path.container, blob, values)
        except ResourceNotFoundError:
            return {**record, "completed": True}  # deleted in the meantime
        except InvocationFailed:
            failures = int(record["failures"]) + 1
            if failures >= threshold:
                HOST_LOGGER.error(
                    "Function '%s' failed %d times for the blob %s and gives it up", self.name, failures, blob
                )
            return {"failures": failures, "completed": failures >= threshold}
        return {**record, "completed": True}

    async def _invoke(self, service: BlobServiceClient, container: str, blob: str, values: dict[str, str]) -> None:
        client = service.get_blob_client(container, blob)
        stream = await client.download_blob()
        content: bytes = await stream.readall()
        given = _received(container, blob, client.url, content, await client.get_blob_properties(), values)
        trigger = self.function.trigger
        invoker = self._services.invoker
        await invoker.invoke(
            self.function, lambda: decode(trigger, *sent(given)), reason=f"New blob detected: {container}/{blob}",
            trace=invoker.trace(attributes={"OperationName": self.name}),
        )  # fmt: skip


def _received(
    container: str, blob: str, url: str, content: bytes, properties: BlobProperties, values: dict[str, str]
) -> ReceivedBlob:
    settings = properties.content_settings
    return ReceivedBlob(
        container=container,
        name=blob,
        url=url,
        content=content,
        last_modified=properties.last_modified,
        created=properties.creation_time or properties.last_modified,
        blob_type=str(getattr(properties.blob_type, "value", properties.blob_type)),
        lease_state=str(properties.lease.state or "available"),
        lease_status=str(properties.lease.status or "unlocked"),
        content_type=settings.content_type,
        content_encoding=settings.content_encoding,
        content_disposition=settings.content_disposition,
        content_language=settings.content_language,
        cache_control=settings.cache_control,
        content_md5=None if settings.content_md5 is None else bytes(settings.content_md5),
        access_tier=properties.blob_tier,
        access_tier_inferred=bool(properties.blob_tier_inferred),
        access_tier_changed=properties.blob_tier_change_time,
        server_encrypted=bool(properties.server_encrypted),
        sequence_number=properties.page_blob_sequence_number or 0,
        metadata=dict(properties.metadata or {}),
        path_values=values,
    )
