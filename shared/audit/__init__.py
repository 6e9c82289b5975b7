"""Audit: what operators did, in a chain that shows every change to it, and what was refused for security."""

from .chain import HEAD, AuditAnchor, AuditChain, AuditRecord, Finding, StoredRecord, check
from .security import SecurityEvent, SecurityEvents, security_event

__all__ = [
    "HEAD",
    "AuditAnchor",
    "AuditChain",
    "AuditRecord",
    "Finding",
    "SecurityEvent",
    "SecurityEvents",
    "StoredRecord",
    "check",
    "security_event",
]
