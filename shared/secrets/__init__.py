"""Secrets: Key Vault behind a cache, so that the vault is neither the bottleneck nor the outage."""

from .cache import Keys, RotatingKey, SecretCache
from .errors import (
    MalformedAnswer,
    SecretDisabled,
    SecretError,
    SecretExpired,
    UnfitSecret,
    UnknownSecret,
    VaultDenied,
    VaultThrottled,
    VaultUnavailable,
)
from .vault import Vault, VaultPair
from .versions import Policy, Secret, Version

__all__ = [
    "Keys",
    "MalformedAnswer",
    "Policy",
    "RotatingKey",
    "Secret",
    "SecretCache",
    "SecretDisabled",
    "SecretError",
    "SecretExpired",
    "UnfitSecret",
    "UnknownSecret",
    "Vault",
    "VaultDenied",
    "VaultPair",
    "VaultThrottled",
    "VaultUnavailable",
    "Version",
]
