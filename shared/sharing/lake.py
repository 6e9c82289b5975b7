"""The lake's files in Blob storage: tables by the Delta library, their log and links by the storage's own client."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from azure.core.exceptions import ResourceNotFoundError

from shared.blobs import Container, ReadLinks
from shared.lake.tables import LakeError, LakeStore, LakeUnavailable, Layer, TableMissing, VersionMissing
from shared.telemetry import log_event

from .changes import LogReader
from .errors import BadQuestion, LakeAway, NotReadable, NotShared

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["AzureLakeFiles"]

T = TypeVar("T")

_LARGEST_COMMIT = 64 * 1024 * 1024


class AzureLakeFiles:
    """Tables as `<layer>/<table>` in one container.

    Parameters
    ----------
    links:
        Makes links to the container's blobs.
    """

    def __init__(
        self, store: LakeStore, container: Container, links: ReadLinks, *, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._container = container
        self._links = links
        self._now = now

    async def read(self, layer: str, name: str, call: Callable[["DeltaTable"], T]) -> T:
        """What a blocking call returns of a table that was opened at its last version; raises SharingError."""
        table: DeltaTable | None = None
        try:
            table = await self._store.open(Layer(layer), name)
            return await self._store.run(Layer(layer), name, call, table)
        except (TableMissing, VersionMissing):
            if table is None:
                raise NotShared("The table isn't there yet.") from None
            raise BadQuestion("The table has no such version, or its log doesn't reach back so far.") from None
        except LakeUnavailable as error:
            log_event("lake not read", level=logging.WARNING, reason=error.reason)
            raise LakeAway("The lake can't be read just now. Ask again.") from None
        except LakeError as error:
            log_event("table not read", level=logging.ERROR, table=error.table, reason=error.reason)
            raise NotReadable("The table's log can't be read.") from None

    def log(self, layer: str, name: str) -> LogReader:
        """What reads a table's log."""

        async def read(version: int) -> bytes | None:
            blob = self._container.get_blob_client(f"{layer}/{name}/_delta_log/{version:020d}.json")
            try:
                found = await blob.download_blob()
                if found.size > _LARGEST_COMMIT:
                    raise BadQuestion(f"Version {version} of the table is too large to be read.")
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
