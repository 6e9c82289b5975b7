"""Claim check: large payloads wait in Blob storage, messages stay small."""

from .store import LARGEST_UPLOAD, UPLOAD_LIVES, Claim, ClaimChanged, ClaimMissing, ClaimStore, Uploads

__all__ = [
    "LARGEST_UPLOAD",
    "UPLOAD_LIVES",
    "Claim",
    "ClaimChanged",
    "ClaimMissing",
    "ClaimStore",
    "Uploads",
]
