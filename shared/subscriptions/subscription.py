"""A subscription as a value: who wants which events, where, and how. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from shared.classification import Classification

__all__ = [
    "MODES",
    "Condition",
    "Mode",
    "PayloadFormat",
    "ReceiverAuth",
    "ReceiverAuthKind",
    "Status",
    "Subscription",
    "check_pattern",
    "conditions_of",
    "matches_type",
]

_PATTERN = re.compile(r"\*|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?(@[0-9]{1,6}\.[0-9]{1,6})?")
PATH = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]{0,63}(\.[A-Za-z_$][A-Za-z0-9_$-]{0,63}){0,7}")
MOST_PATHS, MOST_VALUES, LONGEST_TEXT = 16, 64, 256
_MISSING = object()


class Status(StrEnum):
    """Whether events are sent to it."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class Mode(StrEnum):
    """How often the receiver may get one event."""

    AT_LEAST_ONCE = "at-least-once"
    AT_MOST_ONCE = "at-most-once"


MODES = tuple(one.value for one in Mode)


class PayloadFormat(StrEnum):
    """What a body looks like."""

    STANDARD = "standard"
    """`{"type", "timestamp", "version", "data"}`, as Standard Webhooks has it."""
    CLOUD_EVENTS = "cloudevents"
    """A CloudEvent 1.0 in JSON."""


class ReceiverAuthKind(StrEnum):
    """What a receiver wants to see beside the signature."""

    API_KEY = "apiKey"
    OAUTH2 = "oauth2"
    MUTUAL_TLS = "mutualTls"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiverAuth:
    """How the app shows a receiver who it is.

    Attributes
    ----------
    secret:
        The API key, or the client's secret (RFC 6749, 2.3.1).
    header:
        Where the API key goes.
    token_url, client_id, scope:
        Of the client credentials grant (RFC 6749, 4.4).
    """

    kind: ReceiverAuthKind
    secret: str = field(default="", repr=False)
    header: str = ""
    token_url: str = ""
    client_id: str = ""
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a value of an event's data must be; a value that isn't there fits nothing but `exists: false`."""

    path: str
    operator: str
    value: Any

    def holds(self, data: Any) -> bool:
        """Whether some data fits."""
        found: Any = data
        for name in self.path.split("."):
            found = found.get(name, _MISSING) if isinstance(found, dict) else _MISSING
        match self.operator:
            case "exists":
                return (found is not _MISSING and found is not None) is self.value
            case _ if found is _MISSING:
                return False
            case "eq":
                return _same(found, self.value)
            case "ne":
                return not _same(found, self.value)
            case "in":
                return any(_same(found, one) for one in self.value)
            case _:
                return _ordered(found, self.operator, self.value)


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if isinstance(wanted, int | float) and (number := _number(found)) is not None:
        return number == Decimal(str(wanted))
    return bool(found == wanted)


def _ordered(found: Any, operator: str, wanted: Any) -> bool:
    """Numbers as numbers, also those that JSON writes as texts (amounts); texts as texts, such as times."""
    left: Any
    right: Any
    if isinstance(wanted, str):
        left, right = (found, wanted) if isinstance(found, str) else (None, wanted)
    else:
        left, right = _number(found), Decimal(str(wanted))
    if left is None:
        return False
    return bool({"gt": left > right, "ge": left >= right, "lt": left < right, "le": left <= right}[operator])


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > LONGEST_TEXT:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


_OPERATORS = ("eq", "ne", "in", "gt", "ge", "lt", "le", "exists")


def conditions_of(filters: Mapping[str, Any]) -> tuple[Condition, ...]:
    """A filter as it is written: by path a value that must be there, or operators with their values.

    Raises
    ------
    ValueError
        Says what is wrong with it.

    Example
    -------
    >>> [one.holds({"country": "France", "total": "20.50"})
    ...  for one in conditions_of({"country": {"in": ["France", "Spain"]}, "total": {"ge": 20}})]
    [True, True]
    """
    if len(filters) > MOST_PATHS:
        raise ValueError(f"a filter has at most {MOST_PATHS} paths")
    found: list[Condition] = []
    for path, wanted in filters.items():
        if not PATH.fullmatch(path):
            raise ValueError("a path of the filter is names with dots between them")
        operators = wanted if isinstance(wanted, dict) else {"eq": wanted}
        if not operators:
            raise ValueError(f"{path}: say a value, or one of {', '.join(_OPERATORS)}")
        for operator, value in operators.items():
            if operator not in _OPERATORS or not _fits(operator, value):
                raise ValueError(f"{path}: say a value, or one of {', '.join(_OPERATORS)} with a value that fits it")
            found.append(Condition(path, operator, tuple(value) if operator == "in" else value))
    return tuple(found)


def _fits(operator: str, value: Any) -> bool:
    if operator == "exists":
        return isinstance(value, bool)
    if operator == "in":
        return isinstance(value, list) and 1 <= len(value) <= MOST_VALUES and all(_is_value(one) for one in value)
    if operator in ("gt", "ge", "lt", "le"):
        return _is_value(value) and value is not None and not isinstance(value, bool)
    return _is_value(value)


def _is_value(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST_TEXT
    return value is None or isinstance(value, bool | int | float)


def check_pattern(pattern: str) -> str:
    """The pattern; raises ValueError where it is none: `*`, `order.accepted`, `order.*`, any with `@1.0` behind it."""
    if len(pattern) > 128 or not _PATTERN.fullmatch(pattern):
        raise ValueError("an event type is a name such as order.accepted, order.* or *, with @1.0 for one version")
    return pattern


def matches_type(pattern: str, event_type: str, version: str | None = None) -> bool:
    """Whether a pattern is for an event type, and for a version of it where one is given.

    Example
    -------
    >>> matches_type("order.*", "order.accepted"), matches_type("order.*@2.0", "order.accepted", "1.0")
    (True, False)
    """
    name, _, wanted = pattern.partition("@")
    if wanted and version is not None and wanted != version:
        return False
    return name in ("*", event_type) or (name.endswith(".*") and event_type.startswith(name[:-1]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Subscription:
    """Who wants what, and where.

    Attributes
    ----------
    owner:
        The caller that made it; nobody else sees it.
    level:
        What its owner may see: what is above it is masked in every body.
    secrets:
        The current one first; the one before counts until `previous_until`.
    rate:
        POSTs a second that all instances together send; None: no bound.
    concurrency:
        POSTs side by side in one instance.
    version:
        Counts its changes, the app's own too: its ETag.
    failing_since:
        When its first failure without a success since was.
    reason:
        Why it is disabled.
    """

    id: str
    owner: str
    url: str
    event_types: tuple[str, ...]
    filters: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    ordered: bool = False
    mode: Mode = Mode.AT_LEAST_ONCE
    payload_format: PayloadFormat = PayloadFormat.STANDARD
    rate: float | None = None
    concurrency: int = 8
    authentication: ReceiverAuth | None = None
    level: Classification = Classification.CONFIDENTIAL
    secrets: tuple[str, ...] = ()
    previous_until: datetime | None = None
    status: Status = Status.ENABLED
    reason: str = ""
    created_at: datetime
    changed_at: datetime
    version: int = 1
    failing_since: datetime | None = None

    def signing_secrets(self, now: datetime) -> Sequence[str]:
        """Those that a body is signed with now."""
        both = self.previous_until is not None and now < self.previous_until
        return self.secrets if both else self.secrets[:1]

    def wants(self, event_type: str, version: str, time: datetime, data: Any) -> bool:
        """Whether an event is for it: its type and data, and not from before it was there."""
        return (
            time >= self.created_at
            and any(matches_type(one, event_type, version) for one in self.event_types)
            and all(one.holds(data) for one in conditions_of(self.filters))
        )
