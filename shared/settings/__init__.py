"""Settings: read once from the environment, validated at start."""

from .connections import Connection
from .model import Settings, WrongSettings

__all__ = ["Connection", "Settings", "WrongSettings"]
