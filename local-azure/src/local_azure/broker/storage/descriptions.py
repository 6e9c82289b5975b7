"""Entity descriptions as JSON text and back, so that entities survive restarts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from local_azure.broker import entities

__all__ = ["dump_description", "load_description"]

_KINDS: Final[dict[str, Any]] = {
    name: getattr(entities, name)
    for name in entities.__all__
    if isinstance(getattr(entities, name), type) and is_dataclass(getattr(entities, name))
}


def dump_description(description: Any) -> str:
    """JSON text of one of the dataclasses of `entities`."""
    return json.dumps(_plain(description), separators=(",", ":"))


def load_description(text: str) -> Any:
    """The description that `dump_description` wrote; unknown fields of other versions are ignored."""
    return _rich(json.loads(text))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        named = {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
        return {"kind": type(value).__name__, **named}
    if isinstance(value, timedelta):
        return {"kind": "timedelta", "microseconds": value // timedelta(microseconds=1)}
    if isinstance(value, datetime):
        return {"kind": "datetime", "iso": value.isoformat()}
    if isinstance(value, entities.EntityStatus):
        return {"kind": "EntityStatus", "value": value.value}
    if isinstance(value, Mapping):
        return {"kind": "map", "items": [[key, _plain(item)] for key, item in value.items()]}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _rich(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_rich(item) for item in value)
    if not isinstance(value, dict):
        return value
    kind = value["kind"]
    if kind == "timedelta":
        return timedelta(microseconds=value["microseconds"])
    if kind == "datetime":
        return datetime.fromisoformat(value["iso"])
    if kind == "EntityStatus":
        return entities.EntityStatus(value["value"])
    if kind == "map":
        return {key: _rich(item) for key, item in value["items"]}
    known = {each.name for each in fields(_KINDS[kind])}
    return _KINDS[kind](**{name: _rich(item) for name, item in value.items() if name in known})
