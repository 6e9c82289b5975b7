"""The lake's files in Blob storage: tables by the Delta library, their log and links by the storage's own client."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from azure.core.exceptions import ResourceNotFoundError

from shared.blobs import ReadLinks

from .changes import LogReader
from .errors import BadQuestion, NotShared

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient
    from deltalake import DeltaTable

__all__ = ["AzureLakeFiles"]

_LARGEST_COMMIT = 64 * 1024 * 1024


class AzureLakeFiles:
    """Tables as `<layer>/<table>` in one container.

    Parameters
    ----------
    uri:
        From a path in the container to what the Delta library calls it.
    options:
        How that library reaches the storage.
    links:
        Makes links to the container's blobs.
    """

    def __init__(
        self,
        container: "ContainerClient",
        *,
        uri: Callable[[str], str],
        options: Mapping[str, str],
        links: ReadLinks,
        now: Callable[[], datetime],
    ) -> None:
        self._container = container
        self._uri = uri
        self._options = dict(options)
        self._links = links
        self._now = now

    def open(self, layer: str, name: str) -> "DeltaTable":
        """The table at its last version; blocks. Raises NotShared where there is none yet."""
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        try:
            return DeltaTable(self._uri(f"{layer}/{name}"), storage_options=self._options)
        except TableNotFoundError:
            raise NotShared("The table isn't there yet.") from None

    def log(self, layer: str, name: str) -> LogReader:
        """What reads a table's log."""

        async def read(version: int) -> bytes | None:
            blob = self._container.get_blob_client(f"{layer}/{name}/_delta_log/{version:020d}.json")
            try:
                found = await blob.download_blob()
                if found.size > _LARGEST_COMMIT:
                    raise BadQuestion(f"Version {version} of the table is too large to be told.")
                return bytes(await found.readall())
            except ResourceNotFoundError:
                return None

        return read

    async def links(self, layer: str, name: str, ends: datetime) -> Callable[[str], str]:
        """From a file's path in the table to a link that ends then."""
        signed = await self._links.until(ends, now=self._now())
        return lambda path: signed(f"{layer}/{name}/{path}")

    async def close(self) -> None:
        """Close the storage's clients."""
        await self._links.close()
        await self._container.close()
