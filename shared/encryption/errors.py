"""What can be wrong with something sealed, and with the keys that open it.

Exception
├── MessageError
│   └── ProtectionError   it can't be opened, now or later; the failure matrix calls it permanent
│       ├── UnknownKey        no key with the id in its header
│       ├── Tampered          it isn't what was sealed, or was sealed for another place
│       ├── Truncated         a part of it is missing
│       ├── WrongVersion      not this format, or a version of it that this app doesn't know
│       ├── TooLong           more than is sealed or opened in one piece
│       ├── NotSealed         it had to be sealed, and isn't
│       └── Erased            the key of its subject was deleted
└── ConnectionError
    └── KeysUnavailable   the key service or the key table is away: infrastructure, try again

No message or attribute of them holds plaintext, key bytes or more of the input than its key id.
"""

from shared.messages import ErrorCode, MessageError

__all__ = [
    "Erased",
    "KeysUnavailable",
    "NotSealed",
    "ProtectionError",
    "Tampered",
    "TooLong",
    "Truncated",
    "UnknownKey",
    "WrongVersion",
]


class ProtectionError(MessageError):
    """It can't be opened; another try with the same bytes can't help."""

    code = ErrorCode.UNREADABLE


class UnknownKey(ProtectionError):
    """There is no key with the id in the header, or it isn't the one that was given."""


class Tampered(ProtectionError):
    """Not what was sealed, or sealed for another place: the authentication tag doesn't fit."""


class Truncated(ProtectionError):
    """A part is missing."""


class WrongVersion(ProtectionError):
    """Not this format, or a version of it that this app doesn't know."""


class TooLong(ProtectionError):
    """More than is sealed or opened in one piece."""


class NotSealed(ProtectionError):
    """It had to be sealed, and isn't."""

    code = ErrorCode.NOT_SEALED


class Erased(ProtectionError):
    """The key of its subject was deleted: nobody can open it any more."""

    code = ErrorCode.SUBJECT_ERASED


class KeysUnavailable(ConnectionError):
    """The key service or the key table can't be reached: nothing is wrong with what should be opened or sealed."""
