"""App settings: the environment first, then the `Values` of local.settings.json, with %references%."""

import json
import os
import re
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_azure.host.errors import SettingError

__all__ = ["AppSettings", "Connection", "load_settings"]

_REFERENCE = re.compile(r"%([^%]+)%")
_TRUE = ("1", "true")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How a trigger reaches its service: a connection string, or a namespace and an identity."""

    name: str
    connection_string: str | None = None
    fully_qualified_namespace: str | None = None
    service_uri: str | None = None

    def __repr__(self) -> str:
        """Name and kind only: a connection string holds a key."""
        return f"Connection({self.name!r})"


class AppSettings(Mapping[str, str]):
    """The settings of one function app, by their exact names."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        """Names only: values are secrets."""
        return f"AppSettings({sorted(self._values)})"

    def flag(self, name: str) -> bool:
        """Whether a setting is `true` or `1`, the forms that the platform takes for yes."""
        return self._values.get(name, "").strip().lower() in _TRUE

    def resolve(self, text: str, where: str) -> str:
        """The text with every `%name%` replaced by that setting.

        Raises
        ------
        SettingError
            A referenced setting is missing or empty; the host would not start the function either.
        """

        def value(match: re.Match[str]) -> str:
            found = self._values.get(match[1])
            if not found:
                raise SettingError(
                    f"{where}: '%{match[1]}%' does not resolve to a value; add the app setting {match[1]}"
                )
            return found

        return _REFERENCE.sub(value, text)

    def connection(self, name: str, where: str) -> Connection:
        """The connection under a setting's name, in the forms that the host extensions look for.

        That is `<name>` or `AzureWebJobs<name>` with a connection string, `<name>__fullyQualifiedNamespace`
        for messaging, `<name>__serviceUri`, `<name>__blobServiceUri` or `<name>__accountName` for storage.

        Raises
        ------
        SettingError
            None of them is set.
        """
        for candidate in (name, f"AzureWebJobs{name}"):
            if text := self._values.get(candidate, "").strip():
                return Connection(name=name, connection_string=text)
            if namespace := self._values.get(f"{candidate}__fullyQualifiedNamespace", "").strip():
                return Connection(name=name, fully_qualified_namespace=namespace)
            if uri := self._storage_uri(candidate):
                return Connection(name=name, service_uri=uri)
        raise SettingError(
            f"{where}: the connection {name} is missing; set the app setting {name} to a connection string, "
            f"or {name}__fullyQualifiedNamespace"
        )

    def _storage_uri(self, name: str) -> str | None:
        for suffix in ("__blobServiceUri", "__serviceUri"):
            if uri := self._values.get(name + suffix, "").strip():
                return uri
        if account := self._values.get(f"{name}__accountName", "").strip():
            return f"https://{account}.blob.core.windows.net"
        return None


def load_settings(app: Path, environment: MutableMapping[str, str] = os.environ) -> AppSettings:
    """The settings of the app in a folder; those of local.settings.json are put into the environment too.

    The app reads `os.environ`, so a value that only the file has must be there before it is imported.

    Raises
    ------
    SettingError
        local.settings.json is malformed, encrypted, or holds a value that is no text, number or boolean.
    """
    for name, value in _local_values(app / "local.settings.json").items():
        environment.setdefault(name, value)
    return AppSettings(environment)


def _local_values(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise SettingError(f"{path.name} is not valid JSON: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("Values", {}), dict):
        raise SettingError(f"{path.name} must be an object with an object 'Values'")
    if content.get("IsEncrypted") is True:
        raise SettingError(f"{path.name} is encrypted; run 'func settings decrypt' first")
    return {name: _text(path.name, name, value) for name, value in content.get("Values", {}).items()}


def _text(file: str, name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise SettingError(f"{file}: the value of {name} must be text")
