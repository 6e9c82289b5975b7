"""Identity: the credentials with which the app reaches Azure, and who calls it."""

from .callers import Caller, Role
from .credentials import Credentials
from .errors import CannotTell, Forbidden, IdentityError, Unauthenticated

__all__ = [
    "Caller",
    "CannotTell",
    "Credentials",
    "Forbidden",
    "IdentityError",
    "Role",
    "Unauthenticated",
]
