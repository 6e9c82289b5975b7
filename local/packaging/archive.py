"""Writes a zip that is the same, byte for byte, whenever its entries are the same."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from local.packaging.errors import PackageError

__all__ = ["Written", "replacing", "write_zip"]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can say
_UNIX = 3
_MODE = 0o644 << 16
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Written(NamedTuple):
    """What was written: bytes, and their SHA-256."""

    size: int
    sha256: str


def write_zip(target: Path, entries: Iterable[tuple[str, bytes]], *, compressed: bool = False) -> Written:
    """Write the entries in the order in which they come; the target appears whole or not at all.

    Parameters
    ----------
    compressed:
        Deflate the entries. Bytes are then the same only with the same zlib: what has to be made again anywhere
        is stored.

    Raises
    ------
    PackageError
        The target can't be written, or a name is not text.
    """
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with replacing(target) as partial:
        with zipfile.ZipFile(partial, "w", method, compresslevel=9 if compressed else None) as archive:
            for name, content in entries:
                archive.writestr(_entry(name, method), content)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = partial.stat().st_size
    return Written(size, digest)


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A file to write to that takes the target's place at the end, and leaves nothing behind when that fails.

    Raises
    ------
    PackageError
        The disk is full, or the folder can't be written to.
    """
    partial = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, target)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise PackageError(f"there is no room for {target}: free some and run this again.") from None
        raise PackageError(f"{target} can't be written: {error.strerror or error}.") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _entry(name: str, method: int) -> zipfile.ZipInfo:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise PackageError(f"the file name {name!r} is not UTF-8: rename it.") from None
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.create_system = _UNIX  # as on every other system: it would be told from the one that writes
    entry.external_attr = _MODE
    entry.compress_type = method
    return entry
