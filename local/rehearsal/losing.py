"""What a deployment would take away: resources with data that the template doesn't have any more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .plan import Plan
from .rows import Finding, Row
from .rules import Rules
from .state import BadState, State

__all__ = ["changes_that_delete", "losses"]

_STEP = "what-if"
_SOURCE = "https://learn.microsoft.com/azure/azure-resource-manager/templates/deploy-what-if"


def losses(plan: Plan, state: State, rules: Rules) -> Iterator[Row]:
    """Each resource with data that is there and isn't in the plan."""
    for one in state.resources:
        if _holds_data(one.type, rules) and plan.find(one.type, one.name) is None:
            text = "holds data and is not in the template: a deployment stack deletes it, any other leaves it behind"
            yield _lost(one.type, one.name, text)


def changes_that_delete(file: Path, rules: Rules) -> Iterator[Row]:
    """Each resource with data that Azure's own answer (`az deployment sub what-if --no-pretty-print`) would delete.

    Raises
    ------
    BadState
        The file isn't such an answer.
    """
    try:
        answer = json.loads(file.read_text(encoding="utf-8"))
        changes = (answer.get("properties") or answer)["changes"]
        found = [(str(one["changeType"]), str(one["resourceId"]), one) for one in changes]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadState(f"{file} is not what `az deployment sub what-if --no-pretty-print` prints: {error!r}") from None
    for change, resource_id, whole in found:
        kind, name = _named(resource_id)
        if not _holds_data(kind, rules):
            continue
        if change == "Delete":
            yield _lost(kind, name, "holds data and would be deleted")
        elif replaced := [one for one in _paths(whole) if one in _fixed(kind, rules)]:
            yield _lost(kind, name, f"holds data and can't change {', '.join(replaced)} without being made anew")
    if not found:
        yield Row(_STEP, "no change", "ok")


def _holds_data(kind: str, rules: Rules) -> bool:
    holds = rules.tables.get("data", {}).get("holds", [])
    return any(fnmatchcase(kind.lower(), str(one).lower()) for one in holds)


def _fixed(kind: str, rules: Rules) -> list[str]:
    fixed = rules.tables.get("data", {}).get("fixed", {})
    return next((paths for name, paths in fixed.items() if name.lower() == kind.lower()), [])


def _paths(change: Any, above: str = "") -> Iterator[str]:
    for one in change.get("delta" if not above else "children") or []:
        path = f"{above}.{one.get('path')}".lstrip(".")
        if one.get("propertyChangeType") != "NoEffect":
            yield path
        yield from _paths(one, path)


def _named(resource_id: str) -> tuple[str, str]:
    namespace, _, rest = resource_id.rpartition("/providers/")[2].partition("/")
    parts = rest.split("/")
    return "/".join([namespace, *parts[::2]]), "/".join(parts[1::2])


def _lost(kind: str, name: str, text: str) -> Row:
    finding = Finding(
        "data-is-kept", "refused", f"{name} {text}.", "Keep it in the template, or move its data first.", _SOURCE
    )
    return Row(_STEP, name, "would be lost", kind=kind, findings=(finding,))
