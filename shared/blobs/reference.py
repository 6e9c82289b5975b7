"""What points to a payload in Blob storage, and what may be wrong with what it points to.

BlobError
├── BlobMissing      nothing is there under that name
└── BlobChanged      what is there isn't what the reference says
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

__all__ = ["BlobChanged", "BlobError", "BlobMissing", "BlobReference", "PayloadTooLarge"]

ENCRYPTED = "sealed"
"""How what is stored says that it is encrypted."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


class BlobError(Exception):
    """A payload can't be had; another try can't help."""


class BlobMissing(BlobError):
    """Nothing is there under the reference's name."""


class BlobChanged(BlobError):
    """What is there isn't what the reference says: other bytes, another size or another encoding."""


class PayloadTooLarge(ValueError):
    """A payload is larger than the store takes; nothing of it was kept."""


@dataclass(frozen=True, slots=True)
class BlobReference:
    """Where a payload is, and what it must be.

    Attributes
    ----------
    sha256:
        Of the payload as it was given, in lower-case hex.
    size:
        Of the payload as it was given, in bytes.
    encoding:
        How it is stored: None as it is, the name of a compression, `sealed`, or `<compression>+sealed`.
    """

    name: str
    sha256: str
    size: int
    encoding: str | None = None

    @property
    def compression(self) -> str | None:
        """The name of the compression, if any."""
        return None if self.encoding == ENCRYPTED else (self.encoding and self.encoding.removesuffix(f"+{ENCRYPTED}"))

    @property
    def is_encrypted(self) -> bool:
        """It is stored encrypted."""
        return self.encoding == ENCRYPTED or (self.encoding or "").endswith(f"+{ENCRYPTED}")

    def check(self, *, limit: int) -> None:
        """Refuse what no store of ours ever gave out; raises BlobChanged."""
        if _SHA256.fullmatch(self.sha256) is None:
            raise BlobChanged("The reference's SHA-256 isn't one: 64 lower-case hex digits are.")
        if not 0 <= self.size <= limit:
            raise BlobChanged(f"The reference says {self.size} bytes; a payload has 0 to {limit}.")

    def columns(self) -> dict[str, Any]:
        """The reference as columns of an entity."""
        columns = {"valueBlob": self.name, "valueSha256": self.sha256, "valueSize": self.size}
        return columns if self.encoding is None else {**columns, "valueEncoding": self.encoding}

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any]) -> Self | None:
        """The reference that `columns` were made of; None where an entity holds none."""
        if "valueBlob" not in columns:
            return None
        encoding = columns.get("valueEncoding")
        return cls(
            str(columns["valueBlob"]),
            str(columns["valueSha256"]),
            int(columns["valueSize"]),
            None if encoding is None else str(encoding),
        )
