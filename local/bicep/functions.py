"""Bicep's functions, as far as templates here use them; what isn't known stays symbolic."""

import base64
import json
import uuid
from collections.abc import Callable
from typing import Any

from infra.delivery.names import unique_string

from .values import Symbolic

__all__ = ["FUNCTIONS", "OF_UNKNOWNS"]


_GUIDS = uuid.UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830")


def _unique_string(*parts: Any) -> str:
    return unique_string(*map(str, parts))


def _guid(*parts: Any) -> str:
    """A UUID of version 5 in Azure's own namespace, as the compiler predicts it."""
    return str(uuid.uuid5(_GUIDS, "-".join(str(part) for part in parts)))


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
    return [{"key": key, "value": value[key]} for key in sorted(value, key=str.upper)]


def _string(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _to_object(value: Any) -> Any:
    return json.loads(value)


def _fail(reason: str) -> Any:
    raise ValueError(reason)


_SUBSCRIPTION = "11111111-1111-1111-1111-111111111111"
_TENANT = "22222222-2222-2222-2222-222222222222"


def _subscription() -> dict[str, Any]:
    return {"id": f"/subscriptions/{_SUBSCRIPTION}", "subscriptionId": _SUBSCRIPTION, "tenantId": _TENANT}


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
    "subscriptionResourceId": lambda kind, name: f"/subscriptions/{_SUBSCRIPTION}/providers/{kind}/{name}",
    "substring": lambda text, start, length: text[start : start + length],
    "subscription": _subscription,
    "take": lambda value, count: _text(value[:count], value) if isinstance(value, str) else value[:count],
    "tenant": lambda: {"tenantId": _TENANT},
    "toLower": lambda text: _text(text.lower(), text),
    "toUpper": lambda text: _text(text.upper(), text),
    "trim": lambda text: text.strip(),
    "union": _union,
    "uniqueString": _unique_string,
}
"""Name → function. Most of Azure's own (`resourceId` and so on) are not here: they stay symbolic. The cloud is the
public one; subscription and tenant are those that the compiler's predictions are made with."""

OF_UNKNOWNS = frozenset(
    {"array", "base64", "concat", "format", "guid", "join", "replace", "string"}
    | {"take", "toLower", "toUpper", "union", "uniqueString"}
)
"""What still comes to something useful when an argument is known only in Azure."""
