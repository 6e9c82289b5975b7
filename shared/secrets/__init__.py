"""Secrets: Key Vault behind a cache, so that the vault is neither the bottleneck nor the outage."""

from .cache import SecretCache, Source
from .errors import (
    MalformedAnswer,
    NoKeyRule,
    SecretDisabled,
    SecretError,
    SecretExpired,
    UnfitSecret,
    UnknownSecret,
    VaultDenied,
    VaultThrottled,
    VaultUnavailable,
)
from .keyring import KeyRing, Keys
from .policy import Policy
from .rules import KeyRule, KeyRules
from .secret import Secret, Version
from .vault import Vault, VaultPair

__all__ = [
    "KeyRing",
    "KeyRule",
    "KeyRules",
    "Keys",
    "MalformedAnswer",
    "NoKeyRule",
    "Policy",
    "Secret",
    "SecretCache",
    "SecretDisabled",
    "SecretError",
    "SecretExpired",
    "Source",
    "UnfitSecret",
    "UnknownSecret",
    "Vault",
    "VaultDenied",
    "VaultPair",
    "VaultThrottled",
    "VaultUnavailable",
    "Version",
]
