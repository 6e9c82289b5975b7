"""Authentication: who calls the API, by a bearer token or an API key."""

from .api_keys import ApiKeys, api_key_entry
from .authenticator import Authenticator
from .callers import GRANTED, Caller, CannotTell, Forbidden, IdentityError, Role, Unauthenticated
from .distrust import DistrustedKeys
from .signing_keys import Fetcher, SigningKeys
from .tokens import SeveralIssuers, TokenRules, TokenVerifier

__all__ = [
    "GRANTED",
    "ApiKeys",
    "Authenticator",
    "Caller",
    "CannotTell",
    "DistrustedKeys",
    "Fetcher",
    "Forbidden",
    "IdentityError",
    "Role",
    "SeveralIssuers",
    "SigningKeys",
    "TokenRules",
    "TokenVerifier",
    "Unauthenticated",
    "api_key_entry",
]
