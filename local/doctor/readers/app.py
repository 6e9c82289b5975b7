"""The functions' triggers and the settings model, from the app itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from local.app import AppDescription
from local.doctor.facts import Trigger

__all__ = ["CONSTANTS", "triggers_of"]

CONSTANTS = ("shared.processing.batch:GRACE_SECONDS",)


def triggers_of(app: AppDescription) -> Sequence[Trigger]:
    """Each function by its trigger, sorted by name."""
    found = []
    for one in app.functions:
        binding = next(each for each in one["bindings"] if str(each["type"]).endswith("Trigger"))
        retry: Mapping[str, Any] | None = one["retry"]
        found.append(Trigger(str(one["name"]), binding, retry))
    return sorted(found, key=lambda trigger: trigger.function)
