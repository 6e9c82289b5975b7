"""Settings: read once from the environment, validated at start."""

from .clouds import Cloud
from .connections import Connection, Identity, VaultConnection
from .model import MIN_KEY, Settings, WrongSettings
from .references import SecretReference, is_secret_name

__all__ = [
    "MIN_KEY",
    "Cloud",
    "Connection",
    "Identity",
    "SecretReference",
    "Settings",
    "VaultConnection",
    "WrongSettings",
    "is_secret_name",
]
