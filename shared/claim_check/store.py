"""Claim check: a large payload waits in Blob storage, its message carries a claim to it.

Payloads may be uploaded before their message: in blocks through the app, or by a link straight to the storage.
"""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import datetime, timedelta
from uuid import UUID

from shared.blobs import (
    MAX_PAYLOAD,
    BlobChanged,
    BlobMissing,
    BlobReference,
    BlobStore,
    BlobSweeper,
    Container,
    InUse,
    StagedBlobs,
)
from shared.encryption import DataKeys
from shared.messages import ErrorCode, MessageError
from shared.telemetry import Metrics

__all__ = [
    "LARGEST_UPLOAD",
    "UPLOADS",
    "UPLOAD_LIVES",
    "Claim",
    "ClaimChanged",
    "ClaimMissing",
    "ClaimStore",
    "Uploads",
]

LARGEST_UPLOAD = 64 * 1024 * 1024
"""Bytes. A message takes up to twelve times its size while it is parsed: a worker of 2 GB parses two at once."""
UPLOADS = "uploads/"
"""Names of uploads begin so, beside the claims: no claim does."""
UPLOAD_LIVES = timedelta(days=1)
"""How long an upload waits for its message; then it is swept."""


class ClaimMissing(MessageError):
    """The payload isn't there: a dead letter, never an empty payload."""

    code = ErrorCode.CLAIM_MISSING


class ClaimChanged(MessageError):
    """The payload isn't the one that was sent."""

    code = ErrorCode.CLAIM_CHANGED


class Claim(BlobReference):
    """Name, SHA-256 (hex), size (bytes) and encoding of a payload in Blob storage; `claim…` among the properties."""

    __slots__ = ()

    @staticmethod
    def name_of(message_id: UUID, sha256: str) -> str:
        """The blob's name: bound to message and content, so no message can claim another one's payload."""
        return f"{message_id}/{sha256}"


class ClaimStore:
    """Uploads payloads once and reads them back checked. Nothing is deleted on reading: a replay needs it again.

    Parameters
    ----------
    max_payload:
        Bytes of the largest payload that is kept or read.
    timeout:
        Seconds that one request to the storage may take, its retries included.
    keys, encrypt:
        What encrypted payloads are opened with, and whether new ones are encrypted, each for its message only.
    """

    def __init__(
        self,
        container: Container,
        *,
        max_payload: int = MAX_PAYLOAD,
        timeout: float = 60.0,
        keys: DataKeys | None = None,
        encrypt: bool = False,
    ) -> None:
        self._blobs = BlobStore(container, max_payload=max_payload, timeout=timeout, keys=keys, encrypt=encrypt)

    async def put(self, message_id: UUID, payload: bytes | AsyncIterable[bytes]) -> Claim:
        """Return when Blob storage has the payload; the same message and payload is uploaded once.

        Raises
        ------
        PayloadTooLarge
            Nothing was kept. Errors of the storage are passed on, as are those of the stream.
        """
        kept = await self._blobs.put(
            payload,
            name=lambda sha256: Claim.name_of(message_id, sha256),
            place=str(message_id),
            metadata={"messageid": str(message_id)},
        )
        Metrics.claim_size.record(kept.size)
        return Claim(kept.name, kept.sha256, kept.size, kept.encoding)

    async def get(self, message_id: UUID, claim: Claim) -> bytes:
        """The payload behind a claim.

        Raises
        ------
        ClaimMissing, ClaimChanged, ProtectionError
            Another try can't help: the message belongs among the dead letters.
        """
        with _as_message_errors():
            _check_owner(message_id, claim)
            return await self._blobs.get(claim, place=str(message_id))

    async def open(self, message_id: UUID, claim: Claim) -> AsyncGenerator[bytes, None]:
        """The payload behind a claim in pieces of a few MiB; certain to be right when the last one came.

        Raises
        ------
        ClaimMissing, ClaimChanged, ProtectionError
            Another try can't help, and what was read before must not be used.
        """
        with _as_message_errors():
            _check_owner(message_id, claim)
            async with aclosing(self._blobs.open(claim, place=str(message_id))) as pieces:
                async for piece in pieces:
                    yield piece

    async def renew(self, name: str) -> None:
        """Start a payload's retention anew, for a message that is sent again; raises ClaimMissing."""
        with _as_message_errors():
            await self._blobs.renew(name)

    def sweeper(self, *, in_use: InUse, retention: timedelta, now: Callable[[], datetime]) -> BlobSweeper:
        """What deletes payloads past their retention, and uploads past theirs; see `BlobSweeper`.

        The retention must outlast queue and dead letters.
        """
        uploads = {UPLOADS: UPLOAD_LIVES}
        return self._blobs.sweeper(in_use=in_use, retention=retention, now=now, short_lived=uploads)

    async def probe(self) -> None:
        """Fail where the storage doesn't answer; whether the container is there yet doesn't matter."""
        await self._blobs.probe()

    async def close(self) -> None:
        """Close the container's HTTP session."""
        await self._blobs.close()


def _check_owner(message_id: UUID, claim: Claim) -> None:
    if claim.name != Claim.name_of(message_id, claim.sha256):
        raise ClaimChanged("The claim belongs to another message.")


class Uploads:
    """Uploads by their names; a message that names one is kept like any other, its payload as a claim of its own."""

    def __init__(self, blobs: StagedBlobs) -> None:
        self._blobs = blobs

    async def put_block(self, name: str, number: int, block: bytes) -> None:
        """Return when Blob storage has the block."""
        await self._blobs.stage(UPLOADS + name, number, block)

    async def link(self, name: str, *, now: datetime) -> tuple[str, datetime] | None:
        """A link to upload with and its end; None where clients can't reach the storage."""
        return await self._blobs.link(UPLOADS + name, now=now)

    async def get(self, name: str, *, size: int, sha256: str) -> bytes:
        """The whole upload.

        Raises
        ------
        ClaimMissing, ClaimChanged
            Nothing was uploaded, or not what the message says.
        """
        with _as_message_errors("Nothing was uploaded under this id."):
            return await self._blobs.get(UPLOADS + name, size=size, sha256=sha256)

    async def stream(self, name: str, *, size: int, sha256: str) -> AsyncGenerator[bytes, None]:
        """The same in pieces, as they are read; certain to be right when the last one came."""
        with _as_message_errors("Nothing was uploaded under this id."):
            async with aclosing(self._blobs.open(UPLOADS + name, size=size, sha256=sha256)) as pieces:
                async for piece in pieces:
                    yield piece

    async def keep_progress(self, bulk: str, content: bytes) -> None:
        """Keep how far a bulk has come, as long as uploads live."""
        await self._blobs.write(f"{UPLOADS}bulk-{bulk}", content)

    async def progress(self, bulk: str) -> bytes | None:
        """How far a bulk has come, as it was kept."""
        return await self._blobs.read(f"{UPLOADS}bulk-{bulk}")

    async def delete(self, name: str) -> None:
        """Delete an upload whose payload is kept elsewhere."""
        await self._blobs.delete(UPLOADS + name)

    async def close(self) -> None:
        """Close the container's HTTP session."""
        await self._blobs.close()


@contextmanager
def _as_message_errors(missing: str = "") -> Iterator[None]:
    try:
        yield
    except BlobMissing as error:
        raise ClaimMissing(missing or str(error)) from None
    except BlobChanged as error:
        raise ClaimChanged(str(error)) from None
