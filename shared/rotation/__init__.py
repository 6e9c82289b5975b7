"""Rotation: what Key Vault tells of its secrets, and giving them their next version without downtime."""

from .audit import AuditTrail
from .events import BadEvent, EventKind, SecretEvent, read_event
from .handler import SecretEvents
from .keys import Renew, random_key
from .rotator import Audit, Guard, RotationFailed, Rotator, Store

__all__ = [
    "Audit",
    "AuditTrail",
    "BadEvent",
    "EventKind",
    "Guard",
    "Renew",
    "RotationFailed",
    "Rotator",
    "SecretEvent",
    "SecretEvents",
    "Store",
    "random_key",
    "read_event",
]
