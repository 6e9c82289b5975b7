"""Decodes a configuration file into values that know their place, so that every complaint can say it."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from local_azure.broker.entities import EntityStatus, parse_duration

__all__ = ["ConfigError", "Node", "load", "only_one", "root"]

_MAX_FILE_SIZE = 16 * 1024 * 1024
_SHOWN_VALUE = 120


class ConfigError(ValueError):
    """A configuration file is wrong at `path` (such as `UserConfig.Namespaces[0].Queues[2].Name`)."""

    def __init__(self, source: str, path: str, value: object, expected: str) -> None:
        message = f"{source}: {path or 'the file'}: {_shown(value)}: expected {expected}"
        super().__init__(message.encode("utf-8", "backslashreplace").decode())
        self.source = source
        self.path = path
        self.value = value
        self.expected = expected


@dataclass(frozen=True, slots=True)
class Node:
    """A JSON value that knows where it stands, so that every complaint can say so."""

    source: str
    path: str
    value: Any

    def wrong(self, expected: str) -> ConfigError:
        return ConfigError(self.source, self.path, self.value, expected)

    def children(self, known: Iterable[str], required: Iterable[str] = ()) -> dict[str, "Node"]:
        """The members of an object that has only `known` keys and all the `required` ones."""
        if not isinstance(self.value, dict):
            raise self.wrong("an object {...}")
        known = tuple(known)
        for key in self.value:
            if key not in known:
                raise self.member(key).unknown_key(key, known)
        for key in required:
            if key not in self.value:
                raise ConfigError(self.source, self.member(key).path, None, "this key, which is required")
        return {key: self.member(key) for key in self.value}

    def member(self, key: str) -> "Node":
        path = f"{self.path}.{key}" if self.path else key
        return Node(self.source, path, self.value.get(key))

    def unknown_key(self, key: str, known: tuple[str, ...]) -> ConfigError:
        by_lower = {name.lower(): name for name in known}
        close = difflib.get_close_matches(key.lower(), list(by_lower), n=1)
        hint = f" (did you mean {by_lower[close[0]]}?)" if close else ""
        return ConfigError(self.source, self.path, self.value, f"one of the keys {', '.join(known)}{hint}")

    def items(self) -> Iterator["Node"]:
        """The elements of a list; null counts as an empty one."""
        if self.value is None:
            return
        if not isinstance(self.value, list):
            raise self.wrong("a list [...]")
        for index, item in enumerate(self.value):
            yield Node(self.source, f"{self.path}[{index}]", item)

    def text(self) -> str:
        if not isinstance(self.value, str):
            raise self.wrong("text")
        return self.value

    def optional_text(self) -> str | None:
        return None if self.value is None or self.value == "" else self.text()

    def whole_number(self) -> int:
        if type(self.value) is int:
            return self.value
        if isinstance(self.value, str) and re.fullmatch(r"[0-9]{1,18}", self.value):
            return int(self.value)
        raise self.wrong("a whole number")

    def optional_whole_number(self) -> int | None:
        return None if self.value is None else self.whole_number()

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.wrong("true or false")
        return self.value

    def duration(self) -> timedelta:
        try:
            return parse_duration(self.text())
        except ValueError:
            raise self.wrong("an ISO 8601 duration such as PT30S, PT1H or P14D") from None

    def status(self) -> EntityStatus:
        try:
            return EntityStatus(self.text())
        except ValueError:
            raise self.wrong("one of " + ", ".join(EntityStatus)) from None

    def property_value(self) -> str | bool | int | float:
        if not isinstance(self.value, str | bool | int | float):
            raise self.wrong("text, a number, true or false")
        return self.value


def load(path: Path) -> str:
    """The text of a file. Raises `ConfigError` if it cannot be read."""
    try:
        if path.stat().st_size > _MAX_FILE_SIZE:
            raise ConfigError(str(path), "", f"{path.stat().st_size} bytes", f"at most {_MAX_FILE_SIZE} bytes")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(str(path), "", error.strerror or str(error), "a file that can be read") from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "", f"byte {error.start}", "UTF-8 text") from None


def root(text: str, source: str) -> Node:
    """The whole document. Raises `ConfigError` if the text is no JSON."""
    return Node(source, "", _decode(text, source))


def _decode(text: str, source: str) -> object:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        members = dict(pairs)
        if len(members) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ConfigError(source, twice, "given twice in one object", "each key once")
        return members

    def no_number(text: str) -> object:
        raise ConfigError(source, "", text, "numbers that JSON knows")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=no_number)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise ConfigError(source, place, error.msg, "valid JSON") from None
    except (RecursionError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(source, "", str(error), "JSON of reasonable depth and numbers") from None


def only_one(namespaces: Node) -> Node:
    """The single namespace of a list of one. Raises `ConfigError` for any other list."""
    found = list(namespaces.items())
    if len(found) != 1:
        raise ConfigError(
            namespaces.source, namespaces.path, f"{len(found)} namespaces", "exactly one, as in the official emulators"
        )
    return found[0]


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= _SHOWN_VALUE else text[:_SHOWN_VALUE] + "…"
