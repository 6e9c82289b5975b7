"""What can be wrong with something encrypted, and with the keys that decrypt it.

Exception
├── MessageError
│   └── ProtectionError   it can't be decrypted, now or later; the failure matrix calls it permanent
│       ├── UnknownKey        no key with the id in its header
│       ├── Tampered          it isn't what was encrypted, or was encrypted with other additional data
│       ├── Truncated         a part of it is missing
│       ├── WrongVersion      not this format, or a version of it that this app doesn't know
│       ├── TooLong           more than is encrypted or decrypted in one piece
│       ├── NotEncrypted      it had to be encrypted, and isn't
│       └── Erased            the key of its subject was deleted
└── ConnectionError
    └── KeysUnavailable   the key service or the key table is away: infrastructure, try again

No message or attribute of them holds plaintext, key bytes or more of the input than its key id.
"""

from shared.messages import ErrorCode, MessageError

__all__ = [
    "Erased",
    "KeysUnavailable",
    "NotEncrypted",
    "ProtectionError",
    "Tampered",
    "TooLong",
    "Truncated",
    "UnknownKey",
    "WrongVersion",
]


class ProtectionError(MessageError):
    """It can't be decrypted; another try with the same bytes can't help."""

    code = ErrorCode.UNREADABLE


class UnknownKey(ProtectionError):
    """There is no key with the id in the header, or it isn't the one that was given."""


class Tampered(ProtectionError):
    """Not what was encrypted, or encrypted with other additional data: the authentication tag doesn't fit."""


class Truncated(ProtectionError):
    """A part is missing."""


class WrongVersion(ProtectionError):
    """Not this format, or a version of it that this app doesn't know."""


class TooLong(ProtectionError):
    """More than is encrypted or decrypted in one piece."""


class NotEncrypted(ProtectionError):
    """It had to be encrypted, and isn't."""

    code = ErrorCode.NOT_SEALED


class Erased(ProtectionError):
    """The key of its subject was deleted: nobody can decrypt it any more."""

    code = ErrorCode.SUBJECT_ERASED


class KeysUnavailable(ConnectionError):
    """The key service or the key table can't be reached: nothing is wrong with the data."""
