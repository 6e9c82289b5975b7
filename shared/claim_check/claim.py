"""What a message carries in place of a large payload."""

import hashlib
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from shared.messages import ErrorCode, MessageError

__all__ = ["Claim", "ClaimChanged", "ClaimMissing"]


class ClaimMissing(MessageError):
    """The payload isn't there: a dead letter, never an empty payload."""

    code = ErrorCode.CLAIM_MISSING


class ClaimChanged(MessageError):
    """The payload isn't the one that was sent."""

    code = ErrorCode.CLAIM_CHANGED


@dataclass(frozen=True, slots=True)
class Claim:
    """Name, SHA-256 (hex) and size (bytes) of a payload in Blob storage."""

    name: str
    sha256: str
    size: int

    @classmethod
    def of(cls, message_id: UUID, payload: bytes) -> Self:
        """The claim of a payload; the same message and payload always give the same one."""
        sha256 = hashlib.sha256(payload).hexdigest()
        return cls(cls.name_of(message_id, sha256), sha256, len(payload))

    @staticmethod
    def name_of(message_id: UUID, sha256: str) -> str:
        """The blob's name: bound to message and content, so no message can claim another one's payload."""
        return f"{message_id}/{sha256}"
