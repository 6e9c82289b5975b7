"""Bicep's functions, as far as templates here use them; what isn't known stays symbolic."""

import base64
import hashlib
import json
import uuid
from collections.abc import Callable
from typing import Any

from infra.delivery.names import unique_string

from .values import Symbolic

__all__ = ["FUNCTIONS", "OF_UNKNOWNS"]


def _digest(*parts: Any) -> bytes:
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).digest()


def _unique_string(*parts: Any) -> str:
    return unique_string(*map(str, parts))


def _guid(*parts: Any) -> str:
    return str(uuid.UUID(bytes=_digest(*parts)[:16]))


def _union(*values: Any) -> Any:
    if all(isinstance(value, dict) for value in values):
        merged: dict[str, Any] = {}
        for value in values:
            merged.update(value)
        return merged
    seen: list[Any] = []
    for value in values:
        seen.extend(item for item in value if item not in seen)
    return seen


def _concat(*values: Any) -> Any:
    if all(isinstance(value, list) for value in values):
        return [item for value in values for item in value]
    return _text("".join(str(value) for value in values), *values)


def _text(text: str, *parts: Any) -> str:
    return Symbolic(text) if any(isinstance(part, Symbolic) for part in parts) else text


def _format(pattern: str, *values: Any) -> str:
    for number, value in enumerate(values):
        pattern = pattern.replace(f"{{{number}}}", str(value))
    return _text(pattern, *values)


def _contains(whole: Any, part: Any) -> bool:
    return part in whole


def _items(value: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value[key]} for key in sorted(value)]


def _string(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _to_object(value: Any) -> Any:
    return json.loads(value)


def _fail(reason: str) -> Any:
    raise ValueError(reason)


def _environment() -> dict[str, Any]:
    suffixes = {"storage": "core.windows.net", "keyvaultDns": ".vault.azure.net"}
    return {"name": "AzureCloud", "suffixes": suffixes}


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "array": lambda value: value if isinstance(value, list) else [value],
    "base64": lambda value: _text(base64.b64encode(value.encode()).decode(), value),
    "bool": lambda value: str(value).lower() in ("true", "1"),
    "concat": _concat,
    "contains": _contains,
    "empty": lambda value: value is None or len(value) == 0,
    "endsWith": lambda text, end: text.lower().endswith(end.lower()),
    "environment": _environment,
    "fail": _fail,
    "first": lambda value: value[0],
    "flatten": lambda lists: [item for one in lists for item in one],
    "format": _format,
    "guid": _guid,
    "int": lambda value: int(value),
    "items": _items,
    "join": lambda parts, between: _text(between.join(str(part) for part in parts), *parts),
    "json": _to_object,
    "last": lambda value: value[-1],
    "length": lambda value: len(value),
    "max": lambda *values: max(values[0] if isinstance(values[0], list) else values),
    "min": lambda *values: min(values[0] if isinstance(values[0], list) else values),
    "objectKeys": lambda value: sorted(value),
    "range": lambda start, count: list(range(start, start + count)),
    "replace": lambda text, old, new: _text(text.replace(old, new), text, new),
    "split": lambda text, between: text.split(between),
    "startsWith": lambda text, start: text.lower().startswith(start.lower()),
    "string": _string,
    "subscriptionResourceId": lambda kind, name: Symbolic(f"[subscription]/providers/{kind}/{name}"),
    "substring": lambda text, start, length: text[start : start + length],
    "take": lambda value, count: _text(value[:count], value) if isinstance(value, str) else value[:count],
    "toLower": lambda text: _text(text.lower(), text),
    "toUpper": lambda text: _text(text.upper(), text),
    "trim": lambda text: text.strip(),
    "union": _union,
    "uniqueString": _unique_string,
}
"""Name → function. Azure's own (`subscription`, `resourceId` and so on) are not here: they stay symbolic. The cloud
is the public one."""

OF_UNKNOWNS = frozenset(
    {"array", "base64", "concat", "format", "guid", "join", "replace", "string"}
    | {"take", "toLower", "toUpper", "union", "uniqueString"}
)
"""What still comes to something useful when an argument is known only in Azure."""
