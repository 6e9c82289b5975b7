"""Who calls the API, and why a request isn't let in.

IdentityError
├── Unauthenticated    no credential, or one that doesn't hold: 401
├── Forbidden          a caller without the role: 403
└── CannotTell         what callers are checked against can't be had just now: 503
"""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["GRANTED", "Caller", "CannotTell", "Forbidden", "IdentityError", "Role", "Unauthenticated"]


class Role(StrEnum):
    """What a caller may do."""

    PRODUCER = "producer"
    """Sends messages, and asks what became of its own."""
    READER = "reader"
    """Reads views and operations; sees Public, Internal and Confidential data."""
    OPERATOR = "operator"
    """Reads what a reader does, and Restricted data too."""
    RECIPIENT = "recipient"
    """Reads what is shared with it. Only a share token gives it, never an issuer's token or an API key."""


GRANTED = (Role.PRODUCER, Role.READER, Role.OPERATOR)
"""The roles that tokens of issuers and API keys may give."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller; `client` names it, and what it sent belongs to that name."""

    client: str
    roles: frozenset[Role]


class IdentityError(Exception):
    """A request isn't let in; the message says why and never holds a credential or a part of one."""


class Unauthenticated(IdentityError):
    """There is no credential, or it doesn't hold.

    Parameters
    ----------
    presented:
        Whether there was one at all: RFC 6750 tells only then what is wrong.
    """

    def __init__(self, reason: str, *, presented: bool = True) -> None:
        super().__init__(reason)
        self.presented = presented


class Forbidden(IdentityError):
    """The caller is known and lacks the role."""


class CannotTell(IdentityError):
    """Signing keys or API keys can't be had just now, and weren't for too long; `retry_after` in seconds."""

    def __init__(self, reason: str, *, retry_after: int) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
