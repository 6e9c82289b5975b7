"""What of a dead letter's message may be shown to whoever looks: all but its protected fields."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from shared.classification import Plan, redacted
from shared.messages import MessageError, Registry, write_json

from .record import StoredLetter

__all__ = ["preview"]

_WITHHELD = b"[withheld: what is protected in it can't be distinguished from the rest]"


def preview(letter: StoredLetter, body: bytes, registry: Registry) -> bytes:
    """The message with every protected value replaced; as it is where its type has none.

    A message that can't be read, or of a type that nobody handles, is withheld as soon as any type of the app has
    protected fields: it may hold them all the same.
    """
    plans = _plans(letter, registry)
    if plans is None:
        return _WITHHELD if registry.protects else body
    guarding = [plan for plan in plans if plan.protects]
    if not guarding or not body:
        return body
    try:
        parsed: Any = json.loads(body, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        return _WITHHELD
    if not isinstance(parsed, Mapping) or not isinstance(parsed.get("data"), dict | list):
        return _WITHHELD
    for plan in guarding:
        redacted(plan, parsed["data"])
    return write_json(parsed).encode("utf-8", "surrogatepass")


def _plans(letter: StoredLetter, registry: Registry) -> list[Plan] | None:
    """The plans of what reads a message of its type; None where nothing does."""
    if letter.event_type is None:
        return None
    if letter.lane is None:
        return [projection.plan for projection in registry.projections(letter.event_type)] or None
    try:
        return [registry.handler(letter.event_type, str(letter.properties.get("version", ""))).plan]
    except MessageError:
        return None
