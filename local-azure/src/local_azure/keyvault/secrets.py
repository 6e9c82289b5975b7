"""Secrets over HTTP: bodies to the collection and back."""

from __future__ import annotations

from typing import Any, Final

from local_azure.keyvault.backups import Backups
from local_azure.keyvault.errors import VaultError, bad_parameter
from local_azure.keyvault.items import Collection, Item, Kind, Version
from local_azure.keyvault.wire import (
    Answer,
    Asked,
    deleted_part,
    item_address,
    page,
    read_attributes,
    read_body,
    read_changes,
    read_tags,
    version_part,
)

__all__ = ["Secrets"]

_LONGEST_VALUE: Final = 25_600
"""Bytes of a value: the service's limit of 25k."""

_LONGEST_TYPE: Final = 255


class Secrets:
    """The operations on secrets; each takes the request, the name and the version it is about."""

    def __init__(self, collection: Collection, backups: Backups) -> None:
        self.collection = collection
        self._backups = backups

    def set(self, asked: Asked, name: str, version: str) -> Answer:
        """Add a version."""
        body = read_body(asked)
        value = body.get("value")
        if not isinstance(value, str) or len(value.encode("utf-8", "surrogatepass")) > _LONGEST_VALUE:
            raise bad_parameter(f"value must be a text of at most {_LONGEST_VALUE} bytes.")
        content = {"value": value, "contentType": _content_type(body)}
        item, added = self.collection.add(name, content, read_attributes(body), read_tags(body))
        return Answer(200, _bundle(asked.base, item, added))

    def get(self, asked: Asked, name: str, version: str) -> Answer:
        """The value, while it is enabled; that a secret has expired does not hide it."""
        item, found = self.collection.find(name, version)
        if not found.attributes.enabled:
            raise VaultError(
                403, "Forbidden", "Operation get is not allowed on a disabled secret.", inner="SecretDisabled"
            )
        return Answer(200, _bundle(asked.base, item, found))

    def update(self, asked: Asked, name: str, version: str) -> Answer:
        """Change what is not the value."""
        body = read_body(asked)
        changes = read_changes(body)
        if body.get("contentType") is not None:
            _, found = self.collection.find(name, version)
            content = {**found.content, "contentType": _content_type(body)}
            changes = type(changes)(changes.enabled, changes.not_before, changes.expires, changes.tags, content)
        item, changed = self.collection.change(name, version, changes)
        return Answer(200, _properties(asked.base, item, changed, with_version=True))

    def list(self, asked: Asked, name: str, version: str) -> Answer:
        """The latest version of each, without values."""
        return page(
            asked,
            self.collection.present(),
            lambda item: item.name.lower(),
            lambda item: _properties(asked.base, item, item.latest, with_version=False),
        )

    def versions(self, asked: Asked, name: str, version: str) -> Answer:
        """All versions of one, without values."""
        item, _ = self.collection.find(name)
        return page(
            asked,
            item.versions,
            lambda each: each.id,
            lambda each: _properties(asked.base, item, each, with_version=True),
        )

    def delete(self, asked: Asked, name: str, version: str) -> Answer:
        """Delete it so that it can be recovered."""
        item = self.collection.delete(name)
        return Answer(200, _deleted(asked.base, item, with_version=True))

    def list_deleted(self, asked: Asked, name: str, version: str) -> Answer:
        """What can be recovered."""
        return page(
            asked,
            self.collection.deleted(),
            lambda item: item.name.lower(),
            lambda item: _deleted(asked.base, item, with_version=False),
        )

    def get_deleted(self, asked: Asked, name: str, version: str) -> Answer:
        """One that can be recovered."""
        return Answer(200, _deleted(asked.base, self.collection.find_deleted(name), with_version=True))

    def recover(self, asked: Asked, name: str, version: str) -> Answer:
        """Bring it back."""
        item = self.collection.recover(name)
        return Answer(200, _properties(asked.base, item, item.latest, with_version=True))

    def backup(self, asked: Asked, name: str, version: str) -> Answer:
        """All versions of one, encrypted."""
        item, _ = self.collection.find(name)
        return Answer(200, {"value": self._backups.write(Kind.SECRETS, item)})

    def restore(self, asked: Asked, name: str, version: str) -> Answer:
        """Put back what was backed up."""
        item = self.collection.restore(self._backups.read(Kind.SECRETS, read_body(asked).get("value")))
        return Answer(200, _properties(asked.base, item, item.latest, with_version=True))

    def purge(self, asked: Asked, name: str, version: str) -> Answer:
        """Forget it for good."""
        self.collection.purge(name)
        return Answer(204)


def _content_type(body: dict[str, Any]) -> str | None:
    value = body.get("contentType")
    if value is not None and not (isinstance(value, str) and len(value) <= _LONGEST_TYPE):
        raise bad_parameter(f"contentType must be a text of at most {_LONGEST_TYPE} characters.")
    return value


def _bundle(base: str, item: Item, version: Version) -> dict[str, Any]:
    return {"value": version.content["value"], **_properties(base, item, version, with_version=True)}


def _properties(base: str, item: Item, version: Version, *, with_version: bool) -> dict[str, Any]:
    content = {
        "id": item_address(base, Kind.SECRETS, item.name, version.id if with_version else ""),
        **version_part(version),
    }
    if version.content.get("contentType") is not None:
        content["contentType"] = version.content["contentType"]
    return content


def _deleted(base: str, item: Item, *, with_version: bool) -> dict[str, Any]:
    properties = _properties(base, item, item.latest, with_version=with_version)
    return {**properties, **deleted_part(base, Kind.SECRETS, item)}
