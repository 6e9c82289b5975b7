"""Makes a payload ready for its upload: digest, size and encoding are known, and its bytes can be read in blocks."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from tempfile import SpooledTemporaryFile
from typing import Protocol, TypeVar

from shared.encryption import StreamEncryptor

from .encoding import PIECE, Encoder, encoding_for
from .reference import ENCRYPTED, PayloadTooLarge

__all__ = ["BLOCK", "WHOLE", "Content", "offload", "prepared"]

BLOCK = 1024 * 1024
"""Bytes of a staged block."""
WHOLE = 8 * 1024 * 1024
"""What takes no more than this in storage goes up in one request."""
_INLINE = 128 * 1024
"""Less is computed on the event loop: passing it to a thread would cost more than it saves."""
_GATHERED = 256 * 1024

T = TypeVar("T")

NewEncryptor = Callable[[], StreamEncryptor]


class Content(Protocol):
    """A payload that is ready to go up.

    Attributes
    ----------
    whole:
        All that is to be stored, where that is little; else `blocks` gives it.
    """

    @property
    def sha256(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def encoding(self) -> str | None: ...
    @property
    def whole(self) -> bytes | None: ...

    def blocks(self) -> AsyncGenerator[bytes, None]:
        """What is to be stored in blocks of `BLOCK` bytes, the last one apart; may be asked for again."""
        ...


async def offload(size: int, work: Callable[[], T]) -> T:
    """Compute on `size` bytes without holding up the event loop."""
    return work() if size <= _INLINE else await asyncio.to_thread(work)


@asynccontextmanager
async def prepared(
    payload: bytes | AsyncIterable[bytes], *, limit: int, encrypt: NewEncryptor | None = None
) -> AsyncIterator[Content]:
    """Make a payload ready.

    A stream's name depends on its digest, which is known at its end only. So it is compressed into a temporary
    file first (memory, while it is small), and a stream that breaks off leaves nothing in storage. Where it is
    encrypted, it is encrypted on its way into the file too.

    Parameters
    ----------
    encrypt:
        Begins an encrypted stream; each time that the payload is encoded it is another one.

    Raises
    ------
    PayloadTooLarge
        As soon as more than `limit` bytes have come.
    """
    if isinstance(payload, bytes):
        if len(payload) > limit:
            raise PayloadTooLarge(f"The payload has {len(payload)} bytes; {limit} are taken.")
        yield await offload(len(payload), lambda: _InMemory(payload, encrypt))
        return
    spool = _Spool(limit, encrypt)
    try:
        async for gathered in _gathered(payload):
            await asyncio.to_thread(spool.feed, gathered)
        await asyncio.to_thread(spool.finish)
        yield spool
    finally:
        spool.close()


async def _gathered(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Small pieces put together, so that each is worth a thread's while."""
    gathered: list[bytes] = []
    size = 0
    async for piece in pieces:
        gathered.append(piece)
        size += len(piece)
        if size >= _GATHERED:
            yield b"".join(gathered)
            gathered, size = [], 0
    yield b"".join(gathered)


class _InMemory:
    """A payload that is in memory already."""

    def __init__(self, payload: bytes, encrypt: NewEncryptor | None) -> None:
        self._payload = payload
        self._encrypt = encrypt
        self.size = len(payload)
        self.sha256 = hashlib.sha256(payload).hexdigest()
        self._compression = encoding_for(payload)
        self.encoding = _named(self._compression, encrypted=encrypt is not None)
        self.whole: bytes | None = None
        if self.size <= WHOLE:
            encoder = self._encoder()
            self.whole = payload if self.encoding is None else encoder.feed(payload) + encoder.finish()

    def _encoder(self) -> Encoder:
        return Encoder(self._compression, self._encrypt() if self._encrypt is not None else None)

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Compressed as they go."""
        blocks = _blocks(self._encoder(), self._payload)
        while block := await asyncio.to_thread(next, blocks, b""):
            yield block


def _blocks(encoder: Encoder, payload: bytes) -> Iterator[bytes]:
    pending = bytearray()
    for piece in _pieces(payload):
        pending += encoder.feed(piece)
        if len(pending) >= BLOCK:
            yield bytes(memoryview(pending)[:BLOCK])
            del pending[:BLOCK]
    pending += encoder.finish()
    for start in range(0, len(pending), BLOCK):
        yield bytes(memoryview(pending)[start : start + BLOCK])


def _pieces(payload: bytes) -> Iterator[memoryview]:
    view = memoryview(payload)
    for start in range(0, len(payload), PIECE):
        yield view[start : start + PIECE]


class _Spool:
    """A stream on its way through a temporary file."""

    def __init__(self, limit: int, encrypt: NewEncryptor | None) -> None:
        self._limit = limit
        self._encrypt = encrypt
        self._hash = hashlib.sha256()
        self._encoder: Encoder | None = None
        self._file = SpooledTemporaryFile[bytes](max_size=WHOLE)
        self.size = 0
        self.encoding: str | None = None
        self.whole: bytes | None = None

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def feed(self, gathered: bytes) -> None:
        self.size += len(gathered)
        if self.size > self._limit:
            raise PayloadTooLarge(f"The payload has more than the {self._limit} bytes that are taken.")
        if self._encoder is None:
            compression = encoding_for(gathered)
            self.encoding = _named(compression, encrypted=self._encrypt is not None)
            self._encoder = Encoder(compression, self._encrypt() if self._encrypt is not None else None)
        for piece in _pieces(gathered):
            self._hash.update(piece)
            self._file.write(self._encoder.feed(piece))

    def finish(self) -> None:
        if self._encoder is not None:
            self._file.write(self._encoder.finish())
        if self._file.tell() <= WHOLE:
            self._file.seek(0)
            self.whole = self._file.read()

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        self._file.seek(0)
        while block := await asyncio.to_thread(self._file.read, BLOCK):
            yield block

    def close(self) -> None:
        self._file.close()


def _named(compression: str | None, *, encrypted: bool) -> str | None:
    if not encrypted:
        return compression
    return ENCRYPTED if compression is None else f"{compression}+{ENCRYPTED}"
