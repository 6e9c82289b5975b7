"""What one app reports of its dependencies, and what another makes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.health import Component, Reports, Status
from shared.tables import MemoryTable, Upsert

NOW = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
HUB = Component(name="hub", status=Status.UNHEALTHY, description="Away.", data={"responseTime": "4ms"}, weight=0.5)


class Clocks:
    """The time of day and the time since the start."""

    def __init__(self) -> None:
        self.now = NOW
        self.seconds = 0.0


def reader(table: MemoryTable, clocks: Clocks) -> Reports:
    return Reports(table, now=lambda: clocks.now, clock=lambda: clocks.seconds)


async def test_a_report_is_read_as_it_was_written() -> None:
    """With its weight, and its age beside its figures; a later one replaces it."""
    clocks, table = Clocks(), MemoryTable("health")
    await reader(table, clocks).write([HUB])
    clocks.now += timedelta(seconds=7)
    (found,) = await reader(table, clocks).read(["hub"])
    assert (found.status, found.description, found.weight) == (HUB.status, HUB.description, HUB.weight)
    assert found.data == {"responseTime": "4ms", "age": "7s"}
    await reader(table, clocks).write([Component(name="hub", status=Status.HEALTHY, description="Answers.")])
    (found,) = await reader(table, clocks).read(["hub"])
    assert found.status is Status.HEALTHY


@pytest.mark.parametrize("seconds", [91, 86_400 * 400, -91, -86_400 * 400])
async def test_a_late_report_is_no_news(seconds: float) -> None:
    """Nor is one of a clock that was wrong: whoever should report doesn't."""
    clocks, table = Clocks(), MemoryTable("health")
    await reader(table, clocks).write([HUB])
    clocks.now += timedelta(seconds=seconds)
    (found,) = await reader(table, clocks).read(["hub"])
    assert found.status is Status.DEGRADED
    assert found.description == f"Last reported {seconds} s ago."


async def test_what_was_never_reported_is_missed_after_a_while() -> None:
    """A stage that has just begun is given two minutes."""
    clocks = Clocks()
    reports = reader(MemoryTable("health"), clocks)
    assert await reports.read(["hub", "lag"]) == []
    clocks.seconds = 120
    assert [(one.name, one.status, one.description) for one in await reports.read(["hub", "lag"])] == [
        ("hub", Status.DEGRADED, "Was never reported."),
        ("lag", Status.DEGRADED, "Was never reported."),
    ]


@pytest.mark.parametrize(
    "damage",
    [
        {"data": "{"},
        {"data": "[1]"},
        {"status": "Fine"},
        {"reportedAt": "yesterday"},
        {"weight": None},
        {"description": None, "data": None},
    ],
)
async def test_a_damaged_report_is_named(damage: dict[str, Any]) -> None:
    """It never makes readiness fail."""
    clocks, table = Clocks(), MemoryTable("health")
    await reader(table, clocks).write([HUB])
    row = dict(table.rows["health", "hub"])
    await table.submit([Upsert({**row, **damage})])
    (found,) = await reader(table, clocks).read(["hub"])
    assert (found.status, found.description) == (Status.DEGRADED, "The report can't be read.")


async def test_nothing_to_report_writes_nothing_and_figures_are_bounded() -> None:
    """A column holds so much and no more."""
    clocks, table = Clocks(), MemoryTable("health")
    await reader(table, clocks).write([])
    assert table.rows == {}
    huge = Component(name="huge", status=Status.HEALTHY, description="x" * 5_000, data={"list": "x" * 100_000})
    await reader(table, clocks).write([huge])
    (found,) = await reader(table, clocks).read(["huge"])
    assert len(found.description) == 1_000
    assert found.data == {"age": "0s"}
