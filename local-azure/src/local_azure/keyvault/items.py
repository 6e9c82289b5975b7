"""What a vault holds: items with versions, of which secrets and keys are two kinds. Immutable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Attributes", "Item", "Kind", "Occurrence", "Version", "item_from_text", "item_to_text"]


class Kind(StrEnum):
    """The kinds of items, by their names in addresses."""

    SECRETS = "secrets"
    KEYS = "keys"

    @property
    def noun(self) -> str:
        """One of them, as events and errors call it."""
        return "Secret" if self is Kind.SECRETS else "Key"


class Occurrence(StrEnum):
    """What is told to subscribers."""

    NEW_VERSION = "NewVersionCreated"
    NEAR_EXPIRY = "NearExpiry"
    EXPIRED = "Expired"


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the owner of a version may set; times in seconds since the epoch."""

    enabled: bool = True
    not_before: int | None = None
    expires: int | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One version; `content` is the secret's value or the key's private half."""

    id: str
    created: int
    updated: int
    content: Mapping[str, Any] = field(repr=False)
    attributes: Attributes = Attributes()
    tags: Mapping[str, str] = field(default_factory=dict)
    announced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """All versions under one name, oldest first; `deleted_at` is set while it can still be recovered."""

    name: str
    versions: tuple[Version, ...]
    deleted_at: int | None = None

    @property
    def latest(self) -> Version:
        """The version that is used where none is named."""
        return self.versions[-1]


def item_to_text(item: Item) -> str:
    """How an item is stored."""
    return json.dumps(asdict(item))


def item_from_text(text: str) -> Item:
    """The item that was stored.

    Raises
    ------
    ValueError
        If the text is something else.
    """
    try:
        content = json.loads(text)
        versions = tuple(
            Version(
                **{
                    **each,
                    "attributes": Attributes(**each["attributes"]),
                    "announced": tuple(each["announced"]),
                }
            )
            for each in content["versions"]
        )
        return Item(content["name"], versions, content["deleted_at"])
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"not an item of a vault: {type(error).__name__}") from None
