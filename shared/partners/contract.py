"""A partner's contract as a file: what is sent and answered, what each status means, and the agreed times. Pure.

No secret is in it, and nothing of a stage: it is the same wherever the same code is. Kept beside the code, it shows in
a review what a change does to it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from .errors import PartnerError
from .meaning import check
from .partner import Partner, PartnerModel
from .sessions import Received

__all__ = ["VERSION", "changes", "contract_of"]

VERSION = 1


def contract_of(partner: Partner, models: Iterable[type[PartnerModel]]) -> dict[str, Any]:
    """The contract of a partner with the models of its module."""
    return {
        "contract": VERSION,
        "partner": partner.name,
        "timeouts": asdict(partner.timeouts),
        "limit": None if partner.limit is None else asdict(partner.limit),
        "retry": asdict(partner.retry),
        "breaker": None if partner.breaker is None else asdict(partner.breaker),
        "concurrency": asdict(partner.concurrency),
        "idempotencyHeader": partner.idempotency_header,
        "largestAnswer": partner.largest_answer,
        "auth": [type(one).__name__ for one in partner.authentication],
        "targets": [one.name for one in partner.targets],
        "errors": _errors(),
        "models": {
            one.__name__: one.model_json_schema(by_alias=True) for one in sorted(models, key=lambda one: one.__name__)
        },
    }


def _errors() -> dict[str, str]:
    """Statuses → the error that they are: `"300-407": "PartnerRefused"`."""
    found: dict[str, str] = {}
    first, kind = 300, _kind(300)
    for status in range(301, 601):
        if status == 600 or _kind(status) != kind:
            found[str(first) if first == status - 1 else f"{first}-{status - 1}"] = kind
            first, kind = status, _kind(status) if status < 600 else ""
    return found


def _kind(status: int) -> str:
    try:
        check("", "", Received(status, {}, b""), now=datetime.min.replace(tzinfo=UTC))
    except PartnerError as error:
        return type(error).__name__
    return "good"


def changes(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """What differs between two contracts, each with its place."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted({*before, *after}):
            inner = f"{place}.{name}" if place else str(name)
            if name not in after:
                yield f"{inner} is gone"
            elif name not in before:
                yield f"{inner} is new"
            else:
                yield from changes(before[name], after[name], inner)
    elif before != after:
        yield f"{place} was {before!r}, is {after!r}"
