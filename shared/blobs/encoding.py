"""Compresses payloads where it pays, and reads them back within bounds. No I/O."""

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from shared.encryption import DataKey, StreamDecryptor, StreamEncryptor, stream_size

from .reference import BlobChanged, BlobReference

if TYPE_CHECKING:
    from .zstandard import zstd

__all__ = ["PIECE", "SAMPLE", "ZSTD", "Decryptor", "Encoder", "PayloadDecoder", "encoding_for", "largest_stored"]

ZSTD = "zstd"
SAMPLE = 64 * 1024
"""Bytes at the head of a payload that tell whether compressing pays."""
PIECE = 512 * 1024
"""Most that is compressed or decompressed in one go, in plain bytes."""
_PAYS_BELOW = 0.8
_LEVEL = 1
_WINDOW_LOG_MAX = 23
"""A frame may ask the reader for a window of 8 MiB, no more (RFC 8878, 3.1.1.1.2); ours ask for half a MiB."""


def encoding_for(sample: "bytes | memoryview") -> str | None:
    """How to store a payload that begins with `sample`: compressed only if that saves a fifth or more."""
    from .zstandard import zstd

    if len(zstd.compress(bytes(sample[:SAMPLE]), _LEVEL)) < _PAYS_BELOW * len(sample[:SAMPLE]):
        return ZSTD
    return None


def largest_stored(reference: BlobReference) -> int:
    """Most bytes of storage that a payload may take: what can't be compressed grows by its frame's overhead."""
    size = reference.size if reference.compression is None else reference.size + reference.size // 128 + 1024
    return stream_size(size) if reference.is_encrypted else size


class Encoder:
    """Turns a payload, piece by piece, into what is stored: compressed first, then encrypted."""

    def __init__(self, compression: str | None, encryptor: StreamEncryptor | None = None) -> None:
        from .zstandard import zstd

        self._compressor = zstd.ZstdCompressor(_LEVEL) if compression == ZSTD else None
        self._encryptor = encryptor

    def feed(self, piece: "bytes | memoryview") -> bytes:
        """What can be stored so far; often less than was given, or nothing."""
        if self._compressor is not None:
            piece = self._compressor.compress(piece)
        return bytes(piece) if self._encryptor is None else self._encryptor.feed(piece)

    def finish(self) -> bytes:
        """The rest."""
        rest = b"" if self._compressor is None else self._compressor.flush()
        return rest if self._encryptor is None else self._encryptor.feed(rest) + self._encryptor.finish()


class Decryptor:
    """Decrypts what is stored; without a key it is passed on as it is."""

    def __init__(self, key: DataKey | None, *, place: bytes) -> None:
        self._decryptor = None if key is None else StreamDecryptor(key, aad=place)

    def feed(self, block: bytes) -> Iterator[bytes]:
        """The stored bytes of a block; raises ProtectionError."""
        return iter([block]) if self._decryptor is None else self._decryptor.feed(block)

    def finish(self) -> Iterator[bytes]:
        """The last stored bytes; raises ProtectionError where some are missing."""
        return iter([]) if self._decryptor is None else iter([self._decryptor.finish()])


class PayloadDecoder:
    """Turns what is stored, block by block, back into the payload, and checks all of it against its reference."""

    def __init__(self, reference: BlobReference) -> None:
        self._reference = reference
        self._left = reference.size
        self._hash = hashlib.sha256()
        self._decompressor = _decompressor(reference.compression)

    def feed(self, block: bytes) -> Iterator[bytes]:
        """The pieces of the payload in a block; to be used up before the next one is fed.

        Raises
        ------
        BlobChanged
            As soon as it is certain that this isn't the payload.
        """
        for piece in [block] if self._decompressor is None else self._decompressed(self._decompressor, block):
            self._left -= len(piece)
            if self._left < 0:
                raise BlobChanged(f"The payload is larger than the {self._reference.size} bytes it should have.")
            self._hash.update(piece)
            yield piece

    def finish(self) -> None:
        """Raise BlobChanged unless the payload is complete and the right one."""
        if self._left or (self._decompressor is not None and not self._decompressor.eof):
            raise BlobChanged(f"The payload ends before the {self._reference.size} bytes it should have.")
        if self._hash.hexdigest() != self._reference.sha256:
            raise BlobChanged("The payload's SHA-256 differs from the one it should have.")

    def _decompressed(self, decompressor: "zstd.ZstdDecompressor", block: bytes) -> Iterator[bytes]:
        from .zstandard import zstd

        data = block
        while True:
            if decompressor.eof:
                if data or decompressor.unused_data:
                    raise BlobChanged("Something follows the end of the payload.")
                return
            try:
                piece = decompressor.decompress(data, max_length=min(PIECE, self._left + 1))
            except zstd.ZstdError as error:
                raise BlobChanged(f"The payload can't be decompressed: {error}.") from error
            data = b""
            if piece:
                yield piece
            if decompressor.needs_input and not decompressor.eof:
                return


def _decompressor(encoding: str | None) -> "zstd.ZstdDecompressor | None":
    if encoding is None:
        return None
    if encoding != ZSTD:
        raise BlobChanged(f"The payload's encoding isn't known; {ZSTD!r} is.")
    from .zstandard import zstd

    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX})
