"""Identity: the credentials with which the app reaches Azure, and who calls it."""

from .api_keys import ApiKeys, api_key_entry
from .authenticator import Authenticator
from .callers import Caller, Role
from .credentials import Credentials
from .errors import CannotTell, Forbidden, IdentityError, Unauthenticated
from .fetching import Fetcher
from .signing_keys import SigningKeys
from .tokens import TokenRules, TokenVerifier

__all__ = [
    "ApiKeys",
    "Authenticator",
    "Caller",
    "CannotTell",
    "Credentials",
    "Fetcher",
    "Forbidden",
    "IdentityError",
    "Role",
    "SigningKeys",
    "TokenRules",
    "TokenVerifier",
    "Unauthenticated",
    "api_key_entry",
]
