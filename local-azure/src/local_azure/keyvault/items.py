"""The items of a vault: versions with attributes and tags, what is deleted and comes back, and who keeps them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Protocol

from local_azure.keyvault.errors import VaultError, bad_parameter

__all__ = [
    "RETENTION_SECONDS",
    "Attributes",
    "Changes",
    "Collection",
    "Item",
    "Keeper",
    "Kind",
    "Occurrence",
    "Version",
    "item_from_text",
    "item_to_text",
]


class Kind(StrEnum):
    """The kinds of items, by their names in addresses."""

    SECRETS = "secrets"
    KEYS = "keys"

    @property
    def noun(self) -> str:
        """One of them, as events and errors call it."""
        return "Secret" if self is Kind.SECRETS else "Key"


class Occurrence(StrEnum):
    """What subscribers are notified of."""

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


RETENTION_SECONDS: Final = 90 * 86_400
"""How long a deleted item can be recovered: the service's default."""

_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")
_MOST_TAGS: Final = 15
_LONGEST_TAG: Final = 256


class Keeper(Protocol):
    """Makes changes durable before they are answered."""

    def keep(self, kind: Kind, item: Item, announcement: tuple[Occurrence, Version] | None) -> None:
        """Store the item, and the event about it, in one step."""

    def drop(self, kind: Kind, name: str) -> None:
        """Forget the item."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What an update sets; None leaves as it is."""

    enabled: bool | None = None
    not_before: int | None = None
    expires: int | None = None
    tags: Mapping[str, str] | None = None
    content: Mapping[str, Any] | None = None


class Collection:
    """The items of one kind. Names differ by more than case; `now` gives seconds since the epoch."""

    def __init__(
        self,
        kind: Kind,
        items: Iterable[Item],
        *,
        keeper: Keeper,
        now: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self.kind = kind
        self._items = {item.name.lower(): item for item in items}
        self._keeper = keeper
        self._now = now
        self._new_id = new_id

    # -- reading -----------------------------------------------------------------------------------
    def find(self, name: str, version: str = "") -> tuple[Item, Version]:
        """An item that is not deleted, and the version named or else the latest.

        Raises
        ------
        VaultError
            404, if there is none.
        """
        item = self._items.get(name.lower())
        if item is not None and item.deleted_at is None:
            for each in reversed(item.versions):
                if version in ("", each.id):
                    return item, each
        raise self._not_found(f"{name}/{version}" if version else name)

    def present(self) -> list[Item]:
        """Items that are not deleted, by name."""
        return [self._items[key] for key in sorted(self._items) if self._items[key].deleted_at is None]

    def deleted(self) -> list[Item]:
        """Items that can be recovered, by name."""
        return [self._items[key] for key in sorted(self._items) if self._items[key].deleted_at is not None]

    def find_deleted(self, name: str) -> Item:
        """A deleted item.

        Raises
        ------
        VaultError
            404, if there is none.
        """
        item = self._items.get(name.lower())
        if item is None or item.deleted_at is None:
            raise self._not_found(name)
        return item

    def _not_found(self, name: str) -> VaultError:
        noun = self.kind.noun
        shown = name if len(name) <= _LONGEST_TAG else f"{name[:_LONGEST_TAG]}…"
        return VaultError(
            404, f"{noun}NotFound", f"A {noun.lower()} with (name/id) {shown} was not found in this key vault."
        )

    # -- changing ----------------------------------------------------------------------------------
    def check_name(self, name: str) -> None:
        """Refuse to add under a name that is no name, or that a deleted item still holds.

        Raises
        ------
        VaultError
            400 or 409.
        """
        if not _NAME.fullmatch(name):
            raise bad_parameter(f"The name of a {self.kind.noun.lower()} has 1 to 127 letters, digits and hyphens.")
        found = self._items.get(name.lower())
        if found is not None and found.deleted_at is not None:
            raise VaultError(
                409,
                "Conflict",
                f"{self.kind.noun} {name} is deleted but can be recovered: recover it or purge it to use its name.",
                inner="ObjectIsDeletedButRecoverable",
            )

    def add(
        self,
        name: str,
        content: Mapping[str, Any],
        attributes: Attributes = Attributes(),
        tags: Mapping[str, str] | None = None,
    ) -> tuple[Item, Version]:
        """A new version, and with the first one a new item.

        Raises
        ------
        VaultError
            400 or 409.
        """
        self.check_name(name)
        now = self._now()
        version = Version(self._new_id(), now, now, dict(content), _checked(attributes), _checked_tags(tags or {}))
        item = self._items.get(name.lower(), Item(name, ()))
        item = replace(item, versions=(*item.versions, version))
        self._put(item, (Occurrence.NEW_VERSION, version))
        return item, version

    def change(self, name: str, version: str, changes: Changes) -> tuple[Item, Version]:
        """Set what may change of a version, or of the latest.

        Raises
        ------
        VaultError
            400 or 404.
        """
        item, before = self.find(name, version)
        old = before.attributes
        attributes = Attributes(
            old.enabled if changes.enabled is None else changes.enabled,
            old.not_before if changes.not_before is None else changes.not_before,
            old.expires if changes.expires is None else changes.expires,
        )
        after = replace(
            before,
            updated=self._now(),
            attributes=_checked(attributes),
            tags=before.tags if changes.tags is None else _checked_tags(changes.tags),
            content=before.content if changes.content is None else dict(changes.content),
            announced=before.announced if attributes.expires == old.expires else (),
        )
        item = _with(item, after)
        self._put(item, None)
        return item, after

    def delete(self, name: str) -> Item:
        """Delete an item with all its versions; it can be recovered until it is purged.

        Raises
        ------
        VaultError
            404, if there is none.
        """
        item, _ = self.find(name)
        item = replace(item, deleted_at=self._now())
        self._put(item, None)
        return item

    def recover(self, name: str) -> Item:
        """Bring a deleted item back as it was.

        Raises
        ------
        VaultError
            404, if there is none.
        """
        item = replace(self.find_deleted(name), deleted_at=None)
        self._put(item, None)
        return item

    def restore(self, item: Item) -> Item:
        """Put back an item of a backup, with all its versions.

        Raises
        ------
        VaultError
            409, if its name is in use.
        """
        self.check_name(item.name)
        if item.name.lower() in self._items:
            raise VaultError(409, "Conflict", f"There is a {self.kind.noun.lower()} {item.name} in this key vault.")
        self._put(item, None)
        return item

    def purge(self, name: str) -> None:
        """Forget a deleted item for good.

        Raises
        ------
        VaultError
            404, if there is none.
        """
        item = self.find_deleted(name)
        self._keeper.drop(self.kind, item.name)
        del self._items[item.name.lower()]

    def sweep(self, near_seconds: int) -> None:
        """Tell of latest versions that expire within `near_seconds` or have expired, once each; purge what is due."""
        now = self._now()
        for item in list(self._items.values()):
            if item.deleted_at is not None:
                if item.deleted_at + RETENTION_SECONDS <= now:
                    self.purge(item.name)
                continue
            happened = _due(item.latest, now, near_seconds)
            if happened is not None:
                announced = replace(item.latest, announced=(*item.latest.announced, happened))
                self._put(_with(item, announced), (happened, announced))

    def _put(self, item: Item, announcement: tuple[Occurrence, Version] | None) -> None:
        self._keeper.keep(self.kind, item, announcement)
        self._items[item.name.lower()] = item


def _with(item: Item, version: Version) -> Item:
    return replace(item, versions=tuple(version if each.id == version.id else each for each in item.versions))


def _due(version: Version, now: int, near_seconds: int) -> Occurrence | None:
    expires = version.attributes.expires
    if expires is None or Occurrence.EXPIRED in version.announced:
        return None
    if expires <= now:
        return Occurrence.EXPIRED
    is_near = expires - near_seconds <= now and Occurrence.NEAR_EXPIRY not in version.announced
    return Occurrence.NEAR_EXPIRY if is_near else None


def _checked(attributes: Attributes) -> Attributes:
    start, end = attributes.not_before, attributes.expires
    if start is not None and end is not None and start >= end:
        raise bad_parameter("The attribute nbf must be before exp.")
    return attributes


def _checked_tags(tags: Mapping[str, str]) -> Mapping[str, str]:
    if len(tags) > _MOST_TAGS or any(len(part) > _LONGEST_TAG for pair in tags.items() for part in pair):
        raise bad_parameter(f"There may be {_MOST_TAGS} tags of {_LONGEST_TAG} characters each.")
    return dict(tags)
