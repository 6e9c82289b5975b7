"""Function, host and system keys, and which request needs which, as in Azure; off unless the host has a file."""

import hmac
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp.web import BaseRequest

from local_azure.host.errors import SettingError

__all__ = ["Keys", "key_of", "load_keys"]

_SYSTEM = ("eventgrid_extension", "blobs_extension")


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one app. The master key opens everything, the default one every function of level FUNCTION."""

    master: str
    default: str
    system: Mapping[str, str]

    def opens_function(self, level: str, given: str) -> bool:
        """Whether a key, empty for none, opens an HTTP function of an authLevel."""
        match level.upper():
            case "ANONYMOUS":
                return True
            case "ADMIN":
                return _is_one_of(given, (self.master,))
        return _is_one_of(given, (self.default, self.master))

    def opens_admin(self, given: str) -> bool:
        """Whether a key opens the endpoints below /admin."""
        return _is_one_of(given, (self.master,))

    def opens_webhook(self, extension: str, given: str) -> bool:
        """Whether a key opens the webhook of an extension, such as `eventgrid`."""
        own = self.system.get(f"{extension}_extension")
        return _is_one_of(given, (self.master, *([own] if own else [])))

    def lines(self) -> list[str]:
        """The keys as the host prints them."""
        return [f"key {name}={value}" for name, value in
                (("master", self.master), ("default", self.default), *self.system.items())]  # fmt: skip


def _is_one_of(given: str, keys: Iterable[str]) -> bool:
    return sum(hmac.compare_digest(given.encode(), key.encode()) for key in keys) > 0


def key_of(request: BaseRequest) -> str:
    """The key that a request brings: in the header `x-functions-key`, or as `code` in its query."""
    return str(request.headers.get("x-functions-key") or request.rel_url.query.get("code", ""))


def load_keys(path: Path) -> Keys:
    """The keys in a file, made and written where it is missing, so that several hosts share them.

    Raises
    ------
    SettingError
        The file holds something else, or cannot be read or written.
    """
    try:
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError:
            content = {"master": _new(), "default": _new(), "system": {name: _new() for name in _SYSTEM}}
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(content, file, indent=1)
        return Keys(str(content["master"]), str(content["default"]), dict(content["system"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError(f"the keys in {path} cannot be used: {error}") from None


def _new() -> str:
    return secrets.token_urlsafe(40)
