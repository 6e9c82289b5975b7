"""Rotation: what Key Vault tells of its secrets, and giving them their next version without downtime."""

from .audit import AuditTrail
from .given_up import GivenUpEvents
from .handler import SecretEvents
from .keys import Renew, random_key
from .rotator import RotationFailed, Rotator

__all__ = ["AuditTrail", "GivenUpEvents", "Renew", "RotationFailed", "Rotator", "SecretEvents", "random_key"]
