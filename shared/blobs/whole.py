"""Files in folders of a container: listed with their metadata, read whole, written under a condition."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

__all__ = ["StoredFile", "WholeFiles"]

_TIMEOUT = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """A file as it is listed; `size` is in bytes."""

    name: str
    size: int
    etag: str
    modified: datetime
    metadata: Mapping[str, str]


class WholeFiles:
    """The files of one container, which is empty where there is none, and made when something is written.

    What the storage raises is passed on, but for what isn't there and for a condition that doesn't hold.
    """

    def __init__(self, container: "ContainerClient") -> None:
        self._container = container

    async def folders(self, prefix: str) -> AsyncIterator[str]:
        """The names of the folders right below a prefix, which ends with a slash."""
        from azure.storage.blob.aio import BlobPrefix

        try:
            async for one in self._container.walk_blobs(name_starts_with=prefix, delimiter="/", timeout=_TIMEOUT):
                if isinstance(one, BlobPrefix):
                    yield one.name.removeprefix(prefix).strip("/")
        except ResourceNotFoundError:
            return

    async def listed(self, prefix: str) -> AsyncIterator[StoredFile]:
        """The files whose names begin with a prefix, in the order of the alphabet."""
        try:
            async for one in self._container.list_blobs(
                name_starts_with=prefix, include=["metadata"], timeout=_TIMEOUT
            ):
                yield _stored(one)
        except ResourceNotFoundError:
            return

    async def find(self, name: str) -> StoredFile | None:
        """A file as it is now; None where there is none."""
        try:
            return _stored(await self._container.get_blob_client(name).get_blob_properties(timeout=_TIMEOUT))
        except ResourceNotFoundError:
            return None

    async def read(self, name: str) -> bytes | None:
        """A file's bytes; None where there is none."""
        try:
            return bytes(await (await self._container.download_blob(name, timeout=_TIMEOUT)).readall())
        except ResourceNotFoundError:
            return None

    async def write(self, name: str, data: bytes, metadata: Mapping[str, str], *, md5: bytes, etag: str = "") -> bool:
        """Write a file whole, checked by the storage against its MD5.

        False where there is one already, or, with an `etag`, where it isn't that version any more.
        """
        from azure.storage.blob import ContentSettings

        condition: dict[str, Any] = {"overwrite": False}
        if etag:
            condition = {"overwrite": True, "etag": etag, "match_condition": MatchConditions.IfNotModified}
        settings = ContentSettings(content_type="application/octet-stream", content_md5=bytearray(md5))
        made = False
        while True:
            try:
                await self._container.upload_blob(
                    name,
                    data,
                    metadata=dict(metadata),
                    content_settings=settings,
                    validate_content=True,
                    timeout=_TIMEOUT,
                    **condition,
                )
            except (ResourceExistsError, ResourceModifiedError):
                return False
            except ResourceNotFoundError:
                if etag or made:
                    raise
                made = True
                await self._make()
            else:
                return True

    async def delete(self, name: str, *, etag: str) -> bool:
        """Delete a version of a file; False where it is another one, or gone."""
        condition = MatchConditions.IfNotModified
        try:
            await self._container.delete_blob(name, etag=etag, match_condition=condition, timeout=_TIMEOUT)
        except (ResourceNotFoundError, ResourceModifiedError):
            return False
        return True

    async def close(self) -> None:
        """Close the container's HTTP session."""
        await self._container.close()

    async def _make(self) -> None:
        try:
            await self._container.create_container()
        except ResourceExistsError:
            return


def _stored(found: Any) -> StoredFile:
    return StoredFile(
        name=found.name,
        size=found.size,
        etag='"' + found.etag.strip('"') + '"',  # a listing has it without the quotes of the header
        modified=found.last_modified,
        metadata=found.metadata or {},
    )
