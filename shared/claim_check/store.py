"""Keeps a large payload in Blob storage while its message carries only a claim to it."""

import hashlib
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

from .claim import Claim, ClaimChanged, ClaimMissing

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

__all__ = ["ClaimStore"]


class ClaimStore:
    """Uploads payloads once and reads them back checked. Nothing is deleted on reading: a replay needs it again."""

    def __init__(self, container: "ContainerClient") -> None:
        self._container = container

    async def put(self, message_id: UUID, payload: bytes) -> Claim:
        """Return when Blob storage has the payload; the same message and payload is uploaded once."""
        from azure.storage.blob import ContentSettings  # loaded with the first claim

        claim = Claim.of(message_id, payload)
        upload = partial(
            self._container.upload_blob,
            claim.name,
            payload,
            length=len(payload),
            metadata={"messageid": str(message_id), "sha256": claim.sha256},
            content_settings=ContentSettings(content_type="application/json"),
        )
        try:
            try:
                await upload()
            except ResourceNotFoundError:  # the container isn't there yet
                with suppress(ResourceExistsError):
                    await self._container.create_container()
                await upload()
        except ResourceExistsError as error:
            if (
                getattr(error, "error_code", None) != "BlobAlreadyExists"
            ):  # a container that is being deleted answers 409 as well
                raise
        return claim

    async def get(self, message_id: UUID, claim: Claim) -> bytes:
        """The payload behind a claim.

        Raises
        ------
        ClaimMissing, ClaimChanged
            Another try can't help: the message belongs among the dead letters.
        """
        if claim.name != Claim.name_of(message_id, claim.sha256):
            raise ClaimChanged(f"The claim {claim.name!r} doesn't belong to the message {message_id}.")
        try:
            stream = await self._container.download_blob(claim.name)
            if stream.size != claim.size:
                raise ClaimChanged(f"The payload has {stream.size} bytes, the claim says {claim.size}.")
            payload = await stream.readall()
        except ResourceNotFoundError:
            raise ClaimMissing(f"The payload {claim.name!r} isn't in Blob storage.") from None
        if hashlib.sha256(payload).hexdigest() != claim.sha256:
            raise ClaimChanged("The payload's SHA-256 differs from the claim's.")
        return payload

    async def close(self) -> None:
        """Close the container's HTTP session."""
        await self._container.close()
