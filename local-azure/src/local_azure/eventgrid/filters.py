"""Which events a subscription takes. No I/O.

Source: learn.microsoft.com, "Event filtering for Azure Event Grid subscriptions". Comparisons of text ignore case; of
an array each element is looked at; elements of another type than the filter's are passed over. A key that the event
doesn't have fits `NumberNotIn`, `StringNotIn` and `IsNullOrUndefined`, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from local_azure.eventgrid.errors import EventGridError

__all__ = ["AdvancedFilter", "Filter"]

MOST_FILTERS: Final = 25
"""Advanced filters of a subscription, and values in all of them together."""
LONGEST_VALUE: Final = 512
"""Characters."""

Check = Callable[[Any, Any], bool]

_NUMBER: Final[Mapping[str, Check]] = {
    "NumberIn": lambda key, value: bool(key == value),
    "NumberLessThan": lambda key, value: bool(key < value),
    "NumberLessThanOrEquals": lambda key, value: bool(key <= value),
    "NumberGreaterThan": lambda key, value: bool(key > value),
    "NumberGreaterThanOrEquals": lambda key, value: bool(key >= value),
    "NumberInRange": lambda key, value: bool(value[0] <= key <= value[1]),
}
_STRING: Final[Mapping[str, Check]] = {
    "StringIn": lambda key, value: bool(key == value),
    "StringContains": lambda key, value: value in key,
    "StringBeginsWith": lambda key, value: bool(key.startswith(value)),
    "StringEndsWith": lambda key, value: bool(key.endswith(value)),
}
_SINGLE: Final = frozenset(
    {"NumberLessThan", "NumberLessThanOrEquals", "NumberGreaterThan", "NumberGreaterThanOrEquals", "BoolEquals"}
)
"""Operators that have one `value`; the others have `values`."""
_NEGATED: Final[Mapping[str, str]] = {
    "NumberNotIn": "NumberIn",
    "NumberNotInRange": "NumberInRange",
    "StringNotIn": "StringIn",
    "StringNotContains": "StringContains",
    "StringNotBeginsWith": "StringBeginsWith",
    "StringNotEndsWith": "StringEndsWith",
}
_WITHOUT_KEY: Final = frozenset({"NumberNotIn", "StringNotIn", "IsNullOrUndefined"})
_VALUELESS: Final = frozenset({"IsNullOrUndefined", "IsNotNull"})
_OPERATORS: Final = frozenset({*_NUMBER, *_STRING, *_NEGATED, *_VALUELESS, "BoolEquals"})
_GRID_KEYS: Final = {name.lower(): name for name in ("id", "topic", "subject", "eventType", "dataVersion")}
_MISSING: Final = object()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_range(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)) and value[0] <= value[1]


def _refuse(message: str) -> EventGridError:
    return EventGridError(400, "InvalidRequest", message)


@dataclass(frozen=True, slots=True)
class AdvancedFilter:
    """One condition on one key; of several values any may fit, of a negated operator none."""

    operator: str
    key: str
    values: tuple[Any, ...] = ()

    @classmethod
    def read(cls, content: object) -> Self:
        """A filter as Resource Manager has it: `operatorType`, `key`, and `value` or `values`.

        Raises
        ------
        EventGridError
            Such a filter doesn't exist.
        """
        if not isinstance(content, Mapping):
            raise _refuse("An advanced filter is a JSON object.")
        operator, key = content.get("operatorType"), content.get("key")
        if not isinstance(operator, str) or operator not in _OPERATORS:
            raise _refuse(f"There is no operator {operator!r}.")
        if not isinstance(key, str) or not key:
            raise _refuse(f"The filter {operator} needs a key.")
        wanted = None if operator in _VALUELESS else "value" if operator in _SINGLE else "values"
        if unknown := sorted(set(content) - {"operatorType", "key", wanted}):
            raise _refuse(f"The filter {operator} has no {unknown[0]}.")
        if wanted is None:
            return cls(operator, key)
        given = content.get(wanted)
        values = given if wanted == "values" else [given]
        if not isinstance(values, list) or not values or not all(_fits(operator, one) for one in values):
            raise _refuse(f"The filter {operator} on {key} needs {wanted} of its type.")
        return cls(operator, key, tuple(one.lower() if isinstance(one, str) else one for one in values))

    def matches(self, event: Mapping[str, Any], *, arrays: bool) -> bool:
        """Whether an event fits; `arrays` says whether a key may be one."""
        found = value_at(event, self.key)
        if self.operator == "IsNotNull":
            return found is not _MISSING and found is not None
        if found is _MISSING or found is None:
            return self.operator in _WITHOUT_KEY
        if self.operator == "IsNullOrUndefined" or (isinstance(found, list) and not arrays):
            return False
        keys = [one.lower() if isinstance(one, str) else one for one in (found if isinstance(found, list) else [found])]
        positive = _NEGATED.get(self.operator, self.operator)
        return self._any(positive, keys) is (positive == self.operator)

    def _any(self, operator: str, keys: Sequence[Any]) -> bool:
        if operator == "BoolEquals":
            return any(isinstance(key, bool) and key is self.values[0] for key in keys)
        check = _NUMBER.get(operator) or _STRING[operator]
        usable = [key for key in keys if (_is_number(key) if operator in _NUMBER else isinstance(key, str))]
        return any(check(key, value) for value in self.values for key in usable)


def _fits(operator: str, value: object) -> bool:
    positive = _NEGATED.get(operator, operator)
    if positive == "NumberInRange":
        return _is_range(value)
    if positive == "BoolEquals":
        return isinstance(value, bool)
    return _is_number(value) if positive in _NUMBER else isinstance(value, str) and len(value) <= LONGEST_VALUE


def value_at(event: Mapping[str, Any], key: str) -> Any:
    """What an event has under a key; Event Grid's own names are found in any case, those in the data as written."""
    first, *rest = key.split(".")
    if "specversion" not in event:
        first = _GRID_KEYS.get(first.lower(), first)
    value: Any = event.get("data" if first.lower() == "data" else first, _MISSING)
    for name in rest:
        value = value.get(name, _MISSING) if isinstance(value, Mapping) else _MISSING
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """All conditions of a subscription: an event has to meet each of them."""

    event_types: tuple[str, ...] = ()
    begins: str = ""
    ends: str = ""
    case_sensitive: bool = False
    arrays: bool = False
    advanced: tuple[AdvancedFilter, ...] = field(default=())

    @classmethod
    def read(cls, content: object) -> Self:
        """A filter as Resource Manager has it.

        Raises
        ------
        EventGridError
            It says something else, or more than is allowed.
        """
        if not isinstance(content, Mapping):
            raise _refuse("A filter is a JSON object.")
        known = {"includedEventTypes", "subjectBeginsWith", "subjectEndsWith", "isSubjectCaseSensitive"}
        known |= {"enableAdvancedFilteringOnArrays", "advancedFilters"}
        if unknown := sorted(set(content) - known):
            raise _refuse(f"A filter has no {unknown[0]}.")
        types = content.get("includedEventTypes") or []
        begins, ends = content.get("subjectBeginsWith") or "", content.get("subjectEndsWith") or ""
        sensitive = content.get("isSubjectCaseSensitive", False)
        arrays = content.get("enableAdvancedFilteringOnArrays", False)
        advanced = content.get("advancedFilters") or []
        if not isinstance(types, list) or not all(isinstance(one, str) for one in types):
            raise _refuse("includedEventTypes is a list of texts.")
        if not isinstance(begins, str) or not isinstance(ends, str):
            raise _refuse("subjectBeginsWith and subjectEndsWith are texts.")
        if not isinstance(sensitive, bool) or not isinstance(arrays, bool) or not isinstance(advanced, list):
            raise _refuse("isSubjectCaseSensitive is true or false, and advancedFilters a list.")
        read = tuple(map(AdvancedFilter.read, advanced))
        if len(read) > MOST_FILTERS or sum(len(one.values) for one in read) > MOST_FILTERS:
            raise _refuse(f"A subscription has up to {MOST_FILTERS} advanced filters and values of them.")
        return cls(
            event_types=() if [one.lower() for one in types] == ["all"] else tuple(types),
            begins=begins, ends=ends, case_sensitive=sensitive, arrays=arrays, advanced=read,
        )  # fmt: skip

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Whether an event, in the schema in which it came, meets every condition."""
        kind = str(event.get("type" if "specversion" in event else "eventType"))
        if self.event_types and kind.lower() not in {one.lower() for one in self.event_types}:
            return False
        subject, begins, ends = str(event.get("subject") or ""), self.begins, self.ends
        if not self.case_sensitive:
            subject, begins, ends = subject.lower(), begins.lower(), ends.lower()
        if not (subject.startswith(begins) and subject.endswith(ends)):
            return False
        return all(one.matches(event, arrays=self.arrays) for one in self.advanced)
