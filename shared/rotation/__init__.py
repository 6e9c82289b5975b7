"""Rotation: what Key Vault tells of its secrets, and giving them their next version without downtime."""

from .given_up import GivenUpEvents
from .handler import SecretEvents
from .rotator import AuditTrail, Renew, RotationFailed, Rotator, random_key

__all__ = ["AuditTrail", "GivenUpEvents", "Renew", "RotationFailed", "Rotator", "SecretEvents", "random_key"]
