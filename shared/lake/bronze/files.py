"""The files of bronze: what is known of each, and where it lies.

Layout as Event Hubs Capture's: `{namespace}/{hub}/{partition}/{year}/{month}/{day}/{hour}/{minute}/{second}.avro`,
named by when the first event came. A second file of the same second has its first sequence number behind it.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from azure.core.exceptions import AzureError, ClientAuthenticationError

from shared.blobs import StoredFile, WholeFiles

from .errors import BronzeUnavailable

__all__ = ["BronzeFile", "BronzeFiles", "Range", "range_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """What a file holds.

    Attributes
    ----------
    first, last:
        Sequence numbers of its first and its last event.
    count:
        Its events.
    md5:
        Of its bytes, in hexadecimal.
    log:
        The identity of the log that the numbers are of, as `EventLog` has it; "" where nobody knows.
    """

    first: int
    last: int
    count: int
    md5: str
    log: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BronzeFile:
    """A file as it is listed. `range` is None where whoever wrote it says nothing: Event Hubs Capture."""

    name: str
    size: int
    etag: str
    modified: datetime
    range: Range | None


class BronzeFiles:
    """The files of one hub; everything raises BronzeUnavailable where the storage doesn't answer.

    Parameters
    ----------
    root:
        `{namespace}/{hub}`.
    """

    def __init__(self, files: WholeFiles, root: str) -> None:
        self._files = files
        self.root = root.strip("/")

    async def partitions(self) -> list[str]:
        """The partitions that have files."""
        return sorted(await self._folders(f"{self.root}/"), key=lambda one: (len(one), one))

    async def days(self, partition: str) -> list[str]:
        """`2026/11/30` for each day that has files, in order."""
        prefix = f"{self.root}/{partition}/"
        found = await self._folders(prefix)
        for _ in range(2):  # months, then days
            found = [f"{above}/{one}" for above in found for one in await self._folders(f"{prefix}{above}/")]
        return sorted(found)

    async def of_day(self, partition: str, day: str) -> list[BronzeFile]:
        """A day's files by their names."""
        with _available():
            found = [one async for one in self._files.listed(f"{self.root}/{partition}/{day}/")]
        return [_bronze(one) for one in found if one.name.endswith(".avro")]

    async def read(self, name: str) -> bytes | None:
        """A file's bytes; None where it has vanished."""
        with _available():
            return await self._files.read(name)

    async def find(self, name: str) -> BronzeFile | None:
        """A file as it is now; None where there is none."""
        with _available():
            found = await self._files.find(name)
        return None if found is None else _bronze(found)

    async def write(self, name: str, data: bytes, content: Range, *, etag: str = "") -> bool:
        """Write a file whole; False where there is one already, or where it isn't the version `etag` any more."""
        metadata = {
            "first": str(content.first),
            "last": str(content.last),
            "count": str(content.count),
            "md5": content.md5,
            **({"log": content.log} if content.log else {}),
        }
        with _available():
            return await self._files.write(name, data, metadata, md5=bytes.fromhex(content.md5), etag=etag)

    async def delete(self, file: BronzeFile) -> bool:
        """Delete a file that is still the version that was listed; False where it isn't."""
        with _available():
            return await self._files.delete(file.name, etag=file.etag)

    async def close(self) -> None:
        """Close the container's HTTP session."""
        await self._files.close()

    async def _folders(self, prefix: str) -> list[str]:
        with _available():
            return [one async for one in self._files.folders(prefix)]


def range_of(first: int, last: int, count: int, data: bytes, log: str) -> Range:
    """The range of a file with these bytes."""
    return Range(first=first, last=last, count=count, md5=hashlib.md5(data, usedforsecurity=False).hexdigest(), log=log)


@contextmanager
def _available() -> Iterator[None]:
    try:
        yield
    except AzureError as error:
        does = "refuses the app" if isinstance(error, ClientAuthenticationError) else "fails"
        raise BronzeUnavailable(f"the lake's storage {does}: {type(error).__name__}") from error


def _bronze(file: StoredFile) -> BronzeFile:
    return BronzeFile(
        name=file.name, size=file.size, etag=file.etag, modified=file.modified, range=_range(file.metadata)
    )


def _range(metadata: Mapping[str, str]) -> Range | None:
    """What a file's metadata say; None where they say nothing, or nothing that can be read."""
    try:
        return Range(
            first=int(metadata["first"]),
            last=int(metadata["last"]),
            count=int(metadata["count"]),
            md5=metadata["md5"],
            log=metadata.get("log") or "",
        )
    except (KeyError, ValueError):
        return None
