"""Uploads in the claims container."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from datetime import datetime

from shared.claim_check import ClaimChanged, ClaimMissing

from .edge import Edge

__all__ = ["MemoryUploads"]


class MemoryUploads(Edge):
    """Blocks by upload and number."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: dict[str, dict[int, bytes]] = {}
        self.kept: dict[str, bytes] = {}

    async def put_block(self, name: str, number: int, block: bytes) -> None:
        """Keep a block."""
        self._meet()
        self.blocks.setdefault(name, {})[number] = block

    async def link(self, name: str, *, now: datetime) -> tuple[str, datetime] | None:
        """None: nobody reaches this memory."""
        self._meet()
        return None

    async def get(self, name: str, *, size: int, sha256: str) -> bytes:
        """The blocks together, if they are what is said."""
        self._meet()
        if name not in self.blocks:
            raise ClaimMissing("Nothing was uploaded under this id.")
        whole = b"".join(block for _, block in sorted(self.blocks[name].items()))
        if len(whole) != size or hashlib.sha256(whole).hexdigest() != sha256:
            raise ClaimChanged("Something else was uploaded.")
        return whole

    async def stream(self, name: str, *, size: int, sha256: str) -> AsyncGenerator[bytes, None]:
        """A block at a time."""
        whole = await self.get(name, size=size, sha256=sha256)
        for start in range(0, len(whole), 100_000):
            yield whole[start : start + 100_000]

    async def keep_progress(self, bulk: str, content: bytes) -> None:
        """Keep how far a bulk has come."""
        self._meet()
        self.kept[bulk] = content

    async def progress(self, bulk: str) -> bytes | None:
        """How far a bulk has come."""
        self._meet()
        return self.kept.get(bulk)

    async def delete(self, name: str) -> None:
        """Delete an upload."""
        self._meet()
        self.blocks.pop(name, None)
