"""The functions' triggers and the calls that they make, from the app itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from local.app import AppDescription
from local.doctor.facts import Need, Trigger

__all__ = ["CONSTANTS", "needs_of", "triggers_of"]

CONSTANTS = ("shared.processing.pipeline:GRACE_SECONDS",)


def triggers_of(app: AppDescription) -> Sequence[Trigger]:
    """Each function by its trigger, sorted by name."""
    apps = {str(one["name"]): str(one["app"]) for one in app.declarations["functions"]}
    found = []
    for one in app.functions:
        binding = next(each for each in one["bindings"] if str(each["type"]).endswith("Trigger"))
        retry: Mapping[str, Any] | None = one["retry"]
        found.append(Trigger(str(one["name"]), binding, retry, apps.get(str(one["name"]), "")))
    return sorted(found, key=lambda trigger: trigger.function)


def needs_of(app: AppDescription) -> Sequence[Need]:
    """The calls that the capabilities declare."""
    return [
        Need(
            kind=str(one["kind"]),
            name=str(one["name"]),
            access=str(one["access"]),
            why=str(one["why"]),
            when=str(one.get("when", "")),
            apps=tuple(map(str, one["apps"])),
            of=str(one["of"]),
        )
        for one in app.declarations["needs"]
    ]
