"""The claims container."""

from __future__ import annotations

import hashlib
from uuid import UUID

from shared.claim_check import Claim, ClaimMissing

from .edge import Edge

__all__ = ["MemoryClaims", "claim_of"]


def claim_of(message_id: UUID, payload: bytes) -> Claim:
    """The claim of a payload that is stored as it is."""
    sha256 = hashlib.sha256(payload).hexdigest()
    return Claim(Claim.name_of(message_id, sha256), sha256, len(payload))


class MemoryClaims(Edge):
    """The claims container."""

    def __init__(self) -> None:
        super().__init__()
        self.payloads: dict[str, bytes] = {}

    async def put(self, message_id: UUID, payload: bytes) -> Claim:
        """Keep a payload."""
        self._meet()
        claim = claim_of(message_id, payload)
        self.payloads[claim.name] = payload
        return claim

    async def get(self, message_id: UUID, claim: Claim) -> bytes:
        """The payload, where it is there."""
        self._meet()
        if claim.name not in self.payloads:
            raise ClaimMissing("The payload isn't in Blob storage.")
        return self.payloads[claim.name]
