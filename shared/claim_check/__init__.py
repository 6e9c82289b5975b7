"""Claim check: large payloads wait in Blob storage, messages stay small."""

from .claim import Claim, ClaimChanged, ClaimMissing
from .store import ClaimStore
from .uploads import LARGEST_UPLOAD, UPLOAD_LIVES, Uploads

__all__ = [
    "LARGEST_UPLOAD",
    "UPLOAD_LIVES",
    "Claim",
    "ClaimChanged",
    "ClaimMissing",
    "ClaimStore",
    "Uploads",
]
