"""The environment: how slices of the settings are read from it, and what connections and references look like there."""

from .connections import Cloud, Connection, Identity, SecretReference, VaultConnection, is_reference, is_secret_name
from .slices import QueueName, SettingsSlice, WrongSettings, contradiction, listed

__all__ = [
    "Cloud",
    "Connection",
    "Identity",
    "QueueName",
    "SecretReference",
    "SettingsSlice",
    "VaultConnection",
    "WrongSettings",
    "contradiction",
    "is_reference",
    "is_secret_name",
    "listed",
]
