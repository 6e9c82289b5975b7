"""Rules of Azure as data: each says in a small form what is refused, with the sentence, its source and its date."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal

from .conditions import BadCondition, Condition
from .functions import FUNCTIONS

__all__ = ["OWN_RULES", "BadRule", "Rule", "Rules", "Severity", "read_rules"]

OWN_RULES: Final = Path(__file__).with_name("rules")
"""The folder of the project's own rules."""

Severity = Literal["refused", "broken", "risk"]
"""Azure refuses it; Azure takes it and it doesn't work; it may fail, or costs more than it seems."""

_KINDS = ("refuse", "one_at_a_time", "unique", "after")
_NEEDED = ("id", "type", "text", "do", "source", "date")
_KNOWN = {*_NEEDED, *_KINDS, "when", "code", "severity", "per", "at_most"}
_PLACE = re.compile(r"\{([^{}]+)\}")


class BadRule(ValueError):
    """A rule that isn't one; the text names file and rule."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule.

    `types` are the types of resources that it looks at (`*` stands for any part of a name), `when` which of them. Its
    one condition is, by `kind`:

    refuse
        Azure refuses a resource for which it holds.
    one_at_a_time
        A key: of those with the same key no two may be changed side by side.
    unique
        A key: no two have the same.
    after
        A resource, or a list: each must be there before this one is begun.
    at_most
        A key (`per`): no more than `most` have the same.
    """

    id: str
    kind: str
    types: tuple[str, ...]
    when: Condition | None
    condition: Condition
    most: Condition | None
    code: str
    text: str
    places: Mapping[str, Condition]
    remedy: str
    source: str
    date: date
    severity: Severity

    def looks_at(self, kind: str) -> bool:
        """Whether resources of a type are its business."""
        return any(fnmatchcase(kind.lower(), one) for one in self.types)


@dataclass(frozen=True)
class Rules:
    """Rules with the tables that their conditions look things up in."""

    rules: tuple[Rule, ...]
    tables: Mapping[str, Any]


def read_rules(files: Iterable[Path]) -> Rules:
    """Read rules and tables out of TOML files, folders of them included; a later rule or table replaces one before.

    Raises
    ------
    BadRule
        A file that can't be read, or a rule that lacks something or has a condition that is none.
    """
    found: dict[str, Rule] = {}
    tables: dict[str, Any] = {}
    for file in (one for given in files for one in (sorted(given.glob("*.toml")) if given.is_dir() else [given])):
        try:
            whole = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadRule(f"{file} can't be read: {error}") from None
        if unknown := set(whole) - {"rule", "table"}:
            raise BadRule(f"{file}: {', '.join(sorted(unknown))} is neither [[rule]] nor [table.NAME]")
        here = [_rule(file, one) for one in _list(file, whole.get("rule", []))]
        if twice := {one.id for one in here if [other.id for other in here].count(one.id) > 1}:
            raise BadRule(f"{file}: {', '.join(sorted(twice))} is there twice")
        found |= {one.id: one for one in here}
        tables |= whole.get("table", {})
    return Rules(tuple(found.values()), tables)


def _list(file: Path, value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise BadRule(f"{file}: rules are written [[rule]]")
    return value


def _rule(file: Path, given: Mapping[str, Any]) -> Rule:
    where = f"{file}: {given.get('id', 'a rule without id')}"
    if missing := [name for name in _NEEDED if not given.get(name)]:
        raise BadRule(f"{where} has no {', '.join(missing)}")
    if unknown := set(given) - _KNOWN:
        raise BadRule(f"{where} has {', '.join(sorted(unknown))}, which rules don't have")
    kinds = [name for name in _KINDS if name in given] + (["at_most"] if "at_most" in given else [])
    if len(kinds) != 1 or ("per" in given) is not (kinds == ["at_most"]):
        raise BadRule(f"{where} has one of {', '.join(_KINDS)}, or at_most with per")
    if not isinstance(given["date"], date):
        raise BadRule(f"{where}: the date is written 2026-11-30")
    severity = given.get("severity", "refused")
    if severity not in ("refused", "broken", "risk"):
        raise BadRule(f"{where}: severity is refused, broken or risk")
    types = given["type"] if isinstance(given["type"], list) else [given["type"]]
    try:
        return Rule(
            id=str(given["id"]),
            kind=kinds[0],
            types=tuple(str(one).lower() for one in types),
            when=_condition(given["when"]) if "when" in given else None,
            condition=_condition(given["per"] if kinds == ["at_most"] else given[kinds[0]]),
            most=_condition(given["at_most"]) if "at_most" in given else None,
            code=str(given.get("code", "")),
            text=given["text"],
            places={one: _condition(one) for one in _PLACE.findall(given["text"])},
            remedy=given["do"],
            source=given["source"],
            date=given["date"],
            severity=severity,
        )
    except BadCondition as error:
        raise BadRule(f"{where}: {error}") from None


def _condition(text: Any) -> Condition:
    return Condition(str(text).lower() if isinstance(text, bool) else str(text), frozenset(FUNCTIONS))
