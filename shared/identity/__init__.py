"""Identity: the credentials with which the app reaches Azure."""

from .credentials import Credentials

__all__ = ["Credentials"]
