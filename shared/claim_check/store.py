"""Keeps a large payload in Blob storage while its message carries only a claim to it."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import datetime, timedelta
from uuid import UUID

from shared.blobs import MAX_PAYLOAD, BlobChanged, BlobMissing, BlobStore, BlobSweeper, Container, InUse
from shared.encryption import DataKeys

from .claim import Claim, ClaimChanged, ClaimMissing
from .uploads import UPLOAD_LIVES, UPLOADS

__all__ = ["ClaimStore"]


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


@contextmanager
def _as_message_errors() -> Iterator[None]:
    try:
        yield
    except BlobMissing as error:
        raise ClaimMissing(str(error)) from None
    except BlobChanged as error:
        raise ClaimChanged(str(error)) from None
