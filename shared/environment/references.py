"""A setting that names a secret instead of holding it: `secret:<name>` or `secret:<name>/<version>`."""

import re
from dataclasses import dataclass

__all__ = ["SecretReference", "is_reference", "is_secret_name"]

PREFIX = "secret:"
_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")
_VERSION = re.compile(r"[0-9A-Za-z]{1,64}")


def is_secret_name(text: str) -> bool:
    """Whether Key Vault takes this as the name of a secret: 1 to 127 letters, digits and hyphens, in ASCII."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class SecretReference:
    """A secret by its name; with a version, always that one.

    Raises
    ------
    ValueError
        The name or the version isn't one that Key Vault takes; the message doesn't repeat the text, which may be a
        secret set by mistake.
    """

    name: str
    version: str | None = None

    def __post_init__(self) -> None:
        if not is_secret_name(self.name):
            raise ValueError("a secret's name has 1 to 127 letters, digits and hyphens")
        if self.version is not None and _VERSION.fullmatch(self.version) is None:
            raise ValueError("a secret's version has 1 to 64 letters and digits")

    @classmethod
    def of(cls, setting: str) -> "SecretReference | None":
        """The reference that a setting holds; None where it holds the value itself."""
        if not setting.startswith(PREFIX):
            return None
        name, slash, version = setting.removeprefix(PREFIX).partition("/")
        return cls(name, version if slash else None)


def is_reference(setting: str) -> bool:
    """Whether a setting names a secret, rightly."""
    try:
        return SecretReference.of(setting) is not None
    except ValueError:
        return False
