"""Claim check: large payloads wait in Blob storage, messages stay small."""

from .claim import Claim, ClaimChanged, ClaimMissing
from .store import ClaimStore

__all__ = ["Claim", "ClaimChanged", "ClaimMissing", "ClaimStore"]
