"""The lake's files on this machine's own disk: fetched once, kept while there is room.

A file of a Delta table never changes, so that what was fetched stays right. It may go, though, when the table is
vacuumed, for example since a person was erased: a copy of a file that no newest version needs is used only after a look
at the store.
"""

import asyncio
import hashlib
import os
import shutil
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .errors import Unreadable, VersionGone
from .snapshots import DataFile

__all__ = ["FileCache", "FolderSource", "Source", "files_gone"]

_FETCHES_AT_ONCE = 8


class Source(Protocol):
    """Where the lake is, such as `BlobFiles`; paths are below it."""

    async def size(self, path: str) -> int | None:
        """Bytes of a file; None where there is none."""
        ...

    async def fetch(self, path: str, target: Path) -> None:
        """Copy a file; FileNotFoundError where there is none."""
        ...

    async def read(self, path: str) -> bytes | None:
        """A small file whole; None where there is none."""
        ...

    async def folders(self, path: str) -> list[str]:
        """Names of the folders in one, sorted."""
        ...


class FolderSource:
    """A lake in a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def size(self, path: str) -> int | None:
        """See `Source`."""
        file = self._root / path
        return file.stat().st_size if file.is_file() else None

    async def fetch(self, path: str, target: Path) -> None:
        """See `Source`."""
        await asyncio.to_thread(shutil.copyfile, self._root / path, target)

    async def read(self, path: str) -> bytes | None:
        """See `Source`."""
        file = self._root / path
        return file.read_bytes() if file.is_file() else None

    async def folders(self, path: str) -> list[str]:
        """See `Source`."""
        folder = self._root / path
        return sorted(one.name for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []


@dataclass
class _Entry:
    local: Path
    size: int = 0
    users: int = 0
    whole: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class FileCache:
    """Copies of files in a folder that is this process's own.

    Parameters
    ----------
    capacity:
        Bytes that are kept; files in use are kept beyond it.
    """

    def __init__(self, source: Source, folder: Path, *, capacity: int) -> None:
        self._source = source
        self._folder = folder
        self._capacity = capacity
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._fetching = asyncio.Semaphore(_FETCHES_AT_ONCE)

    @asynccontextmanager
    async def copies(self, table: str, files: Sequence[DataFile], *, newest: bool) -> AsyncIterator[list[Path]]:
        """The local paths of a table's files, which stay until the context ends.

        Parameters
        ----------
        newest:
            They are of the newest version, so that none of them is gone.

        Raises
        ------
        VersionGone
            One isn't there any more.
        Unreadable
            One has another size than the log says.
        """
        entries = [self._entry(f"{table}/{file.path}") for file in files]
        for entry in entries:
            entry.users += 1
        try:
            try:
                async with asyncio.TaskGroup() as group:
                    for entry, file in zip(entries, files, strict=True):
                        group.create_task(self._ensure(entry, f"{table}/{file.path}", file.size, newest))
            except BaseExceptionGroup as failures:
                raise _first(failures) from None
            yield [entry.local for entry in entries]
        finally:
            for entry in entries:
                entry.users -= 1
            self._make_room()

    def _entry(self, path: str) -> _Entry:
        entry = self._entries.get(path)
        if entry is None:
            name = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()
            entry = self._entries[path] = _Entry(self._folder / f"{name}.parquet")
        self._entries.move_to_end(path)
        return entry

    async def _ensure(self, entry: _Entry, path: str, size: int, newest: bool) -> None:
        async with entry.lock, self._fetching:
            if not entry.whole:
                await self._fetch(entry, path, size)
                entry.whole = True
            elif not newest and await self._source.size(path) is None:
                entry.whole = False
                entry.local.unlink(missing_ok=True)
                raise files_gone()

    async def _fetch(self, entry: _Entry, path: str, size: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        coming = entry.local.with_suffix(".coming")
        try:
            await self._source.fetch(path, coming)
            found = coming.stat().st_size
            if size >= 0 and found != size:
                raise Unreadable("A file of this dataset isn't as long as its log says.")
            os.replace(coming, entry.local)
            entry.size = found
        except FileNotFoundError:
            raise files_gone() from None
        finally:
            coming.unlink(missing_ok=True)

    def _make_room(self) -> None:
        total = sum(entry.size for entry in self._entries.values())
        for path, entry in list(self._entries.items()):
            unused = entry.users == 0
            if unused and (total > self._capacity or not entry.whole):
                total -= entry.size
                entry.local.unlink(missing_ok=True)
                del self._entries[path]

    async def close(self) -> None:
        """Delete the copies."""
        self._entries.clear()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)


def files_gone() -> VersionGone:
    """What to raise where a file of a version isn't there."""
    return VersionGone("Files of this version are gone: the table was vacuumed since. Ask for a newer one.")


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    found: BaseException = failures
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
