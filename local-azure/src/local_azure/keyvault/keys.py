"""Keys over HTTP: making, importing and rotating them, wrapping, unwrapping, signing and verifying with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from local_azure.keyvault import rsa
from local_azure.keyvault.backups import Backups
from local_azure.keyvault.errors import VaultError, bad_parameter
from local_azure.keyvault.items import Attributes, Collection, Item, Kind, Version
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

__all__ = ["Keys"]

_OPERATIONS: Final = ("encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey")


class Keys:
    """The operations on keys; each takes the request, the name and the version it is about."""

    def __init__(self, collection: Collection, backups: Backups, now: Callable[[], int]) -> None:
        self.collection = collection
        self._backups = backups
        self._now = now

    async def create(self, asked: Asked, name: str, version: str) -> Answer:
        """Make an RSA key."""
        body = read_body(asked)
        if body.get("kty") not in ("RSA", "RSA-HSM"):
            raise bad_parameter("kty must be RSA: this vault has no other keys.")
        size = body.get("key_size", rsa.SIZES[0])
        if isinstance(size, bool) or size not in rsa.SIZES:
            raise bad_parameter(f"key_size must be one of {', '.join(map(str, rsa.SIZES))}.")
        operations, attributes, tags = _operations(body.get("key_ops")), read_attributes(body), read_tags(body)
        self.collection.check_name(name)
        pem = await asyncio.to_thread(rsa.generate, size)
        item, added = self.collection.add(name, _content(pem, operations), attributes, tags)
        return Answer(200, _bundle(asked.base, item, added))

    async def rotate(self, asked: Asked, name: str, version: str) -> Answer:
        """A new version like the latest."""
        _, latest = self.collection.find(name)
        size = len(rsa.from_base64url(rsa.export_jwk(latest.content["pem"])["n"])) * 8
        pem = await asyncio.to_thread(rsa.generate, size)
        _, latest = self.collection.find(name)
        content = _content(pem, latest.content["operations"])
        item, added = self.collection.add(name, content, Attributes(), latest.tags)
        return Answer(200, _bundle(asked.base, item, added))

    async def import_(self, asked: Asked, name: str, version: str) -> Answer:
        """Add a version from a JWK."""
        body = read_body(asked)
        jwk = body.get("key")
        if not isinstance(jwk, dict) or jwk.get("kty") not in ("RSA", "RSA-HSM"):
            raise bad_parameter("key must be a private RSA key as a JWK.")
        content = _content(rsa.import_jwk(jwk), _operations(jwk.get("key_ops")))
        item, added = self.collection.add(name, content, read_attributes(body), read_tags(body))
        return Answer(200, _bundle(asked.base, item, added))

    def get(self, asked: Asked, name: str, version: str) -> Answer:
        """The public half."""
        return Answer(200, _bundle(asked.base, *self.collection.find(name, version)))

    def update(self, asked: Asked, name: str, version: str) -> Answer:
        """Change what is not the key."""
        body = read_body(asked)
        changes = read_changes(body)
        if body.get("key_ops") is not None:
            _, found = self.collection.find(name, version)
            content = {**found.content, "operations": _operations(body["key_ops"])}
            changes = type(changes)(changes.enabled, changes.not_before, changes.expires, changes.tags, content)
        return Answer(200, _bundle(asked.base, *self.collection.change(name, version, changes)))

    def list(self, asked: Asked, name: str, version: str) -> Answer:
        """The latest version of each."""
        return page(
            asked,
            self.collection.present(),
            lambda item: item.name.lower(),
            lambda item: _properties(asked.base, item, item.latest, with_version=False),
        )

    def versions(self, asked: Asked, name: str, version: str) -> Answer:
        """All versions of one."""
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
        return Answer(200, {**_bundle(asked.base, item, item.latest), **deleted_part(asked.base, Kind.KEYS, item)})

    def list_deleted(self, asked: Asked, name: str, version: str) -> Answer:
        """What can be recovered."""
        return page(
            asked,
            self.collection.deleted(),
            lambda item: item.name.lower(),
            lambda item: {
                **_properties(asked.base, item, item.latest, with_version=False),
                **deleted_part(asked.base, Kind.KEYS, item),
            },
        )

    def get_deleted(self, asked: Asked, name: str, version: str) -> Answer:
        """One that can be recovered."""
        item = self.collection.find_deleted(name)
        return Answer(200, {**_bundle(asked.base, item, item.latest), **deleted_part(asked.base, Kind.KEYS, item)})

    def recover(self, asked: Asked, name: str, version: str) -> Answer:
        """Bring it back."""
        item = self.collection.recover(name)
        return Answer(200, _bundle(asked.base, item, item.latest))

    def backup(self, asked: Asked, name: str, version: str) -> Answer:
        """All versions of one, encrypted."""
        item, _ = self.collection.find(name)
        return Answer(200, {"value": self._backups.write(Kind.KEYS, item)})

    def restore(self, asked: Asked, name: str, version: str) -> Answer:
        """Put back what was backed up."""
        item = self.collection.restore(self._backups.read(Kind.KEYS, read_body(asked).get("value")))
        return Answer(200, _bundle(asked.base, item, item.latest))

    def purge(self, asked: Asked, name: str, version: str) -> Answer:
        """Forget it for good."""
        self.collection.purge(name)
        return Answer(204)

    # -- using them --------------------------------------------------------------------------------
    def wrap(self, asked: Asked, name: str, version: str) -> Answer:
        """Wrap a key."""
        return self._use(asked, name, version, "wrapKey")

    def unwrap(self, asked: Asked, name: str, version: str) -> Answer:
        """Unwrap what was wrapped with that version."""
        return self._use(asked, name, version, "unwrapKey")

    def encrypt(self, asked: Asked, name: str, version: str) -> Answer:
        """Encrypt a short text."""
        return self._use(asked, name, version, "encrypt")

    def decrypt(self, asked: Asked, name: str, version: str) -> Answer:
        """Decrypt it."""
        return self._use(asked, name, version, "decrypt")

    def sign(self, asked: Asked, name: str, version: str) -> Answer:
        """Sign a digest."""
        kid, pem, body = self._usable(asked, name, version, "sign")
        signature = rsa.sign(pem, str(body.get("alg")), rsa.from_base64url(body.get("value")))
        return Answer(200, {"kid": kid, "value": rsa.to_base64url(signature)})

    def verify(self, asked: Asked, name: str, version: str) -> Answer:
        """Whether a signature is one of a digest."""
        _, pem, body = self._usable(asked, name, version, "verify")
        digest, signature = rsa.from_base64url(body.get("digest")), rsa.from_base64url(body.get("value"))
        return Answer(200, {"value": rsa.verify(pem, str(body.get("alg")), digest, signature)})

    def _use(self, asked: Asked, name: str, version: str, operation: str) -> Answer:
        kid, pem, body = self._usable(asked, name, version, operation)
        run = rsa.encrypt if operation in ("wrapKey", "encrypt") else rsa.decrypt
        result = run(pem, str(body.get("alg")), rsa.from_base64url(body.get("value")))
        return Answer(200, {"kid": kid, "value": rsa.to_base64url(result)})

    def _usable(self, asked: Asked, name: str, version: str, operation: str) -> tuple[str, str, dict[str, Any]]:
        """The id and the private key of a version that may be used so, and the request's body."""
        item, found = self.collection.find(name, version)
        self._check_usable(found, operation)
        kid = item_address(asked.base, Kind.KEYS, item.name, found.id)
        return kid, found.content["pem"], read_body(asked)

    def _check_usable(self, version: Version, operation: str) -> None:
        """Expired keys still open what they closed and verify what they signed, disabled ones do nothing."""
        attributes, now = version.attributes, self._now()
        opens = operation in ("unwrapKey", "decrypt", "verify")
        for refused, what, inner in (
            (not attributes.enabled, "a disabled key", "KeyDisabled"),
            (not opens and (attributes.not_before or 0) > now, "a key that is not valid yet", "KeyNotYetValid"),
            (
                not opens and attributes.expires is not None and attributes.expires <= now,
                "an expired key",
                "KeyExpired",
            ),
            (operation not in version.content["operations"], "a key without it in key_ops", "KeyOperationForbidden"),
        ):
            if refused:
                raise VaultError(403, "Forbidden", f"Operation {operation} is not allowed on {what}.", inner=inner)


def _content(pem: str, operations: list[str]) -> dict[str, Any]:
    return {"pem": pem, "operations": operations}


def _operations(given: object) -> list[str]:
    if given is None:
        return list(_OPERATIONS)
    if not isinstance(given, list) or not all(each in _OPERATIONS for each in given):
        raise bad_parameter(f"key_ops may hold {', '.join(_OPERATIONS)}.")
    return list(given)


def _bundle(base: str, item: Item, version: Version) -> dict[str, Any]:
    jwk = {
        "kid": item_address(base, Kind.KEYS, item.name, version.id),
        **rsa.export_jwk(version.content["pem"]),
        "key_ops": version.content["operations"],
    }
    return {"key": jwk, **version_part(version)}


def _properties(base: str, item: Item, version: Version, *, with_version: bool) -> dict[str, Any]:
    return {
        "kid": item_address(base, Kind.KEYS, item.name, version.id if with_version else ""),
        **version_part(version),
    }
