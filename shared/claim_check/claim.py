"""What a message carries in place of a large payload."""

from uuid import UUID

from shared.blobs import BlobReference
from shared.messages import ErrorCode, MessageError

__all__ = ["Claim", "ClaimChanged", "ClaimMissing"]


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
