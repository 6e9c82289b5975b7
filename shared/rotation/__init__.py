"""Rotation: what Key Vault tells of its secrets, and giving them their next version without downtime."""

from .audit import AuditTrail
from .events import BadEvent, EventKind, SecretEvent, read_event
from .given_up import GivenUpEvents
from .handler import SecretEvents
from .keys import Renew, random_key
from .rotator import RotationFailed, Rotator

__all__ = [
    "AuditTrail",
    "BadEvent",
    "EventKind",
    "GivenUpEvents",
    "Renew",
    "RotationFailed",
    "Rotator",
    "SecretEvent",
    "SecretEvents",
    "random_key",
    "read_event",
]
