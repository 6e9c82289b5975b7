"""What can be wrong with a secret. No message ever holds a value.

SecretError
├── UnknownSecret        definitive: there is no such secret or version
├── SecretDisabled       definitive: its owner switched it off
├── SecretExpired        definitive: its own time is over
├── UnfitSecret          definitive: its value can't serve its purpose (too short, for example)
└── VaultUnavailable     the vault gave no usable answer: a value that is cached goes on being used
    ├── VaultThrottled   too many reads, by the vault's word or our own guard's
    ├── VaultDenied      the app's identity may not read it, or not from here
    └── MalformedAnswer  an answer that no vault gives
"""

from typing import Self

__all__ = [
    "MalformedAnswer",
    "SecretDisabled",
    "SecretError",
    "SecretExpired",
    "UnfitSecret",
    "UnknownSecret",
    "VaultDenied",
    "VaultThrottled",
    "VaultUnavailable",
]


class SecretError(Exception):
    """A secret can't be had.

    Attributes
    ----------
    name:
        The secret's name, cut to what Key Vault takes.
    reason:
        What is wrong, for people.
    definitive:
        The vault has spoken: a value that is cached must not be used any more.
    negative:
        Where nothing is cached, asking again soon is no use.
    """

    definitive = False
    negative = False

    def __init__(self, name: str, reason: str) -> None:
        self.name = name[:127]
        self.reason = reason
        super().__init__(f"secret {self.name!r}: {reason}")

    def again(self) -> Self:
        """The same error for another caller, without the first one's traceback."""
        copy = type(self).__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy.args = self.args
        return copy


class UnknownSecret(SecretError):
    """There is no such secret, or not in this version."""

    definitive = True
    negative = True


class SecretDisabled(SecretError):
    """Its owner switched it off."""

    definitive = True
    negative = True


class SecretExpired(SecretError):
    """Its own time is over; Key Vault itself would still hand it out."""

    definitive = True
    negative = True


class UnfitSecret(SecretError):
    """Its value can't serve its purpose."""

    definitive = True
    negative = True


class VaultUnavailable(SecretError):
    """The vault gave no usable answer within its time."""


class VaultThrottled(VaultUnavailable):
    """Too many reads.

    Attributes
    ----------
    after:
        Seconds after which to ask again, where the vault named them.
    """

    def __init__(self, name: str, reason: str, *, after: float | None = None) -> None:
        super().__init__(name, reason)
        self.after = after


class VaultDenied(VaultUnavailable):
    """The app's identity may not read it, or not from here: a role taken away by mistake is no outage at once."""

    negative = True


class MalformedAnswer(VaultUnavailable):
    """The answer is not one that a vault gives."""
