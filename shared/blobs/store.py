"""Keeps payloads in one container: each is uploaded once, and checked byte for byte when it is read."""

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from shared.encryption import DataKeys, StreamEncryptor, UnknownKey, stream_key_id

from .content import Content, offload, prepared
from .encoding import Decryptor, PayloadDecoder
from .reference import BlobMissing, BlobReference
from .sweeping import BlobSweeper, InUse
from .transfer import download, upload

if TYPE_CHECKING:
    from azure.storage.blob.aio import BlobClient, ContainerClient

__all__ = ["MAX_PAYLOAD", "BlobStore", "Container"]

Container: TypeAlias = "ContainerClient"
"""What a store of blobs is made on: the SDK's client of a container, which only this room knows."""

_TRIES = 3
MAX_PAYLOAD = 256 * 1024 * 1024
"""More than twice what a request's body may have."""


class BlobStore:
    """Payloads under names that follow from their content.

    Parameters
    ----------
    max_payload:
        Bytes of the largest payload that is kept or read.
    timeout:
        Seconds that one request may take, its retries included.
    keys:
        What payloads are encrypted and opened with; without them none is encrypted, and an encrypted one can't be read.
    encrypt:
        Encrypt what is kept from now on. What isn't encrypted is read all the same.
    """

    def __init__(
        self,
        container: "ContainerClient",
        *,
        max_payload: int = MAX_PAYLOAD,
        timeout: float = 60.0,
        keys: DataKeys | None = None,
        encrypt: bool = False,
    ) -> None:
        if encrypt and keys is None:
            raise ValueError("encryption needs keys")
        self._container = container
        self._keys = keys
        self._encrypt = encrypt
        self._max_payload = max_payload
        self._timeout = timeout

    async def put(
        self,
        payload: bytes | AsyncIterable[bytes],
        *,
        name: Callable[[str], str],
        place: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> BlobReference:
        """Return when Blob storage has the payload. One that is there already starts its retention anew.

        Parameters
        ----------
        name:
            Makes the blob's name of the payload's SHA-256.
        place:
            Whose payload it is; one that is encrypted can be opened as theirs only.

        Raises
        ------
        PayloadTooLarge
            Nothing was kept. Errors of the storage are passed on, as are those of the stream.
        """
        encryption = await self._encryption(place)
        async with prepared(payload, limit=self._max_payload, encrypt=encryption) as content:
            reference = BlobReference(name(content.sha256), content.sha256, content.size, content.encoding)
            return await self._keep(reference, content, metadata or {})

    async def _encryption(self, place: str) -> Callable[[], StreamEncryptor] | None:
        if not self._encrypt or self._keys is None:
            return None
        return partial(StreamEncryptor, await self._keys.current(), aad=_aad(place))

    async def _decryptor(self, reference: BlobReference, place: str, beginning: bytes) -> Decryptor:
        if not reference.is_encrypted:
            return Decryptor(None, place=b"")
        if self._keys is None:
            raise UnknownKey("The payload is encrypted, and the settings name no data key.")
        return Decryptor(await self._keys.get(stream_key_id(beginning)), place=_aad(place))

    async def _keep(self, reference: BlobReference, content: Content, metadata: Mapping[str, str]) -> BlobReference:
        blob = self._container.get_blob_client(reference.name)
        about = {**metadata, "sha256": reference.sha256, "size": str(reference.size)}
        if reference.encoding is not None:
            about["encoding"] = reference.encoding
        failures = 0
        while True:
            # A small payload is sent right away: the storage says when it has it.
            if (failures or content.whole is None) and (found := await self._kept(blob, reference)):
                return found
            try:
                await upload(blob, content, about, seconds=self._timeout)
            except HttpResponseError as error:
                failures += 1
                if failures == _TRIES or not await self._remedied(error):
                    raise
            else:
                return reference

    async def _remedied(self, error: HttpResponseError) -> bool:
        """Whether another try may go well."""
        if isinstance(error, ResourceNotFoundError):  # the container isn't there yet
            with suppress(ResourceExistsError):
                async with asyncio.timeout(self._timeout):
                    await self._container.create_container()
            return True
        # Somebody else was first: committing one upload removes the staged blocks of the others.
        return isinstance(error, ResourceExistsError) or getattr(error, "error_code", None) == "InvalidBlockList"

    async def open(self, reference: BlobReference, *, place: str = "") -> AsyncGenerator[bytes, None]:
        """The payload in pieces of a few MiB at most; only when the last one came is it certain that it is right.

        Raises
        ------
        BlobMissing, BlobChanged, ProtectionError
            Another try can't help; what was read before must not be used.
        KeysUnavailable
        """
        async with aclosing(self._pieces(reference, place)) as rounds:
            async for pieces in rounds:
                while piece := await offload(_step(reference), lambda: next(pieces, b"")):  # noqa: B023 - awaited at once
                    yield piece

    async def get(self, reference: BlobReference, *, place: str = "") -> bytes:
        """The whole payload, checked; raises as `open` does."""
        whole: io.BytesIO | None = None
        async with aclosing(self._pieces(reference, place)) as rounds:
            async for pieces in rounds:
                whole = await offload(reference.size, partial(_gathered, whole, pieces))
        return whole.getvalue() if whole is not None else b""

    async def _pieces(self, reference: BlobReference, place: str) -> AsyncGenerator[Iterator[bytes], None]:
        """For each block that comes what it holds of the payload, to be used up at once; checked at the end."""
        reference.check(limit=self._max_payload)
        decoder = PayloadDecoder(reference)
        blob = self._container.get_blob_client(reference.name)
        decryptor: Decryptor | None = None
        async with aclosing(download(blob, reference, seconds=self._timeout)) as blocks:
            async for block in blocks:
                if decryptor is None:
                    decryptor = await self._decryptor(reference, place, block)
                yield _decoded(decoder, decryptor.feed(block))
        if decryptor is not None:
            yield _decoded(decoder, decryptor.finish())
        decoder.finish()

    async def renew(self, name: str) -> None:
        """Start a payload's retention anew; raises BlobMissing."""
        try:
            await self._touch(self._container.get_blob_client(name))
        except ResourceNotFoundError:
            raise BlobMissing("The payload isn't in Blob storage.") from None

    async def _kept(self, blob: "BlobClient", reference: BlobReference) -> BlobReference | None:
        """The reference of a payload that is there already, its retention started anew."""
        try:
            return replace(reference, encoding=await self._touch(blob))
        except ResourceNotFoundError:
            return None

    async def _touch(self, blob: "BlobClient") -> str | None:
        """Write a blob's metadata as they were, which makes it young; returns its encoding."""
        async with asyncio.timeout(self._timeout):
            metadata: dict[str, str] = (await blob.get_blob_properties()).metadata
            await blob.set_blob_metadata(metadata)
        return metadata.get("encoding")

    def sweeper(
        self,
        *,
        in_use: InUse,
        retention: timedelta,
        now: Callable[[], datetime],
        short_lived: Mapping[str, timedelta] = {},
    ) -> BlobSweeper:
        """What deletes the container's old payloads that nobody refers to."""
        return BlobSweeper(self._container, in_use=in_use, retention=retention, now=now, short_lived=short_lived)

    async def probe(self) -> None:
        """Fail where the storage doesn't answer; whether the container is there yet doesn't matter."""
        with suppress(ResourceNotFoundError):
            await self._container.get_container_properties()

    async def close(self) -> None:
        """Close the container's HTTP session."""
        await self._container.close()


def _step(reference: BlobReference) -> int:
    """How large the work on one piece is: a chunk is decrypted in a fraction of a millisecond, so where it is.

    In threads each would be made in memory of its thread's own, which the next thread can't use.
    """
    return 0 if reference.is_encrypted else reference.size


def _aad(place: str) -> bytes:
    return f"payload\0{place}".encode()


def _decoded(decoder: PayloadDecoder, stored: Iterator[bytes]) -> Iterator[bytes]:
    for part in stored:
        yield from decoder.feed(part)


def _gathered(whole: io.BytesIO | None, pieces: Iterable[bytes]) -> io.BytesIO | None:
    """Pieces put together in memory that grows in place; a single one isn't copied at all."""
    for piece in pieces:
        if whole is None:
            whole = io.BytesIO(piece)
            whole.seek(0, io.SEEK_END)
        else:
            whole.write(piece)
    return whole
