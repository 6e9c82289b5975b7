"""Which operation a request is, and which right it needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from local_azure.keyvault.errors import VaultError
from local_azure.keyvault.items import Kind

__all__ = ["Operation", "check_api_version", "find_operation"]

_API_VERSION = re.compile(r"\d+\.\d+(-preview(\.\d+)?)?|\d{4}-\d{2}-\d{2}(-preview)?|\d{4}-\d{2}-\d{2}-preview\.\d+")
_UNSUPPORTED: Final = ("rotationpolicy", "attestation", "release")
_RESERVED: Final = ("backup", "restore", *_UNSUPPORTED)

_RIGHTS: Final[Mapping[Kind, Mapping[str, str]]] = {
    Kind.SECRETS: {
        "set": "setSecret",
        "get": "getSecret",
        "update": "update",
        "list": "readMetadata",
        "versions": "readMetadata",
        "delete": "delete",
        "list_deleted": "readMetadata",
        "get_deleted": "readMetadata",
        "recover": "recover",
        "purge": "purge",
        "backup": "backup",
        "restore": "restore",
    },
    Kind.KEYS: {
        "create": "create",
        "import_": "import",
        "rotate": "rotate",
        "get": "read",
        "update": "update",
        "list": "read",
        "versions": "read",
        "delete": "delete",
        "list_deleted": "read",
        "get_deleted": "read",
        "recover": "recover",
        "purge": "purge",
        "wrap": "wrap",
        "unwrap": "unwrap",
        "encrypt": "encrypt",
        "decrypt": "decrypt",
        "sign": "sign",
        "verify": "verify",
        "backup": "backup",
        "restore": "restore",
    },
}


@dataclass(frozen=True, slots=True)
class Operation:
    """What is asked, of which item and version; both are empty where the operation has none."""

    kind: Kind
    name: str
    item: str = ""
    version: str = ""

    @property
    def label(self) -> str:
        """How counters and faults call it."""
        return f"{self.kind}/{self.name.rstrip('_')}"

    @property
    def right(self) -> str:
        """The action that a role must allow."""
        return f"{self.kind}/{_RIGHTS[self.kind][self.name]}"


def find_operation(method: str, path: str) -> Operation | None:
    """The operation of a path, or None if there is no such thing.

    Raises
    ------
    VaultError
        501, if the service has it and this vault has not.
    """
    parts = path.split("/")[1:]
    if parts and parts[-1] == "":
        parts = parts[:-1]  # the SDKs write an empty version as a slash at the end
    if not parts:
        return None
    kinds = {str(kind): kind for kind in Kind} | {f"deleted{kind}": kind for kind in Kind}
    kind = kinds.get(parts[0])
    if kind is None:
        return None
    if parts[0].startswith("deleted"):
        found = _deleted(kind, method, parts[1:])
    else:
        found = _secrets(method, parts[1:]) if kind is Kind.SECRETS else _keys(method, parts[1:])
    if found is None and parts[-1] in _UNSUPPORTED:
        raise VaultError(501, "NotSupported", f"This vault has no operation {parts[-1]}.")
    return found


def check_api_version(query: Mapping[str, str]) -> None:
    """Refuse a request that does not say which version of the API it means.

    Raises
    ------
    VaultError
        400.
    """
    if not _API_VERSION.fullmatch(query.get("api-version", "")):
        raise VaultError(400, "BadParameter", "api-version is missing or not a version.")


def _deleted(kind: Kind, method: str, parts: list[str]) -> Operation | None:
    match method, parts:
        case "GET", []:
            return Operation(kind, "list_deleted")
        case "GET", [item]:
            return Operation(kind, "get_deleted", item)
        case "DELETE", [item]:
            return Operation(kind, "purge", item)
        case "POST", [item, "recover"]:
            return Operation(kind, "recover", item)
    return None


def _secrets(method: str, parts: list[str]) -> Operation | None:
    match method, parts:
        case "PUT", [item]:
            return Operation(Kind.SECRETS, "set", item)
        case _:
            return _either(Kind.SECRETS, method, parts)


def _keys(method: str, parts: list[str]) -> Operation | None:
    uses = {"wrapkey": "wrap", "unwrapkey": "unwrap"} | {use: use for use in ("encrypt", "decrypt", "sign", "verify")}
    match method, parts:
        case "PUT", [item]:
            return Operation(Kind.KEYS, "import_", item)
        case "POST", [item, ("create" | "rotate") as name]:
            return Operation(Kind.KEYS, name, item)
        case "POST", [item, version, use] if use.lower() in uses:
            return Operation(Kind.KEYS, uses[use.lower()], item, version)
        case _:
            return _either(Kind.KEYS, method, parts)


def _either(kind: Kind, method: str, parts: list[str]) -> Operation | None:
    match method, parts:
        case "POST", ["restore"]:
            return Operation(kind, "restore")
        case "POST", [item, "backup"]:
            return Operation(kind, "backup", item)
        case "GET", []:
            return Operation(kind, "list")
        case "GET", [item]:
            return Operation(kind, "get", item)
        case "GET", [item, "versions"]:
            return Operation(kind, "versions", item)
        case "GET", [item, version] if version not in _RESERVED:
            return Operation(kind, "get", item, version)
        case "PATCH", [item]:
            return Operation(kind, "update", item)
        case "PATCH", [item, version]:
            return Operation(kind, "update", item, version)
        case "DELETE", [item]:
            return Operation(kind, "delete", item)
    return None
