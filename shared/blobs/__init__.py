"""Payloads of any size in Blob storage: uploaded once, read back checked, swept when nobody refers to them."""

from .reference import BlobChanged, BlobError, BlobMissing, BlobReference, PayloadTooLarge
from .store import MAX_PAYLOAD, BlobStore
from .sweeping import BlobSweeper, InUse, Sweep
from .values import ValueStore

__all__ = [
    "MAX_PAYLOAD",
    "BlobChanged",
    "BlobError",
    "BlobMissing",
    "BlobReference",
    "BlobStore",
    "BlobSweeper",
    "InUse",
    "PayloadTooLarge",
    "Sweep",
    "ValueStore",
]
