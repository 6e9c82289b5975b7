"""Which dead letters are meant: filters that the table itself applies, and groups of the same failure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.tables import Condition

from .record import Status

__all__ = ["GROUP_COLUMNS", "Filters", "Group", "by_place", "grouped_into"]

GROUP_COLUMNS = (
    *("fingerprint", "status", "category", "code", "reason", "eventType", "lane", "firstFailure", "lastFailure"),
)
TREND_HOURS = 24
_MAX_EVENT_TYPES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Filters:
    """All that are given must hold; `since` is inclusive and `until` exclusive, both over the last failure."""

    status: frozenset[Status] = field(default_factory=frozenset)
    category: str | None = None
    code: str | None = None
    event_type: str | None = None
    key: str | None = None
    lane: str | None = None
    source: str | None = None
    fingerprint: str | None = None
    message_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[Condition]:
        """What the columns must be."""
        equal = {
            "category": self.category,
            "code": self.code,
            "eventType": self.event_type,
            "key": self.key,
            "lane": self.lane,
            "source": self.source,
            "fingerprint": self.fingerprint,
            "messageId": self.message_id,
        }
        conditions = [Condition(name, "eq", value) for name, value in equal.items() if value is not None]
        if self.status:
            conditions.append(Condition("status", "in", tuple(sorted(status.value for status in self.status))))
        if self.since is not None:
            conditions.append(Condition("lastFailure", "ge", self.since))
        if self.until is not None:
            conditions.append(Condition("lastFailure", "lt", self.until))
        return conditions


@dataclass(kw_only=True, slots=True)
class Group:
    """Dead letters that have something in common: as a rule the place where they failed.

    Attributes
    ----------
    name:
        What they have in common.
    per_hour:
        How many failed last in each of the 24 hours until now, oldest first.
    """

    name: str
    fingerprint: str
    category: str
    code: str
    reason: str
    first_failure: datetime
    last_failure: datetime
    count: int = 0
    open: int = 0
    event_types: set[str] = field(default_factory=set)
    per_hour: list[int] = field(default_factory=lambda: [0] * TREND_HOURS)

    def add(self, row: Mapping[str, Any], *, now: datetime) -> None:
        """Count a row; what is shown of it is the newest one's."""
        self.count += 1
        age = int((now - row["lastFailure"]).total_seconds() // 3_600)
        if age < TREND_HOURS:
            self.per_hour[TREND_HOURS - 1 - max(age, 0)] += 1
        self.open += row["status"] == Status.OPEN
        if len(self.event_types) < _MAX_EVENT_TYPES and row.get("eventType"):
            self.event_types.add(row["eventType"])
        self.first_failure = min(self.first_failure, row["firstFailure"])
        if row["lastFailure"] >= self.last_failure:
            self.last_failure, self.reason = row["lastFailure"], row["reason"]
            self.fingerprint, self.category, self.code = row["fingerprint"], row["category"], row["code"]


def by_place(row: Mapping[str, Any]) -> str:
    """By the place in the code where it failed."""
    return str(row["fingerprint"])


def grouped_into(
    groups: dict[str, Group],
    rows: Iterable[Mapping[str, Any]],
    *,
    now: datetime,
    by: Callable[[Mapping[str, Any]], str] = by_place,
) -> None:
    """Count rows by what `by` says; memory grows with the number of groups, not of rows."""
    for row in rows:
        name = by(row)
        group = groups.get(name)
        if group is None:
            group = groups[name] = Group(
                name=name,
                fingerprint=row["fingerprint"],
                category=row["category"],
                code=row["code"],
                reason=row["reason"],
                first_failure=row["firstFailure"],
                last_failure=row["lastFailure"],
            )
        group.add(row, now=now)
