"""Payloads of any size in Blob storage: uploaded once, read back checked, swept when nobody refers to them."""

from .files import BlobFiles
from .foreign import ForeignBlobs
from .links import LentKey, Links, ReadLinks
from .reference import BlobChanged, BlobMissing, BlobReference
from .staging import StagedBlobs
from .store import MAX_PAYLOAD, BlobStore, Container
from .sweeping import BlobSweeper, InUse, Sweep
from .values import BodyStore, ValueStore
from .whole import StoredFile, WholeFiles

__all__ = [
    "MAX_PAYLOAD",
    "BlobChanged",
    "BlobFiles",
    "BlobMissing",
    "BlobReference",
    "BlobStore",
    "BlobSweeper",
    "BodyStore",
    "Container",
    "ForeignBlobs",
    "InUse",
    "LentKey",
    "Links",
    "ReadLinks",
    "StagedBlobs",
    "StoredFile",
    "Sweep",
    "ValueStore",
    "WholeFiles",
]
